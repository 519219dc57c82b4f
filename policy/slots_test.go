package policy

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func vaultTo(target, space string) *VaultAction {
	return &VaultAction{Options: VaultOptions{Target: target, Space: space}}
}

// toldVault writes choices as "owner attachment target rule".
func toldVault(owners []Recipient, choices []VaultChoice) string {
	var out []string
	for _, c := range choices {
		out = append(out, fmt.Sprintf("%s %d %s %s", owners[c.Owner].Local, c.Attachment, c.Target, c.Rule))
	}
	return strings.Join(out, ", ")
}

func TestVaultIsDecidedForEachOwnerAttachmentAndTarget(t *testing.T) {
	set := mustCompile(t,
		Rule{Name: "never programs", If: "attachment.extension == 'exe'", Vault: &VaultAction{Never: true}},
		Rule{Name: "labs", If: "owner.department == 'labs'", Vault: vaultTo("assets", SpaceDepartment)},
		Rule{Name: "big", If: "attachment.size > 100", Vault: vaultTo("assets", "")},
		Rule{Name: "invoices", If: "attachment.name.matches('invoice')", Vault: vaultTo("books", "in/{yyyy}")},
	)
	f := mail([]Attachment{
		{Part: 1, Name: "setup.exe", Extension: "exe", Size: 500},
		{Part: 2, Name: "invoice.pdf", Extension: "pdf", Size: 500, Type: "application/pdf"},
		{Part: 3, Name: "logo.png", Size: 500, Inline: true},
		{Part: 4, Name: "smime.p7s", Size: 500, Type: "application/pkcs7-signature"},
		{Part: 5, Name: "note.txt", Size: 5},
	}, "bob@acmecorp.test")
	owners := []Recipient{
		{Address: "bob@acmecorp.test", Local: "bob", Department: "labs"},
		{Address: "amy@acmecorp.test", Local: "amy"},
	}
	choices, err := set.DecideVault(f, owners)
	if err != nil {
		t.Fatal(err)
	}
	const want = "bob 1 assets labs, bob 1 books invoices, bob 4 assets labs, amy 1 assets big, amy 1 books invoices"
	if got := toldVault(owners, choices); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if space := choices[0].Space; space != "{department}" {
		t.Errorf("space %q", space)
	}
	whole, err := set.VaultWhole(f, owners)
	if err != nil {
		t.Fatal(err)
	}
	// What the attachments are is not known: every rule that may want one of them does.
	if got := toldVault(owners, whole); got != "bob -1 assets labs, bob -1 books invoices, amy -1 assets big, amy -1 books invoices" {
		t.Errorf("the whole mail: %s", got)
	}
	if !set.MayVault(f, owners) || set.MayVault(f, nil) {
		t.Error("MayVault does not follow the owners")
	}
	if set.OnlyLinks() {
		t.Error("a set that keeps copies counts as one that only links")
	}
}

func TestInlinePicturesAreKeptWhereTheRuleSaysSo(t *testing.T) {
	set := mustCompile(t, Rule{Name: "all", Vault: &VaultAction{Options: VaultOptions{Target: "a", Inline: true}}})
	f := mail([]Attachment{{Part: 1, Inline: true}}, "bob@acmecorp.test")
	choices, err := set.DecideVault(f, f.Recipients)
	if err != nil || len(choices) != 1 {
		t.Errorf("choices %+v (%v)", choices, err)
	}
}

func TestAFailedVaultRuleIsAnError(t *testing.T) {
	set := mustCompile(t, Rule{Name: "broken", If: "int(attachment.name) > 3", Vault: vaultTo("a", "")})
	f := mail([]Attachment{{Part: 1, Name: "x"}}, "bob@acmecorp.test")
	if _, err := set.DecideVault(f, f.Recipients); err == nil || !strings.Contains(err.Error(), `rule "broken" failed`) {
		t.Errorf("error %v", err)
	}
}

func TestForwardRulesAreDecidedForEachRecipient(t *testing.T) {
	set := mustCompile(t,
		Rule{Name: "stay", If: "recipient.local == 'bob'", Forward: &ForwardAction{Stay: true}},
		Rule{Name: "tickets", If: "subject.contains('ticket')", Forward: &ForwardAction{Options: ForwardOptions{Alternate: "Gapps.Acmecorp.test"}}},
	)
	f := mail(nil, "bob@acmecorp.test", "carol@acmecorp.test")
	f.Subject = "ticket 1"
	got, err := set.DecideForwards(f, true)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Rule != "stay" || !got[0].Stay || got[1].Alternate != "gapps.acmecorp.test" || len(got[1].Trace) != 1 {
		t.Errorf("got %+v", got)
	}
	early, err := set.DecideForwards(f, false)
	if err != nil || !early[0].Stay || !early[1].Unknown {
		t.Errorf("before the header: %+v (%v)", early, err)
	}
}

func TestAttachmentsStayInMailThatLeaves(t *testing.T) {
	set := mustCompile(t,
		Rule{Name: "small", If: "attachment.size < 10", Link: &LinkAction{Options: LinkOptions{Forwarded: true}}},
		Rule{Name: "all", Link: &LinkAction{}},
	)
	f := mail([]Attachment{{Part: 1, Size: 5}, {Part: 2, Size: 50}}, "bob@acmecorp.test", "boss@acmecorp.test")
	f.Recipients[1].Leaves = true
	p := set.Decide(f)
	if got := told(p); got != "1 bob +small, 1 boss +small, 2 bob +all, 2 boss -all" {
		t.Errorf("decisions: %s", got)
	}
	if !p.LinksFor(1) || !p.LinksFor(0) {
		t.Error("LinksFor does not follow the decisions")
	}
	parts := func(p *Plan) (out []int) {
		for _, l := range p.Links() {
			out = append(out, l.Part)
		}
		return out
	}
	if got := parts(p); !reflect.DeepEqual(got, []int{1}) {
		t.Errorf("all together link %v", got)
	}
	bob := p.Among(func(i int) bool { return i == 0 })
	if got := parts(bob); !reflect.DeepEqual(got, []int{1, 2}) {
		t.Errorf("bob alone links %v", got)
	}
	if kept := bob.Kept(); len(kept) != 0 {
		t.Errorf("bob alone keeps %v", kept)
	}
}
