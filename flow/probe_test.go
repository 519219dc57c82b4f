package flow_test

// The message of `cloakroom doctor`: decided like any other, and nowhere to be found.

import (
	"strings"
	"testing"

	"cloakroom/flow"
	"cloakroom/ledger/tally"
	"cloakroom/policy"
)

func TestAProbeIsDecidedAndLeavesNoTrace(t *testing.T) {
	w := newWorld(t, linkAll, policy.Rule{Name: "marks", Header: &policy.HeaderAction{Options: policy.HeaderOptions{Add: policy.HeaderFields{{Name: "X-Seen", Value: "yes"}}}}})
	told, counted := w.events(), 0
	w.engine.Tally = func(tally.Mail) { counted++ }
	probe := func(queueID string) *flow.Envelope {
		e := outbound(queueID)
		e.Probe = true
		return e
	}
	d := w.mustDeliver(t, probe("1"), plans("probe").raw())
	if !d.opened || d.splices != nil {
		t.Errorf("a probe with an attachment: looked at %v, rewritten %v", d.opened, d.splices != nil)
	}
	if len(d.edits) != 1 || d.edits[0].Name != "X-Seen" {
		t.Errorf("what rules say of it: %v", d.edits)
	}
	w.mustDeliver(t, probe("2"), []byte("From: a\r\nSubject: text\r\n\r\nonly text\r\n"))
	if n := w.rows(t, "mails") + w.rows(t, "links") + w.rows(t, "blobs") + len(w.stored(t)); n != 0 {
		t.Errorf("%d rows and blobs were stored, want none", n)
	}
	if len(*told) != 0 || counted != 0 {
		t.Errorf("it was counted: %+v, tally %d", *told, counted)
	}
	if log := w.log.String(); strings.Contains(log, "INFO") {
		t.Errorf("it was logged:\n%s", log)
	}
	w.mustDeliver(t, outbound("4"), plans("mail").raw())
	if len(*told) != 1 || counted != 1 || w.rows(t, "mails") != 1 {
		t.Errorf("mail itself: told of %d, tally %d, records %d", len(*told), counted, w.rows(t, "mails"))
	}
	breakBlobs(t, w)
	w.mustDeliver(t, probe("5"), plans("probe").raw()) // the store is not asked
}

func TestARefusedProbeIsNotCounted(t *testing.T) {
	w := newWorld(t, policy.Rule{Name: "nobody", If: `recipient.address == 'bob@ext.test'`, Reject: &policy.RejectAction{Options: policy.RejectOptions{Code: 550, Text: "no"}}})
	told, counted := w.events(), 0
	w.engine.Tally = func(tally.Mail) { counted++ }
	e := outbound("1")
	e.Probe = true
	r, err := w.engine.CheckRecipient(t.Context(), e, e.Recipients[0])
	if err != nil || r == nil || r.Code != 550 {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(*told) != 0 || counted != 0 {
		t.Errorf("told of %d, tally %d", len(*told), counted)
	}
	e.Probe = false
	if r, err := w.engine.CheckRecipient(t.Context(), e, e.Recipients[0]); err != nil || r == nil || len(*told) != 1 || counted != 1 {
		t.Errorf("mail itself: %+v, %v; told of %d, tally %d", r, err, len(*told), counted)
	}
}
