package book

// Tables for spreadsheets and for Google Contacts, in CSV (RFC 4180).
//
// A spreadsheet takes a cell that begins with = + - @ for a formula. In our own
// table such a value gets an apostrophe in front, which directory.file leaves
// out again. Google Contacts would keep it, so names lose these characters
// there, and addresses that begin with them are left out and told.

import (
	"strings"

	"cloakroom/policy/directory"
)

// listSeparator separates the aliases and groups in a cell of our own table.
const listSeparator = ";"

// googleSeparator separates several values in a cell of Google Contacts.
const googleSeparator = " ::: "

// row writes one line. Cells are one line of text each.
func (w *Writer) row(cells ...string) {
	for i, cell := range cells {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if strings.ContainsAny(cell, ",;\"\t") {
			cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
		}
		w.out.WriteString(cell)
	}
	w.out.WriteString("\r\n")
}

func (w *Writer) beginCSV() {
	w.row("address", "aliases", "groups", "department", "system", "name")
	w.put = func(u *directory.User) {
		w.Users++
		w.row(guarded(u.Address), w.list(u, "alias", u.Aliases), w.list(u, "group", u.Groups),
			guarded(u.Department), guarded(u.System), guarded(u.Name))
	}
}

func guarded(s string) string { return directory.GuardCell(clean(s)) }

// list is a cell with several values.
func (w *Writer) list(u *directory.User, what string, values []string) string {
	cells := make([]string, 0, len(values))
	for _, v := range values {
		if strings.Contains(v, listSeparator) {
			w.notice(u.Address, "the %s %q is left out: it holds a semicolon, which separates them in this format", what, v)
			continue
		}
		cells = append(cells, guarded(v))
	}
	return strings.Join(cells, listSeparator)
}

// googleColumns is the head of what Google Contacts itself exports, as far as
// there can be something in it.
var googleColumns = []string{
	"First Name", "Middle Name", "Last Name", "Phonetic First Name", "Phonetic Middle Name", "Phonetic Last Name",
	"Name Prefix", "Name Suffix", "Nickname", "File As", "Organization Name", "Organization Title",
	"Organization Department", "Birthday", "Notes", "Photo", "Labels",
	"E-mail 1 - Label", "E-mail 1 - Value", "E-mail 2 - Label", "E-mail 2 - Value",
}

func (w *Writer) beginGoogle(o Options) {
	w.row(googleColumns...)
	organization := harmless(o.Organization)
	w.put = func(u *directory.User) {
		all := make([]string, 0, 1+len(u.Aliases))
		for _, a := range addresses(u) {
			if directory.GuardCell(a) != a {
				w.notice(a, "is left out: a spreadsheet would take it for a formula")
				continue
			}
			all = append(all, a)
		}
		if len(all) == 0 {
			return
		}
		full, given, family := names(u)
		if full == "" {
			given = all[0]
		}
		department := clean(u.Department)
		if harmless(given) != given || harmless(family) != family || harmless(department) != department {
			w.notice(u.Address, "= + - @ at the beginning of its name or department are left out: a spreadsheet would take it for a formula")
		}
		cells := make([]string, len(googleColumns))
		cells[0], cells[2] = harmless(given), harmless(family)
		cells[10], cells[12] = organization, harmless(department)
		cells[16] = "* myContacts"
		cells[17], cells[18] = "* Work", all[0]
		if len(all) > 1 {
			cells[19], cells[20] = "Other", strings.Join(all[1:], googleSeparator)
		}
		w.Users++
		w.row(cells...)
	}
}

// harmless takes off what would make a formula of a text.
func harmless(s string) string {
	for directory.GuardCell(s) != s {
		_, s = cutFirst(strings.TrimLeft(s, "'"))
		s = strings.TrimSpace(s)
	}
	return s
}

// cutFirst cuts s behind its first character.
func cutFirst(s string) (first, rest string) {
	for i := range s {
		if i > 0 {
			return s[:i], s[i:]
		}
	}
	return s, ""
}
