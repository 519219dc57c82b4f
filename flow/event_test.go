package flow_test

// What is told of each message to whoever counts them.

import (
	"testing"

	"cloakroom/flow"
)

// events has the engine tell a list.
func (w *world) events() *[]flow.Event {
	all := new([]flow.Event)
	w.engine.Observe = func(e flow.Event) { *all = append(*all, e) }
	return all
}

func TestEachMessageIsToldOfOnce(t *testing.T) {
	w := newWorld(t, linkAll)
	told := w.events()
	raw := plans("linked").raw()
	w.mustDeliver(t, outbound("1"), raw)
	w.mustDeliver(t, outbound("2"), raw) // the same mail again stores nothing
	w.mustDeliver(t, outbound("3"), []byte("From: a\r\nSubject: text\r\n\r\nonly text\r\n"))
	w.settings.Observe = true
	w.mustDeliver(t, outbound("4"), plans("observed").raw())
	w.settings.Observe = false
	breakBlobs(t, w)
	if _, err := w.deliver(t.Context(), outbound("5"), plans("deferred").raw(), 4096); err == nil {
		t.Fatal("mail was taken without a store")
	}
	w.settings.AcceptOnError = true
	w.mustDeliver(t, outbound("6"), plans("forgiven").raw())

	want := []struct {
		verdict flow.Verdict
		trouble flow.Trouble
	}{{flow.Linked, flow.NoTrouble}, {flow.Linked, flow.NoTrouble}, {flow.Passed, flow.NoTrouble}, {flow.Observed, flow.NoTrouble},
		{flow.Deferred, flow.TroubleStore}, {flow.Passed, flow.TroubleStore}}
	if len(*told) != len(want) {
		t.Fatalf("told of %d messages, want %d: %+v", len(*told), len(want), *told)
	}
	for i, e := range *told {
		if e.Verdict != want[i].verdict || e.Trouble != want[i].trouble {
			t.Errorf("message %d: %s, %s; want %s, %s", i+1, e.Verdict, e.Trouble, want[i].verdict, want[i].trouble)
		}
	}
	first, again := (*told)[0], (*told)[1]
	if first.Linked == 0 || first.Taken == 0 || first.Stored == 0 || first.Stored > first.Taken || first.Body == 0 {
		t.Errorf("the first mail: %+v", first)
	}
	if again.Stored != 0 || again.Taken != first.Taken {
		t.Errorf("the same mail again: %+v", again)
	}
}
