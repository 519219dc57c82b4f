package app

// The report of a co-existence check as text: a table of states, what was found
// and what to change, in lines of 100 columns.

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"cloakroom/internal/coexist"
)

const (
	reportWidth = 100 // columns of a line; names and records longer than that are not broken
	stateWidth  = 7   // columns of the longest state
	whatWidth   = 36  // columns of what a row is about; a longer one has a line of its own
	fixIndent   = 11  // columns before what to change
	flowKey     = 9   // columns of the names of a flow's lines
)

// stateColours are ANSI colours (ECMA-48 SGR) of states.
var stateColours = map[coexist.State]string{
	coexist.OK: "32", coexist.Warning: "33", coexist.Unknown: "35", coexist.Wrong: "31;1",
}

// reportWriter writes lines, with colours or without.
type reportWriter struct {
	w      *bufio.Writer
	colour bool
}

// PrintCoexistence writes a report as text.
func PrintCoexistence(w io.Writer, r *coexist.Report, colour bool) error {
	out := reportWriter{w: bufio.NewWriter(w), colour: colour}
	area := coexist.Area("")
	for _, row := range r.Rows {
		if row.Area != area {
			if area != "" {
				fmt.Fprintln(out.w)
			}
			area = row.Area
			fmt.Fprintln(out.w, area)
		}
		out.row(row)
	}
	for _, route := range r.Routes {
		fmt.Fprintf(out.w, "\nflows by %s, to %s\n", route.Key, plain(route.Alternate))
		for _, f := range route.Flows {
			out.flow(f)
		}
	}
	fmt.Fprintf(out.w, "\n%s: ", plain(r.Domain))
	out.state(r.State, 0)
	fmt.Fprintf(out.w, " (%d ok, %d warning, %d wrong, %d unknown)\n",
		r.Count(coexist.OK), r.Count(coexist.Warning), r.Count(coexist.Wrong), r.Count(coexist.Unknown))
	return out.w.Flush()
}

func (o reportWriter) row(row coexist.Row) {
	indent := 2 + stateWidth + 2 + whatWidth + 2
	what := plain(row.What)
	fmt.Fprint(o.w, "  ")
	o.state(row.State, stateWidth)
	fmt.Fprintf(o.w, "  %-*s", whatWidth, what)
	if utf8.RuneCountInString(what) > whatWidth {
		fmt.Fprintf(o.w, "\n%*s", indent-2, "")
	}
	fmt.Fprint(o.w, "  ")
	o.wrapped(plain(row.Found), indent)
	if row.Fix != "" {
		// Further left: a record should fit into one line, to be copied.
		fmt.Fprintf(o.w, "%*s-> ", fixIndent, "")
		o.wrapped(plain(row.Fix), fixIndent+len("-> "))
	}
}

func (o reportWriter) flow(f coexist.Flow) {
	fmt.Fprintf(o.w, "  %2d  ", f.Number)
	o.state(f.State, stateWidth)
	fmt.Fprintf(o.w, "  %s\n", f.Name)
	for _, line := range [][2]string{{"path", f.Path}, {"envelope", f.Envelope}, {"reply", f.Reply}, {"why", f.Why}, {"change", f.Fix}} {
		if line[1] == "" {
			continue
		}
		indent := 2 + 2 + 2 + stateWidth + 2 + flowKey + 1
		fmt.Fprintf(o.w, "%*s%-*s ", indent-flowKey-1, "", flowKey, line[0])
		o.wrapped(plain(line[1]), indent)
	}
}

func (o reportWriter) state(s coexist.State, width int) {
	padding := strings.Repeat(" ", max(0, width-len(s)))
	if o.colour {
		fmt.Fprintf(o.w, "\x1b[%sm%s\x1b[0m%s", stateColours[s], s, padding)
		return
	}
	fmt.Fprint(o.w, string(s)+padding)
}

// wrapped writes text from column indent on, broken between words.
func (o reportWriter) wrapped(text string, indent int) {
	column := indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+n > reportWidth:
			fmt.Fprintf(o.w, "\n%*s", indent, "")
			column = indent
		default:
			fmt.Fprint(o.w, " ")
			column++
		}
		fmt.Fprint(o.w, word)
		column += n
	}
	fmt.Fprintln(o.w)
}
