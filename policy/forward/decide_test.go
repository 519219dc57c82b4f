package forward

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// The flows between two systems that share acmecorp.test: boss is at Google by
// our directory, bob is here, nobody is anywhere.
func TestTwelveFlows(t *testing.T) {
	routes := mustNew(t, Config{testRoute()}, testKeys())
	directory := members{"boss@acmecorp.test": "gapps", "ceo@acmecorp.test": "gapps"}
	rewritten, err := routes.SRS(0).Encode("eve@ext.test", monday)
	if err != nil {
		t.Fatal(err)
	}
	const boss, bob, nobody, outside = "boss@acmecorp.test", "bob@acmecorp.test", "nobody@acmecorp.test", "eve@ext.test"
	const bossThere = "boss@gapps.acmecorp.test"

	for _, flow := range []struct {
		name       string
		fromGoogle bool
		sender     string
		recipients []string
		want       []string // kind, the new address, and the sender where it changes
	}{
		{"inbound to our side", false, outside, []string{bob}, []string{"local"}},
		{"inbound to the other side", false, outside, []string{boss}, []string{"forward " + bossThere + " " + rewritten}},
		{"inbound bounce to the other side", false, "", []string{boss}, []string{"forward " + bossThere}},
		{"Google to an address unknown there (catch-all)", true, boss, []string{nobody}, []string{"local"}},
		{"Google to us", true, boss, []string{bob}, []string{"local"}},
		{"us to Google", false, bob, []string{boss}, []string{"forward " + bossThere}},
		{"us to us", false, bob, []string{"alice@acmecorp.test"}, []string{"local"}},
		{"Google to the Internet through us", true, boss, []string{outside}, []string{"elsewhere"}},
		{"us to the Internet", false, bob, []string{outside}, []string{"elsewhere"}},
		{"mixed", false, outside, []string{bob, boss, "you@ext.test", "ceo@acmecorp.test"},
			[]string{"local", "forward " + bossThere + " " + rewritten, "elsewhere", "forward ceo@gapps.acmecorp.test " + rewritten}},
		{"unknown on both sides, from the Internet", false, outside, []string{nobody}, []string{"local"}},
		{"unknown on both sides, from Google", true, outside, []string{nobody}, []string{"local"}},
		{"bounce through SRS", false, "", []string{rewritten}, []string{"return " + outside}},
		{"bounce through SRS, from Google", true, "", []string{rewritten}, []string{"return " + outside}},
		{"each side believes the user is on the other", true, outside, []string{boss}, []string{"loop"}},
		{"the same, beside one that is fine", true, outside, []string{boss, bob}, []string{"loop", "local"}},
		{"Google sends its own address back", true, outside, []string{bossThere}, []string{"loop"}},
		{"our user writes to the alternate address", false, bob, []string{bossThere}, []string{"elsewhere"}},
	} {
		t.Run(flow.name, func(t *testing.T) {
			client, daemon := someone, "smtp"
			if flow.fromGoogle {
				client, daemon = google, "gapps-in"
			}
			f := &Facts{
				Sender: flow.sender, Arrival: routes.Arrival(client, daemon, nil), Received: 3,
				Member: directory.in, Now: monday,
			}
			got := routes.Decide(flow.recipients, f)
			if len(got) != len(flow.want) {
				t.Fatalf("%d decisions for %d recipients", len(got), len(flow.want))
			}
			for i, d := range got {
				if text := describe(d, flow.sender); text != flow.want[i] {
					t.Errorf("%s: %q, want %q (%s)", d.Recipient, text, flow.want[i], d.Reason)
				}
				if d.Reason == "" {
					t.Errorf("%s: no reason is given", d.Recipient)
				}
				if refused := d.Kind == Loop || d.Kind == Refuse; refused != (d.Reply.Code != 0) {
					t.Errorf("%s: %v with reply %+v", d.Recipient, d.Kind, d.Reply)
				}
			}
		})
	}
}

func describe(d Decision, sender string) string {
	words := []string{d.Kind.String()}
	if d.To != "" {
		words = append(words, d.To)
	}
	if d.Sender != sender {
		words = append(words, d.Sender)
	}
	if d.Duplicate {
		words = append(words, "duplicate")
	}
	return strings.Join(words, " ")
}

