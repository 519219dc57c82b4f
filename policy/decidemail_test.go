package policy

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

var (
	refuse   = &RejectAction{}
	admit    = &RejectAction{Never: true}
	hold     = &QuarantineAction{Reason: "odd"}
	external = &TagAction{Text: "[EXTERNAL]"}
	marked   = &HeaderAction{Options: HeaderOptions{Add: HeaderFields{{"X-Seen", "yes"}}, Remove: []string{"X-Spoof", "X-None"}}}
)

func refusal(text string) *RejectAction { return &RejectAction{Options: RejectOptions{Text: text}} }

// fate writes what becomes of the mail as a whole.
func fate(p *Plan) string {
	var out []string
	if p.Reject != nil {
		out = append(out, "reject by "+p.Reject.Rule)
	}
	if p.Quarantine != "" {
		out = append(out, fmt.Sprintf("hold (%s) by %s", p.Quarantine, p.QuarantineRule))
	}
	for _, c := range p.Headers {
		if c.Remove {
			out = append(out, fmt.Sprintf("-%s by %s", c.Name, c.Rule))
		} else {
			out = append(out, fmt.Sprintf("+%s=%s by %s", c.Name, c.Value, c.Rule))
		}
	}
	if p.Tag != "" {
		out = append(out, fmt.Sprintf("tag %s by %s", p.Tag, p.TagRule))
	}
	if p.Failed {
		out = append(out, "failed")
	}
	if p.NeedsBody {
		out = append(out, "needs body")
	}
	return strings.Join(out, ", ")
}

