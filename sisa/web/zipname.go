package web

// Names within an archive: what every system can unpack, each once.

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"cloakroom/sisa"
)

// deviceNames are what Windows takes for devices, with any extension.
var deviceNames = []string{"CON", "PRN", "AUX", "NUL",
	"COM0", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
	"LPT0", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9"}

// portableName is a clean name without what Windows refuses in one.
func portableName(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`<>:"|?*`, r) {
			return '_'
		}
		return r
	}, cleanName(name))
	stem, _, _ := strings.Cut(name, ".")
	if slices.Contains(deviceNames, strings.ToUpper(strings.TrimRight(stem, " "))) {
		name = "_" + name
	}
	return name
}

// zipNames gives each file a name of its own, also where upper and lower case or
// two spellings of one accented letter are the same (Windows, macOS).
func zipNames(files []sisa.File) []string {
	key := nameKey()
	taken := make(map[string]bool, len(files))
	next := make(map[string]int) // the number to try for a name, so that a thousand equal ones take no million tries
	names := make([]string, len(files))
	for i, f := range files {
		plain := portableName(f.Name)
		name, k := plain, key(plain)
		for n := max(2, next[k]); taken[key(name)]; n++ {
			name = numbered(plain, n)
			next[k] = n + 1
		}
		taken[key(name)] = true
		names[i] = name
	}
	return names
}

// nameKey gives what is the same for names that some system takes for one.
func nameKey() func(string) string {
	fold := cases.Fold()
	return func(name string) string {
		if strings.IndexFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
			return strings.ToLower(name)
		}
		return norm.NFC.String(fold.String(norm.NFD.String(name)))
	}
}

// numbered puts a number before the extension: report (2).pdf.
func numbered(name string, n int) string {
	ext := path.Ext(name)
	if len(ext) > maxExtensionBytes || ext == name {
		ext = ""
	}
	suffix := fmt.Sprintf(" (%d)", n)
	return cutText(strings.TrimSuffix(name, ext), maxNameBytes-len(suffix)-len(ext)) + suffix + ext
}

// zipName names the archive after the mail.
func zipName(subject string, t *texts) string {
	const ext = ".zip"
	subject = strings.TrimRight(cutText(cleanText(subject), maxNameBytes-len(ext)), ". ")
	if subject == "" {
		subject = t.Say("archive_name")
	}
	return portableName(subject + ext)
}
