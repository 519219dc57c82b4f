package directory

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// people are the users that every source under test has. In LDAP research and
// staff contain each other, gapps is in staff: here the groups are as they
// come out.
var people = []*User{
	{Address: "bob@acmecorp.test", Aliases: []string{"robert@acmecorp.test", "bob@sales.acmecorp.test"},
		Groups: []string{"research", "staff"}, Department: "R&D", Name: "Bob B. (Research)"},
	{Address: "boss@acmecorp.test", Groups: []string{"gapps", "research", "staff"}, System: "gapps", Name: "Böss"},
	{Address: "bob+exact@acmecorp.test"},
	{Address: "mueller@xn--bcher-kva.test", Aliases: []string{"jürgen@xn--bcher-kva.test"}, Department: "007"},
	{Address: "o'neil_x-y@acmecorp.test", Groups: []string{"Domain Users, all"}},
}

// asked maps what is asked to the primary address of the user; "" is nobody.
var asked = map[string]string{
	"bob@acmecorp.test":                "bob@acmecorp.test",
	"BOB@AcmeCorp.TEST":                "bob@acmecorp.test",
	"bob@acmecorp.test.":               "bob@acmecorp.test",
	`"bob"@acmecorp.test`:              "bob@acmecorp.test",
	"Robert@acmecorp.test":             "bob@acmecorp.test",
	"bob@sales.acmecorp.test":          "bob@acmecorp.test",
	"bob+news@acmecorp.test":           "bob@acmecorp.test",
	"robert+a+b@acmecorp.test":         "bob@acmecorp.test",
	"bob+exact@acmecorp.test":          "bob+exact@acmecorp.test",
	"bob+exact+more@acmecorp.test":     "bob@acmecorp.test",
	"boss@acmecorp.test":               "boss@acmecorp.test",
	"mueller@bücher.test":              "mueller@xn--bcher-kva.test",
	"mueller@BÜCHER.test":              "mueller@xn--bcher-kva.test",
	"Mueller@xn--bcher-kva.test":       "mueller@xn--bcher-kva.test",
	"jürgen@bücher.test":               "mueller@xn--bcher-kva.test",
	"JU\u0308RGEN@xn--bcher-kva.test":  "mueller@xn--bcher-kva.test",
	"jürgen+x@bücher.test":             "mueller@xn--bcher-kva.test",
	"O'Neil_x-y@acmecorp.test":         "o'neil_x-y@acmecorp.test",
	"nobody@acmecorp.test":             "",
	"+news@acmecorp.test":              "",
	"bob@other.test":                   "",
	"bob":                              "",
	"":                                 "",
	"@acmecorp.test":                   "",
	"bob@":                             "",
	"<bob@acmecorp.test>":              "",
	"bob @acmecorp.test":               "",
	"bob@acmecorp.test\x00":            "",
	"b\xffob@acmecorp.test":            "",
	"b\u00f6b@acmecorp.test":           "",
	"*@acmecorp.test":                  "",
	"b*@acmecorp.test":                 "",
	"*)(uid=*@acmecorp.test":           "",
	`"*)(uid=*"@acmecorp.test`:         "",
	`"*)(|(mail=*"@acmecorp.test`:      "",
	`"bob@acmecorp.test)(x=y"@a.test`:  "",
	`"bob\2a"@acmecorp.test`:           "",
	"bob@acmecorp.test)(uid=*":         "",
	"bob@*":                            "",
	strings.Repeat("a", 400) + "@a.te": "",
}

