package book

// The YAML list that directory.file reads, in the plain style that it reads
// fast: one user a line.

import (
	"strconv"
	"strings"

	"cloakroom/policy/directory"
)

func (w *Writer) beginYAML() {
	w.out.WriteString("users:\n")
	w.put = func(u *directory.User) {
		w.out.WriteString("  - {address: ")
		w.out.WriteString(yamlText(u.Address))
		w.yamlList("aliases", u.Aliases)
		w.yamlList("groups", u.Groups)
		w.yamlValue("department", u.Department)
		w.yamlValue("system", u.System)
		w.yamlValue("name", u.Name)
		w.out.WriteString("}\n")
		w.Users++
	}
}

func (w *Writer) yamlValue(key, value string) {
	if value = clean(value); value != "" {
		w.out.WriteString(", " + key + ": " + yamlText(value))
	}
}

func (w *Writer) yamlList(key string, values []string) {
	if len(values) == 0 {
		return
	}
	w.out.WriteString(", " + key + ": [")
	for i, v := range values {
		if i > 0 {
			w.out.WriteString(", ")
		}
		w.out.WriteString(yamlText(clean(v)))
	}
	w.out.WriteByte(']')
}

// yamlText writes a value as plain as it can be: escapes make the file slow to
// read.
func yamlText(s string) string {
	switch {
	case isPlainYAML(s):
		return s
	case !strings.ContainsAny(s, `"\`):
		return `"` + s + `"`
	case !strings.Contains(s, "'"):
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// isPlainYAML tells what every YAML reader takes for this very text.
func isPlainYAML(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && (i == 0 || !strings.ContainsRune(" .@_+-", rune(c))) {
			return false
		}
	}
	if s == "" || strings.HasSuffix(s, " ") {
		return false
	}
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return false
	}
	if strings.ContainsRune(s, '@') {
		return true
	}
	_, err := strconv.ParseFloat(s, 64)
	return err != nil && (s[0] < '0' || s[0] > '9') // dates and octal numbers begin with digits
}
