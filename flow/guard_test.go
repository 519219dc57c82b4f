package flow_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/policy"
	"cloakroom/sisa"
)

// guardOf is the guard of the one link.
func (w *world) guardOf(t *testing.T) sisa.Guard {
	t.Helper()
	g, err := sisa.NewLinks(w.db, time.Now).Guard(t.Context(), w.links(t)[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestALinkIsGuardedAsItsRulesSay(t *testing.T) {
	guarded := policy.Rule{Name: "guarded", Link: &policy.LinkAction{Options: policy.LinkOptions{
		Access: policy.AccessRecipients, Downloads: 3, Notify: true}}}
	w := newWorld(t, guarded)
	w.mustDeliver(t, outbound("q", "bob@ext.test", "Al@ext.test"), plans("guarded").raw())
	want := sisa.Guard{ByMail: true, Recipients: []string{"Al@ext.test", "bob@ext.test"}, Downloads: 3, Notify: true}
	if g := w.guardOf(t); !g.Equal(&want) {
		t.Errorf("%+v", g)
	}

	// Nobody of ours loses the file, and no stranger is told of anything.
	w = newWorld(t, guarded)
	env := outbound("q", "carol@acmecorp.test", "bob@ext.test")
	env.Sender = "eve@ext.test"
	w.mustDeliver(t, env, plans("guarded").raw())
	if g := w.guardOf(t); g.Downloads != 0 || g.Notify || !g.ByMail {
		t.Errorf("%+v", g)
	}
}

func TestALinkAsksForThePasswordOfItsRule(t *testing.T) {
	secret := policy.Rule{Name: "secret", Link: &policy.LinkAction{Options: policy.LinkOptions{Access: policy.AccessPassword, PasswordFile: "/p"}}}
	w := newWorld(t, secret)
	// Without the password the link would be open to all: the mail waits.
	if _, err := w.deliver(t.Context(), outbound("q"), plans("secret").raw(), 1000); err == nil || !strings.Contains(err.Error(), "/p is not known") {
		t.Errorf("%v", err)
	}
	if n := w.rows(t, "links"); n != 0 {
		t.Errorf("%d links", n)
	}
	w.settings.LinkPasswords = map[string]string{"/p": "hash"}
	w.mustDeliver(t, outbound("q"), plans("secret").raw())
	if g := w.guardOf(t); g.Password != "hash" || g.ByMail {
		t.Errorf("%+v", g)
	}
}

func TestOneLinkAsksForAllThatItsAttachmentsAsk(t *testing.T) {
	option := func(name string, o policy.LinkOptions) policy.Rule {
		return policy.Rule{Name: name, If: "attachment.name == '" + name + "'", Link: &policy.LinkAction{Options: o}}
	}
	w := newWorld(t,
		option("a.pdf", policy.LinkOptions{Access: policy.AccessRecipients, Downloads: 5}),
		option("b.pdf", policy.LinkOptions{Access: policy.AccessPassword, PasswordFile: "/p", Downloads: 2}),
		option("c.pdf", policy.LinkOptions{Access: policy.AccessPassword, PasswordFile: "/other"}),
		linkAll)
	w.settings.LinkPasswords = map[string]string{"/p": "hash", "/other": "other"}
	raw := letter{id: "all", files: []file{{"a.pdf", noise(1, 2000)}, {"b.pdf", noise(2, 2000)}, {"c.pdf", noise(3, 2000)}, {"d.pdf", noise(4, 2000)}}}.raw()
	d := w.mustDeliver(t, outbound("q"), raw)
	g := w.guardOf(t)
	if !g.ByMail || g.Password != "hash" || g.Downloads != 2 || !slices.Equal(g.Recipients, []string{"bob@ext.test"}) {
		t.Errorf("%+v", g)
	}
	if !strings.Contains(string(d.raw()), `c.pdf"`) || w.links(t)[0].Files != 3 {
		t.Error("what asks for another password did not stay in the mail")
	}
	ex, err := w.explain(outbound("q"), raw, 1000)
	if err != nil || ex.Access != "recipients and password" || ex.Downloads != 2 || !slices.Equal(ex.Codes, []string{"bob@ext.test"}) {
		t.Errorf("explained: %+v, %v", ex, err)
	}
}
