package policy

import (
	"strings"
	"sync"
	"testing"
	"time"
)

func TestExplain(t *testing.T) {
	set := mustCompile(t,
		Rule{Name: "contracts stay", If: "direction == 'outbound' && attachment.name.matches('(?i)nda|contract')", Link: keep},
		Rule{Name: "exe stay", If: "attachment.names.exists(n, glob(n, '*.exe')) && size > 1", Link: keep},
		Rule{Name: "list", If: "header('List-Id') != ''", Link: keep},
		Rule{Name: "large", If: "attachment.size > 1 * MB", Link: expires(90*24*time.Hour, true)},
		Rule{Name: "numbered", If: "int(subject) > 0", Link: link},
	)
	facts := mail([]Attachment{
		{Part: 2, Name: "plan.pdf", Names: []string{"plan.pdf"}, Size: 3 << 20},
		{Part: 3, Name: strings.Repeat("ü", 200), Names: []string{"x.exe"}, Size: 5},
		{Part: 4, Name: "NDA.txt", Size: 5},
	}, "bob@ext.test", "joe@acmecorp.test")
	facts.Subject, facts.Size = "Hi", 4<<20
	facts.Recipients, facts.To = facts.Recipients[:1], facts.To[:1]
	want := `part 2, bob@ext.test: link, rule "large", expires 2160h0m0s, accept_loss
  not "contracts stay": attachment.name.matches("(?i)nda|contract") is false (attachment.name = "plan.pdf")
  not "exe stay": attachment.names.exists(n, glob(n, "*.exe")) is false (attachment.names = ["plan.pdf"])
  not "list": header("List-Id") != "" is false
part 3, bob@ext.test: stays, rule "exe stay" keeps it
  not "contracts stay": attachment.name.matches("(?i)nda|contract") is false (attachment.name = "` + strings.Repeat("ü", maxShown-1) + `…)
part 4, bob@ext.test: stays, rule "contracts stay" keeps it
`
	if got := set.Explain(facts).String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	facts.Attachments = []Attachment{{Part: 5, Name: "a"}}
	facts.Recipients[0].Direction = Inbound
	want = `part 5, bob@ext.test: stays, rule "numbered" failed
  not "contracts stay": direction == "outbound" is false (direction = "inbound")
  not "exe stay": attachment.names.exists(n, glob(n, "*.exe")) is false (attachment.names = [])
  not "list": header("List-Id") != "" is false
  not "large": attachment.size > 1 * MB is false (attachment.size = 0)
error: rule "numbered" failed: int(subject) > 0: type conversion error from 'string' to 'int'
`
	if got := set.Explain(facts).String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for _, d := range set.Decide(facts).Decisions {
		if d.Trace != nil {
			t.Error("Decide made a trace")
		}
	}
}

func TestASetServesManyAtOnce(t *testing.T) {
	set := mustCompile(t, Rule{Name: "r", If: "attachment.names.exists(n, glob(n, recipient.local + '.*')) && header('x-team') == 'red'", Link: link})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				facts := sample()
				facts.Recipients[0].Local, facts.Attachments[i%2].Names = "who", []string{"who.pdf"}
				plan := set.Decide(facts)
				for n, d := range plan.Decisions {
					if d.Link != (n == 2*(i%2)) {
						t.Errorf("decision %d of caller %d: %+v", n, i, d)
					}
				}
			}
		})
	}
	wg.Wait()
}
