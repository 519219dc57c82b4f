package message

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryBuiltinLanguageIsEmbeddedAndComplete(t *testing.T) {
	files, err := textFiles.ReadDir("texts")
	if err != nil || len(files) != len(builtinTexts()) {
		t.Fatalf("%d files, %d languages, %v", len(files), len(builtinTexts()), err)
	}
	want := slices.Sorted(maps.Keys(builtinTexts()[baseLanguage].messages))
	for code, texts := range builtinTexts() {
		content, err := textFiles.ReadFile("texts/" + code + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		alone, err := parseTexts(code, content, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(alone.messages)); !slices.Equal(got, want) || len(alone.months) != monthsInYear {
			t.Errorf("%s has %q and %d months, want %q", code, got, len(alone.months), want)
		}
		if code != baseLanguage && texts.ascii == nil {
			t.Errorf("%s cannot be written in ASCII", code)
		}
	}
}

func TestNoticeInGerman(t *testing.T) {
	n := typicalNotice(2)
	n.Expires = time.Date(2026, 3, 1, 23, 30, 0, 0, time.UTC)
	n.Files[1].Name, n.Files[1].Size = "", 1
	de := builtinTexts()["de"]
	want := "2 Anlagen dieser Nachricht liegen bei files.acmecorp.test:\n\n* Minutes of the meeting, part 0.docx (11,8 MB)\nSHA-256 00" + strings.Repeat("00", 31) +
		"\n* ohne Namen (1 Byte)\nSHA-256 01" + strings.Repeat("00", 31) + "\n\nhttps://files.acmecorp.test/d/AbCdEfGhIjKlMnOpQrStUv\nVerfügbar bis 1. März 2026, 23:30 Uhr UTC."
	if got := strings.Join(n.text(de), "\n"); got != want {
		t.Errorf("text\n%s\nwant\n%s", got, want)
	}
	want = strings.NewReplacer("ü", "ue", "ä", "ae").Replace(want)
	if got := strings.Join(n.text(de.ascii), "\n"); got != want {
		t.Errorf("in ASCII\n%s\nwant\n%s", got, want)
	}
}

func TestTextsOfAnAdmin(t *testing.T) {
	fr, err := ParseTexts("FR", []byte("heading: {one: '{n} pièce jointe est sur {site} :', other: '{n} pièces jointes sont sur {site} :'}\ndecimal: ','\nunit_mb: '{n} Mo'\nascii: {è: e}"))
	if err != nil {
		t.Fatal(err)
	}
	n := typicalNotice(1)
	got := strings.Join(n.text(fr), "\n")
	for _, s := range []string{"1 pièce jointe est sur files.acmecorp.test :", "(11,8 Mo)", "Available until 24 December 2026, 18:30 UTC."} {
		if !strings.Contains(got, s) {
			t.Errorf("no %q in\n%s", s, got)
		}
	}
	if fr.Code != "fr" || fr.ascii == nil {
		t.Errorf("code %q, ASCII %v", fr.Code, fr.ascii)
	}
	de, err := ParseTexts("de", []byte("unnamed: namenlos"))
	if err != nil || de.say("unnamed") != "namenlos" || de.say("decimal") != "," || de.ascii == nil {
		t.Errorf("a change of one text gives %v, %v", de, err)
	}
	pl, err := ParseTexts("pl", []byte("heading: {one: '{n} załącznik: {site}', few: '{n} załączniki: {site}', many: '{n} załączników: {site}', other: '{n} załącznika: {site}'}"))
	if err != nil {
		t.Fatal(err)
	}
	for count, want := range map[int]string{1: "1 załącznik:", 2: "2 załączniki:", 5: "5 załączników:", 22: "22 załączniki:"} {
		if got := typicalNotice(count).heading(pl); !strings.HasPrefix(got, want) {
			t.Errorf("%d: %q, want %q", count, got, want)
		}
	}
}

func TestTextsThatAreWrongAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ code, yaml, want string }{
		"no language":          {"xx-not-a-language-xx", "", "is not the name of a language"},
		"no YAML":              {"fr", "a: [", ""},
		"unknown key":          {"fr", "headline: x", "headline: there is no such text"},
		"unknown placeholder":  {"fr", "available_always: 'Since {then}'", "{then} is not filled in here"},
		"missing placeholder":  {"fr", "available_until: 'Soon.'", "{date} is missing"},
		"no form other":        {"fr", "heading: {one: '{n} {site}'}", "the form other is missing"},
		"unknown form":         {"fr", "heading: {single: '{n} {site}', other: '{n} {site}'}", "single: write"},
		"a number":             {"fr", "unnamed: 7", "unnamed: write a text"},
		"direction":            {"fr", "direction: down", "direction: must be ltr or rtl"},
		"months":               {"fr", "months: [Janvier]", "months: must be a list of 12"},
		"letters for letters":  {"fr", "ascii: {e: e}", "ascii: e: write a letter"},
		"letters beyond ASCII": {"fr", "ascii: {é: è}", "ascii: é: write a letter"},
		"too large":            {"fr", strings.Repeat("#", MaxTexts+1), "more than 65536"},
	} {
		_, err := ParseTexts(c.code, []byte(c.yaml))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestTextsStayInTheirLine(t *testing.T) {
	fr, err := ParseTexts("fr", []byte("unnamed: \" a\\n\\tb\\x01 \"\navailable_always: |\n  one\n  two\n"))
	if err != nil {
		t.Fatal(err)
	}
	if fr.say("unnamed") != "a b" || fr.say("available_always") != "one two" {
		t.Errorf("texts %q, %q", fr.say("unnamed"), fr.say("available_always"))
	}
}

func TestWordsAreWrittenInASCIIWhereTheCharsetHasNoMore(t *testing.T) {
	w, err := NewWording(WordingOptions{Language: "de"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ charset, name, want string }{
		{"us-ascii", "plan.pdf", "Verfuegbar bis"}, {"utf-8", "plan.pdf", "Verfügbar bis"}, {"iso-8859-1", "Übersicht.pdf", "Verfügbar bis"},
		{"koi8-r", "План.pdf", "Verfuegbar bis"}, {"us-ascii", "Übersicht.pdf", ""},
	} {
		m := open(t, letter(group("mixed", textIn(t, "plain", c.charset, "quoted-printable", "Hallo"), named(c.name))))
		n := noticeOf(m.part("application/pdf"))
		n.Wording = w
		rw, err := Remove(m.tree, bytes.NewReader(m.body), m.bodies, m.parts("application/pdf"), n, seed)
		if err != nil {
			t.Fatal(err)
		}
		next := m.apply(rw)
		text := next.foreign(next.bodies.Text)
		if c.want != "" && (!strings.Contains(text, c.want) || !strings.Contains(text, "* "+c.name)) {
			t.Errorf("%s %s: text %q", c.charset, c.name, text)
		}
		if c.want == "" && (text != "Hallo" || outline(next.tree.Root) != "mixed(plain alternative(plain html))") {
			t.Errorf("%s %s: text %q in %s", c.charset, c.name, text, outline(next.tree.Root))
		}
	}
}
