package directory

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// problemsOf gives the problems of a text as line:column: message.
func problemsOf(t *testing.T, name, text string) []string {
	t.Helper()
	path := writeFile(t, name, text)
	_, err := OpenFile(path, "+", testLog(t))
	if err == nil {
		return nil
	}
	var bad *FileError
	if !errors.As(err, &bad) {
		t.Fatalf("%T: %v", err, err)
	}
	var out []string
	for line := range strings.Lines(bad.Error()) {
		out = append(out, strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), path+":"), " "))
	}
	return out
}

func TestFileProblemsNameTheirPlaces(t *testing.T) {
	for name, test := range map[string]struct {
		file, text string
		want       []string // beginnings
	}{
		"all at once": {"a.yaml", "users:\n" +
			"  - {address: bob@acmecorp.test, aliases: [eve@acmecorp.test]}\n" +
			"  - {address: eve@acmecorp.test}\n" +
			"  - {name: nameless}\n" +
			"  - {address: böb, aliases: [bob@acmecorp.test]}\n" +
			"  - {address: x@acmecorp.test, aliases: [y@acmecorp.test, x@ACMECORP.test, 'a b@c.d', BOB@acmecorp.test]}\n",
			[]string{
				"3:15: eve@acmecorp.test belongs to the user in line 2 already (bob@acmecorp.test)",
				"4:6: this user has no address",
				`5:15: "böb": an address is written local@domain`,
				"5:30: bob@acmecorp.test belongs to the user in line 2 already",
				`6:76: "a b@c.d": the address holds a space`,
				"6:87: bob@acmecorp.test belongs",
			}},
		"unknown keys": {"a.yaml", "users:\n  - {address: a@b.c, adress: x}\n  - address: b@b.c\n    group: [a]\n",
			[]string{"2:22: unknown key; there are address, aliases", "4:5: unknown key"}},
		"keys twice":        {"a.yaml", "users:\n  - {address: a@b.c, address: b@b.c}\n", []string{"2:22: address is written twice"}},
		"kinds":             {"a.yaml", "users:\n  - {address: [a@b.c], groups: x}\n  - a@b.c\n", []string{"2:15: is one value", "2:32: is a list", "3:5: a user is written"}},
		"anchors":           {"a.yaml", "users:\n  - {address: a@b.c, groups: &g [x]}\n  - {address: b@b.c, groups: [*g]}\n", []string{"2:30: ", "3:31: anchors"}},
		"broken YAML":       {"a.yaml", "users:\n  - {address: a@b.c\n  - {address: b@b.c}\n", []string{"3:3: "}},
		"no list":           {"a.yaml", "# nothing\n", []string{"has no `users:` list"}},
		"empty file":        {"a.yaml", "", []string{"has no `users:` list"}},
		"no value":          {"a.yaml", "users:\n", []string{"1:"}},
		"another key":       {"a.yaml", "user: []\n", []string{"1:1: unknown key", "has no"}},
		"second document":   {"a.yaml", "users: []\n---\nusers: []\n", []string{"3:6: there is a second document"}},
		"empty values":      {"a.yaml", "users:\n  - {address: a@b.c, groups: ['']}\n  - {address: \"\"}\n", []string{"2:31: is empty", "3:15: is empty"}},
		"control character": {"a.yaml", "users:\n  - {address: a@b.c, groups: [\"a\\x00b\"]}\n", []string{`2:31: "a\x00b" holds a control`}},
		"not UTF-8":         {"a.csv", "address,name\na@b.c,J\xfcrgen\n", []string{"2:7: is not UTF-8"}},
		"YAML not UTF-8":    {"a.yaml", "users:\n  - {address: a@b.c, name: J\xfcrgen}\n", []string{"2:29: is not UTF-8"}},
		"unknown column":    {"a.csv", "address,group\na@b.c,x\n", []string{"1:9: unknown column \"group\""}},
		"columns twice":     {"a.csv", "address,Address\n", []string{"1:9: the column address"}},
		"no address column": {"a.csv", "name\nBob\n", []string{"1:1: has no column address"}},
		"empty CSV":         {"a.csv", "", []string{"is empty"}},
		"CSV rows": {"a.csv", "address,aliases\nbob@b.c,\nbob@b.c,x@y.z\nno,bad;worse\n,x\nbob@b.c\n\nb@b.c,\"x\n", []string{
			"3:1: bob@b.c belongs to the user in line 2", `4:1: "no"`, `4:4: "bad"`, `4:4: "worse"`, "5:1: this user has no address", "6:1: wrong number of fields", "8:10: "}},
	} {
		t.Run(name, func(t *testing.T) {
			got := problemsOf(t, test.file, test.text)
			for i := range max(len(got), len(test.want)) {
				if i >= len(got) || i >= len(test.want) || !strings.HasPrefix(got[i], test.want[i]) {
					t.Fatalf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
				}
			}
		})
	}
	var many strings.Builder
	many.WriteString("users:\n")
	for range 250 {
		many.WriteString("  - {address: same@acmecorp.test}\n")
	}
	got := problemsOf(t, "a.yaml", many.String())
	if len(got) != maxProblems+1 || got[maxProblems] != "and 149 more" {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	for _, path := range []string{"/nonexistent.yaml", t.TempDir() + "/", writeFile(t, "users.txt", "users: []")} {
		if _, err := OpenFile(path, "+", testLog(t)); err == nil {
			t.Errorf("%s was opened", path)
		}
	}
	dir := t.TempDir() + "/users.yaml"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(dir, "+", testLog(t)); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder gave %v", err)
	}
}

