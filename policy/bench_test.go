package policy

import (
	"fmt"
	"testing"
)

// manyRules is a large configuration: 100 rules of the usual kinds, none of
// which matches before the last.
func manyRules(b *testing.B) *Set {
	b.Helper()
	return mustCompile(b, manyRuleList()...)
}

func manyRuleList() []Rule {
	var rules []Rule
	for i := range 99 {
		condition := [...]string{
			fmt.Sprintf("direction == 'outbound' && attachment.size > %d * MB", 100+i),
			fmt.Sprintf("attachment.name.matches('(?i)contract-%d')", i),
			fmt.Sprintf("recipient.domain == 'partner%d.test'", i),
			fmt.Sprintf("attachment.extension in ['exe', 'com', 'x%d']", i),
			fmt.Sprintf("header('X-Team') == 'team%d' && direction == 'inbound'", i),
			fmt.Sprintf("authenticated && user == 'user%d'", i),
		}[i%6]
		rules = append(rules, Rule{Name: fmt.Sprint(i), If: condition, Link: keep})
	}
	return append(rules, Rule{Name: "large", If: "attachment.size > 1 * MB", Link: link})
}

func manyFacts() *Facts {
	f := mail(nil, "a@ext.test", "b@ext.test", "c@acmecorp.test", "d@other.test", "e@ext.test")
	f.Header = func(string) []string { return nil }
	for i := range 5 {
		name := fmt.Sprintf("quarterly report %d.pdf", i)
		f.Attachments = append(f.Attachments, Attachment{Part: i + 1, Name: name, Names: []string{name}, Extension: "pdf", Type: "application/pdf",
			Sniffed: "application/pdf", Size: 5 << 20})
	}
	return f
}

// BenchmarkDecide: 100 rules, 5 recipients, 5 attachments; the aim is under
// 1 ms and 1,000 allocations.
func BenchmarkDecide(b *testing.B) {
	set, facts := manyRules(b), manyFacts()
	b.ReportAllocs()
	for b.Loop() {
		if plan := set.Decide(facts); len(plan.Links()) != 5 {
			b.Fatal(plan)
		}
	}
}

// BenchmarkDecideMail is the same where half the rules are about the mail as a
// whole.
func BenchmarkDecideMail(b *testing.B) {
	rules := manyRuleList()
	for i := range rules[:len(rules)-1] {
		switch r := &rules[i]; i % 8 {
		case 0:
			r.Link, r.Reject = nil, refuse
		case 2:
			r.Link, r.Tag = nil, external
		case 4:
			r.Link, r.Header = nil, marked
		case 6:
			r.Link, r.Quarantine = nil, hold
		}
	}
	set, facts := mustCompile(b, rules...), manyFacts()
	b.ReportAllocs()
	for b.Loop() {
		if plan := set.Decide(facts); len(plan.Links()) != 5 || plan.Acts() {
			b.Fatal(plan)
		}
	}
}

func BenchmarkDecideRecipient(b *testing.B) {
	rules := manyRuleList()
	for i := range rules {
		rules[i].Reject = refuse
	}
	set, facts := mustCompile(b, rules...), manyFacts()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := set.DecideRecipient(facts, 4); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCouldMatch(b *testing.B) {
	set, facts := manyRules(b), manyFacts()
	b.ReportAllocs()
	for b.Loop() {
		if !set.CouldMatch(facts) {
			b.Fatal("ruled out")
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		manyRules(b)
	}
}
