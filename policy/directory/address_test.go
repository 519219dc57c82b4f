package directory

import (
	"strings"
	"testing"

	"cloakroom/policy"
)

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"bob@acmecorp.test":                      "bob@acmecorp.test",
		"Bob.X@ACMECORP.test.":                   "bob.x@acmecorp.test",
		`"Bob"@acmecorp.test`:                    "bob@acmecorp.test",
		`"b\ob"@acmecorp.test`:                   "bob@acmecorp.test",
		`"B b"@acmecorp.test`:                    `"b b"@acmecorp.test`,
		`"a@b"@acmecorp.test`:                    `"a@b"@acmecorp.test`,
		`"a\"\\"@acmecorp.test`:                  `"a\"\\"@acmecorp.test`,
		`""@acmecorp.test`:                       `""@acmecorp.test`,
		"a..b@acmecorp.test":                     "a..b@acmecorp.test",
		"JÜRGEN@Bücher.test":                     "jürgen@xn--bcher-kva.test",
		"ju\u0308rgen@xn--bcher-kva.test":        "jürgen@xn--bcher-kva.test",
		"\u0130nfo@acmecorp.test":                "\u0130nfo@acmecorp.test", // not "info"
		"bob@sub_domain.test":                    "bob@sub_domain.test",
		"bob@localhost":                          "bob@localhost",
		"用户@例子.test":                             "用户@xn--fsqu00a.test",
		strings.Repeat("a", 70) + "@a.test":      strings.Repeat("a", 70) + "@a.test",
		"":                                       "",
		"bob":                                    "",
		"@acmecorp.test":                         "",
		"bob@":                                   "",
		"bob@.":                                  "",
		"bob@a..b":                               "",
		"bob@.a":                                 "",
		"bob@[192.0.2.1]":                        "",
		"bob@a b":                                "",
		"bob@a>":                                 "",
		"<bob@acmecorp.test>":                    "",
		"Bob <bob@acmecorp.test>":                "",
		"b ob@acmecorp.test":                     "",
		"a@b@acmecorp.test":                      "",
		"b(x)ob@acmecorp.test":                   "",
		`"bob@acmecorp.test`:                     "",
		`"bo"b@acmecorp.test`:                    "",
		`"bob\"@acmecorp.test`:                   "",
		"bob\x00@acmecorp.test":                  "",
		"\"bob\n\"@acmecorp.test":                "",
		"b\u0085b@acmecorp.test":                 "",
		"b\u2003b@acmecorp.test":                 "",
		"b\xffb@acmecorp.test":                   "",
		"bob@b\xff.test":                         "",
		"bob@" + strings.Repeat("a", 64):         "",
		"bob@" + strings.Repeat("a.", 160) + "a": "",
	} {
		got, err := Normalize(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Normalize(%q) = %q, %v; want %q", in, got, err, want)
		}
		if err != nil {
			continue
		}
		if again, err := Normalize(got); again != got || err != nil {
			t.Errorf("Normalize(%q) = %q, %v: not stable", got, again, err)
		}
		if domain := got[strings.LastIndexByte(got, '@')+1:]; domain != policy.Domain(in) {
			t.Errorf("%q: the domain is %q, policy says %q", in, domain, policy.Domain(in))
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"bob@acmecorp.test", `"a b"@c.d`, "ü@ü.de", "a@B."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := Normalize(in)
		if err != nil {
			return
		}
		if again, err := Normalize(got); again != got || err != nil {
			t.Errorf("Normalize(%q) = %q, then %q, %v", in, got, again, err)
		}
		if domain := got[strings.LastIndexByte(got, '@')+1:]; domain != policy.Domain(in) {
			t.Errorf("%q: the domain is %q, policy says %q", in, domain, policy.Domain(in))
		}
	})
}
