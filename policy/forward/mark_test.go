package forward

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func forwards(recipients ...string) []Decision {
	var out []Decision
	for _, r := range recipients {
		out = append(out, Decision{Kind: Forward, Recipient: r})
	}
	return out
}

func markRoutes(t testing.TB, keys ...[]byte) *Routes {
	second := testRoute()
	second.Alternate, second.Group = "o.acmecorp.test", "office"
	return mustNew(t, Config{testRoute(), second}, Keys{Marks: keys, SRS: [][]byte{keyA}})
}

func TestMarksKnowTheirRecipientAndRoute(t *testing.T) {
	routes := markRoutes(t, keyA)
	marks := routes.ReadMarks(routes.Stamp(forwards("boss@acmecorp.test", `"big boss"@acmecorp.test`), []byte("mail 1")))
	for _, test := range []struct {
		route int
		local string
		want  bool
	}{
		{0, "boss", true}, {0, "BOSS", true}, {0, `"boss"`, true}, {0, `"big boss"`, true}, {0, `"big\ boss"`, true},
		{0, "bob", false}, {0, "boss+x", false}, {1, "boss", false},
	} {
		if got := marks.has(&routes.routes[test.route], test.local); got != test.want {
			t.Errorf("route %d, %s: marked %v, want %v", test.route, test.local, got, test.want)
		}
	}
}

func TestStampIsOnlyForForwardsAndIsStable(t *testing.T) {
	routes := markRoutes(t, keyA)
	for _, kind := range []Kind{Elsewhere, Local, Loop, Return, Refuse} {
		if got := routes.Stamp([]Decision{{Kind: kind, Recipient: "boss@acmecorp.test"}}, []byte("mail")); got != nil {
			t.Errorf("%v is stamped: %q", kind, got)
		}
	}
	a := routes.Stamp(forwards("boss@acmecorp.test", "ceo@acmecorp.test"), []byte("mail"))
	b := routes.Stamp(forwards("ceo@acmecorp.test", "boss@ACMECORP.test", "boss@acmecorp.test"), []byte("mail"))
	if !slices.Equal(a, b) {
		t.Errorf("the same mail is stamped %q and %q", a, b)
	}
}

// A reader must not learn who else got the mail: not by name, not by number,
// not by comparing with the marks of other mails.
func TestMarksTellTheirReadersNothing(t *testing.T) {
	routes := markRoutes(t, keyA)
	var many []string
	for n := 1; n <= 40; n++ {
		many = append(many, fmt.Sprintf("user%d@acmecorp.test", n))
		fields := routes.Stamp(forwards(many...), []byte("mail"))
		if want := (n + marksPerField - 1) / marksPerField; len(fields) != want {
			t.Errorf("%d recipients: %d fields, want %d", n, len(fields), want)
		}
		for _, f := range fields {
			if words := strings.Fields(f); len(words) != 3+marksPerField || len(MarkHeader+": "+f) > 300 || strings.Contains(f, "user") {
				t.Errorf("%d recipients: %q", n, f)
			}
		}
	}
	one := strings.Fields(routes.Stamp(forwards("boss@acmecorp.test"), []byte("mail 1"))[0])
	two := strings.Fields(routes.Stamp(forwards("boss@acmecorp.test"), []byte("mail 2"))[0])
	for _, w := range one[2:] {
		if slices.Contains(two[2:], w) {
			t.Errorf("%s stands in the marks of two mails", w)
		}
	}
}

func TestMarksOfOthersAreIgnored(t *testing.T) {
	stamp := markRoutes(t, keyA).Stamp(forwards("boss@acmecorp.test"), []byte("mail"))
	has := func(routes *Routes, values ...string) bool {
		return routes.ReadMarks(values).has(&routes.routes[0], "boss")
	}
	if routes := markRoutes(t, keyB, keyA); !has(routes, stamp...) {
		t.Error("a key that was replaced does not verify any more")
	}
	if routes := markRoutes(t, keyB); has(routes, stamp...) {
		t.Error("another site's mark counts")
	}
	routes := markRoutes(t, keyA)
	words := strings.Fields(stamp[0])
	for name, value := range map[string]string{
		"empty": "", "another version": "v2" + stamp[0][2:], "plain address": "boss@acmecorp.test",
		"too many words":    stamp[0] + " " + words[3],
		"mark cut off":      strings.Join(words[:3], " ") + " " + words[3][:20],
		"another salt":      strings.Join([]string{words[0], words[1], strings.Repeat("A", 16)}, " ") + " " + strings.Join(words[3:], " "),
		"bytes, not base64": strings.Join(words[:3], " ") + " \x00\xff" + words[3],
	} {
		if has(routes, value) {
			t.Errorf("%s: counts", name)
		}
	}
	if !has(routes, "", "v1 other words here", "\tv1\r\n "+strings.Join(words[1:], "\r\n\t")+"\r\n") {
		t.Error("a folded field between others is not read")
	}
}

func TestMarksReadHaveALimit(t *testing.T) {
	routes := markRoutes(t, keyA)
	stamp := routes.Stamp(forwards("boss@acmecorp.test"), []byte("mail"))[0]
	var noise []string
	for i := range maxMarkFields {
		noise = append(noise, routes.Stamp(forwards("x@acmecorp.test"), []byte{byte(i), byte(i >> 8)})...)
	}
	has := func(values ...string) bool { return routes.ReadMarks(values).has(&routes.routes[0], "boss") }
	if !has(append(slices.Clone(noise[1:]), stamp)...) {
		t.Error("a mark within the limit is not found")
	}
	if has(append(slices.Clone(noise), stamp)...) {
		t.Error("more fields than the limit are looked at")
	}
	foreign := slices.Repeat([]string{"v1 00000000 AAAA BBBB"}, maxMarkValues)
	if !has(append(foreign[1:], stamp)...) || has(append(foreign, stamp)...) {
		t.Error("the limit of parsed fields is not kept")
	}
	var all []string
	for i := range 1024 {
		all = append(all, fmt.Sprintf("u%d@acmecorp.test", i))
	}
	marks := routes.ReadMarks(routes.Stamp(forwards(all...), []byte("mail")))
	for i := range 1024 {
		if !marks.has(&routes.routes[0], fmt.Sprintf("u%d", i)) {
			t.Fatalf("recipient %d of 1,024 is not found again", i)
		}
	}
}

func FuzzReadMarks(f *testing.F) {
	routes := markRoutes(f, keyA)
	f.Add(routes.Stamp(forwards("boss@acmecorp.test"), []byte("mail"))[0])
	for _, seed := range []string{"", "v1", "v1 a b c", "v1 " + strings.Repeat("A", 300)} {
		f.Add(seed)
	}
	genuine := routes.Stamp(forwards("boss@acmecorp.test"), []byte("mail"))[0]
	f.Fuzz(func(t *testing.T, value string) {
		marks := routes.ReadMarks([]string{value})
		if marks.has(&routes.routes[0], "nobody") {
			t.Fatalf("%q marks an address that was never forwarded", value)
		}
		if marks := routes.ReadMarks([]string{value, genuine}); !marks.has(&routes.routes[0], "boss") {
			t.Fatalf("%q hides the mark behind it", value)
		}
	})
}
