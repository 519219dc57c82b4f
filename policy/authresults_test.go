package policy

import (
	"slices"
	"testing"
)

func TestParseAuthResults(t *testing.T) {
	trusted := []string{"mx.acmecorp.test"}
	for name, tt := range map[string]struct {
		values []string
		want   AuthResults
	}{
		"none": {nil, AuthResults{}},
		"one field with all": {[]string{" mx.acmecorp.test;\r\n\tdkim=pass header.d=ext.test header.s=a;\r\n\tspf=softfail (why) smtp.mailfrom=eve@ext.test;\r\n\tdmarc=FAIL (p=reject) header.from=ext.test"},
			AuthResults{SPF: "softfail", DKIM: "pass", DMARC: "fail"}},
		"a field for each method": {[]string{"mx.acmecorp.test; dmarc=pass", "MX.AcmeCorp.test; dkim=neutral", "mx.acmecorp.test 1; spf=none"},
			AuthResults{SPF: "none", DKIM: "neutral", DMARC: "pass"}},
		"no verifier of ours":                      {[]string{"mx.ext.test; dmarc=pass; spf=pass; dkim=pass"}, AuthResults{}},
		"a forged field below":                     {[]string{"mx.acmecorp.test; dmarc=fail", "mx.acmecorp.test; dmarc=pass"}, AuthResults{DMARC: "fail"}},
		"a forged result in a quoted local part":   {[]string{`mx.acmecorp.test; spf=fail smtp.mailfrom="a; dmarc=pass; dkim=pass"@ext.test`}, AuthResults{SPF: "fail"}},
		"a forged result in a comment":             {[]string{`mx.acmecorp.test; spf=fail (sender is "a"; dmarc=pass (x; dkim=pass) \); dkim=pass)`}, AuthResults{SPF: "fail"}},
		"an open quote ends all":                   {[]string{`mx.acmecorp.test; spf=fail smtp.mailfrom="a; dmarc=pass`, "mx.acmecorp.test; dmarc=pass"}, AuthResults{}},
		"an open comment ends all":                 {[]string{`mx.acmecorp.test; spf=fail (a; dmarc=pass`, "mx.acmecorp.test; dmarc=pass"}, AuthResults{}},
		"an unknown version ends all":              {[]string{`mx.acmecorp.test 2; spf=pass`, "mx.acmecorp.test; dmarc=pass"}, AuthResults{}},
		"what cannot be read is not made up below": {[]string{"mx.acmecorp.test; dmarc = fail", "mx.acmecorp.test; dmarc=pass"}, AuthResults{}},
		"not the id, but one that begins like it":  {[]string{"mx.acmecorp.test.ext.test; dmarc=pass"}, AuthResults{}},
		"an id in quotes":                          {[]string{`"mx.acmecorp.test"; dmarc=pass`}, AuthResults{DMARC: "pass"}},
		"a comment before the id":                  {[]string{`(x) mx.acmecorp.test (y); dmarc=pass`}, AuthResults{DMARC: "pass"}},
		"nothing was checked":                      {[]string{"mx.acmecorp.test; none", "mx.acmecorp.test; spf=none"}, AuthResults{SPF: "none"}},
		"any signature that passes":                {[]string{"mx.acmecorp.test; dkim=fail header.d=a.test; dkim=pass header.d=b.test; dkim=fail header.d=c.test"}, AuthResults{DKIM: "pass"}},
		"two that disagree on dmarc":               {[]string{"mx.acmecorp.test; dmarc=fail; dmarc=pass"}, AuthResults{DMARC: "fail"}},
		"the same the other way round":             {[]string{"mx.acmecorp.test; dmarc=pass; dmarc=fail"}, AuthResults{DMARC: "fail"}},
		"MAIL FROM counts more than HELO":          {[]string{"mx.acmecorp.test; spf=pass smtp.helo=mail.ext.test; spf=fail smtp.mailfrom=ext.test"}, AuthResults{SPF: "fail"}},
		"HELO where there is nothing else":         {[]string{"mx.acmecorp.test; spf=pass smtp.helo=mail.ext.test"}, AuthResults{SPF: "pass"}},
		"a broken result of another method":        {[]string{"mx.acmecorp.test; arc=pass header.oldest-pass=0; iprev; dmarc=pass"}, AuthResults{DMARC: "pass"}},
	} {
		if got := ParseAuthResults(tt.values, trusted); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
	if got := ParseAuthResults([]string{"; spf=pass", " "}, []string{""}); got != (AuthResults{}) {
		t.Errorf("believed a verifier without a name: %+v", got)
	}
	if got := ParseAuthResults([]string{"mx.acmecorp.test; spf=pass"}, nil); got != (AuthResults{}) {
		t.Errorf("believed without a trusted verifier: %+v", got)
	}
}

func TestAddresses(t *testing.T) {
	for value, want := range map[string][]string{
		"bob@ext.test": {"bob@ext.test"},
		`"Bob, the <ceo@acmecorp.test>" <bob@ext.test>`:              {"bob@ext.test"},
		`ceo@acmecorp.test <eve@ext.test>`:                           {"eve@ext.test"},
		`=?utf-8?q?=3Cceo=40acmecorp.test=3E?= <eve@ext.test>`:       {"eve@ext.test"},
		`Eve (ceo@acmecorp.test, "x" \) <a@b>) <eve@ext.test>`:       {"eve@ext.test"},
		`"a b"@ext.test, "c,d"@ext.test`:                             {`"a b"@ext.test`, `"c,d"@ext.test`},
		"Team: bob@ext.test, Sue <sue@ext.test>;, amy@acmecorp.test": {"bob@ext.test", "sue@ext.test", "amy@acmecorp.test"},
		"undisclosed-recipients:;":                                   nil,
		"Bob\r\n <bob@\r\n ext.test>":                                {"bob@ext.test"},
		"<ceo@acmecorp.test> <eve@ext.test>":                         {"eve@ext.test"},
		"postmaster, , <>":                                           nil,
		`"open <bob@ext.test>`:                                       nil,
		"Bob <bob@ext.test":                                          {"bob@ext.test"},
	} {
		if got := Addresses([]string{value}); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

func FuzzAuthResults(f *testing.F) {
	f.Add(`mx.acmecorp.test; spf=fail smtp.mailfrom="a; dmarc=pass"@ext.test; dkim=pass (c \) ; x)`)
	f.Fuzz(func(t *testing.T, value string) {
		// What a sender writes into a quoted string never becomes a result.
		inside := "mx.acmecorp.test; spf=fail smtp.mailfrom=\"" + quoted(value) + "\"@ext.test"
		if got := ParseAuthResults([]string{inside}, []string{"mx.acmecorp.test"}); got != (AuthResults{SPF: "fail"}) {
			t.Fatalf("%q gives %+v", inside, got)
		}
		_ = ParseAuthResults([]string{value, inside}, []string{"mx.acmecorp.test"})
		_ = Addresses([]string{value})
	})
}

func quoted(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return string(out)
}
