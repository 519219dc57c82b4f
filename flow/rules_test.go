package flow_test

// What decides whether a mail is touched at all, and for whom.

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/policy"
)

func TestAPartIsLinkedOnlyIfEveryRecipientsPlanSaysSo(t *testing.T) {
	outside := policy.Rule{Name: "outside", If: `direction == "outbound"`, Link: &policy.LinkAction{}}
	bigger := policy.Rule{Name: "large", If: `attachment.size > 10 * KB`, Link: &policy.LinkAction{}}
	both := letter{id: "both", files: []file{{"small.pdf", noise(1, 4000)}, {"large.pdf", noise(2, 40000)}}}
	for name, c := range map[string]struct {
		rules []policy.Rule
		to    []string
		want  []string
	}{
		"all outside":                       {[]policy.Rule{outside}, []string{"bob@ext.test", "eve@ext.test"}, []string{"small.pdf", "large.pdf"}},
		"one recipient is ours":             {[]policy.Rule{outside}, []string{"bob@ext.test", "carol@acmecorp.test"}, nil},
		"the order does not matter":         {[]policy.Rule{outside}, []string{"carol@acmecorp.test", "bob@ext.test"}, nil},
		"agreement on one part only":        {[]policy.Rule{bigger, outside}, []string{"bob@ext.test", "carol@acmecorp.test"}, []string{"large.pdf"}},
		"the same recipient twice":          {[]policy.Rule{outside}, []string{"bob@ext.test", "bob@ext.test"}, []string{"small.pdf", "large.pdf"}},
		"an address without a domain":       {[]policy.Rule{outside}, []string{"bob@ext.test", "postmaster"}, []string{"small.pdf", "large.pdf"}},
		"a domain of ours in capitals":      {[]policy.Rule{outside}, []string{"bob@ext.test", "carol@ACMECORP.Test"}, nil},
		"a domain that only ends like ours": {[]policy.Rule{outside}, []string{"bob@notacmecorp.test"}, []string{"small.pdf", "large.pdf"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.rules...)
			d := w.mustDeliver(t, outbound("q", c.to...), both.raw())
			record, err := w.recordOf(t.Context(), "q")
			if err != nil {
				t.Fatal(err)
			}
			var linked []string
			if record != nil {
				for _, p := range record.Parts {
					if p.Linked {
						linked = append(linked, p.Name)
					}
				}
			}
			if strings.Join(linked, " ") != strings.Join(c.want, " ") {
				t.Errorf("linked %q, want %q", linked, c.want)
			}
			for _, f := range both.files {
				there := bytes.Contains(d.body, []byte(`filename="`+f.name+`"`))
				if linked := strings.Contains(strings.Join(c.want, " "), f.name); there == linked {
					t.Errorf("%s in the mail: %v, linked: %v", f.name, there, linked)
				}
			}
			if c.want == nil {
				w.untouched(t, d, both.raw())
			}
		})
	}
}

func TestMailThatMustNotChangeIsNotTouched(t *testing.T) {
	signed := func(tags string) letter {
		l := plans("signed")
		l.head = "DKIM-Signature: " + tags + "\r\n"
		return l
	}
	toEverybody := func(change func(e *flow.Envelope)) *flow.Envelope {
		e := outbound("q", "bob@ext.test", "carol@acmecorp.test")
		if change != nil {
			change(e)
		}
		return e
	}
	foreign := func(e *flow.Envelope) { e.Client = netip.MustParseAddr("192.0.2.7") }
	for name, c := range map[string]struct {
		letter letter
		env    *flow.Envelope
		touch  bool
	}{
		"an ordinary mail":                         {plans("plain"), toEverybody(nil), true},
		"null sender":                              {plans("bounce"), toEverybody(func(e *flow.Envelope) { e.Sender = "" }), false},
		"ours, signed by us":                       {signed("v=1; a=rsa-sha256; d=acmecorp.test; s=k; b=AA=="), toEverybody(nil), false},
		"ours, signed by us, folded":               {signed("v=1; s=k;\r\n\td = ACMECORP.TEST ;\r\n\tb=AA=="), toEverybody(nil), false},
		"ours, authenticated, signed by us":        {signed("d=acmecorp.test; b=AA=="), toEverybody(func(e *flow.Envelope) { foreign(e); e.AuthUser = "alice" }), false},
		"ours, signed by another domain":           {signed("v=1; d=ext.test; s=k; b=AA=="), toEverybody(nil), true},
		"ours, signed by us below another's":       {signed("d=ext.test; b=AA==\r\nDKIM-Signature: d=acmecorp.test; b=AA=="), toEverybody(nil), false},
		"from outside, with a signature like ours": {signed("v=1; d=acmecorp.test; s=k; b=AA=="), toEverybody(foreign), true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, linkAll)
			d := w.mustDeliver(t, c.env, c.letter.raw())
			if c.touch {
				if !d.changed || w.rows(t, "links") != 1 {
					t.Error("the attachment is not linked")
				}
				return
			}
			if d.opened {
				t.Error("the body was asked for")
			}
			w.untouched(t, d, c.letter.raw())
		})
	}
	t.Run("our own signature is warned of", func(t *testing.T) {
		w := newWorld(t, linkAll)
		w.mustDeliver(t, outbound("q77"), signed("d=acmecorp.test; b=AA==").raw())
		if log := w.log.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "q77") {
			t.Errorf("log: %s", log)
		}
	})
}

func TestObserveDecidesAndChangesNothing(t *testing.T) {
	w := newWorld(t, linkAll)
	w.settings.Observe = true
	raw := plans("observed").raw()
	w.untouched(t, w.mustDeliver(t, outbound("q78"), raw), raw)
	if log := w.log.String(); !strings.Contains(log, "would be changed") || !strings.Contains(log, "linked=1") {
		t.Errorf("log: %s", log)
	}
}

func TestALinkExpiresOnlyWhereNobodyOfOursLosesTheFile(t *testing.T) {
	expiring := func(acceptLoss bool) policy.Rule {
		return policy.Rule{Name: "for a while", Link: &policy.LinkAction{Options: policy.LinkOptions{Expires: 90 * 24 * time.Hour, AcceptLoss: acceptLoss}}}
	}
	theEnd := received.Add(90 * 24 * time.Hour)
	for name, c := range map[string]struct {
		rule policy.Rule
		to   []string
		want time.Time
	}{
		"all outside":                       {expiring(false), []string{"bob@ext.test", "eve@ext.test"}, theEnd},
		"one of ours among them":            {expiring(false), []string{"bob@ext.test", "carol@acmecorp.test"}, time.Time{}},
		"only ours":                         {expiring(false), []string{"carol@acmecorp.test"}, time.Time{}},
		"one of ours, and loss is accepted": {expiring(true), []string{"bob@ext.test", "carol@acmecorp.test"}, theEnd},
		"no expiry in the rule":             {linkAll, []string{"bob@ext.test"}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.rule)
			d := w.mustDeliver(t, outbound("q", c.to...), plans("expiring").raw())
			link := w.links(t)[0]
			if !link.Expires.Equal(c.want) {
				t.Errorf("expires %v, want %v", link.Expires, c.want)
			}
			notice := "Available without a time limit."
			if !c.want.IsZero() {
				notice = "Available until 12 June 2026, 15:09 UTC."
			}
			if !bytes.Contains(d.body, []byte(notice)) {
				t.Errorf("the notice does not say %q:\n%s", notice, d.body)
			}
		})
	}
}