// TestMailSlots decides mails as a whole, at their end and, as far as possible,
// at the end of the header.
func TestMailSlots(t *testing.T) {
	exe := Attachment{Part: 2, Name: "a.exe", Extension: "exe"}
	pdf := Attachment{Part: 3, Name: "b.pdf", Extension: "pdf", Size: 5}
	both := []Attachment{pdf, exe}
	ext, ours := "bob@ext.test", "joe@acmecorp.test"
	for name, tt := range map[string]struct {
		rules       []Rule
		facts       *Facts
		end, header string
	}{
		"a rule without condition": {[]Rule{{Name: "r", Reject: refuse}}, mail(both, ext), "reject by r", "reject by r"},
		"every slot": {[]Rule{{Name: "q", Quarantine: hold}, {Name: "h", Header: marked}, {Name: "t", Tag: external}}, mail(both, ext),
			"hold (odd) by q, -X-Spoof by h, +X-Seen=yes by h, tag [EXTERNAL] by t", "hold (odd) by q, -X-Spoof by h, +X-Seen=yes by h, tag [EXTERNAL] by t"},
		"several slots in one rule": {[]Rule{{Name: "r", If: "authenticated", Quarantine: &QuarantineAction{}, Tag: external, Link: keep}}, mail(both, ext),
			`hold (held by rule "r") by r, tag [EXTERNAL] by r`, `hold (held by rule "r") by r, tag [EXTERNAL] by r`},
		"a refused mail has no other fate": {[]Rule{{Name: "t", Tag: external}, {Name: "r", Reject: refuse}}, mail(both, ext), "reject by r", "reject by r"},
		"the first that speaks": {[]Rule{{Name: "a", If: "!authenticated", Tag: external}, {Name: "b", Tag: &TagAction{Text: "B"}}, {Name: "c", Tag: external}},
			mail(nil, ext), "tag B by b", "tag B by b"},
		"an exception": {[]Rule{{Name: "a", If: "authenticated", Reject: admit}, {Name: "b", Reject: refuse}}, mail(nil, ext), "", ""},
		"an exception in one slot only": {[]Rule{{Name: "a", Reject: admit}, {Name: "b", Reject: refuse, Tag: external}}, mail(nil, ext),
			"tag [EXTERNAL] by b", "tag [EXTERNAL] by b"},
		"only some recipients":            {[]Rule{{Name: "a", If: "direction == 'local'", Reject: refuse, Tag: external}}, mail(nil, ext, ours), "", ""},
		"all recipients":                  {[]Rule{{Name: "a", If: "recipient.domain != ''", Reject: refuse}}, mail(nil, ext, ours), "reject by a", "reject by a"},
		"all, by several rules":           {[]Rule{{Name: "a", If: "direction == 'local'", Reject: refuse}, {Name: "b", Reject: refuse}}, mail(nil, ext, ours), "reject by a", "reject by a"},
		"an exception for one of several": {[]Rule{{Name: "a", If: "direction == 'local'", Reject: admit}, {Name: "b", Reject: refuse}}, mail(nil, ext, ours), "", ""},
		"nobody to send to":               {[]Rule{{Name: "a", Reject: refuse}}, mail(both), "", ""},
		"an attachment among several":     {[]Rule{{Name: "a", If: "attachment.extension == 'exe' && direction == 'outbound'", Reject: refuse}}, mail(both, ext), "reject by a", "needs body"},
		"no such attachment":              {[]Rule{{Name: "a", If: "attachment.extension == 'exe'", Reject: refuse}}, mail([]Attachment{pdf}, ext), "", "needs body"},
		"no attachment at all":            {[]Rule{{Name: "a", If: "attachment.extension != 'exe'", Quarantine: hold}}, mail(nil, ext), "", "needs body"},
		"not for this mail anyway":        {[]Rule{{Name: "a", If: "attachment.extension == 'exe' && direction == 'inbound'", Reject: refuse}}, mail(both, ext), "", ""},
		"terms must hold for the same attachment": {[]Rule{{Name: "a", If: "attachment.extension == 'exe' && attachment.size > 1", Reject: refuse}},
			mail(both, ext), "", "needs body"},
		"a term on both": {[]Rule{{Name: "a", If: "attachment.name.startsWith(recipient.local)", Tag: external}},
			mail([]Attachment{{Name: "bob.doc"}, {Name: "joe.doc"}}, ext, ours), "tag [EXTERNAL] by a", "needs body"},
		"a term on both, not for all": {[]Rule{{Name: "a", If: "attachment.name.startsWith(recipient.local)", Tag: external}},
			mail([]Attachment{{Name: "bob.doc"}}, ext, ours), "", "needs body"},
		"a tag that is there":              {[]Rule{{Name: "a", Tag: &TagAction{Text: "[hello"}}}, mail(nil, ext), "", ""},
		"failed":                           {[]Rule{{Name: "a", If: "int(from) > 1", Tag: external}, {Name: "b", Tag: external}}, mail(nil, ext), "failed", "failed"},
		"failed but false":                 {[]Rule{{Name: "a", If: "int(from) > 1 && !authenticated", Tag: external}}, mail(nil, ext), "", ""},
		"failed, or false later":           {[]Rule{{Name: "a", If: "int(from) > 1 && size > 5000", Reject: refuse}}, mail(nil, ext), "", "needs body"},
		"failed after an exception":        {[]Rule{{Name: "a", Reject: admit}, {Name: "b", If: "int(from) > 1", Reject: refuse}}, mail(nil, ext), "", ""},
		"failed exception":                 {[]Rule{{Name: "a", If: "int(from) > 1", Reject: admit}, {Name: "b", Reject: refuse}}, mail(nil, ext), "failed", "failed"},
		"failed for one, no for the other": {[]Rule{{Name: "a", If: "direction == 'outbound' && int(from) > 1", Reject: refuse}}, mail(nil, ext, ours), "", ""},
		"failed on an attachment, holds for another": {[]Rule{{Name: "a", If: "int(attachment.name) > 0", Reject: refuse}},
			mail([]Attachment{{Name: "x"}, {Name: "5"}}, ext), "reject by a", "needs body"},
		"failed on the only attachment": {[]Rule{{Name: "a", If: "int(attachment.name) > 0", Reject: refuse}}, mail([]Attachment{{Part: 4, Name: "x"}}, ext), "failed", "needs body"},
		"refused though another failed": {[]Rule{{Name: "t", If: "int(from) > 1", Tag: external}, {Name: "r", Reject: refuse}}, mail(nil, ext), "reject by r", "reject by r"},
		"not put off while it may be refused": {[]Rule{{Name: "t", If: "int(from) > 1", Tag: external}, {Name: "r", If: "attachment.extension == 'exe'", Reject: refuse}},
			mail(both, ext), "reject by r", "needs body"},
		"an exception that may come": {[]Rule{{Name: "a", If: "attachment.extension == 'pdf'", Reject: admit}, {Name: "b", Reject: refuse}}, mail(both, ext), "", "needs body"},
		"an exception that does not matter": {[]Rule{{Name: "a", If: "attachment.extension == 'pdf'", Reject: admit}, {Name: "b", If: "!authenticated", Reject: refuse}},
			mail(both, ext), "", ""},
		"by size":                   {[]Rule{{Name: "a", If: "size > 1000", Reject: refuse}}, mail(nil, ext), "reject by a", "needs body"},
		"by verdict and header":     {[]Rule{{Name: "a", If: "auth.dmarc == 'fail' && header_from != from && header('X-Spoof') == '1'", Quarantine: hold}}, mail(nil, ext), "hold (odd) by a", "hold (odd) by a"},
		"links still need the body": {[]Rule{{Name: "a", Tag: external}, {Name: "b", If: "attachment.size > 1", Link: link}}, mail(both, ext), "tag [EXTERNAL] by a", "tag [EXTERNAL] by a, needs body"},
		"a rule that only admits":   {[]Rule{{Name: "a", Reject: admit, Tag: &TagAction{Never: true}}}, mail(both, ext), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := tt.facts
			f.Size, f.Subject, f.AuthResults = 2000, "Re: [Hello] you", AuthResults{DMARC: "fail"}
			f.Header = func(name string) []string {
				if strings.EqualFold(name, "x-spoof") {
					return []string{"1"}
				}
				return nil
			}
			f.RawHeader = func(string) []string { return []string{"Boss <boss@acmecorp.test>"} }
			set := mustCompile(t, tt.rules...)
			end, header := set.Decide(f), set.DecideHeaders(f)
			if got := fate(end); got != tt.end {
				t.Errorf("at the end: %q, errors %v; want %q", got, end.Errors, tt.end)
			}
			if got := fate(header); got != tt.header {
				t.Errorf("after the header: %q, want %q", got, tt.header)
			}
			if explained := set.Explain(f); tt.end != "" && !strings.HasPrefix(fate(explained), tt.end) {
				t.Errorf("explained: %q, want %q", fate(explained), tt.end)
			}
			if got, want := set.CouldMatch(f), header.Acts() || header.Failed || header.NeedsBody; got != want {
				t.Errorf("CouldMatch is %v, want %v", got, want)
			}
			if end.Failed && (len(end.Errors) != 1 || end.Errors[0].Slot == "" || end.Errors[0].Err == nil) {
				t.Errorf("failed with errors %+v", end.Errors)
			}
		})
	}
}

