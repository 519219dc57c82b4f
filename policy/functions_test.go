package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		text, pattern string
		want          bool
	}{
		{"report.pdf", "*.pdf", true},
		{"REPORT.PDF", "*.pdf", true},
		{"report.pdf.exe", "*.pdf", false},
		{"report.pdf", "report", false},
		{"", "", true},
		{"", "*", true},
		{"", "?", false},
		{"a", "?", true},
		{"ä", "?", true},
		{"Übersicht.doc", "übersicht.*", true},
		{"aXbXc", "a*x*c", true},
		{"aaaa", "a*a*b", false},
		{"a/b", "a*b", true},
		{"[x]", "[x]", true},
		{"abc", "abc**", true},
		{"\xff\xfe", "??", true},
	} {
		if got := glob(tt.text, tt.pattern); got != tt.want {
			t.Errorf("glob(%q, %q) = %v", tt.text, tt.pattern, got)
		}
	}
}

func TestDomain(t *testing.T) {
	for address, want := range map[string]string{
		"bob@AcmeCorp.test":                      "acmecorp.test",
		"bob@acmecorp.test.":                     "acmecorp.test",
		`"a@b"@ext.test`:                         "ext.test",
		"Bob <bob@acmecorp.test>":                "acmecorp.test",
		`"ceo@acmecorp.test" <mallory@ext.test>`: "ext.test",
		"bob@bücher.test":                        "xn--bcher-kva.test",
		"bob@BÜCHER.test":                        "xn--bcher-kva.test",
		"bob@xn--bcher-kva.test":                 "xn--bcher-kva.test",
		"bob@[192.0.2.1]":                        "[192.0.2.1]",
		"bob@_dmarc.ext.test":                    "_dmarc.ext.test",
		"":                                       "",
		"postmaster":                             "",
		"<>":                                     "",
		"bob@":                                   "",
	} {
		if got := Domain(address); got != want {
			t.Errorf("Domain(%q) = %q, want %q", address, got, want)
		}
	}
}

// sample is a mail from outside with two attachments for two of ours.
func sample() *Facts {
	header := map[string][]string{"x-team": {"red", "blue"}, "from": {"Eve <eve@ext.test>"}, "to": {"Bob <bob@acmecorp.test>, amy@acmecorp.test"}, "cc": {"=?utf-8?q?=3Cx=40y=3E?= <sue@ext.test>"}}
	return &Facts{
		From: "eve@ext.test", To: []string{"bob@acmecorp.test", "amy@acmecorp.test"},
		Client: netip.MustParseAddr("::ffff:192.0.2.7"), Helo: "mail.ext.test", Host: "mail.ext.test", Daemon: "smtpd", TLS: "TLSv1.3",
		Subject: "Plans", Size: 9 << 20, Time: time.Date(2026, 11, 3, 14, 0, 0, 0, time.UTC),
		Header:      func(name string) []string { return header[strings.ToLower(name)] },
		RawHeader:   func(name string) []string { return header[strings.ToLower(name)] },
		FromGateway: true, AuthResults: AuthResults{SPF: "softfail", DKIM: "pass", DMARC: "none"},
		Sender: &User{Address: "eve@ext.test", Local: "eve", Domain: "ext.test", Groups: []string{"staff"}, Department: "sales", System: "gapps"},
		Recipients: []Recipient{
			{Address: "bob@acmecorp.test", Local: "bob", Domain: "acmecorp.test", Direction: Inbound,
				Groups: []string{"research", "staff"}, Department: "labs", System: "gapps"},
			{Address: "amy@acmecorp.test", Local: "amy", Domain: "acmecorp.test", Direction: Inbound},
		},
		Attachments: []Attachment{
			{Part: 2, Name: "NDA.PDF", Names: []string{"NDA.PDF", "nda.exe"}, Extension: "PDF", Type: "Application/PDF", Sniffed: "application/pdf",
				Size: 6 << 20, Disposition: "Attachment", SHA256: strings.Repeat("AB", 32),
				Inside: func() (Inside, error) { return Inside{Encrypted: true, Names: []string{"a.txt", "b.exe"}}, nil }},
			{Part: 3, Name: "logo.png", Names: []string{"logo.png"}, Extension: "png", Type: "image/png", Sniffed: "image/png", Size: 2 << 10, Inline: true,
				Disposition: "inline", ContentID: "logo"},
		},
	}
}

