package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func mustOpen(t *testing.T, dir string, allowCreate bool) *Secret {
	t.Helper()
	s, err := Open(dir, allowCreate)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeyIsMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := mustOpen(t, dir, true)
	if st, err := os.Stat(filepath.Join(dir, FileName)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	for _, allow := range []bool{true, false} {
		if again := mustOpen(t, dir, allow); again.key != first.key {
			t.Error("another key the second time")
		}
	}
	if other := mustOpen(t, t.TempDir(), true); other.key == first.key {
		t.Error("two directories have one key")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
}

func TestManyStartsAtOnceAgreeOnOneKey(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	keys := make([][KeySize]byte, 32)
	for i := range keys {
		wg.Go(func() {
			s, err := Open(dir, true)
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = s.key
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k != keys[0] {
			t.Fatal("different keys")
		}
	}
}

func TestMissingKeyIsAnErrorOnceThereIsADatabase(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(dir, false)
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "backup") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, FileName)); err == nil {
		t.Error("a key was made")
	}
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	good := strings.Repeat("a1", KeySize)
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		want    string // in the error of Open; "" when it is accepted
		fleet   string // in the error of OpenFile
	}{
		"good":             {good + "\n", 0o600, "", ""},
		"no line end":      {good, 0o400, "", ""},
		"capital letters":  {strings.ToUpper(good), 0o600, "", ""},
		"readable by all":  {good, 0o644, "chmod 600", "chmod 600"},
		"writable by some": {good, 0o620, "chmod 600", "chmod 600"},
		"group":            {good, 0o640, "chmod 600", ""},
		"empty":            {"", 0o600, "backup", "backup"},
		"short":            {good[:62], 0o600, "backup", "backup"},
		"long":             {good + "00", 0o600, "backup", "backup"},
		"no digits":        {strings.Repeat("zz", KeySize), 0o600, "backup", "backup"},
		"zeros":            {strings.Repeat("00", KeySize), 0o600, "zeros", "zeros"},
		"nothing written":  {strings.Repeat("\x00", 2*KeySize), 0o600, "backup", "backup"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, true)
		check(t, name+", own key", err, c.want, path)
		_, err = OpenFile(path)
		check(t, name+", fleet's key", err, c.fleet, path)
		if after, err := os.ReadFile(path); err != nil || string(after) != c.content {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func check(t *testing.T, name string, err error, want, path string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
		t.Errorf("%s: got %v, want %q and the path", name, err, want)
	}
}

func TestKeyThatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, FileName), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, true); err == nil {
		t.Error("a directory was taken for a key")
	}
	if _, err := OpenFile(filepath.Join(dir, "none")); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
}

func TestDerivedKeys(t *testing.T) {
	s := mustOpen(t, t.TempDir(), true)
	link, again, cookie := s.Derive("link"), s.Derive("link"), s.Derive("cookie")
	if len(link) != KeySize || !bytes.Equal(link, again) {
		t.Error("a label's key changes")
	}
	if bytes.Equal(link, cookie) || bytes.Equal(link, s.key[:]) {
		t.Error("keys are not apart")
	}
}

// Links in sent mail depend on this value: it must never change.
func TestDerivationIsFixed(t *testing.T) {
	var s Secret
	for i := range s.key {
		s.key[i] = byte(i)
	}
	if got := fmt.Sprintf("%x", s.Derive("link token")); got != "816580dd1fcebf90788f065db9915418313e70de61e3359b601894b0cc6a8de9" {
		t.Errorf("derived key is %s", got)
	}
}

func TestKeyDoesNotPrint(t *testing.T) {
	s := mustOpen(t, t.TempDir(), true)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "nested", struct{ S *Secret }{s})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s)
	j, err := json.Marshal(struct{ S *Secret }{s})
	if err != nil {
		t.Fatal(err)
	}
	out := log.String() + string(j) + fmt.Sprintf("%v %+v %#v %x %d %s %v", s, s, s, s, s, s, []any{s})
	for _, form := range []string{fmt.Sprintf("%x", s.key[:4]), fmt.Sprint(s.key[0], s.key[1], s.key[2]), fmt.Sprintf("%d, %d, %d", s.key[0], s.key[1], s.key[2])} {
		if strings.Contains(strings.ToLower(out), form) {
			t.Errorf("the key is in: %s", out)
		}
	}
	if !strings.Contains(out, "[secret]") {
		t.Errorf("output: %s", out)
	}
}
