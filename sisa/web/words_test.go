package web

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// inLanguage gives the embedded texts of a language.
func inLanguage(t *testing.T, code string) *texts {
	t.Helper()
	c, err := loadCatalog("", code)
	if err != nil {
		t.Fatal(err)
	}
	return c.languages[0]
}

func TestSizeWords(t *testing.T) {
	en, de := inLanguage(t, "en"), inLanguage(t, "de")
	for n, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 1023: "1023 bytes", 1024: "1 KB", 1536: "1.5 KB", 10 << 10: "10 KB", 10200: "10 KB",
		1<<20 - 1: "1 MB", 1023<<10 + 100: "1023 KB", 2_600_000: "2.5 MB", 240 << 20: "240 MB", 3 << 30: "3 GB", 5000 << 40: "5000 TB",
	} {
		if got := en.sizeWords(n); got != want {
			t.Errorf("sizeWords(%d) = %q, want %q", n, got, want)
		}
	}
	if got := de.sizeWords(2_600_000); got != "2,5 MB" {
		t.Errorf("in German: %q", got)
	}
}

func TestLeftWordsPromiseNoMoreThanThereIs(t *testing.T) {
	const day = 24 * time.Hour
	en, de := inLanguage(t, "en"), inLanguage(t, "de")
	for left, want := range map[time.Duration][2]string{
		time.Second:           {"less than a minute left", "weniger als eine Minute"},
		119 * time.Second:     {"1 minute left", "noch 1 Minute"},
		59 * time.Minute:      {"59 minutes left", "noch 59 Minuten"},
		time.Hour:             {"1 hour left", "noch 1 Stunde"},
		2*day - time.Second:   {"47 hours left", "noch 47 Stunden"},
		2 * day:               {"2 days left", "noch 2 Tage"},
		90*day + 23*time.Hour: {"90 days left", "noch 90 Tage"},
	} {
		if got := [2]string{en.leftWords(left), de.leftWords(left)}; got != want {
			t.Errorf("leftWords(%v) = %q, want %q", left, got, want)
		}
	}
}

func TestDatesAreInTheLanguageAndZone(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 23, 5, 0, 0, time.UTC)
	for _, c := range []struct {
		code string
		zone *time.Location
		want string
	}{
		{"en", time.UTC, "1 March 2026, 23:05 UTC"},
		{"de", time.UTC, "1. März 2026, 23:05 Uhr UTC"},
		{"de", berlin, "2. März 2026, 00:05 Uhr CET"},
	} {
		got := inLanguage(t, c.code).momentOf(at, c.zone)
		if got.Words != c.want || got.ISO != "2026-03-01T23:05:00Z" {
			t.Errorf("%s: %+v, want %q", c.code, got, c.want)
		}
	}
}

func TestKindsAreNamed(t *testing.T) {
	en, de := inLanguage(t, "en"), inLanguage(t, "de")
	for declared, want := range map[string][2]string{
		"application/pdf":          {"PDF document", "PDF-Dokument"},
		"IMAGE/JPEG; name=a":       {"JPEG image", "JPEG-Bild"},
		"application/gzip":         {"gzip archive", "gzip-Archiv"},
		"application/octet-stream": {"file", "Datei"},
		"nonsense":                 {"file", "Datei"},
		"application/x-unheard-of": {"application/x-unheard-of", "application/x-unheard-of"},
	} {
		if got := [2]string{en.kindWords(declared), de.kindWords(declared)}; got != want {
			t.Errorf("kindWords(%q) = %q, want %q", declared, got, want)
		}
	}
	for declared, k := range kinds {
		if en.Say(k.text) == "" {
			t.Errorf("%s has no text %q", declared, k.text)
		}
	}
}

func TestIconsComeFromTypeThenExtension(t *testing.T) {
	for _, c := range []struct{ name, declared, want string }{
		{"a.bin", "application/pdf", iconPDF},
		{"a.pdf", "application/octet-stream", iconPDF},
		{"a.XLSX", "", iconSheet},
		{"a", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", iconSheet},
		{"a", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", iconText},
		{"a", "application/vnd.openxmlformats-officedocument.presentationml.presentation", iconSlides},
		{"a.jpg", "image/jpeg", iconImage},
		{"a", "image/svg+xml", iconImage},
		{"a", "application/zip", iconArchive},
		{"a", "text/html", iconCode},
		{"a", "text/plain; charset=utf-8", iconText},
		{"a", "text/csv", iconSheet},
		{"a", "message/rfc822", iconMail},
		{"a.ics", "text/calendar", iconDate},
		{"a.vcf", "text/x-vcard", iconPerson},
		{"a", "application/postscript", iconPDF},
		{"README", "", iconFile},
		{"a.unheardof", "application/x-unheard-of", iconFile},
	} {
		if got := iconOf(c.name, c.declared); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, c.declared, got, c.want)
		}
	}
	var drawn strings.Builder
	if err := templates.ExecuteTemplate(&drawn, "icons", allIcons); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(drawn.String(), `24 24"></symbol>`) || strings.Count(drawn.String(), "<symbol ") != len(allIcons) {
		t.Errorf("an icon is not drawn:\n%s", drawn.String())
	}
	seen := map[string]string{}
	for icon, extensions := range iconExtensions {
		if !slices.Contains(allIcons, icon) {
			t.Errorf("icon %s is not drawn", icon)
		}
		for _, ext := range strings.Fields(extensions) {
			if seen[ext] != "" {
				t.Errorf("extension %s has the icons %s and %s", ext, seen[ext], icon)
			}
			seen[ext] = icon
		}
	}
}
