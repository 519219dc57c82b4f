package policy

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/interpreter"
)

var keep = &LinkAction{Keep: true}

func expires(d time.Duration, acceptLoss bool) *LinkAction {
	return &LinkAction{Options: LinkOptions{Expires: d, AcceptLoss: acceptLoss}}
}

func mustCompile(t testing.TB, rules ...Rule) *Set {
	t.Helper()
	set, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// mail has one recipient per address; its direction follows from the domain.
func mail(attachments []Attachment, addresses ...string) *Facts {
	f := &Facts{From: "amy@acmecorp.test", User: "amy", To: addresses, Attachments: attachments}
	for _, address := range addresses {
		direction := Outbound
		if Domain(address) == "acmecorp.test" {
			direction = Local
		}
		local, _, _ := strings.Cut(address, "@")
		f.Recipients = append(f.Recipients, Recipient{Address: address, Local: local, Domain: Domain(address), Direction: direction})
	}
	return f
}

// told writes decisions as "part recipient-local rule", a "-" where it stays.
func told(p *Plan) string {
	var out []string
	for _, d := range p.Decisions {
		local, _, _ := strings.Cut(d.Recipient, "@")
		sign := "-"
		if d.Link {
			sign = "+"
		}
		out = append(out, fmt.Sprintf("%d %s %s%s", d.Part, local, sign, d.Rule))
	}
	return strings.Join(out, ", ")
}

func TestDecide(t *testing.T) {
	contract := Attachment{Part: 2, Name: "contract.pdf", Size: 3 << 20}
	small := Attachment{Part: 3, Name: "note.txt", Size: 10}
	attachments := []Attachment{contract, small}
	large := Rule{Name: "large", If: "attachment.size > 1 * MB", Link: link}

	for name, tt := range map[string]struct {
		rules []Rule
		facts *Facts
		want  string
	}{
		"no rules": {nil, mail(attachments, "bob@ext.test"), "2 bob -, 3 bob -"},
		"a rule without condition always speaks": {
			[]Rule{{Name: "all", Link: link}}, mail(attachments, "bob@ext.test"), "2 bob +all, 3 bob +all"},
		"by size": {[]Rule{large}, mail(attachments, "bob@ext.test"), "2 bob +large, 3 bob -"},
		"the first rule that speaks decides": {
			[]Rule{{Name: "contracts", If: "attachment.name.matches('(?i)nda|contract')", Link: keep}, large},
			mail(attachments, "bob@ext.test"), "2 bob -contracts, 3 bob -"},
		"not the strictest one": {
			[]Rule{large, {Name: "contracts", If: "attachment.name.matches('(?i)nda|contract')", Link: keep}},
			mail(attachments, "bob@ext.test"), "2 bob +large, 3 bob -"},
		"each recipient has its own decision": {
			[]Rule{{Name: "ours", If: "direction == 'local'", Link: keep}, large},
			mail(attachments, "bob@ext.test", "joe@acmecorp.test"), "2 bob +large, 2 joe -ours, 3 bob -, 3 joe -ours"},
		"a term on recipient and attachment": {
			[]Rule{{Name: "own", If: "attachment.name.startsWith(recipient.local)", Link: link}},
			mail([]Attachment{{Part: 1, Name: "bob.doc"}, {Part: 2, Name: "joe.doc"}}, "bob@ext.test", "joe@ext.test"),
			"1 bob +own, 1 joe -, 2 bob -, 2 joe +own"},
		"false wins over a failing term, on either side": {
			[]Rule{
				{Name: "a", If: "int(subject) > 1 && attachment.size < 0", Link: link},
				{Name: "b", If: "attachment.size < 0 && int(subject) > 1", Link: link},
				{Name: "c", Link: link},
			}, mail([]Attachment{small}, "bob@ext.test"), "3 bob +c"},
		"true wins over a failing term of ||": {
			[]Rule{{Name: "a", If: "int(subject) > 1 || attachment.size > 0", Link: link}},
			mail([]Attachment{small}, "bob@ext.test"), "3 bob +a"},
		"nobody to send to": {[]Rule{large}, mail(attachments), ""},
		"no attachments":    {[]Rule{large}, mail(nil, "bob@ext.test"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			plan := mustCompile(t, tt.rules...).Decide(tt.facts)
			if got := told(plan); got != tt.want || len(plan.Errors) != 0 {
				t.Errorf("got %q, errors %v; want %q", got, plan.Errors, tt.want)
			}
		})
	}
}

func TestLinksMergeToTheStrictest(t *testing.T) {
	one := []Attachment{{Part: 4, Size: 1}}
	for name, tt := range map[string]struct {
		bob, joe *LinkAction
		want     LinkOptions
	}{
		"shorter expiry":                       {expires(48*time.Hour, false), expires(24*time.Hour, false), LinkOptions{Expires: 24 * time.Hour}},
		"an expiry is stricter than none":      {link, expires(24*time.Hour, false), LinkOptions{Expires: 24 * time.Hour}},
		"and in the other order":               {expires(24*time.Hour, false), link, LinkOptions{Expires: 24 * time.Hour}},
		"loss is accepted when both accept it": {expires(time.Hour, true), expires(time.Hour, true), LinkOptions{Expires: time.Hour, AcceptLoss: true}},
		"not when one does not":                {expires(time.Hour, true), link, LinkOptions{Expires: time.Hour}},
		"never expires":                        {link, link, LinkOptions{}},
	} {
		set := mustCompile(t,
			Rule{Name: "bob", If: "recipient.local == 'bob'", Link: tt.bob},
			Rule{Name: "joe", If: "recipient.local == 'joe'", Link: tt.joe})
		links := set.Decide(mail(one, "bob@ext.test", "joe@ext.test", "bob@ext.test")).Links()
		want := []Linked{{Part: 4, Options: tt.want, Rules: []string{"bob", "joe"}, AllOutside: true}}
		if !reflect.DeepEqual(links, want) {
			t.Errorf("%s: got %+v, want %+v", name, links, want)
		}
	}
}

func TestOurOwnLinksLastUnlessLossIsAccepted(t *testing.T) {
	one := []Attachment{{Part: 1}}
	for _, tt := range []struct {
		action *LinkAction
		to     []string
		want   time.Duration
	}{
		{expires(time.Hour, false), []string{"bob@ext.test", "eve@ext.test"}, time.Hour},
		{expires(time.Hour, false), []string{"bob@ext.test", "joe@acmecorp.test"}, 0},
		{expires(time.Hour, true), []string{"bob@ext.test", "joe@acmecorp.test"}, time.Hour},
		{link, []string{"bob@ext.test"}, 0},
	} {
		links := mustCompile(t, Rule{Name: "r", Link: tt.action}).Decide(mail(one, tt.to...)).Links()
		if len(links) != 1 || links[0].Lifetime() != tt.want {
			t.Errorf("%+v to %v: %+v, want %v", tt.action, tt.to, links, tt.want)
		}
	}
}

func TestKeptTellsWhyRecipientsDisagree(t *testing.T) {
	attachments := []Attachment{{Part: 1, Name: "a"}, {Part: 2, Name: "b"}, {Part: 3, Name: "c"}, {Part: 4, Name: "d"}, {Part: 5, Name: "e"}}
	set := mustCompile(t,
		Rule{Name: "all b", If: "attachment.name == 'b'", Link: link},
		Rule{Name: "d fails for ours", If: "attachment.name == 'd' && (direction == 'outbound' || int(subject) > 0)", Link: link},
		Rule{Name: "no e", If: "attachment.name == 'e'", Link: keep},
		Rule{Name: "ours keep c", If: "direction == 'local' && attachment.name == 'c'", Link: keep},
		Rule{Name: "outside", If: "direction == 'outbound'", Link: link})
	plan := set.Decide(mail(attachments, "bob@ext.test", "joe@acmecorp.test", "amy@acmecorp.test"))
	want := []KeptPart{
		{1, "recipient joe@acmecorp.test: no rule speaks; and 1 more"},
		{3, `recipient joe@acmecorp.test: rule "ours keep c" keeps it; and 1 more`},
		{4, `recipient joe@acmecorp.test: rule "d fails for ours" failed; and 1 more`},
	}
	if got := plan.Kept(); !reflect.DeepEqual(got, want) {
		t.Errorf("kept %+v, want %+v", got, want)
	}
	if links := plan.Links(); len(links) != 1 || links[0].Part != 2 {
		t.Errorf("links %+v, want part 2 alone", links)
	}
}

func TestAFailingRuleKeepsThePartInTheMail(t *testing.T) {
	attachments := []Attachment{{Part: 1, Name: "1"}, {Part: 2, Name: "two"}}
	for name, tt := range map[string]struct {
		condition string
		decisions string
		errors    []string // rule, recipient, part
	}{
		"once for the mail": {"int(subject) > 0", "1 bob -r, 1 joe -r, 2 bob -r, 2 joe -r", []string{"r  -1"}},
		"for one part":      {"int(attachment.name) > 0", "1 bob +r, 1 joe +r, 2 bob -r, 2 joe -r", []string{"r  2"}},
		"for one recipient": {"(recipient.local == 'joe' ? 1 : int(recipient.local)) > 0", "1 bob -r, 1 joe +r, 2 bob -r, 2 joe +r", []string{"r bob@ext.test -1"}},
		"for a pair": {"recipient.local == 'joe' || int(attachment.name) > 0", "1 bob +r, 1 joe +r, 2 bob -r, 2 joe +r",
			[]string{"r bob@ext.test 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			set := mustCompile(t, Rule{Name: "r", If: tt.condition, Link: link}, Rule{Name: "never asked", Link: link})
			facts := mail(attachments, "bob@ext.test", "joe@ext.test")
			plan := set.Decide(facts)
			if got := told(plan); got != tt.decisions {
				t.Errorf("decisions %s, want %s", got, tt.decisions)
			}
			var found []string
			for _, e := range plan.Errors {
				found = append(found, fmt.Sprintf("%s %s %d", e.Rule, e.Recipient, e.Part))
				if e.Term != set.rules[0].operands[0].text || e.Err == nil {
					t.Errorf("error without its term or cause: %+v", e)
				}
			}
			if !reflect.DeepEqual(found, tt.errors) {
				t.Errorf("errors %q, want %q", found, tt.errors)
			}
			if !set.CouldMatch(facts) {
				t.Error("a condition that may fail counts as one that cannot match")
			}
		})
	}
}

func TestRuleErrorText(t *testing.T) {
	set := mustCompile(t, Rule{Name: "r", If: "int(attachment.name) > 0", Link: link})
	plan := set.Decide(mail([]Attachment{{Part: 7, Name: "x"}}, "bob@ext.test"))
	got := plan.Errors[0].Error()
	if want := `rule "r" failed at part 7: int(attachment.name) > 0: `; !strings.HasPrefix(got, want) {
		t.Errorf("%s, want it to begin with %s", got, want)
	}
}

func TestACostlyConditionIsStopped(t *testing.T) {
	var to []string
	for i := range 2000 {
		to = append(to, fmt.Sprintf("user%d@ext.test", i))
	}
	facts := mail([]Attachment{{Part: 1}}, "bob@ext.test")
	facts.To = to
	for _, condition := range []string{
		"to.exists(a, to.exists(b, a + 'x' == b))",
		"to.exists(a, glob(subject, '*a*b*' + a))",
		"to.exists(a, subject.matches('b' + a))",
	} {
		facts.Subject = strings.Repeat("a", 100_000)
		plan := mustCompile(t, Rule{Name: "r", If: condition, Link: link}).Decide(facts)
		if len(plan.Errors) != 1 || !errors.As(plan.Errors[0], new(interpreter.EvalCancelledError)) || plan.Decisions[0].Link {
			t.Errorf("%s: %s", condition, plan)
		}
	}
	plan := mustCompile(t, Rule{Name: "r", If: "to.exists(a, domain(a) == 'acmecorp.test' || glob(a, 'user1999@*'))", Link: link}).Decide(facts)
	if len(plan.Links()) != 1 {
		t.Errorf("a simple loop over 2,000 recipients is refused: %s", plan)
	}
}

func TestTooManyPairsLeaveTheRestInTheMail(t *testing.T) {
	to := make([]string, 900)
	for i := range to {
		to[i] = fmt.Sprintf("u%d@ext.test", i)
	}
	attachments := make([]Attachment, 200)
	for i := range attachments {
		attachments[i].Part = i + 1
	}
	for _, tt := range []struct{ rules, limit int }{{2, maxDecisions}, {100, maxTries / 101}} {
		var rules []Rule
		for i := range tt.rules - 1 {
			rules = append(rules, Rule{Name: fmt.Sprint(i), If: fmt.Sprintf("size == %d", i+1), Link: keep})
		}
		set := mustCompile(t, append(rules, Rule{Name: "last", Link: link})...)
		plan := set.Decide(mail(attachments, to...))
		if got, want := len(plan.Links()), tt.limit/len(to); got != want {
			t.Errorf("%d rules: %d attachments linked, want %d", tt.rules, got, want)
		}
		kept := plan.Kept()
		if len(kept) != 1 || kept[0].Reason != "not decided for all recipients" {
			t.Errorf("%d rules: kept %+v", tt.rules, kept)
		}
		if len(plan.Errors) != 1 || !strings.Contains(plan.Errors[0].Error(), "too much for one mail") {
			t.Errorf("%d rules: errors %v", tt.rules, plan.Errors)
		}
	}
}

func TestCouldMatch(t *testing.T) {
	out := mail(nil, "bob@ext.test", "joe@acmecorp.test")
	out.Size = -1
	out.Header = func(string) []string { return []string{"yes"} }
	large := Rule{Name: "large", If: "attachment.size > 1 * MB", Link: link}
	for name, tt := range map[string]struct {
		rules []Rule
		want  bool
	}{
		"no rules":                     {nil, false},
		"only rules that keep":         {[]Rule{{Name: "a", If: "attachment.inline", Link: keep}, {Name: "b", Link: keep}}, false},
		"depends on the attachment":    {[]Rule{large}, true},
		"an attachment's names":        {[]Rule{{Name: "a", If: "attachment.names.exists(n, glob(n, '*.exe'))", Link: link}}, true},
		"any function of it":           {[]Rule{{Name: "a", If: "!attachment.name.matches('x') ? attachment.extension in ['a', 'b'] : has(attachment.name)", Link: link}}, true},
		"depends on the size":          {[]Rule{{Name: "a", If: "size > 1 * MB", Link: link}}, true},
		"known to be false":            {[]Rule{{Name: "a", If: "direction == 'inbound' && attachment.size > 1", Link: link}}, false},
		"false beside unknown":         {[]Rule{{Name: "a", If: "attachment.size > 1 && from == 'x'", Link: link}}, false},
		"false in one term of ||":      {[]Rule{{Name: "a", If: "attachment.size > 1 || from == 'x'", Link: link}}, true},
		"true beside unknown in ||":    {[]Rule{{Name: "a", If: "attachment.size > 1 || authenticated", Link: keep}, large}, false},
		"one recipient suffices":       {[]Rule{{Name: "a", If: "direction == 'outbound'", Link: keep}, large}, true},
		"certainly kept for everybody": {[]Rule{{Name: "a", If: "direction == 'outbound'", Link: keep}, {Name: "b", If: "direction == 'local'", Link: keep}, large}, false},
		"perhaps kept is not kept":     {[]Rule{{Name: "a", If: "attachment.inline", Link: keep}, large}, true},
		"kept after the link rule":     {[]Rule{large, {Name: "a", Link: keep}}, true},
		"a failing rule":               {[]Rule{{Name: "a", If: "int(subject) > 1", Link: keep}, {Name: "b", Link: link}}, true},
		"a failing rule that is false": {[]Rule{{Name: "a", If: "int(subject) > 1 && !authenticated", Link: link}}, false},
		"by header":                    {[]Rule{{Name: "a", If: "header('X-Keep') == 'yes'", Link: keep}, large}, false},
	} {
		if got := mustCompile(t, tt.rules...).CouldMatch(out); got != tt.want {
			t.Errorf("%s: CouldMatch is %v", name, got)
		}
	}
}

// TestCouldMatchNeverMissesALink tries every list of two rules out of a
// handful against mails of every kind: what Decide links, and what it fails on,
// CouldMatch must not have ruled out.
func TestCouldMatchNeverMissesALink(t *testing.T) {
	conditions := []string{"", "attachment.size > 100", "direction == 'local'", "size > 1000", "int(subject) > 1", "attachment.inline || recipient.local == 'bob'",
		"attachment.name == recipient.local && authenticated", "attachment.names.all(n, n != subject)"}
	var choices []Rule
	for _, c := range conditions {
		choices = append(choices, Rule{If: c, Link: link}, Rule{If: c, Link: keep})
	}
	var mails []*Facts
	for _, subject := range []string{"5", "x"} {
		for _, to := range [][]string{{"bob@ext.test"}, {"joe@acmecorp.test"}, {"joe@acmecorp.test", "bob@ext.test"}} {
			f := mail([]Attachment{{Part: 1, Name: "joe", Size: 200, Names: []string{"x"}}, {Part: 2, Size: 5, Inline: true}}, to...)
			f.Subject, f.Size = subject, 2000
			mails = append(mails, f)
		}
	}
	links := 0
	for i := range choices {
		for j := range choices {
			a, b := choices[i], choices[j]
			a.Name, b.Name = "a", "b"
			set := mustCompile(t, a, b)
			for _, full := range mails {
				plan := set.Decide(full)
				early := *full
				early.Attachments, early.Size = nil, -1
				links += len(plan.Links())
				if (len(plan.Links()) > 0 || len(plan.Kept()) > 0) && !set.CouldMatch(&early) {
					t.Fatalf("rules %q %v, %q %v to %v: ruled out, but the plan is\n%s", a.If, a.Link, b.If, b.Link, full.To, plan)
				}
			}
		}
	}
	if links == 0 {
		t.Error("nothing was ever linked")
	}
}

func TestDecideOnUnknownSizeFails(t *testing.T) {
	facts := mail([]Attachment{{Part: 1}}, "bob@ext.test")
	facts.Size = -1
	plan := mustCompile(t, Rule{Name: "r", If: "size < 5", Link: link}).Decide(facts)
	if len(plan.Links()) != 0 || len(plan.Errors) != 1 || !errors.Is(plan.Errors[0], errUnknownFact) {
		t.Errorf("plan: %s", plan)
	}
}
