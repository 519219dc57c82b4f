package forward

import (
	"iter"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func mapRoutes(t *testing.T) *Routes {
	first := testRoute()
	first.Members = []string{"chief@acmecorp.test", "boss@acmecorp.test"}
	second := Route{Domain: "bücher.test", Alternate: "gapps.bücher.test", Group: "gapps", SRS: true}
	return mustNew(t, Config{first, second}, testKeys())
}

func mapUsers() iter.Seq[User] {
	return slices.Values([]User{
		{Address: "bob@acmecorp.test", Aliases: []string{"robert@acmecorp.test"}, Groups: []string{"research"}},
		{Address: "Boss@acmecorp.test", Aliases: []string{"the.boss@acmecorp.test", "boss@bücher.test", "boss@ext.test", "BOSS@ACMECORP.test"}, Groups: []string{"gapps"}},
		{Address: "jürgen@acmecorp.test", Groups: []string{"gapps"}},
		{Address: "list+owner@acmecorp.test", Groups: []string{"gapps"}},
		{Address: "\"x\" y@acmecorp.test", Aliases: []string{"\"a\nb c\"@acmecorp.test", "50%@acmecorp.test", "#1@acmecorp.test"}, Groups: []string{"gapps"}},
	})
}

func TestAliasMaps(t *testing.T) {
	for format, want := range map[MapFormat][]string{
		PostfixVirtual: {
			"Boss@acmecorp.test Boss@gapps.acmecorp.test",
			"the.boss@acmecorp.test the.boss@gapps.acmecorp.test",
			"boss@xn--bcher-kva.test boss@gapps.xn--bcher-kva.test",
			"boss@bücher.test boss@gapps.xn--bcher-kva.test",
			"jürgen@acmecorp.test jürgen@gapps.acmecorp.test",
			"list+owner@acmecorp.test list+owner@gapps.acmecorp.test",
			"chief@acmecorp.test chief@gapps.acmecorp.test",
		},
		SendmailVirtuser: {
			"Boss@acmecorp.test\tBoss@gapps.acmecorp.test", "Boss+*@acmecorp.test\tBoss%3@gapps.acmecorp.test",
			"the.boss@acmecorp.test\tthe.boss@gapps.acmecorp.test", "the.boss+*@acmecorp.test\tthe.boss%3@gapps.acmecorp.test",
			"boss@xn--bcher-kva.test\tboss@gapps.xn--bcher-kva.test", "boss+*@xn--bcher-kva.test\tboss%3@gapps.xn--bcher-kva.test",
			"list+owner@acmecorp.test\tlist+owner@gapps.acmecorp.test",
			"chief@acmecorp.test\tchief@gapps.acmecorp.test", "chief+*@acmecorp.test\tchief%3@gapps.acmecorp.test",
		},
	} {
		lines := mapLines(t, mapRoutes(t), format)
		entries := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, "#") })
		if !slices.Equal(entries, want) {
			t.Errorf("%s:\n%s\nwant\n%s", format, strings.Join(entries, "\n"), strings.Join(want, "\n"))
		}
		left := 0
		for _, l := range lines {
			if strings.ContainsAny(l, "\r\n") {
				t.Errorf("%s: a line break in %q", format, l)
			}
			if strings.HasPrefix(l, "# left out") {
				left++
			}
		}
		if want := map[MapFormat]int{PostfixVirtual: 4, SendmailVirtuser: 5}[format]; left != want {
			t.Errorf("%s: %d addresses are told to be left out, want %d: %q", format, left, want, lines)
		}
	}
}

// The map must send nobody elsewhere than the decisions do.
func TestMapsAgreeWithDecisions(t *testing.T) {
	routes := mapRoutes(t)
	member := func(group, address string) bool {
		for u := range mapUsers() {
			if slices.ContainsFunc(append(u.Aliases, u.Address), func(a string) bool { return strings.EqualFold(exactKey(a), address) }) {
				return slices.Contains(u.Groups, group)
			}
		}
		return false
	}
	entries := 0
	for _, l := range mapLines(t, routes, PostfixVirtual) {
		from, to, ok := strings.Cut(l, " ")
		if !ok || from == "#" {
			continue
		}
		entries++
		if d := routes.Decide([]string{from}, &Facts{Member: member, Now: monday})[0]; d.Kind != Forward || d.To != to {
			t.Errorf("%s: the map says %s, the decision is %v to %s", from, to, d.Kind, d.To)
		}
	}
	if entries != 7 {
		t.Errorf("%d entries were compared", entries)
	}
}

