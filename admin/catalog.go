package admin

// The metrics: their names and what they mean, in one table that the document
// about operations is compared with.

import (
	"fmt"
	"strconv"
)

// Names of metrics that are used in several places.
const (
	stepSeconds   = "cloakroom_step_seconds"
	commitBatch   = "cloakroom_commit_batch_size"
	commitSeconds = "cloakroom_commit_seconds"
	jobSeconds    = "cloakroom_job_seconds"
)

// Metric is one that is exported.
type Metric struct {
	Name   string
	Type   string // counter, gauge, histogram
	Labels []string
	Help   string
}

// Metrics lists all metrics but those of the process and of Go's run time
// (process_*, go_*), which Prometheus' own library exports.
var Metrics = []Metric{
	{"cloakroom_mails_total", "counter", []string{"verdict"}, "messages answered, by what became of them"},
	{"cloakroom_mail_errors_total", "counter", []string{"kind"}, "messages that were deferred, or passed unchanged, because something failed, by what it was"},
	{"cloakroom_mail_body_bytes_total", "counter", nil, "bytes of the bodies that were looked at"},
	{"cloakroom_attachments_linked_total", "counter", nil, "attachments that became links"},
	{"cloakroom_attachment_bytes_total", "counter", nil, "decoded bytes of attachments that became links"},
	{"cloakroom_stored_bytes_total", "counter", nil, "bytes of attachments that were new to the store; the others were there already"},
	{"cloakroom_uploads_queued_total", "counter", nil, "copies of attachments queued for a vault"},
	{"cloakroom_copies_queued_total", "counter", nil, "copies of messages queued to be sent"},
	{"cloakroom_recipients_forwarded_total", "counter", nil, "recipients whose mail went on to another mail system"},
	{"cloakroom_recipients_refused_total", "counter", nil, "recipients refused as they were named"},
	{"cloakroom_loops_total", "counter", nil, "recipients refused because their mail came back"},
	{stepSeconds, "histogram", []string{"step"}, "duration of a message's steps: receive, decide, store; total is all of it"},
	{"cloakroom_link_pages_total", "counter", []string{"result"}, "pages of links asked for: found, unknown (or revoked), expired, error"},
	{"cloakroom_downloads_total", "counter", nil, "downloads begun"},
	{"cloakroom_job_attempts_total", "counter", []string{"kind", "target", "result"}, "attempts at jobs of the queue: done, failed, stopped with the daemon"},
	{jobSeconds, "histogram", []string{"kind"}, "duration of attempts at jobs"},
	{commitBatch, "histogram", nil, "commits that became durable together"},
	{commitSeconds, "histogram", nil, "duration of durable transactions"},
	{"cloakroom_queue_jobs", "gauge", []string{"kind", "target", "state"}, "jobs in the queue; done ones are kept for a week"},
	{"cloakroom_queue_oldest_seconds", "gauge", []string{"kind", "target", "state"}, "age of the oldest job that is not done"},
	{"cloakroom_target_up", "gauge", []string{"kind", "target"}, "0 while a target is down"},
	{"cloakroom_target_held", "gauge", []string{"kind", "target"}, "1 while a target is held"},
	{"cloakroom_links", "gauge", nil, "links, as last counted"},
	{"cloakroom_mail_records", "gauge", nil, "records of mail, as last counted"},
	{"cloakroom_store_blobs", "gauge", nil, "files in the store, as last counted"},
	{"cloakroom_store_bytes", "gauge", nil, "their bytes, as last counted"},
	{"cloakroom_store_counted_timestamp_seconds", "gauge", nil, "when links, records and files were last counted"},
	{"cloakroom_disk_free_bytes", "gauge", nil, "free space on the disk of the data folder"},
	{"cloakroom_disk_bytes", "gauge", nil, "size of that disk"},
	{"cloakroom_disk_low", "gauge", nil, "1 while too little is free for links, see store.low_space"},
	{"cloakroom_check_ok", "gauge", []string{"check"}, "0 while a check of /readyz fails or asks for attention"},
	{"cloakroom_paused", "gauge", nil, "1 while mail passes untouched, see cloakroom pause"},
	{"cloakroom_ready", "gauge", nil, "0 while mail cannot be handled"},
	{"cloakroom_build_info", "gauge", []string{"version", "commit", "go"}, "1; what is running"},
}

func helpOf(name string) string {
	for _, m := range Metrics {
		if m.Name == name {
			return m.Help
		}
	}
	panic(fmt.Sprintf("admin: the metric %s is not in the catalog", name))
}

// latencyName is the name in the hours of the messages up to a bound.
func latencyName(at int) string {
	if at == len(latencyBounds) {
		return hourLatency + "more"
	}
	return hourLatency + strconv.FormatFloat(latencyBounds[at], 'f', -1, 64)
}
