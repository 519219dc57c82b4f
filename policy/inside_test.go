package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestNobodyLooksInsideUnlessARuleAsks(t *testing.T) {
	looks := 0
	attachment := Attachment{Part: 1, Name: "a.zip", Inside: func() (Inside, error) { looks++; return Inside{Encrypted: true}, nil }}
	for _, condition := range []string{"attachment.name == 'a.zip'", "attachment.name == 'b.zip' && attachment.encrypted"} {
		mustCompile(t, Rule{Name: "r", If: condition, Reject: &RejectAction{}}).Decide(mail([]Attachment{attachment}, "bob@ext.test"))
	}
	if looks != 0 {
		t.Errorf("%d looks inside for rules that need none", looks)
	}
	p := mustCompile(t, Rule{Name: "r", If: "attachment.encrypted", Reject: &RejectAction{}}).Decide(mail([]Attachment{attachment}, "bob@ext.test", "joe@ext.test"))
	if looks != 1 || p.Reject == nil {
		t.Errorf("%d looks inside, reject %v", looks, p.Reject)
	}
}

func TestNothingInsideIsComplete(t *testing.T) {
	p := mustCompile(t, Rule{Name: "r", If: "attachment.encrypted || !attachment.inner_complete || attachment.inner_names.size() > 0", Reject: &RejectAction{}}).
		Decide(mail([]Attachment{{Part: 1}}, "bob@ext.test"))
	if p.Reject != nil || p.Failed {
		t.Errorf("an attachment with nothing inside: reject %v, failed %v", p.Reject, p.Failed)
	}
}

// TestAFailedLookPutsTheMailOff: what could not be read must not pass a rule
// that refuses by it, in whatever form it asks.
func TestAFailedLookPutsTheMailOff(t *testing.T) {
	lost := errors.New("the disk is gone")
	attachment := Attachment{Part: 1, Inside: func() (Inside, error) { return Inside{}, lost }}
	for _, condition := range []string{
		"attachment.encrypted", "!attachment.encrypted", "!attachment.inner_complete", "attachment.inner_names.exists(n, n == 'x')",
		"attachment.inner_names.size() == 0", "'x' in attachment.inner_names", "!(attachment.inner_names.all(n, n != 'x'))",
	} {
		p := mustCompile(t, Rule{Name: "r", If: condition, Reject: &RejectAction{}}).Decide(mail([]Attachment{attachment}, "bob@ext.test"))
		if !p.Failed || p.Reject != nil || len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Error(), "the disk is gone") {
			t.Errorf("%s: failed %v, reject %v, errors %v", condition, p.Failed, p.Reject, p.Errors)
		}
	}
	// In an explanation the fact that failed is left out.
	p := mustCompile(t, Rule{Name: "r", If: "attachment.encrypted && attachment.size > 5 || attachment.size > 7", Link: link}).Explain(mail([]Attachment{attachment}, "bob@ext.test"))
	if strings.Contains(p.String(), "encrypted =") {
		t.Errorf("explained as\n%s", p)
	}
}

// TestRulesAffordALongListOfNames: the usual conditions stay below the cost
// limit with as many names as are ever listed.
func TestRulesAffordALongListOfNames(t *testing.T) {
	var names []string
	for i := range 4096 {
		names = append(names, fmt.Sprintf("quarterly report of a middling length, number %d.docx", i))
	}
	attachment := Attachment{Part: 1, Inside: func() (Inside, error) { return Inside{Names: names, Complete: true}, nil }}
	for _, condition := range []string{
		"attachment.inner_names.exists(n, n.endsWith('.exe'))",
		"attachment.inner_names.exists(n, glob(n, '*.exe'))",
		"attachment.inner_names.exists(n, n.matches('(?i)[.](exe|scr|js|vbs|lnk)$'))",
		"attachment.inner_names.exists(n, glob(n, '*.exe') || glob(n, '*.scr'))",
	} {
		p := mustCompile(t, Rule{Name: "r", If: condition, Reject: &RejectAction{}}).Decide(mail([]Attachment{attachment}, "bob@ext.test"))
		if p.Failed || p.Reject != nil {
			t.Errorf("%s: failed %v: %v", condition, p.Failed, p.Errors)
		}
	}
}
