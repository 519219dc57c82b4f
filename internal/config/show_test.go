package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestWhatIsShownReadsBackTheSame(t *testing.T) {
	first := mustParse(t, needed+`
hostname: mx.acmecorp.test
milter: {listen: "unix:/run/cloakroom/milter.sock", idle_timeout: 36h}
rules:
  - name: "yes, 5: # all"
    if: |
      attachment.name == "a'b" &&
        direction != 'local'
    link: {expires: 90d, accept_loss: true}
  - {name: "null", link: false}
  - {name: "012", link: {}}
`)
	for name, write := range map[string]func() ([]byte, error){"YAML": first.YAML, "JSON": first.JSON} {
		text, err := write()
		if err != nil {
			t.Fatal(err)
		}
		again := mustParse(t, string(text)) // JSON is YAML too
		again.policy, again.wording = first.policy, first.wording
		if !reflect.DeepEqual(first, again) {
			t.Errorf("%s reads back as\n%+v\nwant\n%+v\n%s", name, again, first, text)
		}
	}
}

func TestTheExampleIsCompleteAndCorrect(t *testing.T) {
	example, err := Example()
	if err != nil {
		t.Fatal(err)
	}
	_, warnings, err := Parse("example.yaml", example)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("the example is not accepted as it is: %v %v", err, warnings)
	}
	// With every # before a key removed it says the defaults.
	var all strings.Builder
	for line := range strings.Lines(string(example)) {
		trimmed := strings.TrimLeft(line, " ")
		if strings.HasPrefix(trimmed, "#") && len(trimmed) > 1 && trimmed[1] >= 'a' && trimmed[1] <= 'z' {
			line = strings.Replace(line, "#", "", 1)
		}
		all.WriteString(line)
	}
	short, long := mustParse(t, string(example)), mustParse(t, all.String())
	short.policy, long.policy = nil, nil
	short.wording, long.wording = nil, nil
	if !reflect.DeepEqual(short, long) {
		t.Errorf("the defaults that the example shows are not those in effect:\n%+v\n%+v", short, long)
	}
	keys, err := Keys()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		name := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
		if !strings.Contains(k.Path, "[]") && !strings.Contains(k.Path, ".NAME") && !strings.Contains(all.String(), name+":") {
			t.Errorf("%s is not in the example", k.Path)
		}
	}
}
