package web

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/feature/plural"
)

func TestPagesAreInTheLanguageThatTheBrowserAsksFor(t *testing.T) {
	s := newStage(t)
	for accept, want := range map[string]string{
		"":                                     "en",
		"en-GB,en;q=0.9":                       "en",
		"de":                                   "de",
		"de-AT,de;q=0.9,en;q=0.8":              "de",
		"fr,de;q=0.5":                          "de",
		"ja":                                   "en",
		"*":                                    "en",
		"en;q=0.2,de;q=0.9":                    "de",
		"%%%":                                  "en",
		"de," + strings.Repeat("x-a-b,", 1000): "de",
		strings.Repeat("-", 10_000):            "en",
	} {
		r := s.get(s.page(), "Accept-Language", accept)
		s.wantStatus(r, http.StatusOK)
		if got := r.Header.Get("Content-Language"); got != want || !bytes.Contains(r.body, []byte(`<html lang="`+want+`" dir="ltr">`)) {
			t.Errorf("%.40q: language %q, want %q", accept, got, want)
		}
	}
	de := s.get(s.page(), "Accept-Language", "de")
	s.wantText(de, "<title>2 Dateien von bob@acmecorp.test</title>", "24. November 2026, 08:30 Uhr UTC",
		"bis <time datetime=\"2026-12-12T09:31:00Z\">12. Dezember 2026, 09:31 Uhr UTC</time> (noch 18 Tage)",
		"PDF-Dokument, 2,5 MB", "Herunterladen", `aria-label="report.pdf herunterladen"`)
	if gone := s.get(s.server.URL+"/d/nothing", "Accept-Language", "de"); !strings.Contains(string(gone.body), "Unter dieser Adresse gibt es nichts") {
		t.Errorf("the note is not German:\n%s", gone.body)
	}
}

func TestEveryBuiltInLanguageHasEveryTextWithItsPlaceholders(t *testing.T) {
	c, err := loadCatalog("", "en")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.languages) != 2 {
		t.Fatalf("%d languages", len(c.languages))
	}
	content, err := os.ReadFile("texts/de.yaml")
	if err != nil {
		t.Fatal(err)
	}
	en, de := c.languages[0], c.languages[1]
	for key, base := range en.messages {
		if !regexp.MustCompile(`(?m)^` + key + `:`).Match(content) {
			t.Errorf("de.yaml lacks %s", key)
		}
		for _, p := range placeholder.FindAllString(base[plural.Other], -1) {
			if !strings.Contains(de.messages[key][plural.Other], p) {
				t.Errorf("de.yaml: %s does not say %s", key, p)
			}
		}
	}
}

// keyUse finds the texts that the program asks for.
var keyUse = regexp.MustCompile(`(?:Say|Count|Markup|Lines) ?\(?"([a-z_]+)"|text: "([a-z_]+)"|\{"(kind_[a-z]+)"|"((?:bad|dead|many|no)_(?:address|codes?|passwords?|cookie))"`)

func TestEveryTextThatIsUsedExistsAndTheOtherWayRound(t *testing.T) {
	known := inLanguage(t, "en").messages
	used := map[string]bool{}
	for _, n := range []note{noteHome, noteNothing, noteExpired, noteAddress, noteNoFile, noteForm, noteMethod, noteBusy, noteFault, noteUsedUp} {
		used[string(n)+"_heading"], used[string(n)+"_text"] = true, true
	}
	for _, q := range []question{questionAddress, questionCode, questionPassword} {
		for _, part := range []string{"heading", "text", "label", "button"} {
			used["ask_"+string(q)+"_"+part] = true
		}
	}
	for _, unit := range []string{"unit_kb", "unit_mb", "unit_gb", "unit_tb"} {
		used[unit] = true
	}
	for _, pattern := range []string{"*.go", "templates/*.html"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") }) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range keyUse.FindAllStringSubmatch(string(content), -1) {
				used[m[1]+m[2]+m[3]+m[4]] = true
			}
		}
	}
	for key := range used {
		if _, ok := known[key]; !ok {
			t.Errorf("there is no text %q", key)
		}
	}
	for key := range known {
		if !used[key] {
			t.Errorf("nothing uses the text %q", key)
		}
	}
}

