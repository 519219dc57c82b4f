package admin

// The first page: today, and how it went before.

import (
	"net/http"
	"time"

	"cloakroom/flow"
	"cloakroom/ledger/hours"
)

// span is a range of time that charts show.
type span struct {
	Key, Name string
	points    int
	step      time.Duration // of a point; a day's points begin at midnight
}

var spans = []span{
	{"24h", "24 hours", 24, time.Hour},
	{"7d", "7 days", 28, 6 * time.Hour},
	{"30d", "30 days", 30, 24 * time.Hour},
	{"1y", "1 year", 53, 7 * 24 * time.Hour},
}

// day sums up what was counted since midnight.
type day struct {
	Since                                            time.Time
	Mail, Linked, Taken, Stored, Saved, Deferred     int64
	Refused, Downloads, Uploads, Copies, JobFailures int64
	P50, P95                                         float64
}

// overviewPage is what fills the page.
type overviewPage struct {
	Today   day
	Ever    day
	Depth   int64
	Age     time.Duration
	States  []stateCount
	Charts  []*chart
	Spans   []span
	Span    string
	Sizes   sizes
	Trouble string
}

// stateCount counts the jobs in one state.
type stateCount struct {
	State string
	Count int64
}

func (s *Server) overview(r *http.Request, f *frame) (string, any, error) {
	f.Title, f.Live = "Overview", true
	chosen := spans[0]
	for _, one := range spans {
		if one.Key == r.URL.Query().Get("span") {
			chosen = one
		}
	}
	now := s.now()
	starts := chosen.starts(now)
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	from := starts[0]
	if midnight.Before(from) {
		from = midnight
	}
	found, err := hours.Since(r.Context(), s.watch.p.DB.Read(), from)
	if err != nil {
		return "", nil, err
	}
	pending, _ := s.watch.pending()
	found = append(found, hours.Hour{Begin: now.Truncate(time.Hour), Values: pending})
	ever, err := hours.Ever(r.Context(), s.watch.p.DB.Read())
	if err != nil {
		return "", nil, err
	}
	for name, n := range pending {
		ever[name] += n
	}
	current := s.watch.current()
	p := &overviewPage{Today: dayOf(sum(found, midnight)), Ever: dayOf(ever), Spans: spans, Span: chosen.Key, Sizes: current.sizes, Trouble: current.trouble}
	p.Today.Since = midnight
	p.Depth, p.Age = current.backlog()
	p.States = current.states()
	p.Charts = charts(chosen, starts, found)
	return "overview.html", p, nil
}

// states counts the jobs by state, over all kinds.
func (s *state) states() []stateCount {
	counts := map[string]int64{}
	for _, one := range s.stats {
		counts[string(one.State)] += one.Count
	}
	var out []stateCount
	for _, name := range []string{"waiting", "running", "failed", "held", "done"} {
		if counts[name] > 0 {
			out = append(out, stateCount{name, counts[name]})
		}
	}
	return out
}

// starts are the begins of the points, the last of which is now's.
func (sp span) starts(now time.Time) []time.Time {
	last := now.Truncate(time.Hour)
	if sp.step > time.Hour {
		midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
		last = midnight
		if sp.step < 24*time.Hour {
			last = midnight.Add(now.Sub(midnight).Truncate(sp.step))
		}
	}
	out := make([]time.Time, sp.points)
	for i := range out {
		back := len(out) - 1 - i
		if sp.step >= 24*time.Hour { // days are not always 24 hours long
			out[i] = last.AddDate(0, 0, -back*int(sp.step/(24*time.Hour)))
		} else {
			out[i] = last.Add(-time.Duration(back) * sp.step)
		}
	}
	return out
}

// sum adds up the hours from a time on.
func sum(all []hours.Hour, from time.Time) map[string]int64 {
	out := make(map[string]int64)
	for _, h := range all {
		if h.Begin.Add(time.Hour).After(from) {
			for name, v := range h.Values {
				out[name] += v
			}
		}
	}
	return out
}

func dayOf(v map[string]int64) day {
	d := day{Linked: v[hourLinked], Taken: v[hourTaken], Stored: v[hourStored], Deferred: v[hourMail+flow.Deferred.String()], Refused: v[hourMail+flow.Refused.String()],
		Downloads: v[hourDownloads], Uploads: v[hourUploads], Copies: v[hourCopies], JobFailures: v[hourFailures]}
	d.Saved = d.Taken - d.Stored
	for _, verdict := range flow.Verdicts {
		d.Mail += v[hourMail+verdict]
	}
	d.P50, d.P95 = quantile(v, 0.5), quantile(v, 0.95)
	return d
}

// quantile reckons a share of the latencies from their counts, in seconds: within
// a bound as if they were spread evenly. 0: there were none.
func quantile(v map[string]int64, share float64) float64 {
	total := int64(0)
	for i := range len(latencyBounds) + 1 {
		total += v[latencyName(i)]
	}
	if total <= 0 {
		return 0
	}
	rank, seen, low := share*float64(total), 0.0, 0.0
	for i, bound := range latencyBounds {
		n := float64(v[latencyName(i)])
		if seen+n >= rank && n > 0 {
			return roundTo3(low + (bound-low)*(rank-seen)/n)
		}
		seen, low = seen+n, bound
	}
	return low
}

