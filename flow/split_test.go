package flow_test

// Recipients who leave a transaction, and what becomes of their copies when the
// mail comes again.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/policy"
	"cloakroom/policy/forward"
	"cloakroom/sisa/blob"
)

func attachedMail(id string) []byte {
	return letter{id: id, files: []file{{"plan.pdf", noise(5, 5000)}}}.raw()
}

var pilot = policy.Rule{Name: "pilot", If: `"pilot" in recipient.groups`, Link: &policy.LinkAction{}}

func TestWhoGetsLinksStaysAndTheOthersGetACopy(t *testing.T) {
	const alice, bob = "alice@acmecorp.test", "bob@ext.test"
	for _, c := range []struct {
		name   string
		routes forward.Config
		rule   policy.Rule
		from   string
		to     []string
		links  bool
		left   string // recipients deleted
		added  string
		sender string // new; "" for the one it came with
		copies string // their recipients, by copy
		by     string // their senders
	}{
		{name: "both sides", routes: forward.Config{gappsRoute()}, rule: linkAll, from: alice, to: []string{carol, boss}, links: true,
			left: boss, copies: atGapps, by: alice},
		{name: "both sides, twice", routes: forward.Config{gappsRoute()}, rule: linkAll, from: alice, to: []string{boss, carol, boss, "boss@ACMECORP.test"}, links: true,
			left: boss + " " + boss + " boss@ACMECORP.test", copies: atGapps, by: alice},
		{name: "both sides, a stranger's", routes: forward.Config{gappsRoute()}, rule: linkAll, from: dave, to: []string{boss, carol}, links: true,
			left: boss, copies: atGapps, by: "SRS0"},
		{name: "the other side only", routes: forward.Config{gappsRoute()}, rule: linkAll, from: alice, to: []string{boss, gina},
			left: boss + " " + gina, added: atGapps + " gina@gapps.acmecorp.test"},
		{name: "the other side and its own address", routes: forward.Config{gappsRoute()}, rule: linkAll, from: dave, to: []string{boss, atGapps},
			left: boss},
		{name: "the other side and a stranger", routes: forward.Config{gappsRoute()}, rule: linkAll, from: dave, to: []string{boss, bob}, links: true,
			left: boss, copies: atGapps, by: "SRS0"},
		{name: "a pilot group, one mail system", rule: pilot, from: alice, to: []string{bob, carol, "x@ext.test"}, links: true,
			left: bob + " x@ext.test", copies: bob + " x@ext.test", by: alice},
		{name: "a pilot group and both sides", routes: forward.Config{gappsRoute()}, rule: pilot, from: dave, to: []string{bob, carol, boss}, links: true,
			left: bob + " " + boss, copies: atGapps + " " + bob, by: "SRS0 " + dave},
		{name: "nobody of the pilot group", rule: pilot, from: alice, to: []string{bob}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSystems(t, c.routes, c.rule)
			raw := attachedMail("1")
			r, err := s.pass(t, from(c.from, c.to...), raw)
			if err != nil {
				t.Fatal(err)
			}
			if r == nil {
				r = &result{Outcome: &flow.Outcome{}}
			}
			if got := strings.Contains(r.body, site); got != c.links {
				t.Errorf("links %v, want %v", got, c.links)
			}
			if got := strings.Join(r.DeleteRecipients, " "); got != c.left || added(r.Outcome) != c.added {
				t.Errorf("deleted %q, added %q; want %q, %q", got, added(r.Outcome), c.left, c.added)
			}
			senders := addresses(r.copies, func(c flow.Copy) string { by, _, _ := strings.Cut(c.Sender, "="); return by })
			if got := addresses(r.copies, copied); got != c.copies || senders != c.by {
				t.Errorf("copies to %q from %q, want %q from %q", got, senders, c.copies, c.by)
			}
			for _, cp := range r.copies {
				for _, e := range cp.Header {
					if marked := e.Name == forward.MarkHeader; marked && !strings.Contains(copied(cp), "gapps") {
						t.Errorf("a mark in the copy to %s", copied(cp))
					}
				}
			}
			if len(r.copies) > 0 && strings.Contains(r.head, forward.MarkHeader) {
				t.Error("a mark in the mail of those who stay")
			}
		})
	}
}

func TestNobodyLeavesWhereNoCopyCanBeMade(t *testing.T) {
	hold := "look at it"
	held := policy.Rule{Name: "held", Quarantine: &policy.QuarantineAction{Reason: hold}}
	for name, c := range map[string]struct {
		rules  []policy.Rule
		to     []string
		change func(*systems)
	}{
		"the mail is held":           {[]policy.Rule{held, linkAll}, []string{boss, carol}, nil},
		"an address is no text":      {[]policy.Rule{linkAll}, []string{boss, carol, "j\xfcrgen@acmecorp.test"}, nil},
		"there is no MTA for copies": {[]policy.Rule{linkAll}, []string{boss, carol}, func(s *systems) { s.settings.Splits = false }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystems(t, forward.Config{gappsRoute()}, c.rules...)
			if c.change != nil {
				c.change(s)
			}
			r := s.mustPass(t, from(dave, c.to...), attachedMail("1"))
			if len(r.copies) != 0 || r.body != "" || r.Sender != nil || added(r.Outcome) != atGapps {
				t.Errorf("%d copies, links %v, outcome %+v", len(r.copies), r.body != "", r.Outcome)
			}
			if !strings.Contains(s.log.String(), "given_up=") {
				t.Errorf("nothing in the log about what the mail misses:\n%s", s.log.String())
			}
		})
	}
}

