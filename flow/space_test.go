package flow_test

import (
	"errors"
	"strings"
	"testing"

	"cloakroom/flow"
	"cloakroom/policy"
	"cloakroom/policy/forward"
)

// low has the disk nearly full until the returned function is called.
func (w *world) low() (enough func()) {
	why := "900 MB free"
	w.engine.LowSpace = func() string { return why }
	return func() { why = "" }
}

// full tells whether an error is answered by "mail system full".
func full(err error) bool {
	var e interface{ SystemFull() bool }
	return errors.As(err, &e) && e.SystemFull()
}

// No step is half done: what is not stored has no row, and what passes is as it
// came.
func (w *world) nothingStored(t *testing.T) {
	t.Helper()
	if n := w.rows(t, "mails") + w.rows(t, "links") + w.rows(t, "blobs"); n != 0 {
		t.Errorf("%d rows were stored on a disk that is nearly full", n)
	}
}

func TestMailPassesWhileTheDiskIsNearlyFull(t *testing.T) {
	w := newWorld(t, linkAll)
	told := w.events()
	enough := w.low()
	raw := letter{id: "low", files: []file{{"small.bin", noise(1, 3000)}, {"large.bin", noise(2, 1<<20)}}}.raw()
	d := w.mustDeliver(t, outbound("1"), raw)
	w.untouched(t, d, raw)
	if d.opened {
		t.Error("the body was asked for, and needs room in the spool")
	}
	w.nothingStored(t)
	if e := (*told)[0]; e.Verdict != flow.Passed || e.Trouble != flow.TroubleSpace {
		t.Errorf("told of as %s, %s", e.Verdict, e.Trouble)
	}
	enough()
	if d := w.mustDeliver(t, outbound("2"), raw); !d.changed || w.rows(t, "links") != 1 {
		t.Error("not linked when there was room again")
	}
	if e := (*told)[1]; e.Verdict != flow.Linked || e.Trouble != flow.NoTrouble {
		t.Errorf("told of as %s, %s", e.Verdict, e.Trouble)
	}
}

func TestMailThatNeedsTheStoreIsDeferredWhereThatIsAsked(t *testing.T) {
	w := newWorld(t, policy.Rule{Name: "large", If: "attachment.size > 4000", Link: &policy.LinkAction{}})
	w.settings.DeferWhenLow = true
	w.settings.AcceptOnError = true // when_low is the nearer of the two
	told := w.events()
	enough := w.low()
	raw := plans("large").raw()
	if _, err := w.deliver(t.Context(), outbound("1"), raw, 4096); !full(err) {
		t.Errorf("got %v", err)
	}
	w.nothingStored(t)
	small := letter{id: "small", files: []file{{"a.txt", noise(3, 1000)}}}.raw()
	w.untouched(t, w.mustDeliver(t, outbound("2"), small), small)
	enough()
	if d := w.mustDeliver(t, outbound("1"), raw); !d.changed {
		t.Error("not linked when there was room again")
	}
	if e := (*told)[0]; e.Verdict != flow.Deferred || e.Trouble != flow.TroubleSpace {
		t.Errorf("told of as %s, %s", e.Verdict, e.Trouble)
	}
	if e := (*told)[1]; e.Trouble != flow.NoTrouble {
		t.Errorf("a mail that no rule links is told of as %s", e.Trouble)
	}
}

// The disk fills up while the body comes in.
func TestTheDiskIsLookedAtBeforeThePlanIsCarriedOut(t *testing.T) {
	for name, deferred := range map[string]bool{"pass": false, "defer": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, linkAll)
			w.settings.DeferWhenLow = deferred
			raw := letter{id: "crossing", files: []file{{"large.bin", noise(4, 1<<20)}}}.raw()
			h, body := split(raw)
			m, err := w.engine.Open(t.Context(), outbound("1"), h)
			if err != nil || m == nil {
				t.Fatal(m, err)
			}
			defer m.Close()
			feed(m, body[:len(body)/2], 65535)
			w.low()
			feed(m, body[len(body)/2:], 65535)
			out, err := m.Finish(t.Context())
			if deferred != full(err) || !deferred && (err != nil || out.Changed()) {
				t.Errorf("got %+v, %v", out, err)
			}
			w.nothingStored(t)
		})
	}
}

func TestOtherRulesHoldWhileTheDiskIsNearlyFull(t *testing.T) {
	w := newWorld(t, linkAll,
		policy.Rule{Name: "no programs", If: "attachment.extension == 'exe'", Reject: &policy.RejectAction{}},
		policy.Rule{Name: "tag", If: "direction == 'outbound'", Tag: &policy.TagAction{Text: "[out]"}})
	w.low()
	h, body := split(letter{id: "exe", files: []file{{"setup.exe", noise(5, 1000)}}}.raw())
	m, err := w.engine.Open(t.Context(), outbound("1"), h)
	if err != nil || m == nil {
		t.Fatal(m, err)
	}
	defer m.Close()
	feed(m, body, 65535)
	if out, err := m.Finish(t.Context()); err != nil || out.Reject == nil {
		t.Errorf("a program was not refused: %+v, %v", out, err)
	}
	raw := plans("tagged").raw()
	d := w.mustDeliver(t, outbound("2"), raw)
	_, before, _ := strings.Cut(string(raw), "\r\n\r\n")
	if len(d.edits) != 1 || string(d.body) != before {
		t.Errorf("header edits %v; the body changed: %v", d.edits, string(d.body) != before)
	}
	w.nothingStored(t)
}

// Copies need the store, and their mail waits for it; what goes on in its own
// transaction does not.
func TestCopiesWaitForRoomAndForwardingDoesNot(t *testing.T) {
	w := newVaultWorld(t, linkAll, keepAll)
	enough := w.low()
	raw := plans("kept").raw()
	if _, err := w.deliver(t.Context(), outbound("1"), raw, 4096); !full(err) {
		t.Errorf("a mail that a vault must have: %v", err)
	}
	w.nothingStored(t)
	if n := w.rows(t, "jobs"); n != 0 {
		t.Errorf("%d uploads are queued", n)
	}
	enough()
	if d := w.mustDeliver(t, outbound("1"), raw); !d.changed || w.rows(t, "jobs") != 1 {
		t.Error("neither linked nor kept when there was room again")
	}

	for _, c := range []struct {
		name, from string
		to         []string
		full       bool
	}{
		{"goes on as it came", "alice@acmecorp.test", []string{boss, carol}, false},
		{"needs a copy from another sender", dave, []string{boss, carol}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSystems(t, forward.Config{gappsRoute()}, linkAll)
			s.low()
			r, err := s.pass(t, from(c.from, c.to...), attachedMail("1"))
			if full(err) != c.full || !c.full && err != nil {
				t.Fatal(err)
			}
			if !c.full && (r == nil || added(r.Outcome) != atGapps || strings.Contains(r.body, site) || len(r.copies) > 0) {
				t.Errorf("got %+v", r)
			}
			s.nothingStored(t)
		})
	}
}
