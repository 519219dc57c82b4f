// Package name makes the names under which files lie in a vault: relative paths
// from a template, which every server takes and every client shows, and readable
// variants for different files of the same name.
package name

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxTemplate is the longest template taken, in bytes.
	maxTemplate = 1000
	// maxSegments is how deep a template may nest folders. With MaxPath it leaves
	// every one of them room for a readable name.
	maxSegments = 16
)

// field is one thing a template may name.
type field struct {
	name string
	doc  string
	get  func(*Facts) string
	// empty stands where there is no value.
	empty string
	// whole says that the value is the file's own name or a part of it; others
	// are cut to maxValue.
	whole bool
}

var fields = []field{
	{"space", "the space the file goes to: a user or a department", func(f *Facts) string { return f.Space }, "no space", false},
	{"owner", "address of the user for whom it is kept", func(f *Facts) string { return f.Owner }, "no owner", false},
	{"owner.local", "what stands before the @ of that address", func(f *Facts) string { return local(f.Owner) }, "no owner", false},
	{"owner.domain", "what stands behind it", func(f *Facts) string { return domain(f.Owner) }, "no domain", false},
	{"department", "the owner's department in the directory", func(f *Facts) string { return f.Department }, "no department", false},
	{"direction", "inbound, outbound, local or relay", func(f *Facts) string { return f.Direction }, "no direction", false},
	{"yyyy", "year in which the mail came, four digits", func(f *Facts) string { return fmt.Sprintf("%04d", f.Time.Year()) }, "", false},
	{"mm", "month, two digits", func(f *Facts) string { return f.Time.Format("01") }, "", false},
	{"dd", "day of the month, two digits", func(f *Facts) string { return f.Time.Format("02") }, "", false},
	{"hh", "hour, 00 to 23", func(f *Facts) string { return f.Time.Format("15") }, "", false},
	{"sender", "MAIL FROM", func(f *Facts) string { return f.Sender }, "no sender", false},
	{"sender.domain", "what stands behind its @", func(f *Facts) string { return domain(f.Sender) }, "no domain", false},
	{"subject", "the mail's subject", func(f *Facts) string { return f.Subject }, "no subject", false},
	{"name", "the file's name with its extension", func(f *Facts) string { return f.Name }, "unnamed", true},
	{"stem", "the file's name without its extension", func(f *Facts) string { return f.Name }, "unnamed", true},
	{"ext", "its extension without the dot; nothing where it has none", func(f *Facts) string { return f.Name }, "", true},
	{"hash", "the first 8 hex digits of its SHA-256", func(f *Facts) string { return shortHash(f.SHA256) }, "", false},
	{"rule", "name of the rule that decided", func(f *Facts) string { return f.Rule }, "no rule", false},
	{"id", "identifier of the mail in the ledger", func(f *Facts) string { return f.ID }, "no id", false},
}

// Field is a field of templates, for documents.
type Field struct{ Name, Doc string }

// Fields lists what a template may name.
func Fields() []Field {
	out := make([]Field, len(fields))
	for i, f := range fields {
		out[i] = Field{f.name, f.doc}
	}
	return out
}

func known() string {
	var names []string
	for _, f := range fields {
		names = append(names, "{"+f.name+"}")
	}
	return strings.Join(names, " ")
}

// Template is a parsed template. It does not change and may be used by many
// goroutines at once.
type Template struct {
	text     string
	segments [][]piece
}

// piece is literal text or a field.
type piece struct {
	literal string
	field   *field
}

// Parse reads a template: text, fields in braces, and slashes between folders.
// The error tells the column, in characters from 1.
func Parse(template string) (*Template, error) {
	if template == "" {
		return nil, fmt.Errorf("the path is empty: write one such as {space}/{yyyy}/{mm}/{name}")
	}
	if len(template) > maxTemplate {
		return nil, fmt.Errorf("the path has %d bytes; %d is the limit", len(template), maxTemplate)
	}
	t := &Template{text: template}
	at := 0
	for segment := range strings.SplitSeq(template, "/") {
		pieces, err := parseSegment(template, at, segment)
		if err != nil {
			return nil, err
		}
		t.segments = append(t.segments, pieces)
		at += len(segment) + 1
	}
	if len(t.segments) > maxSegments {
		return nil, fmt.Errorf("the path has %d folders; %d is the limit", len(t.segments)-1, maxSegments-1)
	}
	return t, nil
}

// parseSegment reads what stands between two slashes, at offset at.
func parseSegment(template string, at int, segment string) ([]piece, error) {
	wrong := func(offset int, format string, args ...any) ([]piece, error) {
		column := utf8.RuneCountInString(template[:at+offset]) + 1
		return nil, fmt.Errorf("column %d: "+format, append([]any{column}, args...)...)
	}
	if segment == "" {
		return wrong(0, "a folder without a name: the path is relative, and has single slashes between names")
	}
	var pieces []piece
	for i := 0; i < len(segment); {
		if segment[i] == '{' {
			end := strings.IndexAny(segment[i+1:], "{}")
			if end < 0 || segment[i+1+end] != '}' {
				return wrong(i, "{ without }")
			}
			name := segment[i+1 : i+1+end]
			n := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
			if n < 0 {
				return wrong(i, "unknown field {%s}; there are %s", name, known())
			}
			pieces = append(pieces, piece{field: &fields[n]})
			i += end + 2
			continue
		}
		end := i
		for end < len(segment) && segment[end] != '{' {
			r, n := utf8.DecodeRuneInString(segment[end:])
			switch clean := cleanRune(r); {
			case r == '}':
				return wrong(end, "} without {")
			case clean != r || r == utf8.RuneError || unicode.IsSpace(r) && r != ' ':
				return wrong(end, "%q is not safe in a name", r)
			}
			end += n
		}
		pieces = append(pieces, piece{literal: segment[i:end]})
		i = end
	}
	if len(pieces) == 1 && pieces[0].field == nil {
		if s := segment; safeSegment(s) != s {
			return wrong(0, "%q is not a name that every server takes", s)
		}
	}
	return pieces, nil
}

// String is the template as it was written.
func (t *Template) String() string { return t.text }

// In gives the template with another in the place of {space}: a space may be
// several folders deep.
func (t *Template) In(space *Template) (*Template, error) {
	if !t.Uses("space") {
		return t, nil
	}
	in, err := Parse(strings.ReplaceAll(t.text, "{space}", space.text))
	if err != nil {
		return nil, fmt.Errorf("%s with %s for {space}: %w", t.text, space.text, err)
	}
	return in, nil
}

// Uses tells whether the template has a field of this name.
func (t *Template) Uses(name string) bool {
	for _, pieces := range t.segments {
		for _, p := range pieces {
			if p.field != nil && p.field.name == name {
				return true
			}
		}
	}
	return false
}
