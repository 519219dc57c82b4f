package book

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cloakroom/internal/testserver"
	"cloakroom/policy/directory"
)

// hard are users with everything that formats stumble over.
var hard = []*directory.User{
	{Address: "bob@acmecorp.test", Aliases: []string{"robert@acmecorp.test", "r.doe@acmecorp.test"}, Groups: []string{"research", "staff"}, Department: "research", Name: "Bob Doe"},
	{Address: "jane@acmecorp.test", Groups: []string{"gapps"}, System: "google", Name: "Doe, Jane"},
	{Address: "nobody@acmecorp.test"},
	{Address: "=cmd|'/c'!a1@acmecorp.test", Aliases: []string{"+49@acmecorp.test", "fine@acmecorp.test"}, Name: "=HYPERLINK(\"http://ext.test\")", Department: "@SUM(1)", Groups: []string{"'=x", "-1", "=1"}},
	{Address: `"a b"@acmecorp.test`, Aliases: []string{`"x;y,z"@acmecorp.test`, `"q\"\\"@acmecorp.test`}, Name: `Quote "Q" \ Back'slash'`, Department: "R&D; a, b"},
	{Address: "jürgen@acmecorp.test", Aliases: []string{"juergen@acmecorp.test"}, Name: "Jürgen Größenwahnsinnig-Überlängenstraßenbauer von und zu Ööööööööööööööööööö", Department: "日本語の部署名はとても長いことがあります、それでも折り返しは文字の間だけです"},
	{Address: "null@acmecorp.test", Groups: []string{"007", "null", "true", "1e5", "no", "a: b", "#c", "[d]", "{e}", "~", "*f", "&g", "!h", "2026-11-24"}, Department: "off", System: "1", Name: "No"},
	{Address: "space@acmecorp.test", Name: ": colon first < and > more", Department: "<b>"},
	{Address: strings.Repeat("l", 64) + "@" + strings.Repeat("d", 60) + ".acmecorp.test", Name: strings.Repeat("ä", 200)},
}

func write(t testing.TB, format Format, o Options, users []*directory.User) (string, *Writer) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, format, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		if err := w.Write(u); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String(), w
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// readBack gives the users of a text that directory.file reads.
func readBack(t testing.TB, name, text string) []*directory.User {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := directory.OpenFile(path, "+", quiet())
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var all []*directory.User
	for u := range f.All {
		all = append(all, u)
	}
	return all
}

func TestUsersFilesAreReadBackAsTheyWere(t *testing.T) {
	for format, name := range map[Format]string{CSV: "users.csv", YAML: "users.yaml"} {
		want := slices.Clone(hard)
		text, w := write(t, format, Options{}, want)
		if format == CSV { // this alias cannot be in a list that semicolons separate
			u := *want[4]
			u.Aliases = u.Aliases[1:]
			want[4] = &u
			if len(w.Notices) != 1 || !strings.Contains(w.Notices[0].Text, "semicolon") {
				t.Errorf("notices %v", w.Notices)
			}
		}
		got := readBack(t, name, text)
		if len(got) != len(want) || w.Users != len(want) {
			t.Fatalf("%s: %d users, %d were written", format, len(got), len(want))
		}
		for i := range want {
			// A file's groups are sorted.
			u := *want[i]
			u.Groups = slices.Sorted(slices.Values(u.Groups))
			if fmt.Sprintf("%+v", *got[i]) != fmt.Sprintf("%+v", u) {
				t.Errorf("%s:\n%+v\nwant\n%+v", format, *got[i], u)
			}
		}
	}
}

// What LDAP servers hold need not be one line of UTF-8.
func TestUnruly(t *testing.T) {
	u := &directory.User{Address: "x@acmecorp.test", Name: "two\r\nlines\x00and \xff", Department: " \tspace\u2028", Groups: []string{"g\nh"}}
	for format, name := range map[Format]string{CSV: "users.csv", YAML: "users.yaml"} {
		text, _ := write(t, format, Options{}, []*directory.User{u})
		got := readBack(t, name, text)
		if len(got) != 1 || got[0].Name != "two  lines and \uFFFD" || got[0].Department != "space" || !slices.Equal(got[0].Groups, []string{"g h"}) {
			t.Errorf("%s: %+v of %q", format, got, text)
		}
	}
	for _, format := range []Format{GoogleCSV, VCard, LDIF} {
		text, _ := write(t, format, Options{Base: "dc=test"}, []*directory.User{u})
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\x00") || strings.Contains(text, "\nlines") {
			t.Errorf("%s: %q", format, text)
		}
	}
}