func TestReloadKeepsTheOldUsersWhenTheFileIsBad(t *testing.T) {
	path := writeFile(t, "users.yaml", "users:\n  - {address: a@acmecorp.test}\n")
	f, err := OpenFile(path, "+", testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	var stop sync.WaitGroup
	done := make(chan struct{})
	stop.Go(func() { // readers while it is swapped
		for {
			select {
			case <-done:
				return
			default:
			}
			found, _ := f.Lookup(t.Context(), []string{"a@acmecorp.test", "b@acmecorp.test"})
			if len(found) != 1 {
				t.Errorf("found %v between two snapshots", found)
				return
			}
		}
	})
	for _, step := range []struct{ text, want string }{
		{"users:\n  - {address: b@acmecorp.test}\n", "b@acmecorp.test"},
		{"users:\n  - {address: a@acmecorp.test}\n  - {address: nonsense}\n", "b@acmecorp.test"},
		{"", "b@acmecorp.test"},
		{"users:\n  - {address: a@acmecorp.test}\n", "a@acmecorp.test"},
	} {
		next := writeFile(t, "next", step.text)
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
		_ = f.Reload() // what it does is what counts here
		found, err := f.Lookup(t.Context(), []string{step.want})
		if err != nil || found[step.want] == nil {
			t.Errorf("after %q: %s is gone", step.text, step.want)
		}
	}
	close(done)
	stop.Wait()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); !errors.Is(err, os.ErrNotExist) || f.Len() != 1 {
		t.Errorf("a missing file gave %v and left %d users", err, f.Len())
	}
}

func TestFileThatIsBeingWrittenIsNotUsed(t *testing.T) {
	path := writeMany(t, "users.yaml", 20_000)
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	done, began := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			fmt.Fprintf(file, "  - {address: late%d@acmecorp.test}\n", i)
			if i == 0 {
				close(began)
			}
			time.Sleep(time.Millisecond)
		}
	})
	<-began
	_, err = OpenFile(path, "+", testLog(t))
	close(done)
	writer.Wait()
	if !errors.Is(err, errChanged) {
		t.Errorf("error %v, want %v", err, errChanged)
	}
}

// maxUserBytes is what a user of writeMany may take in memory: a million of
// them within 300 MB, while they are read and another million is in use.
const maxUserBytes = 160

