package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestWarnings(t *testing.T) {
	for name, tt := range map[string]struct {
		rules []Rule
		want  []string
	}{
		"nothing to say": {[]Rule{
			{If: "direction == 'inbound'", Link: link}, {If: "direction == 'outbound' && attachment.size > 5", Link: link}, {If: "attachment.size > 5", Link: keep}, {Tag: external}}, nil},
		"never":                     {[]Rule{{If: "direction == 'inbound' && 1 * MB > 5 * GB", Link: link}}, []string{`rules[0].if: rule "0": can never match: 1 * MB > 5 * GB is false for every mail`}},
		"just false":                {[]Rule{{If: "false", Tag: external}, {Tag: external}}, []string{`rules[0].if: rule "0": can never match: false is false for every mail`}},
		"the same condition":        {[]Rule{{If: "authenticated && size > 5", Link: link}, {If: "size > 5 && authenticated", Link: keep}}, []string{`rules[1]: rule "1": is never asked: rule "0" above speaks wherever this one would`}},
		"written otherwise":         {[]Rule{{If: "from == 'x'", Link: link}, {If: `from  ==  "x"`, Link: keep}}, []string{`rules[1]: rule "1": is never asked`}},
		"after one for all":         {[]Rule{{Link: keep}, {If: "size > 5", Link: link}}, []string{`rules[1]: rule "1": is never asked: rule "0" above`}},
		"after one that says true":  {[]Rule{{If: "true", Link: keep}, {If: "size > 5", Link: link}}, []string{`rules[1]: rule "1": is never asked: rule "0" above`}},
		"after one that asks less":  {[]Rule{{If: "size > 5", Link: keep}, {If: "authenticated && size > 5", Link: link}}, []string{`rules[1]: rule "1": is never asked`}},
		"after one that never does": {[]Rule{{If: "false && size > 5", Link: keep}, {If: "size > 5", Link: link}}, []string{`rules[0].if: rule "0": can never match`}},
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
