package roff

import (
	"strings"
	"testing"
)

func TestTextStandsAsItWasWritten(t *testing.T) {
	p := New("x", 1, "x 1", "Manual")
	p.Text("first line\n.second line with \\d and it's -- `code`\n\nnew paragraph\n  indented * _as_ it is\n\n  still\nback")
	got := p.String()
	want := ".PP\nfirst line\n\\&.second line with \\ed and it\\(aqs \\-\\- \\(gacode\\(ga\n" +
		".PP\nnew paragraph\n.PP\n.RS 4\n.nf\nindented * _as_ it is\n\nstill\n.fi\n.RE\nback\n"
	if !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTermKeepsItsParagraphsTogether(t *testing.T) {
	p := New("x", 5, "x 1", "Manual")
	p.Term("milter.listen", "Where the\nMTA connects.\n\nSecond.")
	if want := ".TP\n\\fBmilter.listen\\fR\nWhere the MTA connects.\n.IP\nSecond.\n"; !strings.HasSuffix(p.String(), want) {
		t.Errorf("got\n%s", p.String())
	}
}

func TestHeadAndNameAreWhatWhatisReads(t *testing.T) {
	p := New("cloakroom-serve", 1, `cloakroom 1.2 "x"`, "Cloakroom Manual")
	p.Name("cloakroom-serve", "Run the daemon")
	want := ".TH \"CLOAKROOM\\-SERVE\" 1 \"\" \"cloakroom 1.2 \\(dqx\\(dq\" \"Cloakroom Manual\"\n.nh\n.ad l\n.SH \"NAME\"\ncloakroom\\-serve \\- run the daemon\n"
	if p.String() != want {
		t.Errorf("got\n%s\nwant\n%s", p.String(), want)
	}
	for in, out := range map[string]string{"SFTP is fast": "SFTP is fast", "See": "see"} {
		if got := lowerFirst(in); got != out {
			t.Errorf("lowerFirst(%q) = %q", in, got)
		}
	}
}
