package policy

import "testing"

func TestWhatBeginsIsJudgedByItsHeader(t *testing.T) {
	set := mustCompile(t,
		Rule{Name: "contracts stay", If: "attachment.name.contains('contract')", Link: keep},
		Rule{Name: "large documents", If: "attachment.extension == 'pdf' && attachment.size > 100", Link: &LinkAction{}},
		Rule{Name: "for bob", If: "recipient.local == 'bob' && attachment.type == 'image/png'", Link: &LinkAction{}},
	)
	for name, c := range map[string]struct {
		a    Attachment
		to   string
		want bool
	}{
		"may be large":         {Attachment{Name: "a.pdf", Extension: "pdf"}, "carol@acmecorp.test", true},
		"kept, however large":  {Attachment{Name: "contract.pdf", Extension: "pdf", Size: 1 << 30}, "carol@acmecorp.test", false},
		"no rule for such":     {Attachment{Name: "a.zip", Extension: "zip"}, "carol@acmecorp.test", false},
		"a picture for bob":    {Attachment{Type: "image/png"}, "bob@acmecorp.test", true},
		"a picture for others": {Attachment{Type: "image/png"}, "carol@acmecorp.test", false},
	} {
		if got := set.MayTake(mail(nil, c.to), &c.a); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	vaults := mustCompile(t, Rule{Name: "v", Vault: vaultTo("a", "")})
	if !vaults.MayTake(mail(nil, "bob@acmecorp.test"), &Attachment{}) {
		t.Error("what the vault may keep is not drafted")
	}
}
