package app

// The report for people.

import (
	"fmt"
	"io"

	"cloakroom/internal/report"
	"cloakroom/ledger/tally"
	"cloakroom/message"
)

// PrintReport writes a report.
func PrintReport(w io.Writer, r *report.Report) error {
	if len(r.Modes) == 0 {
		_, err := fmt.Fprintf(w, "no mail was counted since %s\n", r.From.Format("2006-01-02"))
		return err
	}
	for i, m := range r.Modes {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := (modeText{m}).print(w, r); err != nil {
			return err
		}
	}
	return nil
}

// modeText writes the part of one mode.
type modeText struct{ *report.Mode }

func (m modeText) print(w io.Writer, r *report.Report) error {
	observed := m.Observed()
	head := fmt.Sprintf("mode %s, %s to %s", m.Name, r.From.Format("2006-01-02"), r.Until.UTC().Format("2006-01-02"))
	if observed {
		head += ": nothing was changed; this is what would have become of the mail"
	}
	fmt.Fprintln(w, head)
	fmt.Fprintln(w)
	if err := table(w, func(t io.Writer) { m.sums(t, observed) }); err != nil {
		return err
	}
	for _, part := range []struct {
		title string
		rows  int
		print func(io.Writer)
	}{
		{"by rule", len(m.Lines), m.rules},
		{"stays in the mail, although a rule links it", len(m.Stays), m.stays},
		{"senders of what is linked, by bytes", len(m.From), people(m.From)},
		{"recipients of what is linked, by bytes", len(m.To), people(m.To)},
		{"by day (UTC)", len(m.ByDay), m.perDay},
	} {
		if part.rows == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", part.title)
		if err := table(w, part.print); err != nil {
			return err
		}
	}
	return nil
}

func (m modeText) sums(t io.Writer, observed bool) {
	line := func(name string, n int64, more string) { fmt.Fprintf(t, "  %s\t%d\t%s\n", name, n, more) }
	line("mails seen", m.Mails, message.FormatSize(m.Looked)+" of bodies looked at")
	l := m.Links
	links, mails, uploads, forwarded := "attachments linked", "mails with links", "copies kept in the vault", "recipients forwarded"
	if observed {
		links, mails, uploads, forwarded = "would-be links", "mails that would get links", "would-be vault uploads", "recipients that would be forwarded"
	}
	line(mails, l.Mails, share(l.Mails, m.Mails))
	line(links, l.Parts, message.FormatSize(l.Bytes))
	switch {
	case l.Parts == 0:
	case observed:
		more := "of them; would be stored once"
		if l.Uncompared > 0 {
			more += fmt.Sprintf(" (at least: %s could not be compared)", message.FormatSize(l.Uncompared))
		}
		fmt.Fprintf(t, "  repeated\t\t%s %s\n", message.FormatSize(l.Repeated), more)
	default:
		fmt.Fprintf(t, "  new to the store\t\t%s, with what is kept for the vault\n", message.FormatSize(l.Stored))
	}
	for _, v := range m.Vault {
		line(uploads, v.Copies, fmt.Sprintf("%s, to %s", message.FormatSize(v.Bytes), plain(v.Target)))
	}
	for _, f := range m.Forward {
		line(forwarded, f.Recipients, fmt.Sprintf("of %d mails, to %s", f.Mails, plain(f.To)))
	}
	if m.Deferred > 0 {
		line("put off (4xx)", m.Deferred, "each try is one")
	}
	if m.Paused > 0 {
		line("passed in a pause", m.Paused, "nobody looked at them")
	}
}

func share(n, of int64) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %% of all", 100*float64(n)/float64(of))
}

func (m modeText) rules(t io.Writer) {
	fmt.Fprintln(t, "  RULE\tWHAT\tMAILS\tPARTS\tBYTES\tDIRECTION")
	for _, l := range m.Lines {
		parts, bytes := "", ""
		if l.Parts > 0 {
			parts = fmt.Sprint(l.Parts)
		}
		if l.Bytes > 0 {
			bytes = message.FormatSize(l.Bytes)
		}
		fmt.Fprintf(t, "  %s\t%s\t%d\t%s\t%s\t%s\n", plain(l.Who()), plain(l.What(m.Observed())), l.Mails, parts, bytes, l.Directions())
	}
}

func (m modeText) stays(t io.Writer) {
	for _, s := range m.Stays {
		fmt.Fprintf(t, "  %d\t%s\t%s\n", s.Parts, message.FormatSize(s.Bytes), plain(s.Reason))
	}
}

func people(all []tally.Person) func(io.Writer) {
	return func(t io.Writer) {
		for _, p := range all {
			who := p.Who
			if who == "" {
				who = report.Others
			}
			fmt.Fprintf(t, "  %s\t%d mails\t%d parts\t%s\n", plain(who), p.Mails, p.Parts, message.FormatSize(p.Bytes))
		}
	}
}

func (m modeText) perDay(t io.Writer) {
	for _, d := range m.ByDay {
		fmt.Fprintf(t, "  %s\t%d mails\t%d links\t%s\n", d.Day, d.Mails, d.Parts, message.FormatSize(d.Bytes))
	}
}