func TestDuplicatesEndAsOne(t *testing.T) {
	second := testRoute()
	second.Domain = "acme.test"
	routes := mustNew(t, Config{testRoute(), second}, testKeys())
	everyone := func(group, _ string) bool { return group == "gapps" }
	for _, test := range []struct {
		name       string
		recipients []string
		want       []bool // duplicate
	}{
		{"named twice", []string{"boss@acmecorp.test", "boss@acmecorp.test"}, []bool{false, true}},
		{"domain in other case", []string{"boss@acmecorp.test", "boss@ACMECORP.test"}, []bool{false, true}},
		{"through two routes", []string{"boss@acme.test", "boss@acmecorp.test"}, []bool{false, true}},
		{"the alternate address is there, later", []string{"boss@acmecorp.test", "boss@GAPPS.acmecorp.test"}, []bool{true, false}},
		{"local parts in other case may be two people", []string{"boss@acmecorp.test", "Boss@acmecorp.test"}, []bool{false, false}},
		{"a tag is another address", []string{"boss@acmecorp.test", "boss+x@acmecorp.test"}, []bool{false, false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i, d := range routes.Decide(test.recipients, &Facts{Member: everyone, Now: monday}) {
				if d.Duplicate != test.want[i] {
					t.Errorf("%s is a duplicate: %v, want %v", d.Recipient, d.Duplicate, test.want[i])
				}
			}
		})
	}
}

func TestAlternateKeepsTheLocalPartByteForByte(t *testing.T) {
	book := Route{Domain: "bücher.test", Alternate: "Gapps.bücher.test", Group: "gapps"}
	for _, test := range []struct {
		route    Route
		in, want string
	}{
		{testRoute(), "boss@acmecorp.test", "boss@gapps.acmecorp.test"},
		{testRoute(), "Boss@AcmeCorp.TEST.", "Boss@gapps.acmecorp.test"},
		{testRoute(), "boss+news=x@acmecorp.test", "boss+news=x@gapps.acmecorp.test"},
		{testRoute(), `"big boss"@acmecorp.test`, `"big boss"@gapps.acmecorp.test`},
		{testRoute(), `"a@b\"c"@acmecorp.test`, `"a@b\"c"@gapps.acmecorp.test`},
		{testRoute(), "J\u00fcrgen@acmecorp.test", "J\u00fcrgen@gapps.acmecorp.test"},
		{testRoute(), "Ju\u0308rgen@acmecorp.test", "Ju\u0308rgen@gapps.acmecorp.test"},
		{book, "boss@bücher.test", "boss@gapps.xn--bcher-kva.test"},
		{book, "boss@xn--bcher-kva.test", "boss@gapps.xn--bcher-kva.test"},
		{book, "boss@BÜCHER.test", "boss@gapps.xn--bcher-kva.test"},
	} {
		got, err := test.route.AlternateOf(test.in)
		if err != nil || got != test.want {
			t.Errorf("%q: %q, %v; want %q", test.in, got, err, test.want)
		}
	}
	for _, in := range []string{"", "boss", "@acmecorp.test", "boss@ext.test", "boss@sub.acmecorp.test", "boss@gapps.acmecorp.test", "boss@acmecorp.test>"} {
		if got, err := testRoute().AlternateOf(in); !errors.Is(err, ErrOtherDomain) {
			t.Errorf("%q: %q, %v; want ErrOtherDomain", in, got, err)
		}
	}
}

func TestMembershipFollowsTagsListsAndOrder(t *testing.T) {
	first := testRoute()
	first.Members = []string{"Chief@AcmeCorp.test"}
	second := testRoute()
	second.Alternate, second.Group, second.Gateways = "o.acmecorp.test", "office", Gateways{}
	routes := mustNew(t, Config{first, second}, testKeys())
	directory := members{"boss@acmecorp.test": "gapps", "anna@acmecorp.test": "office"}
	in := func(group, address string) bool {
		return directory.in(group, address) || address == "both@acmecorp.test"
	}
	for recipient, want := range map[string]string{
		"boss+a+b@acmecorp.test":   "forward boss+a+b@gapps.acmecorp.test",
		"chief@acmecorp.test":      "forward chief@gapps.acmecorp.test",
		"CHIEF+x@acmecorp.test":    "forward CHIEF+x@gapps.acmecorp.test",
		`"chief"@acmecorp.test`:    `forward "chief"@gapps.acmecorp.test`,
		"anna@acmecorp.test":       "forward anna@o.acmecorp.test",
		"both@acmecorp.test":       "forward both@gapps.acmecorp.test",
		"+boss@acmecorp.test":      "local",
		`"boss+a"@acmecorp.test`:   "local",
		"boss@[192.0.2.1]":         "elsewhere",
		"postmaster":               "elsewhere",
		"boss@sub.acmecorp.test":   "elsewhere",
		"srs0-team@acmecorp.test":  "local",
		"x@srs.acmecorp.test":      "elsewhere",
		"SRS0=x@srs.acmecorp.test": "elsewhere",
	} {
		if got := describe(routes.Decide([]string{recipient}, &Facts{Member: in, Now: monday})[0], ""); got != want {
			t.Errorf("%s: %s, want %s", recipient, got, want)
		}
	}
	// What came from one system still goes on to the third.
	f := &Facts{Arrival: routes.Arrival(google, "gapps-in", nil), Member: in, Now: monday}
	for recipient, want := range map[string]Kind{"anna@acmecorp.test": Forward, "boss+a@acmecorp.test": Loop, "both@acmecorp.test": Loop} {
		if d := routes.Decide([]string{recipient}, f)[0]; d.Kind != want {
			t.Errorf("%s from the first system: %v, want %v", recipient, d.Kind, want)
		}
	}
}