func TestLargeFilesAreInThePlainStyle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	letters := []rune("abcXYZ 019._-+@=':,#{}[]äß日&*!~%")
	var users []*directory.User
	for i := range 60_000 {
		name := make([]rune, 1+r.IntN(20))
		for j := range name {
			name[j] = letters[r.IntN(len(letters))]
		}
		users = append(users, &directory.User{Address: fmt.Sprintf("u%d@acmecorp.test", i), Aliases: []string{fmt.Sprintf("alias.with.a.long.name.%d.of.many@acmecorp.test", i)},
			Name: strings.TrimSpace(string(name)), Department: strings.Repeat("d", 60), Groups: []string{"gapps", "staff"}})
	}
	text, _ := write(t, YAML, Options{}, users)
	if len(text) < 10<<20 { // beyond what the general reader takes
		t.Fatalf("only %d bytes", len(text))
	}
	got := readBack(t, "users.yaml", text)
	if len(got) != len(users) {
		t.Fatalf("%d users of %d", len(got), len(users))
	}
	for i := range users {
		if got[i].Name != users[i].Name || got[i].Address != users[i].Address {
			t.Fatalf("%+v, want %+v", got[i], users[i])
		}
	}
}

func TestVCardsAreFoldedAndEscaped(t *testing.T) {
	text, w := write(t, VCard, Options{Organization: "Acme; Corp, Ltd"}, hard)
	if w.Users != len(hard) || len(w.Notices) != 0 {
		t.Errorf("%d users, %v", w.Users, w.Notices)
	}
	folded := 0
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		if len(line) > 75 || !utf8.ValidString(line) || strings.ContainsAny(line, "\r\n") {
			t.Errorf("a line of %d octets: %q", len(line), line)
		}
		if strings.HasPrefix(line, " ") {
			folded++
		}
	}
	if folded < 5 {
		t.Errorf("%d lines are folded", folded)
	}
	cards := strings.Split(strings.ReplaceAll(text, "\r\n ", ""), "BEGIN:VCARD\r\n")[1:]
	if len(cards) != len(hard) {
		t.Fatalf("%d cards", len(cards))
	}
	unescape := strings.NewReplacer(`\\`, `\`, `\,`, ",", `\;`, ";", `\n`, "\n")
	uids := map[string]bool{}
	for i, card := range cards {
		if !strings.HasPrefix(card, "VERSION:4.0\r\n") || !strings.HasSuffix(card, "END:VCARD\r\n") {
			t.Errorf("card %q", card)
		}
		var mails []string
		name := ""
		for line := range strings.SplitSeq(card, "\r\n") {
			property, value, _ := strings.Cut(line, ":")
			switch {
			case strings.HasPrefix(property, "EMAIL"):
				if (strings.Contains(property, "PREF=1")) != (len(mails) == 0) {
					t.Errorf("preference of %q", line)
				}
				mails = append(mails, unescape.Replace(value))
			case property == "FN":
				name = unescape.Replace(value)
			case property == "UID":
				uids[value] = true
			case property == "ORG" && !strings.HasPrefix(value, `Acme\; Corp\, Ltd`):
				t.Errorf("organisation %q", value)
			}
		}
		u := hard[i]
		if !slices.Equal(mails, addresses(u)) || name != u.Name && name != u.Address || name == "" {
			t.Errorf("%q %q of %+v", mails, name, u)
		}
	}
	if len(uids) != len(hard) {
		t.Errorf("%d UIDs: %v", len(uids), uids)
	}
	if again, _ := write(t, VCard, Options{Organization: "Acme; Corp, Ltd"}, hard); again != text {
		t.Error("the same users give other cards")
	}
	// RFC 9562's name-based form; computed with Python's uuid.uuid5(uuid.NAMESPACE_URL, …).
	if got := cardUID("bob@acmecorp.test"); got != pythonUID(t, "bob@acmecorp.test") {
		t.Errorf("UID %s", got)
	}
}

func pythonUID(t *testing.T, address string) string {
	t.Helper()
	return strings.TrimSpace(python(t, "import uuid,sys; print('urn:uuid:%s' % uuid.uuid5(uuid.NAMESPACE_URL, 'mailto:'+sys.argv[1]))", "", address))
}

func python(t *testing.T, program, in string, args ...string) string {
	t.Helper()
	cmd, err := testserver.Python(t.Context(), append([]string{"-X", "utf8", "-c", program}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = strings.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v %s", err, &stderr)
	}
	return string(out)
}

// readTables is a second opinion about CSV.
const readTables = `import csv, io, json, sys
text = sys.stdin.buffer.read().decode("utf-8")
json.dump(list(csv.DictReader(io.StringIO(text, newline=""), strict=True)), sys.stdout)`

func TestTablesAreReadByPython(t *testing.T) {
	for _, format := range []Format{GoogleCSV, CSV} {
		text, w := write(t, format, Options{Organization: "Acme, \"Corp\""}, hard)
		var rows []map[string]any
		if err := json.Unmarshal([]byte(python(t, readTables, text)), &rows); err != nil {
			t.Fatal(err)
		}
		if len(rows) != w.Users || len(rows) != len(hard) {
			t.Fatalf("%s: %d rows of %d", format, len(rows), len(hard))
		}
		for i, row := range rows {
			for column, value := range row {
				text, ok := value.(string)
				if !ok || text != "" && strings.ContainsRune("=+-@", rune(text[0])) {
					t.Errorf("%s: line %d: %s is %q", format, i+2, column, value)
				}
			}
			if format == CSV {
				if row["address"] != directory.GuardCell(hard[i].Address) || row["name"] != directory.GuardCell(hard[i].Name) {
					t.Errorf("row %v", row)
				}
				continue
			}
			wanted := slices.DeleteFunc(addresses(hard[i]), func(a string) bool { return directory.GuardCell(a) != a })
			if row["E-mail 1 - Value"] != wanted[0] || row["E-mail 2 - Value"] != strings.Join(wanted[1:], " ::: ") ||
				row["Organization Name"] != `Acme, "Corp"` || row["First Name"] == "" {
				t.Errorf("row %v", row)
			}
		}
		if format == GoogleCSV && len(w.Notices) != 3 { // two addresses, one name
			t.Errorf("notices %v", w.Notices)
		}
	}
}

func TestLDIFIsLoadedByOpenLDAP(t *testing.T) {
	s, err := testserver.StartSlapd(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	text, w := write(t, LDIF, Options{Base: s.PeopleDN(), Organization: "Äcme"}, hard)
	if len(w.Notices) != 1 || w.Notices[0].Address != "jürgen@acmecorp.test" {
		t.Errorf("notices %v", w.Notices)
	}
	for line := range strings.Lines(text) {
		if len(line) > 77 || !isASCII(line) {
			t.Errorf("line %q", line)
		}
	}
	path := filepath.Join(t.TempDir(), "users.ldif")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.LoadLDIF(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	cfg := directory.DefaultConfig().LDAP
	cfg.URLs, cfg.StartTLS, cfg.BindDN, cfg.BindPasswordFile = []string{s.URL()}, false, s.ReaderDN(), s.PasswordFile()
	cfg.Base, cfg.Filter, cfg.Attributes.Department, cfg.Groups.Method = s.PeopleDN(), "(mail={address})", "departmentNumber", directory.GroupsNone
	cfg.Attributes.Aliases = nil
	l, err := directory.OpenLDAP(cfg, "+", quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var all []string
	for _, u := range hard {
		all = append(all, u.Address)
	}
	got, err := l.Lookup(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != w.Users || w.Users != len(hard)-1 {
		t.Errorf("%d users of %d", len(got), w.Users)
	}
	for _, u := range hard {
		if u.Address == "jürgen@acmecorp.test" {
			continue
		}
		g := got[u.Address]
		if g == nil {
			t.Errorf("no %s", u.Address)
			continue
		}
		if !reflect.DeepEqual(addresses(g), addresses(u)) || g.Department != u.Department || g.Name != u.Name {
			t.Errorf("%+v, want %+v", g, u)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	for format, o := range map[Format]Options{"xml": {}, LDIF: {}} {
		if _, err := NewWriter(io.Discard, format, o); err == nil {
			t.Errorf("%s is begun", format)
		}
	}
	if _, err := NewWriter(io.Discard, LDIF, Options{Base: "people"}); err == nil || !strings.Contains(err.Error(), "not a DN") {
		t.Errorf("base: %v", err)
	}
	w, err := NewWriter(full{}, YAML, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		if err = w.Write(hard[0]); err != nil {
			break
		}
	}
	if err == nil || w.Close() == nil {
		t.Error("a full disk is not told")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestNoticesAreBounded(t *testing.T) {
	users := slices.Repeat([]*directory.User{{Address: "ü@acmecorp.test"}}, 250)
	if _, w := write(t, LDIF, Options{Base: "dc=test"}, users); len(w.Notices) != 100 || w.More != 150 || w.Users != 0 {
		t.Errorf("%d notices, %d more", len(w.Notices), w.More)
	}
}

func FuzzGuardedCells(f *testing.F) {
	for _, s := range []string{"", "=1", "'=1", "''+", "x", "'x", "＝1", "@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		guarded := directory.GuardCell(s)
		if directory.UnguardCell(guarded) != s {
			t.Errorf("%q became %q", s, guarded)
		}
		if guarded != "" && strings.ContainsRune("=+-@", rune(guarded[0])) {
			t.Errorf("%q is a formula", guarded)
		}
		if h := harmless(s); directory.GuardCell(h) != h {
			t.Errorf("%q is left of %q", h, s)
		}
	})
}

func FuzzFolding(f *testing.F) {
	f.Add(strings.Repeat("ä", 80))
	f.Add(strings.Repeat("\xff", 300))
	f.Fuzz(func(t *testing.T, s string) {
		var out bytes.Buffer
		w, _ := NewWriter(&out, VCard, Options{})
		w.cardLine(s)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(s, "\r\n") {
			return
		}
		for line := range strings.SplitSeq(out.String(), "\r\n") {
			if len(line) > 75 || utf8.ValidString(s) && !utf8.ValidString(line) {
				t.Errorf("line %q of %q", line, s)
			}
		}
		if got := strings.ReplaceAll(strings.TrimSuffix(out.String(), "\r\n"), "\r\n ", ""); got != s {
			t.Errorf("%q became %q", s, got)
		}
	})
}