// folderOf makes a folder of texts.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAFolderAddsLanguagesAndChangesTexts(t *testing.T) {
	folder := folderOf(t, map[string]string{
		"en.yaml": "advice: Call us if in doubt.\n",
		"he.yaml": "direction: rtl\nfiles: {one: קובץ אחד, two: שני קבצים, other: '{n} קבצים'}\nfiles_from: '{sender}: {files}'\n",
		"pl.yaml": "files: {one: '{n} plik', few: '{n} pliki', many: '{n} plików', other: '{n} pliku'}\nmonths: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]\ndate: '{day}.{month}.{year}'\n",
		"notes":   "not a language, not read",
	})
	s := newStage(t, func(_ *stage, cfg *Config) { cfg.Texts, cfg.Language = folder, "he" })
	s.wantText(s.get(s.page(), "Accept-Language", "en"), "Call us if in doubt.", "2 files from")
	he := s.get(s.page(), "Accept-Language", "ja")
	s.wantText(he, `<html lang="he" dir="rtl">`, "<h1><bdi>bob@acmecorp.test</bdi>: שני קבצים</h1>", "Call us if in doubt.")
	pl := s.get(s.page(), "Accept-Language", "pl")
	s.wantText(pl, `lang="pl"`, `dir="ltr"`, "2 pliki from", "24.11.2026<")
	if bytes.Contains(pl.body, []byte("Alle")) {
		t.Error("what Polish lacks is not English")
	}
}

func TestMistakesInTextsAreErrorsThatNameThem(t *testing.T) {
	for name, c := range map[string]struct {
		file, content, want string
	}{
		"unknown key":       {"fr.yaml", "downlaod: x", "downlaod"},
		"placeholder":       {"fr.yaml", "files_from: '{file} de {sender}'", "{file}"},
		"not a language":    {"french.yaml", "advice: x", "french.yaml"},
		"no other":          {"fr.yaml", "files: {one: x}", "other"},
		"unknown form":      {"fr.yaml", "files: {other: x, several: y}", "several"},
		"list":              {"fr.yaml", "advice: [x]", "advice"},
		"eleven months":     {"fr.yaml", "months: [1,2,3,4,5,6,7,8,9,10,11]", "months"},
		"direction":         {"fr.yaml", "direction: up", "direction"},
		"not YAML":          {"fr.yaml", "a: [", "fr.yaml"},
		"too large":         {"fr.yaml", "advice: " + strings.Repeat("x", maxTextsBytes), "bytes"},
		"nothing in folder": {"readme.txt", "x", "fr.yaml"},
	} {
		folder := folderOf(t, map[string]string{c.file: c.content})
		if _, err := loadCatalog(folder, "en"); err == nil || !strings.HasPrefix(err.Error(), "texts: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := loadCatalog(filepath.Join(t.TempDir(), "away"), "en"); err == nil || !strings.HasPrefix(err.Error(), "texts: ") {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := loadCatalog("", "ja"); err == nil || !strings.HasPrefix(err.Error(), "language: ") {
		t.Errorf("language without texts: %v", err)
	}
}

func TestValuesAreNeitherTakenForPlaceholdersNorForMarkup(t *testing.T) {
	s := newStage(t, func(s *stage, _ *Config) {
		link := s.links.links[s.token]
		link.Sender = "{files}<b>{sender}@ext.test"
		s.links.links[s.token] = link
		s.addFile(9, "{kind} {name}.pdf", "application/pdf", []byte("x"))
	})
	r := s.get(s.page())
	s.wantText(r, "<h1>3 files from <bdi>{files}&lt;b&gt;{sender}@ext.test</bdi></h1>", `aria-label="Download {kind} {name}.pdf"`)
	folder := folderOf(t, map[string]string{"en.yaml": "files_from: '<i>{files}</i> & {sender}'"})
	own := newStage(t, func(_ *stage, cfg *Config) { cfg.Texts = folder })
	own.wantText(own.get(own.page()), "<h1>&lt;i&gt;2 files&lt;/i&gt; &amp; <bdi>bob@acmecorp.test</bdi></h1>")
	c, err := loadCatalog(folder, "en")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.languages[0].Markup("files_from", "files", "x")
	if err == nil {
		t.Errorf("a value that is not HTML was taken: %s", got)
	}
}