// TestHeaderDecisionsHold tries every pair out of a handful of rules: what is
// decided at the end of the header must come out at the end of the mail, and
// what CouldMatch rules out must not happen.
func TestHeaderDecisionsHold(t *testing.T) {
	conditions := []string{"", "attachment.size > 100", "direction == 'local'", "size > 1000", "int(subject) > 1", "attachment.inline || recipient.local == 'bob'",
		"attachment.name == recipient.local && authenticated", "int(subject) > 1 || attachment.size > 5", "int(attachment.name) > 5"}
	var choices []Rule
	for _, c := range conditions {
		choices = append(choices, Rule{If: c, Reject: refuse}, Rule{If: c, Reject: admit}, Rule{If: c, Tag: external}, Rule{If: c, Link: link})
	}
	var mails []*Facts
	for _, subject := range []string{"5", "x"} {
		for _, to := range [][]string{{"bob@ext.test"}, {"joe@acmecorp.test"}, {"joe@acmecorp.test", "bob@ext.test"}} {
			for _, attachments := range [][]Attachment{nil, {{Part: 1, Name: "joe", Size: 200}, {Part: 2, Name: "7", Size: 5, Inline: true}}} {
				f := mail(attachments, to...)
				f.Subject, f.Size = subject, 2000
				mails = append(mails, f)
			}
		}
	}
	for i := range choices {
		for j := range choices {
			a, b := choices[i], choices[j]
			a.Name, b.Name = "a", "b"
			set := mustCompile(t, a, b)
			for _, full := range mails {
				early := *full
				early.Attachments, early.Size = nil, -1
				plan, before := set.Decide(full), set.DecideHeaders(&early)
				where := fmt.Sprintf("rules %q, %q to %v, subject %s, %d attachments: after the header %q, at the end\n%s",
					a.If, b.If, full.To, full.Subject, len(full.Attachments), fate(before), plan)
				if !set.CouldMatch(&early) && (plan.Acts() || plan.Failed || len(plan.Links()) > 0) {
					t.Fatalf("ruled out: %s", where)
				}
				if (before.Reject != nil || !before.NeedsBody) && !reflect.DeepEqual(before.Reject, plan.Reject) {
					t.Fatalf("another refusal: %s", where)
				}
				if (before.Failed || !before.NeedsBody) && before.Failed != plan.Failed {
					t.Fatalf("another failure: %s", where)
				}
				if !before.NeedsBody && (before.Tag != plan.Tag || len(plan.Links()) > 0) {
					t.Fatalf("another fate: %s", where)
				}
				for n := range full.Recipients {
					refused, err := set.DecideRecipient(&early, n)
					alone := *full
					alone.Recipients = full.Recipients[n : n+1]
					of := set.Decide(&alone)
					if refused != nil && !reflect.DeepEqual(refused, of.Reject) || err != nil && !of.Failed {
						t.Fatalf("recipient %d is refused (%v, %v), but alone the plan is %s", n, refused, err, of)
					}
				}
			}
		}
	}
}

