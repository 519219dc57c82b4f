package admin

// What is counted in memory: by the mail path, the workers, the pages. Counting
// is a few atomic additions; nothing waits for it.

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/flow"
	"cloakroom/internal/jobs"
	"cloakroom/sisa"
)

// counter only grows. What of it was not yet added to the hours is kept apart.
type counter struct {
	total atomic.Int64
	kept  atomic.Int64 // of which the hours have; only the flusher changes it
}

func (c *counter) add(n int64) {
	if n != 0 {
		c.total.Add(n)
	}
}

// Names in the hours that are not those of a verdict or a trouble.
const (
	hourBody      = "body_bytes"
	hourLinked    = "attachments_linked"
	hourTaken     = "attachment_bytes"
	hourStored    = "stored_bytes"
	hourUploads   = "uploads"
	hourCopies    = "copies"
	hourOnward    = "onward"
	hourRefused   = "recipients_refused"
	hourDownloads = "downloads"
	hourFailures  = "job_failures"
	hourMail      = "mail."    // with the verdict
	hourTrouble   = "trouble." // with the kind
	hourLatency   = "latency." // with the number of a bound
	hourQueueMax  = "queue_max"
	hourQueueAge  = "queue_age_max_seconds"
	hourLinks     = "store_links"
	hourMails     = "store_mails"
	hourBlobs     = "store_blobs"
	hourBytes     = "store_bytes"
)

// latencyBounds are those of the histograms by step, in seconds, and of the
// latency in the hours: from a mail without attachments to what senders give up
// on (RFC 5321 section 4.5.3.2.6: ten minutes at the end of data).
var latencyBounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}

// batchBounds are those of the commits in one durable transaction.
var batchBounds = []float64{1, 2, 4, 8, 16, 32, 64, 128}

// jobKey is what attempts at jobs are counted by.
type jobKey struct{ kind, target, result string }

// Meters counts. It is safe for concurrent use.
type Meters struct {
	mails    [len(flow.Verdicts)]counter
	troubles [len(flow.Troubles)]counter
	latency  []counter // by bound, and one beyond the last

	body, linked, taken, stored, uploads, copies, onward, refused counter
	downloads, failures                                           counter

	lookups [len(lookupResults)]atomic.Int64

	step                          *prometheus.HistogramVec
	receive, decide, store, total prometheus.Histogram // of step
	batch, commit                 prometheus.Histogram
	job                           *prometheus.HistogramVec

	mu       sync.Mutex
	attempts map[jobKey]*atomic.Int64
}

// NewMeters makes meters that stand at zero.
func NewMeters() *Meters {
	m := &Meters{latency: make([]counter, len(latencyBounds)+1), attempts: make(map[jobKey]*atomic.Int64)}
	step := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: stepSeconds, Help: helpOf(stepSeconds), Buckets: latencyBounds}, []string{"step"})
	m.step = step
	m.receive, m.decide = step.WithLabelValues("receive").(prometheus.Histogram), step.WithLabelValues("decide").(prometheus.Histogram)
	m.store, m.total = step.WithLabelValues("store").(prometheus.Histogram), step.WithLabelValues("total").(prometheus.Histogram)
	m.batch = prometheus.NewHistogram(prometheus.HistogramOpts{Name: commitBatch, Help: helpOf(commitBatch), Buckets: batchBounds})
	m.commit = prometheus.NewHistogram(prometheus.HistogramOpts{Name: commitSeconds, Help: helpOf(commitSeconds), Buckets: latencyBounds})
	m.job = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: jobSeconds, Help: helpOf(jobSeconds), Buckets: latencyBounds}, []string{"kind"})
	return m
}

// Message counts a message; it is flow.Engine's Observe.
func (m *Meters) Message(e flow.Event) {
	if e.Recipient {
		m.refused.add(1)
		return
	}
	m.mails[e.Verdict].add(1)
	if e.Trouble != flow.NoTrouble {
		m.troubles[e.Trouble].add(1)
	}
	m.body.add(e.Body)
	m.uploads.add(int64(e.Uploads))
	m.copies.add(int64(e.Copies))
	m.onward.add(int64(e.Onward))
	if e.Verdict == flow.Linked {
		m.linked.add(int64(e.Linked))
		m.taken.add(e.Taken)
	}
	m.stored.add(e.Stored)
	if e.Receive+e.Decide+e.Store > 0 {
		m.receive.Observe(e.Receive.Seconds())
		m.decide.Observe(e.Decide.Seconds())
		m.store.Observe(e.Store.Seconds())
	}
	seconds := e.Total.Seconds()
	m.total.Observe(seconds)
	at := 0
	for at < len(latencyBounds) && seconds > latencyBounds[at] {
		at++
	}
	m.latency[at].add(1)
}

// Commit counts a durable transaction; it is db.DB's Observe.
func (m *Meters) Commit(commits int, took time.Duration) {
	m.batch.Observe(float64(commits))
	m.commit.Observe(took.Seconds())
}

// Job counts the attempts at a kind's jobs.
func (m *Meters) Job(h jobs.Handler) jobs.Handler {
	return func(ctx context.Context, j jobs.Job) (jobs.Effect, error) {
		begin := time.Now()
		effect, err := h(ctx, j)
		m.job.WithLabelValues(j.Kind).Observe(time.Since(begin).Seconds())
		result := "done"
		switch {
		case err != nil && ctx.Err() != nil:
			result = "stopped"
		case err != nil:
			result = "failed"
			m.failures.add(1)
		}
		m.attempt(jobKey{j.Kind, j.Target, result}).Add(1)
		return effect, err
	}
}

func (m *Meters) attempt(k jobKey) *atomic.Int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.attempts[k]
	if n == nil {
		n = new(atomic.Int64)
		m.attempts[k] = n
	}
	return n
}

// lookupResults are what the pages say of a link that somebody opens.
var lookupResults = [...]string{"found", "unknown", "expired", "error"}

// Links counts what is asked of the links: the pages' store, as sisa/web sees it.
type Links struct {
	*sisa.Links
	Meters *Meters
}

// ByToken implements sisa/web's Links.
func (l Links) ByToken(ctx context.Context, token string) (sisa.Link, error) {
	link, err := l.Links.ByToken(ctx, token)
	at := 0
	switch {
	case err == nil:
	case errors.Is(err, sisa.ErrNotFound):
		at = 1
	case errors.Is(err, sisa.ErrExpired):
		at = 2
	default:
		at = 3
	}
	l.Meters.lookups[at].Add(1)
	return link, err
}

// Downloaded implements sisa/web's Links.
func (l Links) Downloaded(ctx context.Context, d sisa.Download) error {
	err := l.Links.Downloaded(ctx, d)
	if !errors.Is(err, sisa.ErrUsedUp) {
		l.Meters.downloads.add(1)
	}
	return err
}

// hourly are the counters with their names in the hours.
func (m *Meters) hourly() map[string]*counter {
	out := map[string]*counter{
		hourBody: &m.body, hourLinked: &m.linked, hourTaken: &m.taken, hourStored: &m.stored, hourUploads: &m.uploads,
		hourCopies: &m.copies, hourOnward: &m.onward, hourRefused: &m.refused, hourDownloads: &m.downloads, hourFailures: &m.failures,
	}
	for i := range m.mails {
		out[hourMail+flow.Verdicts[i]] = &m.mails[i]
	}
	for i := range m.troubles {
		out[hourTrouble+flow.Troubles[i]] = &m.troubles[i]
	}
	for i := range m.latency {
		out[latencyName(i)] = &m.latency[i]
	}
	return out
}
