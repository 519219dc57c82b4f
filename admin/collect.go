package admin

// The metrics as Prometheus reads them: the meters, and what was last seen of
// the database. A scrape asks the database nothing.

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cloakroom/flow"
	"cloakroom/internal/jobs"
)

// collector gives the counters and the state.
type collector struct {
	w     *watch
	descs map[string]*prometheus.Desc
}

func newCollector(w *watch) *collector {
	c := &collector{w: w, descs: make(map[string]*prometheus.Desc)}
	for _, m := range Metrics {
		if m.Type != "histogram" {
			c.descs[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
		}
	}
	return c
}

// registry has everything that is exported.
func newRegistry(w *watch) (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	m := w.p.Meters
	for _, c := range []prometheus.Collector{
		newCollector(w), m.step, m.batch, m.commit, m.job,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func metricsHandler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.counters(out)
	c.queue(out)
	c.store(out)
	for _, r := range c.w.results() {
		c.gauge(out, "cloakroom_check_ok", flag(r.OK), r.Name)
	}
	c.gauge(out, "cloakroom_paused", flag(c.w.p.Paused != nil && c.w.p.Paused() != ""))
	c.gauge(out, "cloakroom_ready", flag(ready(c.w.results())))
	b := c.w.p.Build
	c.gauge(out, "cloakroom_build_info", 1, b.Version, b.Commit, runtime.Version())
}

func (c *collector) counter(out chan<- prometheus.Metric, name string, n int64, labels ...string) {
	out <- prometheus.MustNewConstMetric(c.descs[name], prometheus.CounterValue, float64(n), labels...)
}

func (c *collector) gauge(out chan<- prometheus.Metric, name string, v float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(c.descs[name], prometheus.GaugeValue, v, labels...)
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (c *collector) counters(out chan<- prometheus.Metric) {
	m := c.w.p.Meters
	for i := range m.mails {
		c.counter(out, "cloakroom_mails_total", m.mails[i].total.Load(), flow.Verdicts[i])
	}
	for i := range m.troubles {
		if flow.Trouble(i) != flow.NoTrouble {
			c.counter(out, "cloakroom_mail_errors_total", m.troubles[i].total.Load(), flow.Troubles[i])
		}
	}
	for i := range m.lookups {
		c.counter(out, "cloakroom_link_pages_total", m.lookups[i].Load(), lookupResults[i])
	}
	for name, one := range map[string]*counter{
		"cloakroom_mail_body_bytes_total":      &m.body,
		"cloakroom_attachments_linked_total":   &m.linked,
		"cloakroom_attachment_bytes_total":     &m.taken,
		"cloakroom_stored_bytes_total":         &m.stored,
		"cloakroom_uploads_queued_total":       &m.uploads,
		"cloakroom_copies_queued_total":        &m.copies,
		"cloakroom_recipients_forwarded_total": &m.onward,
		"cloakroom_recipients_refused_total":   &m.refused,
		"cloakroom_downloads_total":            &m.downloads,
	} {
		c.counter(out, name, one.total.Load())
	}
	if c.w.p.Loops != nil {
		c.counter(out, "cloakroom_loops_total", c.w.p.Loops())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, n := range m.attempts {
		c.counter(out, "cloakroom_job_attempts_total", n.Load(), k.kind, k.target, k.result)
	}
}

func (c *collector) queue(out chan<- prometheus.Metric) {
	s := c.w.current()
	for _, one := range s.stats {
		c.gauge(out, "cloakroom_queue_jobs", float64(one.Count), one.Kind, one.Target, string(one.State))
		if one.State != jobs.Done {
			c.gauge(out, "cloakroom_queue_oldest_seconds", one.OldestAge.Seconds(), one.Kind, one.Target, string(one.State))
		}
	}
	for _, t := range s.targets {
		c.gauge(out, "cloakroom_target_up", flag(!t.Down()), t.Kind, t.Target)
		c.gauge(out, "cloakroom_target_held", flag(t.Held), t.Kind, t.Target)
	}
}

func (c *collector) store(out chan<- prometheus.Metric) {
	if z := c.w.current().sizes; !z.At.IsZero() {
		c.gauge(out, "cloakroom_links", float64(z.Links))
		c.gauge(out, "cloakroom_mail_records", float64(z.Mails))
		c.gauge(out, "cloakroom_store_blobs", float64(z.Blobs))
		c.gauge(out, "cloakroom_store_bytes", float64(z.Bytes))
		c.gauge(out, "cloakroom_store_counted_timestamp_seconds", float64(z.At.Unix()))
	}
	if c.w.p.Disk == nil {
		return
	}
	if free, size, low, err := c.w.p.Disk(); err == nil {
		c.gauge(out, "cloakroom_disk_low", flag(low))
		c.gauge(out, "cloakroom_disk_free_bytes", float64(free))
		c.gauge(out, "cloakroom_disk_bytes", float64(size))
	}
}