// points puts the hours of each point together: sums, or for levels the highest.
func points(starts []time.Time, all []hours.Hour, name string, level bool) []float64 {
	out := make([]float64, len(starts))
	for _, h := range all {
		if i := pointOf(starts, h.Begin); i >= 0 {
			v := float64(h.Values[name])
			if level {
				out[i] = max(out[i], v)
			} else {
				out[i] += v
			}
		}
	}
	return out
}

// pointOf is the last point that begins at or before a time; -1: none.
func pointOf(starts []time.Time, t time.Time) int {
	for i := len(starts) - 1; i >= 0; i-- {
		if !t.Before(starts[i]) {
			return i
		}
	}
	return -1
}

func latencies(starts []time.Time, all []hours.Hour, share float64) []float64 {
	sums := make([]map[string]int64, len(starts))
	for _, h := range all {
		if i := pointOf(starts, h.Begin); i >= 0 {
			if sums[i] == nil {
				sums[i] = make(map[string]int64)
			}
			for j := range len(latencyBounds) + 1 {
				sums[i][latencyName(j)] += h.Values[latencyName(j)]
			}
		}
	}
	out := make([]float64, len(starts))
	for i := range sums {
		out[i] = quantile(sums[i], share)
	}
	return out
}

// charts draws what happened.
func charts(sp span, starts []time.Time, all []hours.Hour) []*chart {
	labels, names := make([]string, len(starts)), make([]string, len(starts))
	for i, t := range starts {
		t = t.Local()
		switch {
		case sp.step == time.Hour:
			labels[i], names[i] = t.Format("15:04"), t.Format("Mon 2 Jan, 15:04")
		case sp.step < 24*time.Hour:
			labels[i], names[i] = t.Format("Mon 15:04"), t.Format("Mon 2 Jan, 15:04")
		default:
			labels[i], names[i] = t.Format("2 Jan"), t.Format("Mon 2 Jan 2006")
		}
	}
	draw := func(id, title, about string, words func(float64) string, s ...series) *chart {
		return &chart{ID: id, Title: title, About: about + ", over " + sp.Name, Labels: labels, Names: names, Series: s, Words: words}
	}
	at := func(name string) []float64 { return points(starts, all, name, false) }
	whole := func(v float64) string { return number(int64(v + 0.5)) }
	bytes := func(v float64) string { return size(int64(v)) }
	mail := draw("mail", "Mail", "Messages by what became of them", whole)
	for i, v := range []flow.Verdict{flow.Passed, flow.Linked, flow.Forwarded, flow.Edited, flow.Observed, flow.Quarantined, flow.Refused, flow.Deferred} {
		values := at(hourMail + v.String())
		if anything(values) || v == flow.Passed || v == flow.Linked {
			mail.Series = append(mail.Series, series{v.String(), verdictClasses[i], values})
		}
	}
	mail.Whole = true
	taken, stored := at(hourTaken), at(hourStored)
	saved := minus(taken, stored)
	volume := draw("volume", "Attachments taken out", "Bytes of attachments that became links: new to the store, and already there", bytes,
		series{"new to the store", "c1", stored}, series{"already there (saved)", "c2", saved})
	volume.Bytes = true
	latency := draw("latency", "Time for a message", "Half of the messages, and 95 of 100, took less", func(v float64) string { return secondsWords(roundTo3(v)) },
		series{"half", "c1", latencies(starts, all, 0.5)}, series{"95 of 100", "c3", latencies(starts, all, 0.95)})
	latency.Lines = true
	depth := draw("depth", "Queue", "The most jobs at once that were not done", whole, series{"jobs", "c4", points(starts, all, hourQueueMax, true)})
	depth.Whole = true
	age := draw("age", "Age of the oldest job", "The oldest that waited or had failed", func(v float64) string { return ageWords(time.Duration(v) * time.Second) },
		series{"age", "c4", points(starts, all, hourQueueAge, true)})
	age.Lines, age.Time = true, true
	failures := draw("failures", "Failures", "Messages deferred, and attempts of jobs that failed", whole,
		series{"messages deferred", "c5", at(hourMail + flow.Deferred.String())}, series{"attempts failed", "c6", at(hourFailures)})
	failures.Whole = true
	downloads := draw("downloads", "Downloads", "Downloads begun", whole, series{"downloads", "c2", at(hourDownloads)})
	downloads.Whole = true
	return []*chart{mail, volume, latency, depth, age, failures, downloads}
}

// verdictClasses are the colours of the verdicts, in the order of the chart.
var verdictClasses = []string{"c0", "c1", "c2", "c3", "c4", "c7", "c6", "c5"}

func anything(values []float64) bool {
	for _, v := range values {
		if v != 0 {
			return true
		}
	}
	return false
}

func minus(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = max(0, a[i]-b[i])
	}
	return out
}
