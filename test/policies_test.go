package test

// The example policies of deploy/policies: each is accepted, does what its
// cases say, and has no rule and no term that its cases do not prove.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"cloakroom/policy/policytest"
)

// policies lists the folders of examples.
func policies(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy/policies/*/cloakroom.yaml"))
	if err != nil || len(files) < 9 {
		t.Fatalf("%d examples (%v)", len(files), err)
	}
	for i, f := range files {
		files[i] = filepath.Dir(f)
	}
	return files
}

// cloakroom runs a command; code is -1 when it could not be run.
func cloakroom(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// failures runs the cases of an example with another text of its
// configuration, and names those that fail.
func failures(t *testing.T, folder, config string) []string {
	t.Helper()
	work := t.TempDir()
	if users, err := os.ReadFile(filepath.Join(folder, "users.yaml")); err == nil {
		config = strings.ReplaceAll(config, "users.yaml", filepath.Join(work, "users.yaml"))
		if err := os.WriteFile(filepath.Join(work, "users.yaml"), users, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(work, "cloakroom.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := cloakroom(t, "--config", file, "policy", "test", "--json", filepath.Join(folder, "tests"))
	var report policytest.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code < 0 {
		t.Fatalf("exit code %d, %v: %s\n%s", code, err, stderr, config)
	}
	var out []string
	for _, o := range report.Outcomes {
		if !o.Passed {
			out = append(out, o.Case)
		}
	}
	return out
}

func TestExamplePoliciesDoWhatTheirCasesSay(t *testing.T) {
	t.Parallel()
	for _, folder := range policies(t) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			if len(mustRead(t, filepath.Join(folder, "README.md"))) < 200 {
				t.Error("the README says nothing")
			}
			stdout, stderr, code := cloakroom(t, "--config", filepath.Join(folder, "cloakroom.yaml"), "config", "check")
			if code != 0 || stderr != "" || !strings.Contains(stdout, "no mistakes") {
				t.Errorf("config check: exit code %d\n%s%s", code, stdout, stderr)
			}
			config := mustRead(t, filepath.Join(folder, "cloakroom.yaml"))
			if failed := failures(t, folder, config); len(failed) > 0 {
				t.Fatalf("these cases fail: %q", failed)
			}
			for name, mutant := range mutants(t, config) {
				if len(failures(t, folder, mutant)) == 0 {
					t.Errorf("%s: no case fails", name)
				}
			}
			if _, err := os.Stat(filepath.Join(folder, "data")); err == nil {
				t.Error("testing a policy made a data folder")
			}
		})
	}
}

// mutants takes out each rule, and each term of its condition.
func mutants(t *testing.T, config string) map[string]string {
	t.Helper()
	at := strings.Index(config, "\nrules:\n")
	if at < 0 {
		t.Fatal("no rules")
	}
	var file struct {
		Rules []yaml.MapSlice `yaml:"rules"`
	}
	if err := yaml.Unmarshal([]byte(config[at:]), &file); err != nil || len(file.Rules) == 0 {
		t.Fatalf("%d rules (%v)", len(file.Rules), err)
	}
	out := map[string]string{}
	add := func(name string, rules []yaml.MapSlice) {
		text, err := yaml.Marshal(map[string]any{"rules": rules})
		if err != nil {
			t.Fatal(err)
		}
		out[name] = config[:at+1] + string(text)
	}
	for i, rule := range file.Rules {
		others := append(append([]yaml.MapSlice{}, file.Rules[:i]...), file.Rules[i+1:]...)
		add(fmt.Sprintf("without rule %q", rule[0].Value), others)
		for k, entry := range rule {
			if entry.Key != "if" {
				continue
			}
			terms := strings.Split(entry.Value.(string), " && ")
			for j := range terms {
				left := append(append([]string{}, terms[:j]...), terms[j+1:]...)
				if len(left) == 0 {
					left = []string{"true"}
				}
				changed := append(yaml.MapSlice{}, rule...)
				changed[k].Value = strings.Join(left, " && ")
				rules := append([]yaml.MapSlice{}, file.Rules...)
				rules[i] = changed
				add(fmt.Sprintf("rule %q without %s", rule[0].Value, terms[j]), rules)
			}
		}
	}
	return out
}

func mustRead(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// settings are the keys of an example that the test's own daemon does not set.
var settings = regexp.MustCompile(`(?ms)^(verifiers: .*?\n|rules:.*)`)

// exampleSettings takes them out of an example.
func exampleSettings(t *testing.T, name string) string {
	t.Helper()
	return strings.Join(settings.FindAllString(mustRead(t, filepath.Join(root, "deploy/policies", name, "cloakroom.yaml")), -1), "")
}