func TestDecideRecipient(t *testing.T) {
	for name, tt := range map[string]struct {
		rules []Rule
		want  []string // text of the refusal, "-" for none, "!" for a failure
	}{
		"no rules":                       {nil, []string{"-", "-"}},
		"only rules that admit":          {[]Rule{{Name: "a", Reject: admit}}, []string{"-", "-"}},
		"each by himself":                {[]Rule{{Name: "a", If: "recipient.local == 'joe'", Reject: refusal("no joe")}}, []string{"-", "no joe"}},
		"all":                            {[]Rule{{Name: "a", If: "from == 'amy@acmecorp.test' && helo == ''", Reject: refusal("no amy")}}, []string{"no amy", "no amy"}},
		"an exception":                   {[]Rule{{Name: "a", If: "direction == 'local'", Reject: admit}, {Name: "b", Reject: refusal("no")}}, []string{"no", "-"}},
		"waits for the header":           {[]Rule{{Name: "a", If: "header('x') == ''", Reject: refuse}}, []string{"-", "-"}},
		"waits for headers in a loop":    {[]Rule{{Name: "a", If: "!headers('x').exists(v, v == 'y')", Reject: refuse}}, []string{"-", "-"}},
		"waits for the subject":          {[]Rule{{Name: "a", If: "subject.matches('^$')", Reject: refuse}}, []string{"-", "-"}},
		"waits for the other recipients": {[]Rule{{Name: "a", If: "to.size() == 2", Reject: refuse}}, []string{"-", "-"}},
		"waits for From":                 {[]Rule{{Name: "a", If: "header_from == ''", Reject: refuse}}, []string{"-", "-"}},
		"waits for verdicts":             {[]Rule{{Name: "a", If: "auth.spf == ''", Reject: refuse}}, []string{"-", "-"}},
		"waits for the body":             {[]Rule{{Name: "a", If: "size == 0", Reject: refuse}, {Name: "b", If: "attachment.size == 0", Reject: refuse}}, []string{"-", "-"}},
		"waits for an exception":         {[]Rule{{Name: "a", If: "header('x') != ''", Reject: admit}, {Name: "b", Reject: refuse}}, []string{"-", "-"}},
		"not where the rest is false":    {[]Rule{{Name: "a", If: "header('x') != '' && direction == 'outbound'", Reject: admit}, {Name: "b", Reject: refusal("no")}}, []string{"-", "no"}},
		"not where the rest suffices":    {[]Rule{{Name: "a", If: "header('x') != '' || direction == 'outbound'", Reject: refusal("no")}}, []string{"no", "-"}},
		"a failure":                      {[]Rule{{Name: "a", If: "recipient.local == 'joe' && int(from) > 1", Reject: refuse}}, []string{"-", "!"}},
		"who sends, when that is known":  {[]Rule{{Name: "a", If: "!from_gateway && sender.address == ''", Reject: refusal("who")}}, []string{"who", "who"}},
		"other slots have no say":        {[]Rule{{Name: "a", If: "int(from) > 1", Tag: external}, {Name: "b", If: "true", Reject: refusal("no")}}, []string{"no", "no"}},
	} {
		set := mustCompile(t, tt.rules...)
		f := mail([]Attachment{{Part: 1}}, "bob@ext.test", "joe@acmecorp.test")
		for i, want := range tt.want {
			got := "-"
			switch r, err := set.DecideRecipient(f, i); {
			case err != nil:
				got = "!"
			case r != nil:
				got = r.Text
			}
			if got != want {
				t.Errorf("%s: recipient %d: %s, want %s", name, i, got, want)
			}
		}
	}
}

