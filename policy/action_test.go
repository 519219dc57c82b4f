package policy

import (
	"errors"
	"strings"
	"testing"
)

func TestActionMistakes(t *testing.T) {
	reject := func(o RejectOptions) Rule { return Rule{Reject: &RejectAction{Options: o}} }
	add := func(name, value string) Rule {
		return Rule{Header: &HeaderAction{Options: HeaderOptions{Add: HeaderFields{{name, value}}}}}
	}
	remove := func(names ...string) Rule {
		return Rule{Header: &HeaderAction{Options: HeaderOptions{Remove: names}}}
	}
	for name, tt := range map[string]struct {
		rule      Rule
		key, want string
	}{
		"a code that accepts":         {reject(RejectOptions{Code: 250}), "reject.code", "250 does not refuse"},
		"a code that is none":         {reject(RejectOptions{Code: 5500}), "reject.code", "5500 does not refuse"},
		"a negative code":             {reject(RejectOptions{Code: -550}), "reject.code", "does not refuse"},
		"a code that hangs up":        {reject(RejectOptions{Code: 421}), "reject.code", "421 ends the whole SMTP session"},
		"another class":               {reject(RejectOptions{Code: 451, Enhanced: "5.7.1"}), "reject.enhanced", "5.7.1 does not go with code 451"},
		"not an enhanced code":        {reject(RejectOptions{Enhanced: "5.7"}), "reject.enhanced", `"5.7" is not an enhanced status code`},
		"leading zero":                {reject(RejectOptions{Enhanced: "5.07.1"}), "reject.enhanced", "is not an enhanced"},
		"reply of two lines":          {reject(RejectOptions{Text: "no\r\n250 yes"}), "reject.text", "must be one line"},
		"reply not UTF-8":             {reject(RejectOptions{Text: "n\xffo"}), "reject.text", "must be one line of text"},
		"reply too long":              {reject(RejectOptions{Text: strings.Repeat("x", 501)}), "reject.text", "has 501 bytes; 500 fit"},
		"reason of two lines":         {Rule{Quarantine: &QuarantineAction{Reason: "a\nb"}}, "quarantine", "must be one line"},
		"reason too long":             {Rule{Quarantine: &QuarantineAction{Reason: strings.Repeat("x", 201)}}, "quarantine", "has 201 bytes"},
		"empty tag":                   {Rule{Tag: &TagAction{Text: " "}}, "tag", "is empty"},
		"tag with a line end":         {Rule{Tag: &TagAction{Text: "a\nBcc: x"}}, "tag", "must be one line"},
		"tag too long":                {Rule{Tag: &TagAction{Text: strings.Repeat("x", 101)}}, "tag", "has 101 bytes"},
		"header says nothing":         {remove(), "header", "write `header: {add:"},
		"value with a line end":       {add("X-A", "a\r\nBcc: x"), "header.add.X-A", "must be one line"},
		"value with a bare CR":        {add("X-A", "a\rb"), "header.add.X-A", "must be one line"},
		"empty value":                 {add("X-A", ""), "header.add.X-A", "has no value"},
		"value too long":              {add("X-A", strings.Repeat("x", 994)), "header.add.X-A", "has 999 bytes; at most 998"},
		"name with a colon":           {add("X-A: b", "c"), "header.add.X-A: b", "is not the name of a header field"},
		"name with a space":           {add("X A", "c"), "header.add.X A", "is not the name"},
		"name beyond ASCII":           {add("X-Ä", "c"), "header.add.X-Ä", "is not the name"},
		"added twice":                 {Rule{Header: &HeaderAction{Options: HeaderOptions{Add: HeaderFields{{"X-A", "1"}, {"x-a", "2"}}}}}, "header.add.x-a", "added twice"},
		"a second Received":           {add("received", "from x"), "header.add.received", "relies on"},
		"the structure":               {remove("X-A", "Content-Type"), "header.remove[1]", "relies on"},
		"a signature":                 {remove("DKIM-SIGNATURE"), "header.remove[0]", "relies on"},
		"a seal":                      {remove("ARC-Seal"), "header.remove[0]", "relies on"},
		"what people see":             {remove("From"), "header.remove[0]", "relies on"},
		"the subject by header rules": {add("Subject", "x"), "header.add.Subject", "`tag` puts a word before it"},
	} {
		tt.rule.Name = "r"
		_, err := Compile([]Rule{tt.rule})
		var m *CompileError
		if !errors.As(err, &m) || m.Key != tt.key || !strings.Contains(m.Message, tt.want) {
			t.Errorf("%s: got %v, want %s: %s", name, err, tt.key, tt.want)
		}
	}
	for name, rule := range map[string]Rule{
		"all of a reply line":           reject(RejectOptions{Text: strings.Repeat("x", 500)}),
		"the longest enhanced code":     reject(RejectOptions{Code: 450, Enhanced: "4.123.456"}),
		"all of a field line":           add("X-A", strings.Repeat("x", 993)),
		"a stranger's verdict":          remove("Authentication-Results", "X-Spam-Flag"),
		"no with options that are none": {Reject: &RejectAction{Never: true}},
	} {
		rule.Name = "r"
		if _, err := Compile([]Rule{rule}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDefaultsOfReject(t *testing.T) {
	for _, tt := range []struct{ given, want RejectOptions }{
		{RejectOptions{}, RejectOptions{550, "5.7.1", "message refused by policy"}},
		{RejectOptions{Code: 451}, RejectOptions{451, "4.7.1", "message refused by policy"}},
		{RejectOptions{Code: 554, Enhanced: "5.6.1", Text: "no"}, RejectOptions{554, "5.6.1", "no"}},
	} {
		set := mustCompile(t, Rule{Name: "r", Reject: &RejectAction{Options: tt.given}})
		want := Reject{Code: tt.want.Code, Enhanced: tt.want.Enhanced, Text: tt.want.Text, Rule: "r"}
		if got := set.Decide(mail(nil, "bob@ext.test")).Reject; got == nil || *got != want {
			t.Errorf("%+v: got %+v, want %+v", tt.given, got, want)
		}
	}
}
