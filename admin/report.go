package admin

// The report: what rules did to mail, or in mode: observe would have done.

import (
	"net/http"
	"time"

	"cloakroom/internal/report"
)

// reportSpan is a range of days, today's among them.
type reportSpan struct {
	Key, Name string
	days      int
}

var reportSpans = []reportSpan{{"1d", "today", 1}, {"7d", "7 days", 7}, {"30d", "30 days", 30}, {"92d", "92 days", 92}}

type reportPage struct {
	Spans []reportSpan
	Span  string
	From  time.Time
	Modes []*reportMode
}

// reportMode is one mode, with pictures of its days.
type reportMode struct {
	*report.Mode
	Days []*chart
}

// Uploads and Forwarded are sums over all targets and all systems.
func (m *reportMode) Uploads() (n int64) {
	for _, v := range m.Vault {
		n += v.Copies
	}
	return n
}

// Forwarded counts the recipients.
func (m *reportMode) Forwarded() (n int64) {
	for _, one := range m.Forward {
		n += one.Recipients
	}
	return n
}

func (s *Server) report(r *http.Request, f *frame) (string, any, error) {
	f.Title = "Report"
	chosen := reportSpans[1]
	for _, one := range reportSpans {
		if one.Key == r.URL.Query().Get("span") {
			chosen = one
		}
	}
	now := s.now()
	today := now.UTC().Truncate(24 * time.Hour)
	from := today.AddDate(0, 0, 1-chosen.days)
	found, err := report.Read(r.Context(), s.watch.p.DB.Read(), from, now)
	if err != nil {
		return "", nil, err
	}
	p := &reportPage{Spans: reportSpans, Span: chosen.Key, From: from}
	for _, m := range found.Modes {
		p.Modes = append(p.Modes, &reportMode{m, reportDays(m, from, chosen.days)})
	}
	return "report.html", p, nil
}

// reportDays draws the mail of each day, and the bytes of it that are linked.
func reportDays(m *report.Mode, from time.Time, days int) []*chart {
	title, about := "Linked, by day", "Bytes of attachments that became links, by day (UTC)"
	if m.Observed() {
		title, about = "Would be linked, by day", "Bytes of attachments that would have become links, by day (UTC)"
	}
	mails := &chart{ID: m.Name + "-mails", Title: "Mails seen, by day", About: "Mails, by day (UTC)", Whole: true,
		Words: func(v float64) string { return number(int64(v)) }, Series: []series{{"mails", "c0", make([]float64, days)}}}
	bytes := &chart{ID: m.Name + "-bytes", Title: title, About: about, Bytes: true,
		Words: func(v float64) string { return size(int64(v)) }, Series: []series{{"bytes", "c1", make([]float64, days)}}}
	charts := []*chart{mails, bytes}
	for i := range days {
		day := from.AddDate(0, 0, i)
		for _, c := range charts {
			c.Labels, c.Names = append(c.Labels, day.Format("2 Jan")), append(c.Names, day.Format("Mon 2 Jan 2006"))
		}
		for _, l := range m.ByDay {
			if l.Day == day.Format(time.DateOnly) {
				mails.Series[0].Values[i], bytes.Series[0].Values[i] = float64(l.Mails), float64(l.Bytes)
			}
		}
	}
	return charts
}
