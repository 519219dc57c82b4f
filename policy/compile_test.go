package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var link = &LinkAction{}

func TestCompileErrorShowsThePlace(t *testing.T) {
	for name, tt := range map[string]struct {
		rule Rule
		want string
	}{
		"misspelt field": {
			Rule{Name: "large", If: "attachment.nmae == 'x'", Link: link}, `
rules[0].if: rule "large": line 1, column 12: undefined field 'nmae'; attachment has name, names, extension, type, sniffed, size, inline, disposition, sha256, encrypted, inner_names, inner_complete
    attachment.nmae == 'x'
               ^`},
		"misspelt variable": {
			Rule{Name: "large", If: "attachment.size > 1 && atachment.inline", Link: link}, `
rules[0].if: rule "large": line 1, column 24: undeclared reference to 'atachment' (did you mean 'attachment'?); there are from, to, authenticated, user, client, helo, host, daemon, tls, from_gateway, subject, header_from, header_to, header_cc, size, time, auth, sender, recipient, direction, attachment
    attachment.size > 1 && atachment.inline
                           ^`},
		"misspelt function": {
			Rule{Name: "f", If: "globb(from, 'x')", Link: link}, `
rules[0].if: rule "f": line 1, column 6: undeclared reference to 'globb' (did you mean 'glob'?); there are header, headers, text.matches, glob, domain, in_network, in_group
    globb(from, 'x')
         ^`},
		"the right line of several, after a tab and a wide character": {
			Rule{Name: "m", If: "from == 'ä' &&\r\n\tsubject == 'ü' && sise > 3", Link: link}, `
rules[0].if: rule "m": line 2, column 20: undeclared reference to 'sise' (did you mean 'size'?); there are from, to, authenticated, user, client, helo, host, daemon, tls, from_gateway, subject, header_from, header_to, header_cc, size, time, auth, sender, recipient, direction, attachment
    	subject == 'ü' && sise > 3
    	                  ^`},
		"types that do not fit": {
			Rule{Name: "t", If: "attachment.size > '5'", Link: link}, `
rules[0].if: rule "t": line 1, column 17: found no matching overload for '_>_' applied to '(int, string)'
    attachment.size > '5'
                    ^`},
		"not a condition": {
			Rule{Name: "n", If: "attachment.size", Link: link}, `
rules[0].if: rule "n": line 1, column 1: the condition is of type int; it must be true or false
    attachment.size
    ^`},
		"no such direction": {
			Rule{Name: "d", If: "direction == 'outbund'", Link: link}, `
rules[0].if: rule "d": line 1, column 14: no such direction: "outbund"; it is one of inbound, outbound, local, relay
    direction == 'outbund'
                 ^`},
		"no such direction in a list": {
			Rule{Name: "d", If: "direction in ['local', 'both']", Link: link}, `
rules[0].if: rule "d": line 1, column 24: no such direction: "both"; it is one of inbound, outbound, local, relay
    direction in ['local', 'both']
                           ^`},
		"bad network": {
			Rule{Name: "n", If: "in_network(client, '10.0.0.0/40')", Link: link}, `
rules[0].if: rule "n": line 1, column 20: "10.0.0.0/40" is not a network: write one like 10.0.0.0/8 or 2001:db8::/32
    in_network(client, '10.0.0.0/40')
                       ^`},
		"host bits in a network": {
			Rule{Name: "n", If: "in_network(client, '10.0.0.1/8')", Link: link}, `
rules[0].if: rule "n": line 1, column 20: "10.0.0.1/8" has bits set beyond its length: did you mean 10.0.0.0/8?
    in_network(client, '10.0.0.1/8')
                       ^`},
		"bad regular expression": {
			Rule{Name: "x", If: "attachment.name.matches('(?i)nda|(')", Link: link}, `
rules[0].if: rule "x": line 1, column 25: error parsing regexp: missing closing ): ` + "`(?i)nda|(`" + `
    attachment.name.matches('(?i)nda|(')
                            ^`},
		"an object as a value": {
			Rule{Name: "o", If: "dyn(recipient) == 1", Link: link}, `
rules[0].if: rule "o": line 1, column 5: 'recipient' is not a value itself; take one of its fields: address, local, domain, groups, department, system
    dyn(recipient) == 1
        ^`},
		"no name": {
			Rule{Link: link}, `
rules[0].name: missing; logs and explanations call the rule by it`},
		"no action": {
			Rule{Name: "idle", If: "true"}, `
rules[0]: rule "idle": says nothing: give it an action, link, vault, forward, reject, quarantine, header or tag`},
		"a field no person has": {
			Rule{Name: "p", If: "sender.size > 1", Link: link}, `
rules[0].if: rule "p": line 1, column 8: undefined field 'size'; sender has address, local, domain, groups, department, system
    sender.size > 1
           ^`},
		"the owner, where links are decided": {
			Rule{Name: "v", If: "true && owner.department == 'labs'", Link: link}, `
rules[0].if: rule "v": line 1, column 9: 'owner' is for vault rules; there are recipient and sender
    true && owner.department == 'labs'
            ^`},
		"the recipient, where copies are decided": {
			Rule{Name: "v", If: "recipient.department == 'labs'", Vault: &VaultAction{Options: VaultOptions{Target: "a"}}}, `
rules[0].if: rule "v": line 1, column 1: a vault rule is asked for each owner (the recipients who are ours, and the sender who is): write owner instead of recipient
    recipient.department == 'labs'
    ^`},
		"attachments, where the way is decided": {
			Rule{Name: "f", If: "attachment.size > 1", Forward: &ForwardAction{Stay: true}}, `
rules[0].if: rule "f": ` + "`attachment.size > 1`" + ` is about attachments, and where mail goes is decided before they are known`},
		"the size, where the way is decided": {
			Rule{Name: "f", If: "size > 1", Forward: &ForwardAction{Stay: true}}, `
rules[0].if: rule "f": ` + "`size > 1`" + ` is known at the end of the mail only, and where mail goes is decided before`},
		"a group of nobody": {
			Rule{Name: "g", If: "in_group('bob', 'research')", Link: link}, `
rules[0].if: rule "g": line 1, column 10: the first argument of in_group is recipient or sender
    in_group('bob', 'research')
             ^`},
		"negative expiry": {
			Rule{Name: "e", Link: &LinkAction{Options: LinkOptions{Expires: -time.Second}}}, `
rules[0].link.expires: rule "e": must not be negative`},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Compile([]Rule{tt.rule})
			if set != nil || err == nil {
				t.Fatalf("compiled: %v", err)
			}
			if got, want := err.Error(), strings.TrimLeft(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestCompileReportsEveryMistake(t *testing.T) {
	_, err := Compile([]Rule{
		{Name: "a", If: "sise > 1 && attachment.nmae == 'x'", Link: link},
		{Name: "b", Link: link},
		{Name: "b", If: "'", Link: link},
	})
	var found []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var mistake *CompileError
		if !errors.As(e, &mistake) {
			t.Fatalf("%T is not a *CompileError", e)
		}
		found = append(found, fmt.Sprintf("%s %s %d %d", mistake.Rule, mistake.Key, mistake.Index, mistake.Line))
	}
	if got := strings.Join(found[:4], ", "); got != "a if 0 1, a if 0 1, b name 2 0, b if 2 1" {
		t.Errorf("mistakes: %s", strings.Join(found, ", "))
	}
}

func TestCompileLimits(t *testing.T) {
	for name, condition := range map[string]string{
		"size":       "from == '" + strings.Repeat("x", maxExpressionSize) + "'",
		"nesting":    strings.Repeat("!(", maxExpressionDepth*2) + "true" + strings.Repeat(")", maxExpressionDepth*2),
		"loops":      "to.exists(a, to.exists(b, to.exists(c, a == b && b == c)))",
		"regex size": "from.matches('(x{1,1000}){1,1000}')",
	} {
		if _, err := Compile([]Rule{{Name: "r", If: condition, Link: link}}); err == nil {
			t.Errorf("%s: a condition beyond the limit compiles", name)
		}
	}
	list := "attachment.extension in ['" + strings.Repeat("abcd', '", 1000) + "exe']"
	if _, err := Compile([]Rule{{Name: "r", If: list, Link: link}}); err != nil {
		t.Errorf("a list of 1,000 extensions: %v", err)
	}
}

func TestTermsAreSharedAndScoped(t *testing.T) {
	set, err := Compile([]Rule{
		{Name: "a", If: "direction == 'inbound' && (attachment.size > 5 * MB && authenticated)", Link: link},
		{Name: "b", If: `direction == "inbound" && attachment.name.startsWith(recipient.local)`, Link: link},
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := set.rules[0].operands, set.rules[1].operands
	if len(a) != 3 || len(b) != 2 || a[0] != b[0] {
		t.Fatalf("terms: %+v %+v", a, b)
	}
	for o, want := range map[*operand]scope{a[0]: perRecipient, a[1]: perAttachment, a[2]: perMail, b[1]: perPair} {
		if o.scope != want {
			t.Errorf("%s has scope %d, want %d", o.text, o.scope, want)
		}
	}
}

// TestShadowedNamesKeepTheirScope covers loops whose variable hides a fact: a
// term that was taken for one of the whole mail would be asked only once.
func TestShadowedNamesKeepTheirScope(t *testing.T) {
	for condition, want := range map[string]scope{
		".attachment.size > 3":                                  perAttachment,
		"to.exists(x, .attachment.name == x)":                   perAttachment,
		"to.exists(direction, .direction == direction)":         perRecipient,
		"to.exists(x, x == recipient.address)":                  perRecipient,
		"to.exists(x, to.exists(y, y + x == attachment.name))":  perAttachment,
		"(direction == 'inbound' ? attachment.size : size) > 3": perPair,
		"[attachment.size, 3].exists(s, s > 3)":                 perAttachment,
		"{'a': attachment.size}['a'] > 3":                       perAttachment,
		"has(attachment.name)":                                  perAttachment,
	} {
		set, err := Compile([]Rule{{Name: "r", If: condition, Link: link}})
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		if got := set.rules[0].operands[0].scope; got != want {
			t.Errorf("%s: scope %d, want %d", condition, got, want)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		"", "true", "attachment.size > 5 * MB", "attachment.name.matches('(?i)nda|contract') && direction == 'outbound'",
		"to.exists(t, domain(t) == 'ext.test')", "1 / 0 > 2", "in_network(client, 'x')", "header('a') == headers('b')[0]", "int(header('x')) > 3",
		"attachment{name: 'x'}.name == 'x'", "'\x00' == \"\\u00e4\"", "a.b.c", "has(recipient.domain) || [1][2] == 3", "{'a': 1}.a == 1",
		"time.getHours('Nowhere/Nohow') > 8", "\xff == 'x'", "from in to ? size > 1 : !inline", "cel.bind(x, 1, x > 0)", "attachment.\nnmae",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, condition string) {
		set, err := Compile([]Rule{{Name: "r", If: condition, Link: link}})
		if err != nil {
			_ = err.Error()
			return
		}
		facts := sample()
		plan := set.Explain(facts)
		if len(plan.Decisions) != len(facts.Recipients)*len(facts.Attachments) {
			t.Fatalf("%q: %d decisions", condition, len(plan.Decisions))
		}
		if len(plan.Links()) > 0 && !set.CouldMatch(facts) {
			t.Fatalf("%q links but could not match", condition)
		}
		_ = plan.String()
		checkEarlyDecisions(t, condition, facts)
	})
}

// checkEarlyDecisions makes the condition one of refusing: what is decided at
// RCPT TO and at the end of the header must come out at the end of the mail.
func checkEarlyDecisions(t *testing.T, condition string, facts *Facts) {
	t.Helper()
	set, err := Compile([]Rule{{Name: "r", If: condition, Reject: refuse}})
	if err != nil {
		t.Fatal(err)
	}
	_ = set.Explain(facts).String()
	_ = set.Warnings()
	end, header := set.Decide(facts), set.DecideHeaders(facts)
	if (header.Reject != nil || !header.NeedsBody) && (header.Reject != nil) != (end.Reject != nil) || header.Failed && !end.Failed {
		t.Fatalf("%q: after the header %s, at the end %s", condition, header, end)
	}
	for i := range facts.Recipients {
		refused, err := set.DecideRecipient(facts, i)
		alone := *facts
		alone.Recipients = facts.Recipients[i : i+1]
		if of := set.Decide(&alone); refused != nil && of.Reject == nil || err != nil && !of.Failed {
			t.Fatalf("%q: recipient %d is refused (%v, %v), but alone the plan is %s", condition, i, refused, err, of)
		}
	}
}
