package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLoadTellsAMissingFileFromAWrongOne(t *testing.T) {
	folder := t.TempDir()
	if _, _, err := Load(filepath.Join(folder, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	wrong := filepath.Join(folder, "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("mode: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var mistakes *Error
	if _, _, err := Load(wrong); !errors.As(err, &mistakes) || mistakes.File != wrong {
		t.Errorf("a wrong file gives %v", err)
	}
	huge := filepath.Join(folder, "huge.yaml")
	if err := os.WriteFile(huge, []byte(strings.Repeat("#\n", maxFileSize/2+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(huge); err == nil || !strings.Contains(err.Error(), "larger than 4MB") {
		t.Errorf("a huge file gives %v", err)
	}
}

func TestAReloadExchangesTheSnapshotOrNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloakroom.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(needed)
	first, _, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	live := NewLive(path, first)

	write(needed + "mode: nonsense\n")
	if _, _, err := live.Reload(); err == nil || live.Current() != first {
		t.Errorf("a wrong file was taken: %v", err)
	}

	write(needed + "mode: observe\ndata: /srv/other\nmilter: {listen: inet:127.0.0.1:9999, on_error: accept}\n")
	for range 2 { // the second reload still owes the restart
		restart, _, err := live.Reload()
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"data", "milter.listen"}; !slices.Equal(restart, want) {
			t.Errorf("restart is needed for %q, want %q", restart, want)
		}
	}
	if live.Current().Mode != ModeObserve || first.Mode != ModeEnforce {
		t.Error("the new snapshot is not in force, or the old one has changed")
	}
}

// Links that ask for a code, or tell their sender, are not made by a daemon that has
// nobody to give its mail to.
func TestAReloadDoesNotPromiseMailThatOnlyAStartCanSend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloakroom.yaml")
	read := func(text string) *Config {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const smtp = needed + "submit: {smtp: 127.0.0.1:10026}\n"
	live := NewLive(path, read(needed))
	for rule, want := range map[string]string{
		"{name: codes, link: {access: recipients}}":                        "rules[1].link.access (\"codes\") needs submit.smtp",
		"{name: receipts, link: {notify: true}}":                           "rules[1].link.notify (\"receipts\") needs submit.smtp",
		"{name: none, if: attachment.size > 1 * MB, link: {downloads: 3}}": "",
	} {
		before := live.Current()
		next := read(smtp + "rules: [{name: kept, if: attachment.size < 10, link: false}, " + rule + "]\n")
		restart, _, err := live.Reload()
		switch {
		case want == "" && (err != nil || !slices.Equal(restart, []string{"submit.smtp"})):
			t.Errorf("%s: restart for %q, %v", rule, restart, err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want) || live.Current() != before):
			t.Errorf("%s: %v, want %q and the old configuration", rule, err, want)
		case want != "":
			if _, _, err := NewLive(path, next).Reload(); err != nil {
				t.Errorf("%s, after a start with it: %v", rule, err)
			}
		}
	}
}
