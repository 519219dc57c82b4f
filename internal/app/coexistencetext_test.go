package app

import (
	"strings"
	"testing"

	"cloakroom/internal/coexist"
)

func TestReportHasColoursOnlyWhereAskedFor(t *testing.T) {
	r := &coexist.Report{Domain: "acmecorp.test", State: coexist.Wrong, Rows: []coexist.Row{
		{Area: coexist.AreaMX, What: "MX of acmecorp.test", State: coexist.Wrong, Found: "nothing", Fix: "add: acmecorp.test. MX 10 mx.acmecorp.test."},
	}}
	for colour, want := range map[bool]string{
		false: "MX\n  wrong    MX of acmecorp.test                   nothing\n           -> add: acmecorp.test. MX 10 mx.acmecorp.test.\n\nacmecorp.test: wrong (0 ok, 0 warning, 1 wrong, 0 unknown)\n",
		true:  "MX\n  \x1b[31;1mwrong\x1b[0m    MX of acmecorp.test                   nothing\n           -> add: acmecorp.test. MX 10 mx.acmecorp.test.\n\nacmecorp.test: \x1b[31;1mwrong\x1b[0m (0 ok, 0 warning, 1 wrong, 0 unknown)\n",
	} {
		var out strings.Builder
		if err := PrintCoexistence(&out, r, colour); err != nil || out.String() != want {
			t.Errorf("colour %v: %v\n got %q\nwant %q", colour, err, out.String(), want)
		}
	}
}

// What strangers write into their DNS must not drive our terminal.
func TestReportShowsRecordsWithoutControlCharacters(t *testing.T) {
	evil := "v=spf1\x1b]0;owned\x07\u202e -all"
	r := &coexist.Report{Domain: "acmecorp.test", State: coexist.Warning,
		Rows: []coexist.Row{{Area: coexist.AreaSPF, What: "SPF of " + evil, State: coexist.Warning, Found: evil, Fix: evil}},
		Routes: []coexist.Route{{Key: "coexistence[0]", Alternate: evil,
			Flows: []coexist.Flow{{Number: 1, Name: "inbound", State: coexist.OK, Path: evil, Envelope: evil, Reply: evil, Why: evil, Fix: evil}}}}}
	var out strings.Builder
	if err := PrintCoexistence(&out, r, false); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\x07\u202e") || strings.Count(out.String(), "\uFFFD]0;owned") != 9 {
		t.Errorf("%q", out.String())
	}
}