func TestSRSMapsAcceptRewrittenSendersAndNothingElse(t *testing.T) {
	routes := mapRoutes(t)
	lines := mapLines(t, routes, PostfixSRS)
	if len(lines) != 3 {
		t.Fatalf("lines %q, want one for each of two domains", lines)
	}
	matches := func(address string) bool {
		for _, l := range lines[1:] {
			pattern, ok := strings.CutSuffix(l, "/ OK")
			if !ok {
				t.Fatalf("line %q", l)
			}
			if regexp.MustCompile("(?i)" + strings.TrimPrefix(pattern, "/")).MatchString(address) {
				return true
			}
		}
		return false
	}
	for i := range 2 {
		for _, sender := range []string{"eve@ext.test", `"a b"@ext.test`, "SRS0=HHH=TT=orig.test=me@fwd.test"} {
			address, err := routes.SRS(i).Encode(sender, monday)
			if err != nil {
				t.Fatal(err)
			}
			address = strings.ReplaceAll(address, `"`, "") // Postfix looks up without quotes
			if !matches(address) || !matches(strings.ToLower(address)) {
				t.Errorf("%s is not accepted", address)
			}
		}
	}
	for _, address := range []string{"bob@srs.acmecorp.test", "srs0=a=b@srsxacmecorp.test", "xsrs0=a=b@srs.acmecorp.test", "srs0=a=b@srs.acmecorp.test.ext.test", "srs0=a=b@acmecorp.test"} {
		if matches(address) {
			t.Errorf("%s is accepted", address)
		}
	}
	relay := mapLines(t, routes, PostfixRelay)
	if !slices.Contains(relay, "@srs.acmecorp.test OK") || slices.ContainsFunc(relay, func(l string) bool { return strings.HasPrefix(l, "@xn--") }) {
		t.Errorf("whole domains: %q; a domain of users must not be one", relay)
	}
}

func TestMapsStopWhenTheReaderDoes(t *testing.T) {
	read := 0
	users := func(yield func(User) bool) {
		for yield(User{Address: "boss@acmecorp.test", Groups: []string{"gapps"}}) {
			if read++; read > 10 {
				t.Fatal("users are read on")
			}
		}
	}
	lines, err := mapRoutes(t).Maps(PostfixVirtual, users)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range lines {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 || read != 0 {
		t.Errorf("%d lines, %d users after the last", n, read)
	}
}

func TestMapFormatIsChecked(t *testing.T) {
	if _, err := mapRoutes(t).Maps("exim", mapUsers()); err == nil || !strings.Contains(err.Error(), "virtusertable") {
		t.Errorf("%v, want an error that names the formats", err)
	}
	for _, f := range MapFormats() {
		var none *Routes
		if lines, err := none.Maps(f, mapUsers()); err != nil || len(slices.Collect(lines)) != 1 {
			t.Errorf("%s without routes: %v", f, err)
		}
	}
}

func mapLines(t *testing.T, routes *Routes, format MapFormat) []string {
	t.Helper()
	lines, err := routes.Maps(format, mapUsers())
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(lines)
}

// A table needs none of the keys and files that the routes name, and says the
// same as they do.
func TestTableAgreesWithRoutes(t *testing.T) {
	cfg := Config{testRoute(), {Domain: "bücher.test", Alternate: "gapps.bücher.test", Group: "gapps", SRS: true}}
	cfg[0].Members = []string{"chief@acmecorp.test", "boss@acmecorp.test"}
	table, err := NewTable(cfg, isOurs)
	if err != nil || table.Len() != 2 {
		t.Fatal(table, err)
	}
	for _, f := range MapFormats() {
		lines, err := table.Maps(f, mapUsers())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := slices.Collect(lines), mapLines(t, mapRoutes(t), f); !slices.Equal(got, want) || len(got) < 2 {
			t.Errorf("%s: %q, the routes have %q", f, got, want)
		}
	}
	cfg[0].SRSKeyFile, cfg[0].Gateways.Header = "/nowhere/keys", GatewayHeader{Name: "X-Acme-Gateway", SecretFile: "/nowhere/secret"}
	if _, err := NewTable(cfg, isOurs); err != nil {
		t.Errorf("files with secrets are asked for: %v", err)
	}
	member := members{"bob@acmecorp.test": "gapps", "eva@xn--bcher-kva.test": "gapps", "far@ext.test": "gapps"}
	for address, want := range map[string]string{
		"bob@ACMECORP.test":         "bob@gapps.acmecorp.test",
		"bob+news@acmecorp.test":    "bob+news@gapps.acmecorp.test",
		"Chief@acmecorp.test":       "Chief@gapps.acmecorp.test",
		"eva@bücher.test":           "eva@gapps.xn--bcher-kva.test",
		"jane@acmecorp.test":        "",
		"far@ext.test":              "",
		"bob@gapps.acmecorp.test":   "",
		"SRS0=x@srs.acmecorp.test":  "",
		"not an address":            "",
		"chief+x+y@acmecorp.test":   "chief+x+y@gapps.acmecorp.test",
		"chief@gapps.acmecorp.test": "",
	} {
		to, route, ok := table.Destination(address, member.in)
		if to != want || ok != (want != "") || ok != (route >= 0) {
			t.Errorf("%s: to %q by route %d, want %q", address, to, route, want)
		}
		if ok && exactKey(table.Home(to)) != exactKey(address) {
			t.Errorf("%s goes to %s, which stands for %s", address, to, table.Home(to))
		}
	}
	if got := table.Home("x@ext.test"); got != "x@ext.test" {
		t.Errorf("Home changes %s", got)
	}
}

func TestTableIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"coexistence[0].alternate": {{Domain: "acmecorp.test"}},
		"coexistence[0].domain":    {{Domain: "ext.test", Alternate: "g.ext.test", Group: "g"}},
	} {
		if _, err := NewTable(cfg, isOurs); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%v, want an error about %s", err, name)
		}
	}
}