func TestLoopRepliesSayWhatToMend(t *testing.T) {
	for _, code := range []int{0, 550, 450} {
		r := testRoute()
		r.LoopReply = code
		routes := mustNew(t, Config{r}, testKeys())
		f := &Facts{Arrival: routes.Arrival(google, "gapps-in", nil), Member: func(string, string) bool { return true }, Now: monday}
		long := strings.Repeat("ü%\t", 40) + "@acmecorp.test"
		for recipient, hint := range map[string]string{
			"boss@acmecorp.test":       "both mail systems believe that the mailbox boss@acmecorp.test is in the other one; create it behind gapps.acmecorp.test",
			"boss@gapps.acmecorp.test": "must not lead here",
			long:                       "mail loop",
		} {
			d := routes.Decide([]string{recipient}, f)[0]
			want, enhanced := 550, "5.4.6"
			if code == 450 {
				want, enhanced = 450, "4.4.6"
			}
			if d.Kind != Loop || d.Reply.Code != want || d.Reply.Enhanced != enhanced || !strings.Contains(d.Reply.Text, hint) {
				t.Errorf("loop_reply %d, %s: %v %+v, want %d %s with %q", code, recipient, d.Kind, d.Reply, want, enhanced, hint)
			}
			if len(d.Reply.Text) > 480 || strings.ContainsFunc(d.Reply.Text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%s: the reply is not a line of SMTP: %q", recipient, d.Reply.Text)
			}
		}
	}
}

func TestReceivedFieldsEndALoop(t *testing.T) {
	for _, test := range []struct{ max, received, want int }{
		{0, 49, int(Forward)}, {0, 50, int(Loop)}, {0, 51, int(Loop)},
		{20, 19, int(Forward)}, {20, 20, int(Loop)},
	} {
		r := testRoute()
		r.MaxReceived = test.max
		routes := mustNew(t, Config{r}, testKeys())
		f := &Facts{Received: test.received, Member: func(string, string) bool { return true }, Now: monday}
		if d := routes.Decide([]string{"boss@acmecorp.test"}, f)[0]; d.Kind != Kind(test.want) {
			t.Errorf("max_received %d, %d fields: %v, want %v", test.max, test.received, d.Kind, Kind(test.want))
		}
		f.Member = nil
		if d := routes.Decide([]string{"boss@acmecorp.test"}, f)[0]; d.Kind != Local {
			t.Errorf("max_received %d, %d fields: mail for a mailbox here: %v, want %v", test.max, test.received, d.Kind, Local)
		}
	}
}

// A loop in which the gateway is not recognised: the mark ends it on its first
// return, and without the mark the count of hops does.
func TestLoopsEndWithoutAGateway(t *testing.T) {
	r := testRoute()
	r.Gateways, r.SRS, r.SRSDomain = Gateways{}, false, ""
	routes := mustNew(t, Config{r}, testKeys())
	for _, keepsMarks := range []bool{true, false} {
		received, trips := 2, 0
		var fields []string
		for ; ; trips++ {
			f := &Facts{Sender: "eve@ext.test", Marks: routes.ReadMarks(fields), Received: received,
				Arrival: routes.Arrival(google, "smtp", nil), Member: func(string, string) bool { return true }, Now: monday}
			got := routes.Decide([]string{"boss@acmecorp.test"}, f)
			if got[0].Kind == Loop {
				break
			}
			if trips > 100 {
				t.Fatal("the loop never ends")
			}
			if stamp := routes.Stamp(got, []byte("mail 1")); keepsMarks {
				fields = append(stamp, fields...)
			}
			received += 3
		}
		if keepsMarks && trips != 1 || !keepsMarks && trips != 16 {
			t.Errorf("marks kept: %v: %d rounds", keepsMarks, trips)
		}
	}
}