// conformance is what every Source must do.
func conformance(t *testing.T, source Source) {
	byAddress := make(map[string]*User)
	for _, u := range people {
		byAddress[u.Address] = u
	}
	check := func(t *testing.T, found map[string]*User, addresses ...string) {
		t.Helper()
		want := make(map[string]*User)
		for _, a := range addresses {
			if primary := asked[a]; primary != "" {
				want[a] = byAddress[primary]
			}
		}
		for _, a := range addresses {
			if !reflect.DeepEqual(found[a], want[a]) {
				t.Errorf("%q: found %+v, want %+v", a, found[a], want[a])
			}
		}
		if len(found) != len(want) {
			t.Errorf("found %d addresses, want %d", len(found), len(want))
		}
	}
	all := make([]string, 0, len(asked))
	for a := range asked {
		all = append(all, a)
	}
	slices.Sort(all)
	t.Run("one by one", func(t *testing.T) {
		for _, a := range all {
			found, err := source.Lookup(t.Context(), []string{a})
			if err != nil {
				t.Fatalf("%q: %v", a, err)
			}
			check(t, found, a)
		}
	})
	t.Run("all at once", func(t *testing.T) {
		found, err := source.Lookup(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		check(t, found, all...)
	})
	t.Run("the same twice", func(t *testing.T) {
		found, err := source.Lookup(t.Context(), []string{"bob@acmecorp.test", "bob@acmecorp.test", "BOB@AcmeCorp.TEST"})
		if err != nil {
			t.Fatal(err)
		}
		check(t, found, "bob@acmecorp.test", "BOB@AcmeCorp.TEST")
	})
	t.Run("none", func(t *testing.T) {
		found, err := source.Lookup(t.Context(), nil)
		if err != nil || len(found) != 0 {
			t.Errorf("found %v, %v", found, err)
		}
	})
	t.Run("many at a time", func(t *testing.T) {
		errs := make(chan error)
		for range 8 {
			go func() {
				var err error
				for i := 0; i < 20 && err == nil; i++ {
					var found map[string]*User
					found, err = source.Lookup(context.Background(), all[i:i+10])
					if err == nil && found["bob@acmecorp.test"] == nil && slices.Contains(all[i:i+10], "bob@acmecorp.test") {
						err = fmt.Errorf("bob was not found among %v", all[i:i+10])
					}
				}
				errs <- err
			}()
		}
		for range 8 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// writeFile writes a file and returns its path.
func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func openText(t testing.TB, name, text string) *File {
	t.Helper()
	f, err := OpenFile(writeFile(t, name, text), "+", testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// peopleFiles has the people in every way to write them.
var peopleFiles = map[string]string{
	"flow.yaml": `# our people
---
users:
  - {address: bob@acmecorp.test, aliases: [robert@acmecorp.test, Bob@Sales.acmecorp.test], groups: [staff, research, staff], department: "R&D", name: Bob B. (Research)} # plain

  - {name: Böss, address: boss@acmecorp.test, groups: [gapps, 'research', staff], system: gapps}
  # subaddress
  - {address: bob+exact@acmecorp.test, aliases: []}
  - {address: mueller@bücher.test, aliases: ["jürgen@bücher.test"], department: 007}
  - {address: o'neil_x-y@acmecorp.test, groups: ["Domain Users, all"]}
`,
	"block.yml": `users:
- address: Bob@acmecorp.test
  aliases: [robert@acmecorp.test, bob@sales.acmecorp.test]
  groups: [research, staff]
  department: R&D # plain
  name: Bob B. (Research)
- system: gapps
  address: boss@acmecorp.test
  groups: [gapps, research, staff]
  name: 'Böss'
- address: bob+exact@acmecorp.test
- address: mueller@xn--bcher-kva.test
  aliases: [jürgen@bücher.test]
  department: 007
- {address: o'neil_x-y@acmecorp.test, groups: ["Domain Users, all"]}
`,
	"general.yaml": `users:
  - address: bob@acmecorp.test
    aliases:
      - robert@acmecorp.test
      - bob@sales.acmecorp.test
    groups: [
      research, staff]
    department: "R\u0026D"
    name: >-
      Bob B.
      (Research)
    system:
  - "address": boss@acmecorp.test
    groups:
      - gapps
      - research
      - staff
    system: gapps
    name: "B\xf6ss"
  - {address: bob+exact@acmecorp.test}
  - {address: mueller@bücher.test, aliases: [jürgen@bücher.test], department: 007}
  - {address: o'neil_x-y@acmecorp.test, groups: ["Domain Users, all"]}
`,
	"crlf.yaml": "\ufeffusers:\r\n" +
		"  - {address: bob@acmecorp.test, aliases: [robert@acmecorp.test, bob@sales.acmecorp.test], groups: [research, staff], department: R&D, name: Bob B. (Research)}\r\n" +
		"  - {address: boss@acmecorp.test, groups: [gapps, research, staff], system: gapps, name: Böss}\r\n" +
		"  - {address: bob+exact@acmecorp.test}\r\n" +
		"  - {address: mueller@bücher.test, aliases: [jürgen@bücher.test], department: 007}\r\n" +
		"  - {address: o'neil_x-y@acmecorp.test, groups: [\"Domain Users, all\"]}\r\n",
	"comma.csv": `address,aliases,groups,department,system,name
bob@acmecorp.test,robert@acmecorp.test; bob@sales.acmecorp.test,research;staff,R&D,,Bob B. (Research)
boss@acmecorp.test,,gapps;research;staff,,gapps,Böss
bob+exact@acmecorp.test,,,,,
mueller@bücher.test,jürgen@bücher.test,,007,,
o'neil_x-y@acmecorp.test,,"Domain Users, all",,,
`,
	"semicolon.csv": "\ufeffName;Address;Aliases;Groups;Department;System\r\n" +
		"Bob B. (Research);bob@acmecorp.test;\"robert@acmecorp.test;bob@sales.acmecorp.test\";\"research;staff\";R&D;\r\n" +
		"Böss;boss@acmecorp.test;;\"gapps;research;staff\";;gapps\r\n" +
		";bob+exact@acmecorp.test;;;;\r\n" +
		";mueller@bücher.test;jürgen@bücher.test;;007;\r\n" +
		";o'neil_x-y@acmecorp.test;;\"Domain Users, all\";;\r\n",
}

func TestFileConforms(t *testing.T) {
	for name, text := range peopleFiles {
		t.Run(name, func(t *testing.T) {
			f := openText(t, name, text)
			conformance(t, f)
			var all []*User
			f.All(func(u *User) bool { all = append(all, u); return true })
			if !reflect.DeepEqual(all, people) {
				t.Errorf("All gave %+v", all)
			}
			count := 0
			f.All(func(*User) bool { count++; return count < 2 })
			if count != 2 || f.Len() != len(people) {
				t.Errorf("All went on to %d users of %d", count, f.Len())
			}
		})
		t.Run(name+" cached", func(t *testing.T) {
			conformance(t, NewCached(openText(t, name, text), DefaultConfig().Cache, testLog(t)))
		})
	}
}
