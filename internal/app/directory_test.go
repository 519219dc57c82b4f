package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cloakroom/internal/config"
	"cloakroom/internal/testserver"
	"cloakroom/policy/directory"
	"cloakroom/policy/forward"
)

func quietLog() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// openDirectory opens a directory with one route for the group gapps.
func openDirectory(t *testing.T, source directory.Config) *Directory {
	t.Helper()
	d, err := OpenDirectory(&config.Config{
		Domains:     []string{"acmecorp.test"},
		Directory:   source,
		Coexistence: forward.Config{{Domain: "acmecorp.test", Alternate: "gapps.acmecorp.test", Group: "gapps"}},
	}, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func fileDirectory(t *testing.T, users int) *Directory {
	t.Helper()
	var b strings.Builder
	b.WriteString("users:\n")
	for i := range users {
		group := "staff"
		if i%4 == 0 {
			group = "gapps"
		}
		fmt.Fprintf(&b, "  - {address: u%d@acmecorp.test, groups: [%s]}\n", i, group)
	}
	path := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := directory.DefaultConfig()
	cfg.File = path
	return openDirectory(t, cfg)
}

func TestLargeListsAreWrittenAsTheyAreRead(t *testing.T) {
	const users = 3*listBlock + 7
	d := fileDirectory(t, users)
	var out bytes.Buffer
	n, err := d.ListJSON(t.Context(), &out, Select{})
	var all []UserInfo
	if err != nil || json.Unmarshal(out.Bytes(), &all) != nil || n != users || len(all) != users {
		t.Fatalf("%d users, %d in the JSON: %v", n, len(all), err)
	}
	if all[4].ForwardTo != "u4@gapps.acmecorp.test" || all[5].ForwardTo != "" {
		t.Errorf("%+v %+v", all[4], all[5])
	}
	pipe := &countingPipe{limit: 3}
	if n, err := d.List(t.Context(), pipe, Select{}); !errors.Is(err, io.ErrClosedPipe) || n >= users {
		t.Errorf("%d users were read for a reader that has gone: %v", n, err)
	}
	out.Reset()
	if n, err := d.List(t.Context(), &out, Select{Side: There}); err != nil || n != (users+3)/4 || strings.Count(out.String(), "\n") != n+1 {
		t.Errorf("%d users there, %d lines: %v", n, strings.Count(out.String(), "\n"), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.List(ctx, io.Discard, Select{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// countingPipe is closed after some writes.
type countingPipe struct{ writes, limit int }

func (p *countingPipe) Write(b []byte) (int, error) {
	if p.writes++; p.writes > p.limit {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func TestProgressIsTold(t *testing.T) {
	d := fileDirectory(t, 2*progressStep+1)
	var told []int
	done, err := d.Export(t.Context(), io.Discard, Export{Format: "google-csv", Progress: func(n int) { told = append(told, n) }})
	if err != nil || done.Users != 2*progressStep+1 || len(told) != 2 || told[1] != 2*progressStep {
		t.Errorf("%+v %v %v", done, told, err)
	}
	if !strings.Contains(done.Hint, "3000") {
		t.Errorf("hint %q", done.Hint)
	}
}

// A directory that fails in the middle leaves the file of the last time.
func TestExportOfAnLDAPServer(t *testing.T) {
	s, err := testserver.StartSlapd(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	var entries []testserver.LDAPEntry
	var members []string
	for i := range 30 {
		dn := fmt.Sprintf("uid=u%d,%s", i, s.PeopleDN())
		entries = append(entries, testserver.LDAPEntry{DN: dn, Attributes: map[string][]string{"objectClass": {"inetOrgPerson"},
			"uid": {fmt.Sprintf("u%d", i)}, "cn": {"user"}, "sn": {"user"}, "mail": {fmt.Sprintf("u%d@acmecorp.test", i)}, "displayName": {fmt.Sprintf("User %d", i)}}})
		if i%3 == 0 {
			members = append(members, dn)
		}
	}
	entries = append(entries, testserver.LDAPEntry{DN: "cn=gapps," + s.GroupsDN(), Attributes: map[string][]string{
		"objectClass": {"groupOfNames"}, "cn": {"gapps"}, "member": members}})
	if err := s.Add(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
	cfg := directory.DefaultConfig()
	cfg.LDAP.URLs, cfg.LDAP.StartTLS, cfg.LDAP.BindDN, cfg.LDAP.BindPasswordFile = []string{s.URL()}, false, s.ReaderDN(), s.PasswordFile()
	cfg.LDAP.Base, cfg.LDAP.Filter, cfg.LDAP.PageSize = s.PeopleDN(), "(mail={address})", 10
	d := openDirectory(t, cfg)
	out := filepath.Join(t.TempDir(), "virtual")
	done, err := d.Export(t.Context(), nil, Export{Format: string(forward.PostfixVirtual), Out: out})
	if err != nil || done.Users != 10 {
		t.Fatalf("%+v %v", done, err)
	}
	was := mustRead(t, out)
	if strings.Count(was, "\n") != 11 || !strings.Contains(was, "\nu27@acmecorp.test u27@gapps.acmecorp.test\n") {
		t.Errorf("%s", was)
	}
	known, err := d.Lookup(t.Context(), []string{"u3+tag@acmecorp.test", "u4@acmecorp.test"})
	if err != nil || known[0].ForwardTo != "u3+tag@gapps.acmecorp.test" || known[1].ForwardTo != "" || known[1].User == nil {
		t.Errorf("%+v %v", known, err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{string(forward.PostfixVirtual), "csv"} {
		if _, err := d.Export(t.Context(), nil, Export{Format: format, Out: out, Force: true}); err == nil || !strings.Contains(err.Error(), "left as it was") {
			t.Errorf("%s: %v", format, err)
		}
		if mustRead(t, out) != was {
			t.Errorf("%s: the file was changed", format)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

func TestWholeFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	mode := func(want os.FileMode) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %v, want %v: %v", info.Mode().Perm(), want, err)
		}
	}
	if err := writeWhole(path, text("one"), nil); err != nil || mustRead(t, path) != "one" {
		t.Fatal(err)
	}
	mode(0o640)
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 4711, 4712); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("out", link); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(link, text("two"), nil); err != nil || mustRead(t, path) != "two" {
		t.Fatal(err)
	}
	mode(0o604)
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if os.Geteuid() == 0 {
		if uid, gid := ownerOf(t, path); uid != 4711 || gid != 4712 {
			t.Errorf("the owner is %d:%d", uid, gid)
		}
	}
	bad := errors.New("bad")
	for name, err := range map[string]error{
		"writing":  writeWhole(path, func(w io.Writer) error { text("half")(w); return bad }, nil),
		"checking": writeWhole(path, text("wrong"), func(name string) error { _ = mustRead(t, name); return bad }),
	} {
		if !errors.Is(err, bad) || mustRead(t, path) != "two" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := writeWhole(dir, text("x"), nil); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 2 {
		t.Errorf("left over: %v", names)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func ownerOf(t *testing.T, path string) (uid, gid int) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no owner is told")
	}
	return int(st.Uid), int(st.Gid)
}
