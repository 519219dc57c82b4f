package coexist

import (
	"net/netip"
	"strings"
	"testing"

	"cloakroom/policy/forward"
)

const (
	rewritten = "@srs.acmecorp.test>"
	loopText  = "550 5.4.6 mail loop: both mail systems believe that the mailbox boss@acmecorp.test is in the other one; create it behind gapps.acmecorp.test, or list it as a mailbox of this one"
)

// want is parts of the path, envelope and reply of a flow.
type want struct{ path, envelope, reply string }

func TestFlowsTellPathEnvelopeAndReply(t *testing.T) {
	otherFirst := [12]want{
		{"Internet -> the other system (MX) -> its catch-all -> us", "<sender@example.org> to bob@acmecorp.test, unchanged", "250"},
		{"Internet -> the other system (MX)", "<sender@example.org> to boss@acmecorp.test, unchanged", "250"},
		{"the other system, which delivers", "<boss@acmecorp.test> to another user there, unchanged", "250"},
		{"the other system -> its catch-all -> us", "<boss@acmecorp.test> to bob@acmecorp.test, unchanged", "250"},
		{"us -> MX of gapps.acmecorp.test", "<bob@acmecorp.test> to boss@acmecorp.test becomes boss@gapps.acmecorp.test, same sender", "250"},
		{"us, who deliver", "<bob@acmecorp.test> to bob@acmecorp.test, unchanged", "250"},
		{"the other system -> Internet", "<boss@acmecorp.test> to sender@example.org, unchanged", "250"},
		{"us -> Internet", "<bob@acmecorp.test> to sender@example.org, unchanged", "250"},
		{"us -> MX of gapps.acmecorp.test", "<bob@acmecorp.test> to bob@acmecorp.test, boss@acmecorp.test becomes bob@acmecorp.test, boss@gapps.acmecorp.test, same sender", "250"},
		{"Internet -> the other system (MX) -> its catch-all -> us", "<sender@example.org> to no-such-user@acmecorp.test, unchanged", "550 5.1.1"},
		{"the receiver -> MX of srs.acmecorp.test -> us -> MX of the sender", "becomes sender@example.org, same sender", "250"},
		{"Internet -> the other system (MX) -> its catch-all -> us", "<sender@example.org> to boss@acmecorp.test, unchanged", loopText},
	}
	weFirst := otherFirst
	weFirst[0].path, weFirst[9].path = "Internet -> us (MX)", "Internet -> us (MX)"
	weFirst[1] = want{"Internet -> us (MX) -> MX of gapps.acmecorp.test", "<sender@example.org> to boss@acmecorp.test becomes <SRS0=", "250"}
	weFirst[8] = want{"Internet -> us (MX) -> MX of gapps.acmecorp.test", "to bob@acmecorp.test, boss@gapps.acmecorp.test", "250"}
	weFirst[11] = want{"Internet -> us (MX) -> MX of gapps.acmecorp.test -> its catch-all -> us again", rewritten + " to boss@gapps.acmecorp.test", loopText}
	for name, test := range map[string]struct {
		change change
		want   [12]want
	}{
		"the other system is the MX": {change{}, otherFirst},
		"we are the MX":              {change{weAreMX: true}, weFirst},
	} {
		t.Run(name, func(t *testing.T) {
			route := test.change.check(t).Routes[0]
			if len(route.Flows) != len(test.want) || route.Key != "coexistence[0]" || route.Alternate != "gapps.acmecorp.test" {
				t.Fatalf("%+v", route)
			}
			for i, f := range route.Flows {
				w := test.want[i]
				if f.Number != i+1 || f.Path != w.path || !strings.Contains(f.Envelope, w.envelope) || !strings.HasPrefix(f.Reply, w.reply) || f.Why == "" || f.Name == "" {
					t.Errorf("flow %d:\n got %+v\nwant %+v", i+1, f, w)
				}
			}
		})
	}
}

func TestGatewayByHeaderIsProvenBySecret(t *testing.T) {
	r := change{settings: func(s *Settings) {
		g := &s.Routes[0].Gateways
		g.Daemon, g.Header = "", forward.GatewayHeader{Name: "X-Acme-Gateway", SecretFile: "/etc/cloakroom/gateway"}
		s.Files = map[string][]byte{"/etc/cloakroom/gateway": []byte("0123456789abcdef0123456789abcdef")}
	}}.check(t)
	sameSet(t, troubles(r), nil)
	if reply := r.Routes[0].Flows[11].Reply; reply != loopText {
		t.Errorf("the last flow ends in %q", reply)
	}
}

func TestLoopWithoutGatewayIsStoppedByItsMark(t *testing.T) {
	r := change{weAreMX: true, settings: func(s *Settings) {
		s.Routes[0].Gateways = forward.Gateways{}
		s.Routes[0].LoopReply = 450
	}, options: Options{OtherIPs: []netip.Addr{netip.MustParseAddr("192.0.2.9")}}}.check(t)
	f := r.Routes[0].Flows[11]
	if f.State != Warning || !strings.HasPrefix(f.Reply, "450 4.4.6 mail loop") || !strings.Contains(f.Reply, "came back") || !strings.Contains(f.Why, "gives up") {
		t.Errorf("%+v", f)
	}
}

func TestFlowsFollowTheRouteOfEachAlternate(t *testing.T) {
	office := forward.Route{Domain: "acmecorp.test", Alternate: "office.acmecorp.test", Members: []string{"carl@acmecorp.test"}}
	r := change{weAreMX: true, add: []string{"office.acmecorp.test. MX 1 mail.ext.test.", "mail.ext.test. A 198.51.100.200", txt("office.acmecorp.test.", "v=spf1 ip4:192.0.2.0/24 -all")},
		settings: func(s *Settings) { s.Routes = append(s.Routes, office) }}.check(t)
	if len(r.Routes) != 2 {
		t.Fatalf("%d routes", len(r.Routes))
	}
	if got := r.Routes[1].Flows[4].Envelope; !strings.HasSuffix(got, "carl@acmecorp.test becomes carl@office.acmecorp.test, same sender") {
		t.Errorf("flow 5 of the second route: %s", got)
	}
	if got := r.Routes[1].Flows[10]; got.State != OK || !strings.Contains(got.Why, "srs is off") {
		t.Errorf("flow 11 of the second route: %+v", got)
	}
	if row := rowOf(t, r, "gateways of office.acmecorp.test"); row.State != Warning {
		t.Errorf("%+v", row)
	}
	if row := rowOf(t, r, "forwarded mail of strangers"); !strings.Contains(row.Fix, "coexistence[1].srs") {
		t.Errorf("%+v", row)
	}
}

func TestMadeUpUsersStandInForAnEmptyGroup(t *testing.T) {
	r := change{settings: func(s *Settings) { s.Users = users() }}.check(t)
	flows := r.Routes[0].Flows
	if !strings.Contains(flows[4].Envelope, "someone-there@acmecorp.test becomes someone-there@gapps.acmecorp.test") {
		t.Errorf("flow 5: %s", flows[4].Envelope)
	}
	if !strings.Contains(flows[5].Envelope, "<someone-here@acmecorp.test> to someone-here@acmecorp.test") {
		t.Errorf("flow 6: %s", flows[5].Envelope)
	}
}