// TestAGatewayMayStillProveItself: an inbound mail with our domain looks forged
// until its header shows that it came by the gateway.
func TestAGatewayMayStillProveItself(t *testing.T) {
	f := mail(nil, "bob@acmecorp.test")
	f.Recipients[0].Direction = Inbound
	for _, condition := range []string{"direction == 'inbound'", "!from_gateway", "sender.address == ''", "!in_group(sender, 'x')"} {
		set := mustCompile(t, Rule{Name: "forged", If: "domain(from) == 'acmecorp.test' && " + condition, Reject: refuse})
		f.SenderPending = true
		if r, err := set.DecideRecipient(f, 0); r != nil || err != nil {
			t.Errorf("%s: refused before the header: %v, %v", condition, r, err)
		}
		if p := set.DecideHeaders(f); p.Reject == nil {
			t.Errorf("%s: not refused after it", condition)
		}
		f.SenderPending = false
		if r, _ := set.DecideRecipient(f, 0); r == nil {
			t.Errorf("%s: not refused where no header can change it", condition)
		}
	}
}

func TestExplainMail(t *testing.T) {
	set := mustCompile(t,
		Rule{Name: "partners", If: "recipient.domain == 'ext.test'", Reject: admit, Tag: &TagAction{Never: true}},
		Rule{Name: "programs", If: "direction == 'local' && attachment.extension == 'exe'", Reject: refuse},
		Rule{Name: "staff", If: "in_group(sender, 'staff')", Header: marked},
		Rule{Name: "odd", If: "int(subject) > 1", Quarantine: hold},
	)
	f := mail([]Attachment{{Part: 2, Extension: "pdf"}, {Part: 3, Extension: "doc"}}, "bob@ext.test", "joe@acmecorp.test")
	f.Sender = &User{Groups: []string{"staff", "research"}}
	want := `header: add X-Seen: yes, rule "staff"
reject, bob@ext.test: no, rule "partners" says so
reject, joe@acmecorp.test: no, no rule speaks
  not "partners": recipient.domain == "ext.test" is false (recipient.domain = "acmecorp.test")
  not "programs": attachment.extension == "exe" is false (attachment.extension = "pdf"); nor does it hold for another attachment
quarantine, all recipients: rule "odd" failed
header, all recipients: yes, rule "staff"
tag, bob@ext.test: no, rule "partners" says so
tag, joe@acmecorp.test: no, no rule speaks
  not "partners": recipient.domain == "ext.test" is false (recipient.domain = "acmecorp.test")
part 2, bob@ext.test: stays, no rule speaks
part 2, joe@acmecorp.test: stays, no rule speaks
part 3, bob@ext.test: stays, no rule speaks
part 3, joe@acmecorp.test: stays, no rule speaks
error: rule "odd" failed to decide quarantine: int(subject) > 1: type conversion error from 'string' to 'int'
`
	p := set.Explain(f)
	if got := p.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !p.Failed {
		t.Error("a failed quarantine rule is forgotten")
	}
	f.Attachments, f.Subject, f.Sender = nil, "1", nil
	got := set.Explain(f).String()
	for _, line := range []string{
		`  not "programs": there is no attachment`,
		`  not "staff": in_group(sender, "staff") is false (sender.groups = [])`,
		`  not "odd": int(subject) > 1 is false (subject = "1")`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
}

func TestTooManyPairsPutTheMailOff(t *testing.T) {
	to := make([]string, 3000)
	for i := range to {
		to[i] = fmt.Sprintf("u%d@ext.test", i)
	}
	attachments := make([]Attachment, maxTries/len(to)+1)
	f := mail(attachments, to...)
	for i := range f.Recipients {
		f.Recipients[i].Local = "u"
	}
	attachments[len(attachments)-1].Name = "u" // each recipient's, found last
	p := mustCompile(t, Rule{Name: "r", If: "attachment.name.startsWith(recipient.local)", Reject: refuse}).Decide(f)
	if !p.Failed || p.Reject != nil || len(p.Errors) != 1 || p.Errors[0].Err != errTooMuch ||
		!strings.Contains(p.Errors[0].Error(), `rule "r" failed to decide reject: too many`) {
		t.Errorf("failed %v, reject %v, errors %v", p.Failed, p.Reject, p.Errors)
	}
	// A condition that is the same for all recipients is asked once.
	p = mustCompile(t, Rule{Name: "r", If: "attachment.name == 'u' && recipient.local == 'u'", Reject: refuse}).Decide(f)
	if p.Reject == nil || len(p.Errors) != 0 {
		t.Errorf("reject %v, errors %v", p.Reject, p.Errors)
	}
}
