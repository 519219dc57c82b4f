package directory

// One user as a file has it, with the places of its values, and what is told
// about those that are wrong.

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// place is where something stands in a file; both count from 1, columns in
// characters.
type place struct{ line, column int }

type value struct {
	text string
	place
}

// entry is one user, before its addresses are looked at. Readers use one again
// for each user.
type entry struct {
	place                             // where it begins
	address, department, system, name value
	aliases, groups                   []value
	values                            []value // scratch of all
}

func (e *entry) reset(at place) {
	*e = entry{place: at, aliases: e.aliases[:0], groups: e.groups[:0], values: e.values[:0]}
}

// all lists the values that are written.
func (e *entry) all() []value {
	e.values = append(e.values[:0], e.aliases...)
	e.values = append(e.values, e.groups...)
	for _, v := range []value{e.address, e.department, e.system, e.name} {
		if v.line != 0 {
			e.values = append(e.values, v)
		}
	}
	return e.values
}

// single gives the place of a key with one value, list that of a list; both
// are nil for other keys.
func (e *entry) single(key string) *value {
	switch key {
	case "address":
		return &e.address
	case "department":
		return &e.department
	case "system":
		return &e.system
	case "name":
		return &e.name
	}
	return nil
}

func (e *entry) list(key string) *[]value {
	switch key {
	case "aliases":
		return &e.aliases
	case "groups":
		return &e.groups
	}
	return nil
}

// keys names all keys of an entry, for messages.
const keys = "address, aliases, groups, department, system, name"

// badText says what is wrong with a value whatever it means; "" is nothing.
func badText(s string) string {
	switch {
	case s == "":
		return "is empty; leave it out"
	case len(s) > maxText:
		return fmt.Sprintf("is longer than %d octets", maxText)
	case !utf8.ValidString(s):
		return "is not UTF-8"
	case strings.IndexFunc(s, unicode.IsControl) >= 0:
		return fmt.Sprintf("%q holds a control character", s)
	}
	return ""
}

// maxProblems is how many problems of a file are listed: more than anybody
// mends before the next try.
const maxProblems = 100

// Problem is one thing that is wrong with a file.
type Problem struct {
	File    string
	Line    int // from 1; 0 is the file as a whole
	Column  int // from 1, in characters
	Message string
}

// String gives file:line:column: message.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// FileError is why a file cannot be used.
type FileError struct {
	Problems []Problem // in the order of the file, 100 at most
	More     int       // how many further ones there are
}

// Error lists the problems, one a line.
func (e *FileError) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\nand %d more", e.More)
	}
	return b.String()
}

// problems collects what is wrong with one file.
type problems struct {
	file string
	list []Problem
	more int
}

func (ps *problems) add(at place, format string, args ...any) {
	if len(ps.list) == maxProblems {
		ps.more++
		return
	}
	ps.list = append(ps.list, Problem{ps.file, at.line, at.column, fmt.Sprintf(format, args...)})
}

// err is nil if there are none.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	return &FileError{Problems: ps.list, More: ps.more}
}