func TestSenderThatCannotBeRewrittenStays(t *testing.T) {
	routes := mustNew(t, Config{testRoute()}, testKeys())
	sender := strings.Repeat("x", 50) + "@ext.test"
	f := &Facts{Sender: sender, Member: func(string, string) bool { return true }, Now: monday}
	d := routes.Decide([]string{"boss@acmecorp.test"}, f)[0]
	if d.Kind != Forward || d.Sender != sender || !errors.Is(d.SenderKept, ErrTooLong) {
		t.Errorf("%+v, want a forward with its own sender and ErrTooLong", d)
	}
}

func TestBouncesThatAreNotOursAreRefused(t *testing.T) {
	routes := mustNew(t, Config{testRoute()}, testKeys())
	good, err := routes.SRS(0).Encode("eve@ext.test", monday)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, recipient string
		days            int
		want            Kind
	}{
		{"the last day", good, 21, Return},
		{"a day later", good, 22, Refuse},
		{"another address", strings.Replace(good, "eve", "eva", 1), 0, Refuse},
		{"the hash left out", strings.Replace(good, good[5:11], "AAAAAA", 1), 0, Refuse},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := routes.Decide([]string{test.recipient}, &Facts{Now: monday.AddDate(0, 0, test.days)})[0]
			if d.Kind != test.want {
				t.Fatalf("%v (%s), want %v", d.Kind, d.Reason, test.want)
			}
			if d.Kind == Refuse && (d.Reply.Code != 550 || d.Reply.Enhanced != "5.1.1" || d.To != "") {
				t.Errorf("refused with %+v, to %q", d.Reply, d.To)
			}
		})
	}
}

// We forward, a friend forwards to us, we forward again: the bounce goes to the
// first sender at once, as nobody but us can read our own address.
func TestBounceOfOurOwnForwardIsResolvedToTheEnd(t *testing.T) {
	second := testRoute()
	second.Domain, second.SRSDomain = "acme.test", "srs.acme.test"
	routes := mustNew(t, Config{testRoute(), second}, testKeys())
	friend, err := NewSRS("friend.test", [][]byte{keyC}, defaultSRSMaxAge, func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	sender := "Eve.Long@ext.test"
	for i, encode := range []func(string) (string, error){
		func(s string) (string, error) { return routes.SRS(0).Encode(s, monday) },
		func(s string) (string, error) { return friend.Encode(s, monday) },
	} {
		if sender, err = encode(sender); err != nil {
			t.Fatal(i, err)
		}
	}
	for i := range 2 {
		back, err := routes.SRS(i).Encode(sender, monday)
		if errors.Is(err, ErrTooLong) {
			t.Fatalf("choose a shorter example: %v", err)
		}
		d := routes.Decide([]string{back}, &Facts{Now: monday})[0]
		if err != nil || d.Kind != Return || d.To != "Eve.Long@ext.test" {
			t.Errorf("%s (%v): %v to %q, want a return to the first sender", back, err, d.Kind, d.To)
		}
	}
}

func TestNoRoutesDecideNothing(t *testing.T) {
	for name, routes := range map[string]*Routes{"nil": nil, "empty": mustNew(t, nil, Keys{})} {
		f := &Facts{Sender: "eve@ext.test", Arrival: Arrival{}, Marks: routes.ReadMarks([]string{"v1 x y z"}), Now: monday}
		got := routes.Decide([]string{"boss@acmecorp.test", "SRS0=AAAAAA=AA=ext.test=eve@srs.acmecorp.test"}, f)
		for _, d := range got {
			if d.Kind != Elsewhere || d.Route != -1 || d.Sender != "eve@ext.test" {
				t.Errorf("%s: %+v", name, d)
			}
		}
		if stamp := routes.Stamp(got, []byte("mail")); stamp != nil {
			t.Errorf("%s: stamped %q", name, stamp)
		}
		if a := routes.Arrival(netip.Addr{}, "", headers(nil)); a.Proven() {
			t.Errorf("%s: came from %v", name, a.By)
		}
	}
}

func ExampleRoutes_Decide() {
	routes, err := New(Config{{Domain: "acmecorp.test", Alternate: "gapps.acmecorp.test", Members: []string{"boss@acmecorp.test"}}},
		Keys{Marks: [][]byte{make([]byte, 32)}}, func(domain string) bool { return domain == "acmecorp.test" })
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range routes.Decide([]string{"boss+q3@acmecorp.test", "bob@acmecorp.test"}, &Facts{Sender: "eve@ext.test"}) {
		fmt.Println(d.Kind, d.To)
	}
	// Output:
	// forward boss+q3@gapps.acmecorp.test
	// local
}
