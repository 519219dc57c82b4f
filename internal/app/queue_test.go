package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"cloakroom/internal/config"
	"cloakroom/vault"
	"cloakroom/vault/dir"
)

func TestAListOfJobsFitsItsLine(t *testing.T) {
	now := time.Now()
	long := strings.Repeat("é", 300)
	page := &JobPage{Jobs: []Job{
		{ID: "91ab3c4d", State: "waiting", Kind: "vault", Target: long, Owner: long + "@acmecorp.test", File: long + "\x1b[2J", Attempts: 1000,
			Created: now.Add(-999 * 24 * time.Hour), Next: now.Add(59 * time.Minute), Error: long},
		{ID: "00000000", State: "waiting", Kind: "copy", Recipients: []string{"a@ext.test", "b@ext.test"}, Created: now, Waits: waitsForRelease},
	}}
	var b bytes.Buffer
	if err := PrintJobs(&b, page, now); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > lineWidth {
			t.Errorf("%d characters: %s", n, line)
		}
	}
	for _, want := range []string{"91ab3c4d", "999d", "59m", "1000", "…", "(copy)", "a@ext.test, b@ext.test", " held"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("a file name drives the terminal")
	}
}

func TestOnlyANameAloneMeansTheWholeTarget(t *testing.T) {
	for _, c := range []struct {
		w            Which
		kind, target string
		whole        bool
	}{
		{Which{Target: "assets"}, "vault", "assets", true},
		{Which{Target: "assets", Kind: "vault"}, "vault", "assets", true},
		{Which{Kind: "copy"}, "copy", "", true},
		{Which{Kind: "vault"}, "", "", false},
		{Which{}, "", "", false},
		{Which{Target: "assets", Owner: "bob@acmecorp.test"}, "", "", false},
		{Which{Target: "assets", Older: time.Hour}, "", "", false},
		{Which{Target: "assets", Error: "x"}, "", "", false},
		{Which{Target: "assets", File: "x"}, "", "", false},
		{Which{Target: "assets", Keys: []string{"k"}}, "", "", false},
	} {
		if kind, target, whole := c.w.WholeTarget(); kind != c.kind || target != c.target || whole != c.whole {
			t.Errorf("%+v: %q %q %v", c.w, kind, target, whole)
		}
	}
}

func dirTarget(base string) config.VaultTarget {
	c := dir.DefaultConfig()
	c.Base = base
	return config.VaultTarget{TargetConfig: vault.DefaultTarget(), Dir: &c}
}

func TestATestLeavesNothingButItsFolder(t *testing.T) {
	base := t.TempDir()
	steps, err := TestTarget(t.Context(), dirTarget(base), nil)
	if err != nil || len(steps) != 6 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	for _, s := range steps {
		if !s.OK {
			t.Errorf("%+v", s)
		}
	}
	left, err := os.ReadDir(filepath.Join(base, testFolder))
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if c := CheckTarget(t.Context(), dirTarget(base)); c.Error != "" || c.Latency <= 0 {
		t.Errorf("%+v", c)
	}
}

func TestATestTellsTheStepThatFailsAndWhatHelps(t *testing.T) {
	base := t.TempDir()
	if c := CheckTarget(t.Context(), dirTarget(base+"/nowhere")); c.Error == "" || !strings.Contains(c.Hint, "mounted") {
		t.Errorf("%+v", c)
	}
	// A file stands where the test's folder should be.
	if err := os.WriteFile(filepath.Join(base, testFolder), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	steps, err := TestTarget(t.Context(), dirTarget(base), nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, s := range steps {
		if !s.OK && !s.Skipped {
			failed++
			var b bytes.Buffer
			if err := PrintTestStep(&b, s); err != nil || !strings.HasPrefix(b.String(), "FAIL  "+s.Name) {
				t.Errorf("%q", b.String())
			}
		}
	}
	if failed == 0 || steps[len(steps)-2].OK {
		t.Errorf("%+v", steps)
	}
}
