package doctor

// The report for people.

import (
	"fmt"
	"io"
	"strings"
)

// colors of the states, for terminals (ECMA-48).
var colors = map[State]string{OK: "\x1b[32m", Warning: "\x1b[33m", Wrong: "\x1b[31m"}

// Print writes one table, a line for each finding, and below those that are not
// ok what to do.
func Print(w io.Writer, r *Report, colored bool) error {
	var b strings.Builder
	table(&b, r.Lines, colored)
	fmt.Fprintf(&b, "\n%s\n", r.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// PrintBrief writes a summary of one line, as Nagios shows it, and below it only
// what is not ok.
func PrintBrief(w io.Writer, r *Report) error {
	var bad []Line
	var names []string
	for _, l := range r.Lines {
		if l.State != OK {
			bad = append(bad, l)
			names = append(names, l.Check)
		}
	}
	var b strings.Builder
	b.WriteString(r.Summary())
	if len(names) > 0 {
		fmt.Fprintf(&b, ": %s", strings.Join(unique(names), ", "))
	}
	b.WriteString("\n")
	table(&b, bad, false)
	_, err := io.WriteString(w, b.String())
	return err
}

func unique(names []string) []string {
	var out []string
	for _, n := range names {
		if len(out) == 0 || out[len(out)-1] != n {
			out = append(out, n)
		}
	}
	return out
}

func table(b *strings.Builder, lines []Line, colored bool) {
	wide := 0
	for _, l := range lines {
		wide = max(wide, len(l.Check))
	}
	for _, l := range lines {
		state := fmt.Sprintf("%-7s", l.State)
		if colored {
			state = colors[l.State] + state + "\x1b[0m"
		}
		fmt.Fprintf(b, "%s  %-*s  %s\n", state, wide, l.Check, oneLine(l.Text))
		if l.Fix != "" {
			fmt.Fprintf(b, "%-7s  %-*s  -> %s\n", "", wide, "", oneLine(l.Fix))
		}
	}
}

// Summary counts the lines in words.
func (r *Report) Summary() string {
	switch bad, doubtful := r.Count(Wrong), r.Count(Warning); {
	case bad+doubtful == 0:
		return fmt.Sprintf("all of %d are ok", len(r.Lines))
	case bad == 0:
		return fmt.Sprintf("warnings: %d of %d", doubtful, len(r.Lines))
	default:
		return fmt.Sprintf("wrong: %d, warnings: %d, of %d", bad, doubtful, len(r.Lines))
	}
}

// oneLine keeps a text on its line, and what others wrote from driving a
// terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.Join(strings.Fields(s), " "))
}
