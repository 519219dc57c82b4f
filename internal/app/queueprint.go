package app

// The queue in words and columns.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cloakroom/flow"
	"cloakroom/internal/jobs"
	"cloakroom/message"
)

const (
	// lineWidth is how many characters a line of a list takes at most.
	lineWidth = 110
	// maxCell is how many characters of an address, a file name or a target's
	// name a list shows.
	maxCell = 22
	// minErrorCell is what an error gets in any case.
	minErrorCell = 10
	// maxTargetCell is what a list of jobs shows of a target's name.
	maxTargetCell = 12
)

// shorten cuts s to limit characters.
func shorten(s string, limit int) string {
	s = plain(s)
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

// PrintJobs writes a page of jobs, in lines of at most lineWidth characters.
func PrintJobs(w io.Writer, page *JobPage, now time.Time) error {
	if len(page.Jobs) == 0 {
		_, err := fmt.Fprintln(w, "no such jobs")
		return err
	}
	rows := [][]string{{"ID", "STATE", "TARGET", "OWNER", "FILE OR RECIPIENTS", "AGE", "TRIES", "NEXT", "LAST ERROR"}}
	for i := range page.Jobs {
		rows = append(rows, jobRow(&page.Jobs[i], now))
	}
	last := len(rows[0]) - 1
	used := 0
	for c := range last {
		widest := 0
		for _, r := range rows {
			widest = max(widest, utf8.RuneCountInString(r[c]))
		}
		used += widest + 2
	}
	return table(w, func(t io.Writer) {
		for _, r := range rows {
			r[last] = shorten(r[last], max(minErrorCell, lineWidth-used))
			fmt.Fprintln(t, strings.TrimRight(strings.Join(r, "\t"), "\t"))
		}
	})
}

func jobRow(j *Job, now time.Time) []string {
	target, what := j.Target, j.File
	if j.Kind == flow.JobCopy || j.Kind == flow.JobReceipt {
		target, what = "("+j.Kind+")", strings.Join(j.Recipients, ", ")
	}
	next := ""
	switch {
	case j.Waits == waitsForRelease:
		next = targetHeld
	case jobs.State(j.State) != jobs.Waiting:
	case j.Next.After(now):
		next = age(j.Next.Sub(now))
	default:
		next = "due"
	}
	return []string{j.ID, j.State, shorten(target, maxTargetCell), shorten(j.Owner, maxCell), shorten(what, maxCell), age(now.Sub(j.Created)),
		fmt.Sprint(j.Attempts), next, j.Error}
}

// PrintJob writes everything of one job.
func PrintJob(w io.Writer, d *JobDetail, now time.Time) error {
	return table(w, func(t io.Writer) {
		line := func(name, format string, args ...any) {
			if text := plain(fmt.Sprintf(format, args...)); text != "" {
				fmt.Fprintf(t, "%s\t%s\n", name, text)
			}
		}
		line("job", "%s", d.Key)
		line("kind", "%s", d.Kind)
		line("target", "%s", d.Target)
		line("owner", "%s", d.Owner)
		line("state", "%s", d.State)
		line("made", "%s (%s ago)", when(d.Created, ""), age(now.Sub(d.Created)))
		line("attempts", "%d", d.Attempts)
		if d.State == string(jobs.Waiting) {
			line("next try", "%s", when(d.Next, ""))
		}
		if !d.Lease.IsZero() {
			line("lease", "until %s, node %s", d.Lease.Format(time.TimeOnly), d.Node)
		}
		line("last error", "%s", d.Error)
		if u := d.Upload; u != nil {
			printUpload(line, d, u)
		}
		if c := d.Copy; c != nil {
			line("copy from", "<%s>", c.Sender)
			line("copy to", "%s", strings.Join(d.Recipients, ", "))
			for _, u := range c.Returned {
				line("returned", "%s: %s", u.Recipient.Address, u.Reply)
			}
		}
		if m := d.Mail; m != nil {
			line("mail", "%s", m.Key)
			line("queue id", "%s", m.QueueID)
			line("message-id", "%s", m.MessageID)
			line("from", "<%s>", m.Sender)
			line("to", "%s", strings.Join(m.Recipients, ", "))
			line("subject", "%s", m.Subject)
			line("came", "%s, %s", when(m.Received, ""), message.FormatSize(m.Size))
		}
		line("then", "%s", d.Then)
	})
}

func printUpload(line func(string, string, ...any), d *JobDetail, u *JobUpload) {
	part := fmt.Sprintf("part %d", u.Part)
	switch {
	case u.Part < 0:
		part = "the whole mail"
	case u.Inner > 0:
		part = fmt.Sprintf("file %d inside part %d", u.Inner, u.Part)
	}
	line("file", "%s (%s), %s", d.File, part, message.FormatSize(d.Size))
	line("sha-256", "%s", u.SHA256)
	line("path wanted", "%s", u.Wanted)
	if u.Path != "" {
		line("path", "%s (since %s)", u.Path, when(u.Done, ""))
	}
	if d.State == string(jobs.Running) {
		line("sent", "%s", progress(d.Sent, d.Size))
	}
	line("rule", "%s", u.Rule)
	if !u.Stored {
		line("content", "is NOT in the store any more: the upload cannot succeed")
	}
}

func progress(sent, size int64) string {
	if size == 0 {
		return "0 bytes"
	}
	return fmt.Sprintf("%s of %s (%d%%)", message.FormatSize(sent), message.FormatSize(size), sent*100/size)
}

// PrintQueueStats writes the sums.
func PrintQueueStats(w io.Writer, stats []QueueStat) error {
	if len(stats) == 0 {
		_, err := fmt.Fprintln(w, "the queue is empty")
		return err
	}
	return table(w, func(t io.Writer) {
		fmt.Fprintln(t, "KIND\tTARGET\tSTATE\tJOBS\tOLDEST")
		for _, s := range stats {
			target := s.Target
			if target == "" {
				target = "-"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", s.Kind, target, s.State, s.Count, age(s.Age))
		}
	})
}

// PrintQueueChange tells what was done.
func PrintQueueChange(w io.Writer, c *QueueChange) error {
	var b strings.Builder
	switch {
	case c.Whole && c.Did == "held":
		fmt.Fprintf(&b, "%s is held: %s and all that come wait until it is released; what is under way is finished\n", targetText(c.Kind, c.Target), count(c.Waits, "waiting job"))
	case c.Whole:
		fmt.Fprintf(&b, "%s is released: %s\n", targetText(c.Kind, c.Target), count(c.Waits, "waiting job"))
		if c.Held > 0 {
			fmt.Fprintf(&b, "still held one by one: %s; cloakroom queue release %s --jobs releases them\n",
				count(c.Held, "job"), wholeTargetFlags(c.Kind, c.Target))
		}
	default:
		fmt.Fprintf(&b, "%s %s\n", count(c.Jobs, "job"), c.Did)
	}
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// PrintLost tells what a drop deletes.
func PrintLost(w io.Writer, l Lost) error {
	var b strings.Builder
	if l.Uploads > 0 {
		fmt.Fprintf(&b, "To delete: %s, whose files never reach the vault. The mails themselves were delivered.\n", count(l.Uploads, "upload"))
	}
	if l.Copies > 0 {
		fmt.Fprintf(&b, "To delete: %s sending copies of MAIL, whose recipients get nothing and are not told, nor are the senders.\n", count(l.Copies, "job"))
	}
	if l.Receipts > 0 {
		fmt.Fprintf(&b, "To delete: %s telling senders of downloads; the list of downloads stays.\n", count(l.Receipts, "job"))
	}
	if l.Done > 0 {
		fmt.Fprintf(&b, "To forget: %s done before; the same mail coming again is worked again.\n", count(l.Done, "job"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// PrintSnapshot writes the queue of one moment for people.
func PrintSnapshot(w io.Writer, s *Snapshot) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n\n", s.At.Format(time.DateTime), totals(s))
	_ = table(&b, func(t io.Writer) { // a builder does not fail
		fmt.Fprintln(t, "KIND\tTARGET\tWAITING\tRUNNING\tFAILED\tHELD\tDONE\tOLDEST WAITING")
		for _, r := range byTarget(s.Stats) {
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", r.kind, shorten(r.target, maxCell), r.n["waiting"], r.n["running"], r.n["failed"], r.n["held"], r.n["done"], r.oldest)
		}
	})
	if len(s.Targets) > 0 {
		b.WriteString("\n")
	}
	for _, t := range s.Targets {
		fmt.Fprintln(&b, shorten(targetLine(t, s.At), lineWidth))
	}
	if len(s.Uploads) > 0 {
		b.WriteString("\n")
		_ = table(&b, func(t io.Writer) {
			fmt.Fprintln(t, "UNDER WAY\tTARGET\tOWNER\tFILE\tSENT\tPER SECOND")
			for _, u := range s.Uploads {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", u.ID, shorten(u.Target, maxCell), shorten(u.Owner, maxCell), shorten(u.File, maxCell),
					progress(u.Sent, u.Size), message.FormatSize(u.Rate))
			}
		})
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// PrintSnapshotLine writes the queue of one moment as one line, for a log.
func PrintSnapshotLine(w io.Writer, s *Snapshot) error {
	line := s.At.Format(time.DateTime) + "  " + totals(s)
	for _, u := range s.Uploads {
		line += fmt.Sprintf("  %s: %s", u.ID, progress(u.Sent, u.Size))
	}
	for _, t := range s.Targets {
		line += "  " + targetLine(t, s.At)
	}
	_, err := fmt.Fprintln(w, plain(line))
	return err
}

func targetLine(t TargetState, now time.Time) string {
	text := fmt.Sprintf("%s is %s since %s", targetText(t.Kind, t.Target), t.State, when(t.Since, ""))
	if !t.Probe.IsZero() {
		text += ", tried " + inTime(t.Probe, now)
	}
	if t.Error != "" {
		text += ": " + t.Error
	}
	return text
}

func totals(s *Snapshot) string {
	n := make(map[string]int64)
	for _, one := range s.Stats {
		n[one.State] += one.Count
	}
	var out []string
	for _, state := range jobs.States {
		if state != jobs.Done {
			out = append(out, fmt.Sprintf("%d %s", n[string(state)], state))
		}
	}
	return strings.Join(out, ", ")
}

// targetRow are the counts of one target.
type targetRow struct {
	kind, target, oldest string
	n                    map[string]int64
}

func byTarget(stats []QueueStat) []*targetRow {
	rows := make(map[string]*targetRow)
	for _, s := range stats {
		name := s.Kind + "\x00" + s.Target
		r := rows[name]
		if r == nil {
			r = &targetRow{kind: s.Kind, target: s.Target, oldest: "-", n: make(map[string]int64)}
			if s.Target == "" {
				r.target = "-"
			}
			rows[name] = r
		}
		r.n[s.State] = s.Count
		if s.State == string(jobs.Waiting) {
			r.oldest = age(s.Age)
		}
	}
	var out []*targetRow
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		out = append(out, rows[name])
	}
	return out
}
