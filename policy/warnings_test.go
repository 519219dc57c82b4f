package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cloakroom/message"
)

func TestWarnings(t *testing.T) {
	for name, tt := range map[string]struct {
		rules []Rule
		want  []string
	}{
		"nothing to say": {[]Rule{
			{If: "direction == 'inbound'", Link: link}, {If: "direction == 'outbound' && attachment.size > 5", Link: link}, {If: "attachment.size > 5", Link: keep}, {Tag: external}}, nil},
		"never":                     {[]Rule{{If: "direction == 'inbound' && 1 * MB > 5 * GB", Link: link}}, []string{`rules[0].if: rule "0": line 1, column 27: can never match: 1 * MB > 5 * GB is false for every mail`}},
		"just false":                {[]Rule{{If: "false", Tag: external}, {Tag: external}}, []string{`rules[0].if: rule "0": line 1, column 1: can never match: false is false for every mail`}},
		"the same condition":        {[]Rule{{If: "authenticated && size > 5", Link: link}, {If: "size > 5 && authenticated", Link: keep}}, []string{`rules[1]: rule "1": is never asked: rule "0" above speaks wherever this one would`}},
		"written otherwise":         {[]Rule{{If: "from == 'x'", Link: link}, {If: `from  ==  "x"`, Link: keep}}, []string{`rules[1]: rule "1": is never asked`}},
		"after one for all":         {[]Rule{{Link: keep}, {If: "size > 5", Link: link}}, []string{`rules[1]: rule "1": is never asked: rule "0" above`}},
		"after one that says true":  {[]Rule{{If: "true", Link: keep}, {If: "size > 5", Link: link}}, []string{`rules[1]: rule "1": is never asked: rule "0" above`}},
		"after one that asks less":  {[]Rule{{If: "size > 5", Link: keep}, {If: "authenticated && size > 5", Link: link}}, []string{`rules[1]: rule "1": is never asked`}},
		"after one that never does": {[]Rule{{If: "false && size > 5", Link: keep}, {If: "size > 5", Link: link}}, []string{`rules[0].if: rule "0": line 1, column 1: can never match`}},
		"in another slot":           {[]Rule{{Link: link}, {Tag: external}}, nil},
		"in one of its slots":       {[]Rule{{Link: link}, {If: "size > 5", Link: keep, Tag: external}}, []string{`rules[1].link: rule "1": is never asked: rule "0" above speaks about link wherever this one would`}},
		"by several": {[]Rule{{Link: link}, {Reject: admit}, {If: "size > 5", Link: keep, Reject: refuse}}, []string{
			`rules[2].link: rule "2": is never asked: rule "0" above speaks about link`, `rules[2].reject: rule "2": is never asked: rule "1" above speaks about reject`}},
	} {
		for i := range tt.rules {
			tt.rules[i].Name = fmt.Sprint(i)
		}
		var got []string
		for _, w := range mustCompile(t, tt.rules...).Warnings() {
			got = append(got, w.String())
		}
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// warningsOf gives the warnings of link rules, without their index.
func warningsOf(t *testing.T, conditions ...string) []string {
	t.Helper()
	var rules []Rule
	for i, c := range conditions {
		rules = append(rules, Rule{Name: fmt.Sprint(i), If: c, Link: link})
	}
	var out []string
	for _, w := range mustCompile(t, rules...).Warnings() {
		out = append(out, strings.TrimPrefix(w.String(), fmt.Sprintf("rules[%d]", w.Index)))
	}
	return out
}

func TestConditionsThatCanNeverHoldAreTold(t *testing.T) {
	for condition, want := range map[string]string{
		"attachment.size > 5*MB && attachment.size < 1*MB":                                        `column 27: can never match: attachment.size > 5 * MB and attachment.size < 1 * MB exclude each other`,
		"5*MB < attachment.size && 1*MB >= attachment.size":                                       `can never match: 5 * MB < attachment.size and 1 * MB >= attachment.size exclude`,
		"attachment.size == 5 && !(attachment.size < 6)":                                          "exclude each other",
		"attachment.size < 0":                                                                     "can never match: attachment.size < 0 is false for every mail",
		"direction == 'inbound' && authenticated && direction == 'outbound'":                      `column 44: can never match: direction == "inbound" and direction == "outbound" exclude each other`,
		"direction in ['inbound', 'local'] && direction in ['outbound']":                          "exclude each other",
		"(direction == 'inbound' || direction == 'local') && direction == 'relay'":                "exclude each other",
		"direction != 'inbound' && direction != 'local' && !(direction in ['outbound', 'relay'])": `can never match: direction != "inbound", direction != "local" and !(direction in ["outbound", "relay"]) exclude each other`,
		"from == 'a@ext.test' && from == 'b@ext.test'":                                            "exclude each other",
		"from == 'a@ext.test' && from != 'a@ext.test'":                                            "exclude each other",
		"authenticated && !authenticated":                                                         "authenticated and !authenticated exclude each other",
		"authenticated == false && user == 'bob'":                                                 "exclude each other",
		"from_gateway != true && from_gateway":                                                    "exclude each other",
		"domain(from) == 'a.test' && domain(from) in ['b.test', 'c.test']":                        "exclude each other",
		"from in []":                           `is false for every mail`,
		"(size < 5 || size == 7) && size > 10": "nothing in size < 5 || size == 7 can hold beside the other terms",
		"'research' in recipient.groups && direction == 'outbound'": `"research" in recipient.groups and direction == "outbound" exclude each other: only users of ours have groups`,
		"in_group(sender, 'research') && direction == 'inbound'":    "exclude each other: sender is empty unless he is a user of ours",
		"direction == 'relay' && sender.department == 'labs'":       "exclude each other: sender is empty",
		"attachment.extension == 'PDF'":                             `column 25: attachment.extension is never "PDF": it is in lower case; so this rule can never match`,
		"attachment.extension in ['.exe', '.com']":                  `attachment.extension is never ".exe": it is what follows the last dot`,
		"recipient.domain == '@ext.test'":                           `recipient.domain is never "@ext.test": it is what follows the @; so`,
		"domain(header_from) == 'Ext.test'":                         `it is in lower case`,
		"recipient.domain == 'bücher.test'":                         `write xn--bcher-kva.test`,
		"client == '10.0.0.0/8'":                                    `write in_network(client, '10.0.0.0/8')`,
		"auth.dmarc == 'failed'":                                    `auth.dmarc is hardly ever "failed": results are none, pass, fail`,
		"auth.spf == 'Fail'":                                        `auth.spf is never "Fail": it is in lower case`,
		"attachment.type == 'pdf'":                                  `a media type is written like application/pdf`,
		"attachment.sha256 == 'abc'":                                `it is 64 hex digits`,
		"authenticated &&\nattachment.extension != 'PDF'":           `line 2, column 25: attachment.extension is never "PDF": it is in lower case`,
	} {
		got := warningsOf(t, condition)
		if len(got) == 0 || !strings.Contains(got[0], want) {
			t.Errorf("%s: got %q, want %q", condition, got, want)
		}
	}
}

// TestConditionsThatMayHoldAreNot: a warning that is wrong teaches people to
// read none.
func TestConditionsThatMayHoldAreNot(t *testing.T) {
	for _, condition := range []string{
		"attachment.size > 1*MB && attachment.size < 5*MB",
		"attachment.size >= 5 && attachment.size <= 5",
		"attachment.size == 0", "size != 5 && size > 4 && size < 7",
		"direction != 'inbound' && direction != 'local'",
		"direction == 'inbound' && authenticated", // a stranger's MAIL FROM
		"from == 'a@ext.test' && header_from == 'b@ext.test'",
		"header('X-A') == 'a' && header('X-B') == 'b'",
		"headers('X-A').exists(v, v == 'a') && headers('X-A').exists(v, v == 'b')",
		"'a' in recipient.groups && 'b' in recipient.groups",
		"!('a' in recipient.groups) && direction == 'outbound'",
		"sender.department != 'labs' && direction == 'inbound'",
		"sender.department == '' && direction == 'inbound'",
		"recipient.address == 'a@ext.test' && direction == 'outbound'",
		"recipient.system == '' && direction == 'outbound'",
		"attachment.name == 'PDF' || attachment.name == 'x'",
		"attachment.names.exists(n, n == 'A') && attachment.extension != 'a'",
		"(direction == 'inbound' || authenticated) && direction == 'local'",
		"authenticated ? direction == 'inbound' : direction == 'local'",
		"user == '' && !authenticated", "user != '' && authenticated",
		"auth.dmarc == '' || auth.dmarc in ['none', 'temperror', 'bestguesspass']",
		"recipient.address == 'Bob@Ext.test'", "host == 'MAIL.ext.test'",
		"client == '2001:db8::1'", "attachment.sha256 == '" + strings.Repeat("0f", 32) + "'",
		"(attachment.type == 'application/pdf' || attachment.extension == 'p7s') && direction == 'local'",
		"attachment.type != 'application/pkcs7-mime'", "!attachment.name.endsWith('.p7m')",
		"!header('Content-Type').startsWith('multipart/signed')", "from != ''",
	} {
		if got := warningsOf(t, condition); len(got) != 0 {
			t.Errorf("%s: %q", condition, got)
		}
	}
}

func TestRulesBehindOneThatAsksForLessAreTold(t *testing.T) {
	for name, tt := range map[string]struct {
		above, below string
		shadowed     bool
	}{
		"more than":            {"attachment.size > 1*MB", "attachment.size > 5*MB", true},
		"at least":             {"attachment.size > 1*MB", "attachment.size >= 1*MB + 1", true},
		"less than":            {"attachment.size > 5*MB", "attachment.size > 1*MB", false},
		"one of":               {"direction in ['inbound', 'local']", "direction == 'local' && authenticated", true},
		"not one of":           {"direction in ['inbound', 'local']", "direction in ['local', 'outbound']", false},
		"all but one":          {"direction != 'relay'", "direction == 'local'", true},
		"the others":           {"direction in ['inbound', 'local', 'outbound']", "direction != 'relay'", true},
		"either":               {"authenticated || from == 'x'", "from == 'x'", true},
		"not either":           {"authenticated && from == 'x'", "from == 'x'", false},
		"each of several":      {"authenticated || size > 5", "(authenticated && from == 'x') || size > 7", true},
		"not each":             {"authenticated || size > 5", "authenticated || size > 3", false},
		"every size":           {"attachment.size >= 0", "attachment.extension == 'pdf'", true},
		"a group's direction":  {"direction == 'local' || direction == 'inbound'", "'x' in recipient.groups", true},
		"both parts":           {"attachment.size > 1 && direction == 'local'", "direction == 'local' && attachment.size > 2 && authenticated", true},
		"one part":             {"attachment.size > 1 && direction == 'local'", "attachment.size > 2 && authenticated", false},
		"another fact":         {"size > 1", "attachment.size > 5", false},
		"a group":              {"in_group(recipient, 'x')", "'x' in recipient.groups", true},
		"not not":              {"!(size <= 5)", "size > 5", true},
		"the same loop":        {"attachment.names.exists(n, n.contains('x'))", "authenticated && attachment.names.exists(n, n.contains('x'))", true},
		"another loop":         {"attachment.names.exists(n, n.contains('x'))", "attachment.names.exists(n, n.contains('xy'))", false},
		"the same call":        {"domain(from) in ['a.test', 'b.test']", "domain(from) == 'a.test'", true},
		"not known":            {"subject.contains('x')", "subject.contains('xy')", false},
		"a choice of nothings": {"from == 'x'", "authenticated ? from == 'x' : from == 'y'", false},
	} {
		got := warningsOf(t, tt.above, tt.below)
		if tt.shadowed != (len(got) == 1 && strings.Contains(got[0], `is never asked: rule "0" above`)) || !tt.shadowed && len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestLinkRulesThatAskForSealedMailAreTold(t *testing.T) {
	for condition, want := range map[string]string{
		"attachment.type == 'application/pkcs7-mime'":                              `never links: what is signed or encrypted stays in the mail, and so does every attachment with attachment.type "application/pkcs7-mime"`,
		"attachment.type in ['application/pdf', 'application/pgp-signature']":      `does not link all it asks for: what is signed or encrypted stays`,
		"attachment.extension in ['p7m', 'p7s'] && direction == 'outbound'":        `every attachment with attachment.extension "p7m", "p7s"`,
		"attachment.name.endsWith('.p7m')":                                         `never links: attachment.name.endsWith(".p7m") asks for signed`,
		"glob(attachment.name, '*.P7S')":                                           "never links",
		"header('content-type').startsWith('multipart/signed')":                    "never links",
		"header('Content-Type').contains('application/pkcs7-mime') && size > 1*MB": "never links",
		"from == ''": "never links: mail of the null sender",
	} {
		if got := warningsOf(t, condition); len(got) != 1 || !strings.HasPrefix(got[0], ".link: ") || !strings.Contains(got[0], want) {
			t.Errorf("%s: got %q, want %q", condition, got, want)
		}
	}
	for condition, told := range map[string]bool{
		"attachment.size > 5": true, "direction == 'inbound'": true, "auth.dkim == 'pass'": true,
		"auth.dkim != 'pass'": false, "auth.dkim in ['none', '']": false, "direction == 'local'": false, "authenticated && direction == 'outbound'": false,
	} {
		rule := Rule{Name: "r", If: condition, Link: &LinkAction{Options: LinkOptions{Forwarded: true}}}
		got := mustCompile(t, rule).Warnings()
		if told != (len(got) == 1 && strings.Contains(got[0].Message, "inbound gateway")) {
			t.Errorf("forwarded, %s: %q", condition, got)
		}
	}
	keeps := Rule{Name: "r", If: "attachment.type == 'application/pkcs7-mime'", Link: keep, Tag: external}
	if got := mustCompile(t, keeps).Warnings(); len(got) > 0 {
		t.Errorf("a rule that keeps: %q", got)
	}
}

// TestSealedTypesStayInTheMail compares the lists with what is done.
func TestSealedTypesStayInTheMail(t *testing.T) {
	stays := func(typ, name string) bool {
		text := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
		body := "--b\r\n\r\ntext\r\n--b\r\nContent-Type: " + typ + "\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\n\r\nx\r\n--b--\r\n"
		header, err := message.ParseHeader([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		scanner := message.NewScanner(header, message.NewInspector())
		if _, err := scanner.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
		tree := scanner.Close()
		message.Assess(tree, strings.NewReader(body))
		return tree.Root.Children[1].Keep != ""
	}
	if stays("application/pdf", "a.pdf") {
		t.Fatal("a PDF stays")
	}
	for _, typ := range sealedTypes {
		if !stays(typ, "a.bin") {
			t.Errorf("%s does not stay", typ)
		}
	}
	for _, ext := range sealedExtensions {
		if !stays("application/octet-stream", "a."+ext) {
			t.Errorf(".%s does not stay", ext)
		}
	}
}