// TestVocabularyHoldsItsValues asks each fact for the value of the sample.
func TestVocabularyHoldsItsValues(t *testing.T) {
	asked := ""
	for _, condition := range []string{
		"from == 'eve@ext.test'", "to.size() == 2 && to[1] == 'amy@acmecorp.test'", "!authenticated", "user == ''", "client == '192.0.2.7'",
		"helo == 'mail.ext.test'", "host == 'mail.ext.test'", "daemon == 'smtpd'", "tls == 'TLSv1.3'", "subject == 'Plans'", "size == 9 * MB",
		"time == timestamp('2026-11-03T14:00:00Z') && time.getHours() == 14",
		"recipient.address == 'bob@acmecorp.test'", "recipient.local == 'bob'", "recipient.domain == 'acmecorp.test'", "direction == 'inbound'",
		"attachment.name == 'NDA.PDF'", "attachment.names.exists(n, glob(n, '*.exe'))", "attachment.extension == 'pdf'", "attachment.type == 'application/pdf'",
		"attachment.sniffed == 'application/pdf'", "attachment.size == 6 * MB", "!attachment.inline", "attachment.disposition == 'attachment'",
		"attachment.sha256.startsWith('abab')", "from_gateway",
		"attachment.encrypted", "attachment.inner_names == ['a.txt', 'b.exe'] && attachment.inner_names.exists(n, n.endsWith('.exe'))", "!attachment.inner_complete",
		"header_from == 'eve@ext.test' && header_to == ['bob@acmecorp.test', 'amy@acmecorp.test'] && header_cc == ['sue@ext.test']",
		"auth.spf == 'softfail' && auth.dkim == 'pass' && auth.dmarc == 'none'",
		"sender.address == from && sender.local == 'eve' && sender.domain == 'ext.test' && sender.department == 'sales' && sender.system == 'gapps'",
		"sender.groups == ['staff'] && in_group(sender, 'staff') && !in_group(sender, 'research')",
		"'research' in recipient.groups && recipient.department == 'labs' && recipient.system == 'gapps' && in_group(recipient, 'research')",
		"KB == 1024 && MB == KB * KB && GB == KB * MB",
		"header('X-TEAM') == 'red' && header('X-None') == ''", "headers('x-team') == ['red', 'blue'] && headers('X-None').size() == 0",
		"subject.matches('^Pl') && !subject.matches('^pl') && subject.matches('(?i)^pl')", "glob(from, '*@ext.test')",
		"domain(from) == 'ext.test' && domain(header('from')) == 'ext.test'",
		"in_network(client, '192.0.2.0/24') && in_network(client, '192.0.2.7') && !in_network(client, '2001:db8::/32') && !in_network('', '0.0.0.0/0') && !in_network('junk', '0.0.0.0/0')",
	} {
		asked += condition + "\n"
		set, err := Compile([]Rule{{Name: "r", If: condition, Link: &LinkAction{}}})
		if err != nil {
			t.Error(err)
			continue
		}
		plan := set.Explain(sample())
		if len(plan.Errors) != 0 || !plan.Decisions[0].Link {
			t.Errorf("%s does not hold: %s", condition, plan)
		}
	}
	for _, fact := range Vocabulary() {
		name, _, _ := strings.Cut(fact.Name, "(")
		if !strings.Contains(asked, strings.TrimPrefix(name, "text")) {
			t.Errorf("the vocabulary's %s is not asked for here", fact.Name)
		}
		if fact.Type == "" || fact.Doc == "" {
			t.Errorf("%s has no type or no documentation", fact.Name)
		}
	}
}

func TestVocabularyNamesAreUnique(t *testing.T) {
	var names []string
	for _, f := range Vocabulary() {
		if slices.Contains(names, f.Name) {
			t.Errorf("%s is there twice", f.Name)
		}
		names = append(names, f.Name)
	}
}