func TestUsersTakeLittleMemory(t *testing.T) {
	const n = 200_000
	path := writeMany(t, "users.yaml", n)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	f, err := OpenFile(path, "+", testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	if each := (heap() - before) / n; each > maxUserBytes {
		t.Errorf("a user takes %d bytes, want no more than %d", each, maxUserBytes)
	}
	// All of them are found, in all blocks of text and slots of the table.
	for i := range n {
		a := fmt.Sprintf("u%d@acmecorp.test", i)
		found, _ := f.Lookup(t.Context(), []string{a})
		want := &User{Address: fmt.Sprintf("user.%d@acmecorp.test", i), Aliases: []string{a},
			Groups: []string{fmt.Sprintf("group%d", i%1000), "staff"}, Department: fmt.Sprintf("dep%d", i%100), Name: fmt.Sprintf("Firstname Lastname%d", i)}
		if !reflect.DeepEqual(found[a], want) {
			t.Fatalf("%s: found %+v, want %+v", a, found[a], want)
		}
	}
}

func TestLargeFilesInOtherStylesAreRefused(t *testing.T) {
	path := writeMany(t, "users.yaml", 80_000)
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(file, "  - {address: x@acmecorp.test, adress: y}\n")
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = OpenFile(path, "+", testLog(t))
	if err == nil || !strings.Contains(err.Error(), ":80002:32: is not a key") || !strings.Contains(err.Error(), "plain style") {
		t.Errorf("error %v", err)
	}
}

func TestSubaddressesAreAsConfigured(t *testing.T) {
	path := writeFile(t, "users.yaml", "users:\n  - {address: bob@acmecorp.test}\n  - {address: a-b@acmecorp.test}\n")
	for delimiters, want := range map[string]string{
		"":   "",
		"+":  "bob+x@acmecorp.test a-b+x@acmecorp.test",
		"-+": "bob+x@acmecorp.test bob-x@acmecorp.test", // a-b+x is a's, who is nobody
	} {
		f, err := OpenFile(path, delimiters, testLog(t))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range []string{"bob+x@acmecorp.test", "bob-x@acmecorp.test", "a-b+x@acmecorp.test", `"bob+x y"@acmecorp.test`} {
			if found, _ := f.Lookup(t.Context(), []string{a}); found[a] != nil {
				got = append(got, a)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("with %q found %v, want %s", delimiters, got, want)
		}
	}
}

// TestPlainStyleMeansWhatYAMLMeans builds files of odd pieces: what the plain
// reader takes the library must read alike.
func TestPlainStyleMeansWhatYAMLMeans(t *testing.T) {
	values := []string{"a", "007", "0x1F", "1_000", "1e3", "true", "No", "null", "~", "NULL", "nullable", "a b", "a  b ", "R&D", "a:b", "a: b", "a#b", "a #b",
		"'x, y'", `"x # y"`, `'it''s'`, `"\t"`, `""`, "''", "é", "ürgen x", "Größe-1", "a'b", "a=b", "=", "-", "- a", "-a", "a-", "(x)", "x(y)", "a&b", "&a", "*a", "!a", "%a", "@a", "`a", "|", ">", "a|b",
		"2026-01-02", "12:30:45", ".inf", "Inf", ".5", "5.", "+1", "<<", "{", "[a]", "[", "]", "a]b", "a, b", "\u00a0", "a\u00a0b", "a\u2028b", "日本", "a\tb", "?", "? a", "a?", "y", "off", "0b1", "0o7", "1.0", "x/y.z_w"}
	shapes := []string{
		"users:\n  - {address: %d@b.c, name: %s}\n",
		"users:\n  - {address: %d@b.c, groups: [%s]}\n",
		"users:\n  - {address: %d@b.c, groups: [x, %s, y], department: z}\n",
		"users:\n- address: %d@b.c\n  name: %s\n",
		"users:\n- address: %d@b.c\n  name: %s # comment\n  groups: [a]\n",
		"users:\n- address: %d@b.c\n  groups: [%s] \n",
		"users:\n   -  {address: %d@b.c , name : %s }\n",
		"users:\n  - { address: %d@b.c,name: %s}  #x\n",
		"users: # all\n\n  # first\n  - name: %[2]s\n    address: %[1]d@b.c\n\n  - {address: x@y.z}\n",
		"users:\n  - {address: %d@b.c}\n  - {address: %s@b.c}\n",
		"users:\n  - {address: %d@b.c,\n     name: %s}\n",
		"users:\n  - address: %d@b.c\n     name: %s\n",
		"users:\n  - address: %d@b.c\n    name: a\n    name: %s\n",
		"users:\n  - {address: %d@b.c}\n - {address: e@f.g, name: %s}\n",
	}
	plain := 0
	for i, value := range values {
		for _, shape := range shapes {
			text := fmt.Sprintf(shape, i, value)
			if samePlain(t, text) {
				plain++
			}
		}
	}
	if plain < len(values)*len(shapes)/4 {
		t.Errorf("only %d of %d files were plain", plain, len(values)*len(shapes))
	}
}

// samePlain compares the two readers, if the file is plain.
func samePlain(t *testing.T, text string) bool {
	t.Helper()
	quick := newBuilder(&problems{file: "f"}, sizes{})
	other, err := readPlain(strings.NewReader(text), quick)
	if err != nil {
		t.Fatal(err)
	}
	if other != nil {
		return false
	}
	full := newBuilder(&problems{file: "f"}, sizes{})
	if err := decodeYAML([]byte(text), full); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if !reflect.DeepEqual(quick.problems.list, full.problems.list) {
		t.Errorf("%q: plain: %v, YAML: %v", text, quick.problems.list, full.problems.list)
		return true
	}
	a, b := quick.finish(), full.finish()
	if len(a.users) != len(b.users) {
		t.Errorf("%q: plain has %d users, YAML %d", text, len(a.users), len(b.users))
		return true
	}
	for i := range a.users {
		if x, y := a.user(uint32(i)), b.user(uint32(i)); !reflect.DeepEqual(x, y) {
			t.Errorf("%q: plain: %+v, YAML: %+v", text, x, y)
		}
	}
	return true
}

func FuzzPlainStyle(f *testing.F) {
	for _, text := range peopleFiles {
		f.Add(text)
	}
	f.Add("users:\n  - {address: a@b.c, name: x y }\n")
	f.Add("users:\n- address: 'a@b.c' # x\n  groups: [ a , b ]\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 4096 {
			samePlain(t, text)
		}
	})
}
