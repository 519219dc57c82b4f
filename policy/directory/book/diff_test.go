package book

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"cloakroom/policy/directory"
)

// workspaceHead is the head of the admin console's download, shortened.
const workspaceHead = "First Name [Required],Last Name [Required],Email Address [Required],Password [Required],Org Unit Path [Required],Status [READ ONLY],Department,Aliases\n"

func read(t testing.TB, text string) *Book {
	t.Helper()
	b, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func home(address string) string {
	return strings.Replace(address, "@gapps.acmecorp.test", "@acmecorp.test", 1)
}

func ours(address string) bool {
	return strings.HasSuffix(address, "@acmecorp.test") || strings.HasSuffix(address, "@acme.test")
}

func testView() View {
	return View{Home: home, Ours: ours, Away: func(u *directory.User) string {
		if slices.Contains(u.Groups, "gapps") {
			return strings.Replace(u.Address, "@", "@gapps.", 1)
		}
		return ""
	}}
}

func TestWorkspaceIsRead(t *testing.T) {
	b := read(t, "\ufeff"+workspaceHead+
		"Jane,Doe,Jane@ACMEcorp.test,****,/Sales,Active,Sales,\"j@acmecorp.test,jd@acmecorp.test\"\r\n"+
		"\"Öz,gür\",,oz@acmecorp.test,****,/,Suspended,,a@acmecorp.test b@acmecorp.test;c@acmecorp.test\r\n"+
		"Odd,One,odd@acmecorp.test,****,/,Gesperrt,,j@acmecorp.test\r\n"+
		"No,Body,,****,/,Active,,\r\n"+
		"Bad,Address,bad,****,/,Active,,\r\n"+
		"Jane,Again,jane@acmecorp.test,****,/,Active,,\r\n")
	want := []Person{
		{Line: 2, Address: "jane@acmecorp.test", Aliases: []string{"j@acmecorp.test", "jd@acmecorp.test"}, Name: "Jane Doe", Department: "Sales", Unit: "/Sales", Status: "Active", Mailbox: MailboxThere},
		{Line: 3, Address: "oz@acmecorp.test", Aliases: []string{"a@acmecorp.test", "b@acmecorp.test", "c@acmecorp.test"}, Name: "Öz,gür", Unit: "/", Status: "Suspended", Mailbox: MailboxOff},
		{Line: 4, Address: "odd@acmecorp.test", Name: "Odd One", Unit: "/", Status: "Gesperrt", Mailbox: MailboxThere},
	}
	if b.Kind != Workspace || asJSON(t, b.People) != asJSON(t, want) {
		t.Errorf("%s\n%s\nwant\n%s", b.Kind, asJSON(t, b.People), asJSON(t, want))
	}
	for _, part := range []string{`line 4: the status "gesperrt"`, "line 4: the alias j@acmecorp.test is in line 2", "line 5: it has no address", `line 6: "bad"`, "line 7: jane@acmecorp.test is in line 2"} {
		if !slices.ContainsFunc(b.Passed, func(p string) bool { return strings.HasPrefix(p, part) }) {
			t.Errorf("%q is not told: %q", part, b.Passed)
		}
	}
}

// The directory API's names, as tools write them, and other separators.
func TestOtherHeadsOfWorkspace(t *testing.T) {
	for _, text := range []string{
		"primaryEmail;name.fullName;suspended;aliases.0;aliases.1\njane@acmecorp.test;Jane Doe;False;j@acmecorp.test;jd@acmecorp.test\n",
		"EMAIL ADDRESS\tFirst name\tLAST NAME\tAliases\njane@acmecorp.test\tJane\tDoe\tj@acmecorp.test jd@acmecorp.test",
	} {
		b := read(t, text)
		if len(b.People) != 1 || b.Kind != Workspace {
			t.Fatalf("%+v", b)
		}
		p := b.People[0]
		if p.Name != "Jane Doe" || !slices.Equal(p.Aliases, []string{"j@acmecorp.test", "jd@acmecorp.test"}) || p.Mailbox != MailboxThere {
			t.Errorf("%+v", p)
		}
	}
	if b := read(t, "Email,Suspended,Archived\na@acmecorp.test,True,False\nb@acmecorp.test,False,True\nc@acmecorp.test,False,False\n"); b.People[0].Mailbox != MailboxOff ||
		b.People[1].Mailbox != MailboxOff && b.has[suspended] && b.People[2].Mailbox != MailboxThere {
		t.Errorf("%+v", b.People)
	}
}

// What we write for Google Contacts and for ourselves we read again.
func TestOwnExportsAreRead(t *testing.T) {
	for format, kind := range map[Format]Kind{GoogleCSV: Contacts, CSV: Users} {
		text, _ := write(t, format, Options{}, hard)
		b := read(t, text)
		if b.Kind != kind || len(b.People) != len(hard) || len(b.Passed) != 0 {
			t.Fatalf("%s: %s, %d people, %q", format, b.Kind, len(b.People), b.Passed)
		}
		if p := b.People[0]; p.Address != "bob@acmecorp.test" || len(p.Aliases) != 2 || p.Name != "Bob Doe" || p.Department != "research" || p.Mailbox != MailboxUnknown {
			t.Errorf("%s: %+v", format, p)
		}
		if format == CSV && (b.People[3].Address != hard[3].Address || b.People[1].System != "google" || len(b.People[6].Groups) != len(hard[6].Groups)) {
			t.Errorf("%+v", b.People)
		}
	}
	// An export of ours has no difference to the directory it was made from.
	users := slices.Concat(hard[:4], hard[5:])
	text, _ := write(t, CSV, Options{}, users)
	sorted := func(u directory.User) *directory.User {
		u.Groups = slices.Sorted(slices.Values(u.Groups))
		return &u
	}
	r := Diff(func(yield func(*directory.User) bool) {
		for _, u := range users {
			if !yield(sorted(*u)) {
				return
			}
		}
	}, read(t, text), testView())
	if len(r.Findings) != 0 || r.Same != len(users)-1 || r.Foreign != 2 { // one of them is in another domain
		t.Errorf("%s", asJSON(t, r))
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	for name, test := range map[string]struct {
		text, want string
		line       int
	}{
		"empty":            {"", "empty", 1},
		"no address":       {"First Name,Last Name\nA,B\n", "Email Address", 1},
		"UTF-16":           {"\xff\xfeE\x00", "UTF-16", 1},
		"not UTF-8":        {"Email Address,First Name\na@acmecorp.test,J\xfcrgen\n", "UTF-8", 2},
		"too many fields":  {"Email Address,First Name\na@acmecorp.test,A\nb@acmecorp.test,B,C\n", "fields", 3},
		"an open quote":    {"Email Address,First Name\na@acmecorp.test,\"A\n", "quote", 2},
		"an HTML page":     {"<!DOCTYPE html>\n<html>\n", "no column", 1},
		"quotes in the wa": {"Email Address\na\"b@acmecorp.test\n", "quote", 2},
	} {
		_, err := Read(strings.NewReader(test.text))
		var bad *FileError
		if !errors.As(err, &bad) || bad.Line != test.line || !strings.Contains(bad.Message, test.want) {
			t.Errorf("%s: %v, want line %d and %q", name, err, test.line, test.want)
		}
	}
}

func TestDiff(t *testing.T) {
	users := []*directory.User{
		{Address: "same@acmecorp.test", Aliases: []string{"s@acmecorp.test"}, Groups: []string{"gapps"}, Department: "Sales"},
		{Address: "alt@acmecorp.test", Groups: []string{"gapps"}},
		{Address: "nowhere@acmecorp.test", Groups: []string{"gapps"}},
		{Address: "off@acmecorp.test", Groups: []string{"gapps"}},
		{Address: "twice@acmecorp.test"},
		{Address: "here@acmecorp.test"},
		{Address: "renamed@acmecorp.test", Aliases: []string{"old@acmecorp.test"}, Groups: []string{"gapps"}, Department: "R&D"},
		{Address: "one@acmecorp.test", Aliases: []string{"two@acmecorp.test", "x@foreign.test"}, Groups: []string{"gapps"}},
		{Address: "gone@acmecorp.test"},
	}
	text := workspaceHead +
		"S,A,same@acmecorp.test,,/,Active,Sales,s@acmecorp.test s@gapps.acmecorp.test s@acmecorp.test.test-google-a.com\n" +
		"A,L,alt@gapps.acmecorp.test,,/,Active,,\n" +
		"O,F,off@acmecorp.test,,/,Suspended,,\n" +
		"T,W,twice@acmecorp.test,,/,Active,,\n" +
		"R,E,old@acmecorp.test,,/,Active,Research,older@acmecorp.test\n" +
		"O,N,one@acmecorp.test,,/,Active,,\n" +
		"T,W,two@acmecorp.test,,/,Active,,\n" +
		"N,E,new@acmecorp.test,,/,Active,,\n" +
		"F,R,far@ext.test,,/,Active,,\n" +
		"G,O,gone@acmecorp.test,,/,Archived,,\n" +
		"Z,Z,zombie@acmecorp.test,,/,Suspended,,\n"
	r := Diff(slices.Values(users), read(t, text), testView())
	var got []string
	for _, f := range r.Findings {
		got = append(got, string(f.Kind)+" "+f.Address)
		if f.Text == "" {
			t.Errorf("%+v has no words", f)
		}
	}
	want := []string{"neither nowhere@acmecorp.test", "off off@acmecorp.test", "both twice@acmecorp.test", "split one@acmecorp.test",
		"only-there new@acmecorp.test", "only-there zombie@acmecorp.test", "only-here here@acmecorp.test", "address renamed@acmecorp.test",
		"aliases renamed@acmecorp.test", "aliases one@acmecorp.test", "department renamed@acmecorp.test"}
	if !slices.Equal(got, want) {
		t.Errorf("findings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.Here != 9 || r.There != 10 || r.Foreign != 1 || r.Same != 3 || r.Count(OnlyThere) != 2 {
		t.Errorf("%+v", r)
	}
	for kind, part := range map[Difference]string{Neither: "nowhere@gapps.acmecorp.test", Off: "is suspended", Both: "mailbox on both sides", OtherDepartment: `"R&D" here, "Research" there`} {
		i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Kind == kind })
		if i < 0 || !strings.Contains(r.Findings[i].Text, part) {
			t.Errorf("%s: %+v", kind, r.Findings)
		}
	}
	var back Report
	if err := json.Unmarshal([]byte(asJSON(t, r)), &back); err != nil || len(back.Findings) != len(r.Findings) || back.Findings[1].Status != "Suspended" {
		t.Errorf("%v %+v", err, back)
	}
	if r.Only(Both); len(r.Findings) != 1 {
		t.Errorf("only both: %+v", r.Findings)
	}
	// A list of addresses does not tell where mailboxes are.
	contacts := Diff(slices.Values(users), read(t, "First Name,E-mail 1 - Value\nT,twice@acmecorp.test\n"), testView())
	if contacts.Count(Neither)+contacts.Count(Both) != 0 || contacts.Count(OnlyHere) != 8 {
		t.Errorf("%s", asJSON(t, contacts))
	}
}

func TestMerge(t *testing.T) {
	users := []*directory.User{
		{Address: "bob@acmecorp.test", Groups: []string{"research"}, Name: "Bob", Department: "R&D"},
		{Address: "in@acmecorp.test", Groups: []string{"gapps"}, Name: "I N"},
		{Address: "left@acmecorp.test", Groups: []string{"gapps"}},
		{Address: "a@acmecorp.test"}, {Address: "b@acmecorp.test"},
		{Address: "off@acmecorp.test", Groups: []string{"gapps"}},
	}
	before := asJSON(t, users)
	text := workspaceHead +
		"Robert,Doe,bob@gapps.acmecorp.test,,/,Active,Sales,robert@acmecorp.test\n" +
		"I,N,in@acmecorp.test,,/,Active,,\n" +
		"A,B,a@acmecorp.test,,/,Active,,b@acmecorp.test\n" +
		"New,One,new@acmecorp.test,,/,Active,Sales,n@acme.test n@ext.test\n" +
		"Far,Away,far@ext.test,,/,Active,,\n" +
		"Of,F,off@acmecorp.test,,/,Suspended,,\n"
	m := Merge(slices.Values(users), read(t, text), Intake{Group: "gapps", Home: home, Ours: ours})
	var got []string
	for _, c := range m.Changes {
		got = append(got, string(c.Action)+" "+c.Address)
	}
	want := []string{"change bob@acmecorp.test", "conflict a@acmecorp.test", "add new@acmecorp.test", "skip far@ext.test", "skip off@acmecorp.test", "stays left@acmecorp.test"}
	if !slices.Equal(got, want) || m.Same != 1 || m.Count(Added) != 1 {
		t.Errorf("%q, want %q", got, want)
	}
	bob, added := m.Users[0], m.Users[len(m.Users)-1]
	if asJSON(t, bob) != asJSON(t, directory.User{Address: "bob@acmecorp.test", Aliases: []string{"robert@acmecorp.test"}, Groups: []string{"gapps", "research"}, Name: "Bob", Department: "R&D"}) {
		t.Errorf("bob %+v", bob)
	}
	if asJSON(t, added) != asJSON(t, directory.User{Address: "new@acmecorp.test", Aliases: []string{"n@acme.test"}, Groups: []string{"gapps"}, Name: "New One", Department: "Sales"}) {
		t.Errorf("added %+v", added)
	}
	if asJSON(t, users) != before {
		t.Error("the users given were changed")
	}
	again := Merge(slices.Values(m.Users), read(t, text), Intake{Group: "gapps", Home: home, Ours: ours})
	if again.Count(Added)+again.Count(Changed) != 0 || len(again.Users) != len(m.Users) || again.Same != 3 {
		t.Errorf("a second time: %+v", again.Changes)
	}
	// Whatever is merged can be written and read back.
	out, _ := write(t, YAML, Options{}, m.Users)
	if back := readBack(t, "users.yaml", out); len(back) != len(m.Users) {
		t.Errorf("%d users of %d", len(back), len(m.Users))
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func FuzzRead(f *testing.F) {
	f.Add(workspaceHead + "a,b,c@acmecorp.test,,/,Active,,d@acmecorp.test\n")
	f.Add("address;aliases\na@b.test;\"c@d.test;e@f.test\"\n")
	f.Add("E-mail 1 - Value,E-mail 2 - Value\na@b.test,c@d.test ::: e@f.test\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, p := range b.People {
			for _, a := range append([]string{p.Address}, p.Aliases...) {
				if n, err := directory.Normalize(a); err != nil || n != a || seen[a] {
					t.Errorf("address %q of %+v: %v", a, p, err)
				}
				seen[a] = true
			}
		}
		m := Merge(func(func(*directory.User) bool) {}, b, Intake{Group: "g", Home: home, Ours: func(string) bool { return true }})
		out, _ := write(t, YAML, Options{}, m.Users)
		if len(m.Users) > 0 && len(readBack(t, "users.yaml", out)) != len(m.Users) {
			t.Errorf("%q", out)
		}
	})
}
