package policy

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

// atoms are terms that say much about few facts, so that conditions made of
// them often exclude or imply each other.
var atoms = []string{
	"direction == 'inbound'", "direction == 'outbound'", "direction in ['inbound', 'local']", "direction != 'relay'",
	"authenticated", "user == ''", "user == 'amy'", "user in ['amy', 'bob']",
	"attachment.size > 5", "attachment.size >= 5", "attachment.size < 5", "attachment.size == 7", "attachment.size != 7", "3 < attachment.size",
	"attachment.extension == 'pdf'", "attachment.extension in ['pdf', 'doc']", "attachment.extension != 'doc'", "attachment.extension == 'PDF'",
	"'x' in recipient.groups", "in_group(sender, 'x')", "recipient.department != ''", "sender.department == 'labs'", "sender.address != ''",
	"size > 20", "size <= 20", "from == ''", "from != 'a@ext.test'", "subject == 'a' || subject == 'b'",
	"attachment.names.exists(n, n == 'a')", "int(subject) > 5", // fails for texts
}

func randomCondition(r *rand.Rand, depth int) string {
	if depth == 0 || r.Intn(3) == 0 {
		return atoms[r.Intn(len(atoms))]
	}
	a, b := randomCondition(r, depth-1), randomCondition(r, depth-1)
	switch r.Intn(5) {
	case 0:
		return "!(" + a + ")"
	case 1:
		return "(" + a + " || " + b + ")"
	}
	return "(" + a + " && " + b + ")"
}

func pick(r *rand.Rand, values ...string) string { return values[r.Intn(len(values))] }

// randomMail keeps to what facts promise: strangers have no groups, and sender
// is empty unless he is ours.
func randomMail(r *rand.Rand) *Facts {
	f := &Facts{From: pick(r, "", "a@ext.test", "b@ext.test"), User: pick(r, "", "amy", "bob", "cy"), Subject: pick(r, "a", "b", "7", ""), Size: int64(18 + r.Intn(5))}
	ours := r.Intn(2) == 0
	if ours {
		f.Sender = &User{Address: "s@acmecorp.test", Department: pick(r, "", "labs")}
		if r.Intn(2) == 0 {
			f.Sender.Groups = []string{"x"}
		}
	}
	for i := range 1 + r.Intn(2) {
		to := Recipient{Address: fmt.Sprintf("r%d@ext.test", i), Direction: Relay}
		if r.Intn(2) == 0 {
			to.Direction, to.Department = Inbound, pick(r, "", "labs")
			if r.Intn(2) == 0 {
				to.Groups = []string{"x"}
			}
		}
		if ours {
			to.Direction = map[Direction]Direction{Relay: Outbound, Inbound: Local}[to.Direction]
		}
		f.Recipients = append(f.Recipients, to)
	}
	for i := range r.Intn(3) {
		f.Attachments = append(f.Attachments, Attachment{Part: i + 1, Size: int64(3 + r.Intn(6)), Extension: pick(r, "pdf", "PDF", "doc", ""), Names: []string{pick(r, "a", "b")}})
	}
	return f
}

// TestWarningsAreNeverWrong: no rule that is told never to match, or never to be
// asked, decides anything in some thousands of mails.
func TestWarningsAreNeverWrong(t *testing.T) {
	r := rand.New(rand.NewSource(7))
	never, shadowed := 0, 0
	for range 400 {
		var rules []Rule
		for i := range 3 {
			rule := Rule{Name: fmt.Sprint(i), If: randomCondition(r, 3), Link: link}
			if r.Intn(2) == 0 {
				rule.Link, rule.Tag = nil, external
			}
			rules = append(rules, rule)
		}
		set := mustCompile(t, rules...)
		idle := map[string]string{}
		for _, w := range set.Warnings() {
			switch {
			case strings.Contains(w.Message, "can never match"):
				never++
				idle[w.Rule] = w.Message
			case strings.Contains(w.Message, "is never asked"):
				shadowed++
				idle[w.Rule] = w.Message
			}
		}
		if len(idle) == 0 {
			continue
		}
		for range 150 {
			plan := set.Explain(randomMail(r))
			for _, d := range plan.Decisions {
				if message := idle[d.Rule]; message != "" && !d.Failed {
					t.Fatalf("%+v\nrule %s decides a link: %s", rules, d.Rule, message)
				}
			}
			for _, d := range plan.MailDecisions {
				if message := idle[d.Rule]; message != "" && !d.Failed {
					t.Fatalf("%+v\nrule %s decides the %s: %s", rules, d.Rule, d.Slot, message)
				}
			}
		}
	}
	if never < 20 || shadowed < 20 {
		t.Errorf("only %d and %d warnings were put to the test", never, shadowed)
	}
}