func TestManyRecipientsAreSeveralCopies(t *testing.T) {
	s := newSystems(t, forward.Config{gappsRoute()}, linkAll)
	to := []string{carol}
	for i := range 250 {
		to = append(to, fmt.Sprintf("boss+%d@acmecorp.test", i))
	}
	env := from("alice@acmecorp.test", to...)
	for i := range env.Recipients {
		env.Recipients[i].Args = []string{"NOTIFY=FAILURE", "ORCPT=rfc822;" + strings.Repeat("x", 490)}
	}
	r := s.mustPass(t, env, attachedMail("many"))
	seen := map[string]bool{}
	for _, c := range r.copies {
		if len(c.Recipients) > 100 {
			t.Errorf("%d recipients in one copy", len(c.Recipients))
		}
		for _, one := range c.Recipients {
			seen[one.Address] = true
			if len(one.Args) != 2 || one.Came != strings.Replace(one.Address, "@gapps.", "@", 1) {
				t.Fatalf("recipient %+v", one)
			}
		}
	}
	if len(r.copies) != 3 || len(seen) != 250 {
		t.Errorf("%d copies to %d recipients, want 3 to 250", len(r.copies), len(seen))
	}
}

func TestAMailThatComesAgainMakesNoSecondCopy(t *testing.T) {
	s := newSystems(t, forward.Config{gappsRoute()}, linkAll)
	raw := attachedMail("again")
	// The queue's clock is the real one, so that the days are counted from now.
	now := time.Now()
	send := func(at time.Time, raw []byte) int {
		t.Helper()
		env := from("alice@acmecorp.test", carol, boss)
		env.Received = at
		return len(s.mustPass(t, env, raw).copies)
	}
	midnight := now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	for i, c := range []struct {
		at   time.Time
		want int
	}{{now, 1}, {now.Add(time.Minute), 1}, {midnight.Add(-time.Second), 1}, {midnight.Add(time.Second), 1}, {now.Add(23 * time.Hour), 1}, {now.Add(25 * time.Hour), 2}} {
		if got := send(c.at, raw); got != c.want {
			t.Errorf("try %d, after %v: %d copies, want %d", i, c.at.Sub(now), got, c.want)
		}
	}
	// What a reader sends again on purpose is another mail.
	resent := append([]byte("Resent-From: alice@acmecorp.test\r\nResent-Date: Tue, 03 Nov 2026 10:00:00 +0000\r\n"), raw...)
	if got := send(now, resent); got != 3 {
		t.Errorf("%d copies after the mail was resent, want 3", got)
	}
	if got := send(now.Add(time.Hour), append([]byte("Received: by a third host\r\n"), resent...)); got != 3 {
		t.Errorf("%d copies after the resent mail was repeated, want 3", got)
	}
}

// failing is a store that fails at the nth Put.
type failing struct {
	blob.Store
	left int
}

func (f *failing) Put(ctx context.Context, ref blob.Ref, content func(io.Writer) error) (bool, error) {
	if f.left--; f.left < 0 {
		return false, errors.New("store is broken")
	}
	return f.Store.Put(ctx, ref, content)
}

func TestNothingPassesAsItCameOnceACopyIsUnderWay(t *testing.T) {
	s := newSystems(t, nil, pilot)
	s.settings.AcceptOnError = true
	s.engine.Blobs = &failing{s.blobs, 1}
	env := from("alice@acmecorp.test", carol, "bob@ext.test")
	if r, err := s.pass(t, env, attachedMail("1")); err == nil {
		t.Fatalf("taken: %+v", r)
	}
	if n := len(s.queued(t)); n != 1 {
		t.Fatalf("%d copies are under way, want 1", n)
	}
	s.engine.Blobs = s.blobs
	if r := s.mustPass(t, env, attachedMail("1")); len(r.copies) != 1 || !strings.Contains(r.body, site) {
		t.Errorf("when it comes again: %d copies, links %v", len(r.copies), r.body != "")
	}
	// Before there is one, on_error says so.
	s = newSystems(t, nil, pilot)
	s.settings.AcceptOnError = true
	s.engine.Blobs = &failing{s.blobs, 0}
	if r := s.mustPass(t, env, attachedMail("1")); len(r.copies) != 0 || r.Changed() || len(r.DeleteRecipients) > 0 {
		t.Errorf("before a copy is under way: %+v", r.Outcome)
	}
}
