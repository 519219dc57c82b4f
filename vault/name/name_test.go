package name

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"cloakroom/message"
)

func mustParse(t testing.TB, template string) *Template {
	t.Helper()
	p, err := Parse(template)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func sample() Facts {
	return Facts{
		Space: "research", Owner: "bob@acmecorp.test", Department: "R&D", Direction: "inbound",
		Time:   time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Sender: "eve@ext.test", Subject: "Plans", Name: "plan.pdf", SHA256: [32]byte{0x01, 0x23, 0x45, 0x67, 0x89}, Rule: "research vault", ID: "01JABC",
	}
}

func TestRender(t *testing.T) {
	long := strings.Repeat("é", 300)
	for name, tt := range map[string]struct {
		template string
		change   func(*Facts)
		want     string
	}{
		"the usual":             {"{space}/{yyyy}/{mm}/{name}", nil, "research/2026/03/plan.pdf"},
		"text around":           {"files of {owner.local}/{stem} from {sender.domain}.{ext}", nil, "files of bob/plan from ext.test.pdf"},
		"nothing is known":      {"{space}/{department}/{sender}/{subject}/{name}", func(f *Facts) { *f = Facts{} }, "no space/no department/no sender/no subject/unnamed"},
		"no extension":          {"{stem}.{ext}", func(f *Facts) { f.Name = "README" }, "README"},
		"nothing but extension": {"{ext}/{name}", func(f *Facts) { f.Name = ".htaccess" }, "unnamed/htaccess"},
		"slashes in values":     {"{space}/{subject}/{name}", func(f *Facts) { f.Space, f.Subject, f.Name = "a/b", `..\..\x`, "../../etc/passwd" }, "a_b/_.._x/_.._etc_passwd"},
		"only dots":             {"{space}/{subject}/{name}", func(f *Facts) { f.Space, f.Subject, f.Name = "..", "…", ". ." }, "no space/no subject/unnamed"},
		"refused by Windows":    {"{subject}/{name}", func(f *Facts) { f.Subject, f.Name = `a<b>c:d"e|f?g*h`, "x. . " }, "a_b_c_d_e_f_g_h/x"},
		"devices":               {"{subject}/{name}", func(f *Facts) { f.Subject, f.Name = "con", "COM¹.tar.gz" }, "_con/_COM¹.tar.gz"},
		"a device by accident":  {"{stem}{ext}", func(f *Facts) { f.Name = "n.ul" }, "_nul"},
		"options":               {"{name}", func(f *Facts) { f.Name = "-rf" }, "rf"},
		"not seen":              {"{name}", func(f *Facts) { f.Name = "a\u202egnp\u200b\u2066\ufeff\x00\r\nb.exe" }, "agnp b.exe"},
		"decomposed":            {"{name}", func(f *Facts) { f.Name = "u\u0308ber.txt" }, "über.txt"},
		"not UTF-8":             {"{name}", func(f *Facts) { f.Name = "\xff\xfeber.txt" }, "_ber.txt"},
		"slashes elsewhere":     {"{name}", func(f *Facts) { f.Name = "a／b∕c℀d" }, "a_b_c_d"},
		"long subject":          {"{subject} {name}", func(f *Facts) { f.Subject = long }, strings.Repeat("é", 40) + " plan.pdf"},
		"long name":             {"{name}", func(f *Facts) { f.Name = long + ".pdf" }, strings.Repeat("é", 88) + ".pdf"},
		"long stem":             {"{stem} {hash}.{ext}", func(f *Facts) { f.Name = long + ".pdf" }, strings.Repeat("é", 83) + " 01234567.pdf"},
		"long packed":           {"{name}", func(f *Facts) { f.Name = long + ".tar.gz" }, strings.Repeat("é", 86) + ".tar.gz"},
	} {
		t.Run(name, func(t *testing.T) {
			f := sample()
			if tt.change != nil {
				tt.change(&f)
			}
			if got := mustParse(t, tt.template).Render(f); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestEveryFieldHasItsValue asks for one field at a time: together they would be
// too long for a name.
func TestEveryFieldHasItsValue(t *testing.T) {
	want := map[string]string{"space": "research", "owner": "bob@acmecorp.test", "owner.local": "bob", "owner.domain": "acmecorp.test", "department": "R&D",
		"direction": "inbound", "yyyy": "2026", "mm": "03", "dd": "04", "hh": "05", "sender": "eve@ext.test", "sender.domain": "ext.test", "subject": "Plans",
		"name": "plan.pdf", "stem": "plan", "ext": "pdf", "hash": "01234567", "rule": "research vault", "id": "01JABC"}
	for _, f := range Fields() {
		p := mustParse(t, "x/{"+f.Name+"}")
		if got := p.Render(sample()); got != "x/"+want[f.Name] || want[f.Name] == "" {
			t.Errorf("{%s} is %q", f.Name, got)
		}
		if !p.Uses(f.Name) || p.Uses("none") || p.String() != "x/{"+f.Name+"}" || f.Doc == "" {
			t.Errorf("{%s}: %s", f.Name, p)
		}
	}
}

func TestParseTellsTheColumn(t *testing.T) {
	for template, want := range map[string]string{
		"":                             "is empty",
		"ü/{foo}":                      "column 3: unknown field {foo}; there are {space} {owner}",
		"{name":                        "column 1: { without }",
		"{na{me}":                      "column 1: { without }",
		"a}":                           "column 2: } without {",
		"/{name}":                      "column 1: a folder without a name",
		"a//{name}":                    "column 3: a folder without a name",
		"{space}/":                     "column 9: a folder without a name",
		"../{name}":                    `column 1: ".." is not a name`,
		"a/./{name}":                   `column 3: "." is not a name`,
		"a/aux/{name}":                 `column 3: "aux" is not a name`,
		"a:{name}":                     `column 2: ':' is not safe`,
		`a\{name}`:                     `column 2: '\\' is not safe`,
		"a\u202e{name}":                "column 2: '\\u202e' is not safe",
		"a\t{name}":                    "column 2: '\\t' is not safe",
		"a\xff{name}":                  "column 2: ",
		strings.Repeat("a", 1001):      "1001 bytes",
		strings.Repeat("a/", 16) + "x": "16 folders",
	} {
		if _, err := Parse(template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", template, err, want)
		}
	}
}

func TestVariantsAreReadableAndDiffer(t *testing.T) {
	sha := sample().SHA256
	for _, tt := range []struct {
		path string
		n    int
		want string
	}{
		{"a/plan.pdf", 0, "a/plan.pdf"}, {"a/plan.pdf", 1, "a/plan.pdf"}, {"a/plan.pdf", 2, "a/plan (2).pdf"}, {"a/plan.pdf", 9, "a/plan (9).pdf"},
		{"a/plan.pdf", 10, "a/plan (01234567).pdf"}, {"a/plan.pdf", 11, "a/plan (01234567).pdf"}, {"a.b/README", 3, "a.b/README (3)"},
		{"a/x.tar.gz", 2, "a/x (2).tar.gz"}, {"No. 5 of them", 2, "No. 5 of them (2)"}, {"plan .pdf", 2, "plan (2).pdf"},
	} {
		if got := Variant(tt.path, tt.n, sha); got != tt.want {
			t.Errorf("variant %d of %q is %q, want %q", tt.n, tt.path, got, tt.want)
		}
	}
}

func TestFoldTakesTheSameForTheSame(t *testing.T) {
	for a, b := range map[string]string{
		"Plan.PDF": "plan.pdf", "über": "U\u0308BER", "STRASSE": "straße", "ﬁle": "FILE", "Ångström": "A\u030angstro\u0308m", "ſ": "S", "Σίσυφος": "σίσυφοσ", "ı": "I",
	} {
		if Fold(a) != Fold(b) {
			t.Errorf("%q and %q differ: %q, %q", a, b, Fold(a), Fold(b))
		}
	}
	for a, b := range map[string]string{"plan": "plán", "a/b": "a_b", "x (2)": "x (3)", "ab": "a b"} {
		if Fold(a) == Fold(b) {
			t.Errorf("%q and %q are the same", a, b)
		}
	}
}

// unsafe tells what is wrong with a path.
func unsafe(path string) string {
	if len(path) > MaxPath+suffixRoom || path == "" {
		return "its length"
	}
	if !norm.NFC.IsNormalString(path) || !utf8.ValidString(path) {
		return "not UTF-8 in form C"
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "":
			return "an empty segment"
		case len(segment) > MaxSegment+suffixRoom:
			return "a long segment"
		case strings.ContainsAny(segment, `\:*?"<>|`):
			return "a character Windows refuses"
		case strings.ContainsFunc(segment, func(r rune) bool {
			return unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) && !unicode.Is(unicode.Co, r)
		}):
			return "a control or format character"
		case strings.ContainsAny(segment[:1], ". -") || strings.ContainsAny(segment[len(segment)-1:], ". "):
			return "a dot, space or dash at an end"
		case strings.Trim(norm.NFKC.String(segment), ". ") == "" || strings.ContainsAny(norm.NFKC.String(segment), `/\`):
			return "a server that normalises would leave the folder"
		case message.IsDevice(segment):
			return "a device"
		case strings.Contains(segment, "  "):
			return "two spaces"
		}
	}
	return ""
}

func FuzzRender(f *testing.F) {
	f.Add("{space}/{yyyy}/{mm}/{name}", "research", "bob@acmecorp.test", "Plans", "plan.pdf", int64(1_700_000_000), 2)
	f.Add("{owner.local} {subject}/{stem} {hash}.{ext}", "a/b", "../..", strings.Repeat("é", 200), "-.CON.\u202e..", int64(-1), 10)
	f.Add("{department}/{rule}/{id}/{direction}/{sender}/{sender.domain}", "..", "…", "\u0308\u0301", "COM1 ……………………………………………………………………………………………………………………………………… x", int64(1<<40), 9)
	f.Add(strings.Repeat("{subject}{subject}{name}/", 15)+"{name}", "a", "b", strings.Repeat("x", 100), strings.Repeat("y", 200)+".tar.gz", int64(0), 3)
	f.Fuzz(func(t *testing.T, template, space, address, subject, file string, unix int64, n int) {
		p, err := Parse(template)
		if err != nil {
			return
		}
		facts := Facts{Space: space, Owner: address, Department: space, Direction: subject, Time: time.Unix(unix, 0).UTC(), Sender: address, Subject: subject,
			Name: file, SHA256: [32]byte{byte(n)}, Rule: subject, ID: space}
		path := p.Render(facts)
		if why := unsafe(path); why != "" {
			t.Fatalf("%q: %s", path, why)
		}
		if got, want := strings.Count(path, "/"), strings.Count(template, "/"); got != want {
			t.Errorf("%q has %d slashes, the template %d", path, got, want)
		}
		if again := p.Render(facts); again != path {
			t.Errorf("%q, the second time %q", path, again)
		}
		for segment := range strings.SplitSeq(path, "/") {
			if again := safeSegment(segment); again != segment {
				t.Errorf("%q, made safe again: %q", segment, again)
			}
		}
		variant := Variant(path, n, facts.SHA256)
		if why := unsafe(variant); why != "" {
			t.Errorf("variant %q: %s", variant, why)
		}
		if (n > 1) == (variant == path) {
			t.Errorf("variant %d of %q is %q", n, path, variant)
		}
		key := Fold(path)
		if again := Fold(key); again != key {
			t.Errorf("folded %q, twice %q", key, again)
		}
		if Fold(norm.NFD.String(path)) != key || Fold(strings.ToUpper(path)) != key || Fold(strings.ToLower(path)) != key {
			t.Errorf("%q folds to another key in another form", path)
		}
	})
}

func TestASpaceMayBeSeveralFoldersDeep(t *testing.T) {
	f := sample()
	f.Sender, f.Name = "eve@../../etc", "plan.pdf"
	for path, want := range map[string]string{
		"{space}/{name}": "customers/_.._etc/plan.pdf", "all {space}/{name}": "all customers/_.._etc/plan.pdf", "{name}": "plan.pdf",
	} {
		in, err := mustParse(t, path).In(mustParse(t, "customers/{sender.domain}"))
		if err != nil {
			t.Fatal(err)
		}
		if got := in.Render(f); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if _, err := mustParse(t, strings.Repeat("a/", 15)+"{space}").In(mustParse(t, "a/b")); err == nil {
		t.Error("a path of 17 folders was taken")
	}
}
