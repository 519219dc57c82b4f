package book

// Files of users that the other system exports.

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"cloakroom/policy/directory"
)

// Kind is where a file of users comes from.
type Kind string

// The kinds of files that can be read.
const (
	// Workspace is the list of users that Google Workspace's admin console
	// downloads, and what other tools make of the same interface: everybody in
	// it has an account there.
	Workspace Kind = "workspace"
	// Contacts is an export of Google Contacts: addresses, of whatever system.
	Contacts Kind = "contacts"
	// Users is the table that directory.file reads.
	Users Kind = "users"
)

// Mailbox tells what a file says about the mailbox of a person.
type Mailbox string

// What a file can say about a mailbox.
const (
	MailboxUnknown Mailbox = ""
	MailboxThere   Mailbox = "there" // in the other system, and takes mail
	MailboxOff     Mailbox = "off"   // in the other system, but it is suspended or archived and takes none
)

// Person is one line of a file. Addresses are as directory.Normalize writes them.
type Person struct {
	Line       int // from 1
	Address    string
	Aliases    []string
	Name       string
	Department string
	Groups     []string
	System     string
	Unit       string // the organisational unit, such as /Sales
	Status     string // as the file has it
	Mailbox    Mailbox
}

// Book is a file that was read.
type Book struct {
	Kind   Kind
	People []Person
	// Passed tells of lines and values that were passed over, with their lines.
	Passed []string
	// More is how many further ones there are.
	More int

	has map[field]bool // the fields that the file has columns for
}

// field is what a column holds.
type field int

const (
	ignored field = iota
	address
	aliases
	given
	family
	fullName
	department
	groups
	system
	unit
	status
	suspended
)

// FileError is why a file cannot be used.
type FileError struct {
	Line    int // from 1
	Message string
}

func (e *FileError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }

// Read reads a file in CSV and tells by its head what it is. Columns it does
// not know are ignored. The error is a *FileError for what cannot be used, else
// the reader's own.
func Read(in io.Reader) (*Book, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	start, err := buffered.Peek(buffered.Size())
	if err != nil && err != io.EOF {
		return nil, err
	}
	if strings.HasPrefix(string(start), "\xff\xfe") || strings.HasPrefix(string(start), "\xfe\xff") {
		return nil, &FileError{1, "the file is in UTF-16; save it as CSV in UTF-8"}
	}
	if strings.HasPrefix(string(start), "\ufeff") {
		_, _ = buffered.Discard(len("\ufeff")) // it is in the buffer
	}
	lines := csv.NewReader(buffered)
	lines.ReuseRecord = true
	lines.Comma = separator(string(start))
	head, err := lines.Read()
	switch {
	case err == io.EOF:
		return nil, &FileError{1, "the file is empty; its first line must name the columns"}
	case err != nil:
		return nil, located(err)
	}
	r := &reader{lines: lines, book: &Book{has: make(map[field]bool)}, lineOf: make(map[string]int)}
	if err := r.head(head); err != nil {
		return nil, err
	}
	return r.book, r.rest()
}

// separator is what the first line separates its columns by.
func separator(start string) rune {
	line, _, _ := strings.Cut(start, "\n")
	for _, c := range ",;\t" {
		if strings.ContainsRune(line, c) {
			return c
		}
	}
	return ','
}

func located(err error) error {
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		return &FileError{bad.Line, bad.Err.Error()}
	}
	return err
}

type reader struct {
	lines   *csv.Reader
	book    *Book
	columns []field
	lineOf  map[string]int // addresses read
}

// head finds out what the columns are.
func (r *reader) head(names []string) error {
	known := make([]string, len(names))
	for i, name := range names {
		known[i] = columnName(name)
	}
	r.book.Kind = Workspace
	switch {
	case slices.Contains(known, "e-mail 1 - value"):
		r.book.Kind = Contacts
	case slices.Contains(known, "address") && !slices.ContainsFunc(known, func(n string) bool { return workspaceColumns[n] == address }):
		r.book.Kind = Users
	}
	for _, name := range known {
		f := fieldOf(r.book.Kind, name)
		if f != ignored && f != aliases && f != address && r.book.has[f] {
			f = ignored // the first one counts
		}
		r.columns = append(r.columns, f)
		r.book.has[f] = true
	}
	if !r.book.has[address] {
		return &FileError{1, `no column holds e-mail addresses; there must be "Email Address" (Google Workspace), "E-mail 1 - Value" (Google Contacts) or "address" (a users file of Cloakroom)`}
	}
	return nil
}

// columnName brings a column's name into the form in which they are compared:
// Google writes "Email Address [Required]".
func columnName(name string) string {
	if i := strings.IndexByte(name, '['); i > 0 {
		name = name[:i]
	}
	return strings.ToLower(strings.TrimSpace(name))
}

// workspaceColumns are the admin console's, and those of the directory API that
// other tools write.
var workspaceColumns = map[string]field{
	"email address": address, "primary email": address, "primaryemail": address, "email": address,
	"first name": given, "given name": given, "name.givenname": given,
	"last name": family, "family name": family, "name.familyname": family,
	"name": fullName, "full name": fullName, "name.fullname": fullName,
	"org unit path": unit, "orgunitpath": unit,
	"status": status, "suspended": suspended, "archived": suspended,
	"department": department,
	"aliases":    aliases, "alias": aliases, "email aliases": aliases, "email alias": aliases,
}

// contactsColumns are those of Google Contacts, past and present.
var contactsColumns = map[string]field{
	"first name": given, "given name": given, "last name": family, "family name": family, "name": fullName,
	"organization department": department, "organization 1 - department": department,
}

var usersColumns = map[string]field{
	"address": address, "aliases": aliases, "groups": groups, "department": department, "system": system, "name": fullName,
}

func fieldOf(kind Kind, name string) field {
	switch kind {
	case Users:
		return usersColumns[name]
	case Contacts:
		if strings.HasPrefix(name, "e-mail ") && strings.HasSuffix(name, " - value") {
			return address
		}
		return contactsColumns[name]
	}
	if strings.HasPrefix(name, "aliases.") { // aliases.0, aliases.1 …
		return aliases
	}
	return workspaceColumns[name]
}

// rest reads the lines below the head.
func (r *reader) rest() error {
	for {
		cells, err := r.lines.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return located(err)
		}
		line, _ := r.lines.FieldPos(0)
		p, err := r.person(line, cells)
		if err != nil {
			return err
		}
		if p.Address != "" {
			r.book.People = append(r.book.People, p)
		}
	}
}

// person makes a Person of a line. It has no address if the line is passed over.
func (r *reader) person(line int, cells []string) (Person, error) {
	p := Person{Line: line}
	var first, last string
	var all []string
	off := false
	for i, cell := range cells {
		if !utf8.ValidString(cell) {
			return p, &FileError{line, "it is not UTF-8; save the file as CSV in UTF-8"}
		}
		cell = clean(cell)
		switch r.columns[i] {
		case address:
			if r.book.Kind == Contacts {
				all = append(all, r.split(cell)...)
			} else if cell != "" && len(all) == 0 {
				all = []string{directory.UnguardCell(cell)}
			}
		case aliases:
			p.Aliases = append(p.Aliases, r.split(cell)...)
		case given:
			first = cell
		case family:
			last = cell
		case fullName:
			p.Name = directory.UnguardCell(cell)
		case department:
			p.Department = directory.UnguardCell(cell)
		case groups:
			p.Groups = r.split(cell)
			slices.Sort(p.Groups)
		case system:
			p.System = directory.UnguardCell(cell)
		case unit:
			p.Unit = cell
		case status:
			p.Status = cell
			off = off || r.isOff(line, cell)
		case suspended:
			off = off || strings.EqualFold(cell, "true")
		}
	}
	if p.Name == "" {
		p.Name = strings.TrimSpace(first + " " + last)
	}
	if r.book.Kind == Workspace {
		p.Mailbox = MailboxThere
		if off {
			p.Mailbox = MailboxOff
		}
	}
	r.take(&p, append(all, p.Aliases...))
	return p, nil
}

// offStatus are the beginnings of what stands for an account that takes no mail.
var offStatus = []string{"suspend", "archiv", "inactive", "disabled", "deleted", "blocked"}

// isOff tells whether an account of a status takes no mail.
func (r *reader) isOff(line int, status string) bool {
	status = strings.ToLower(status)
	if slices.ContainsFunc(offStatus, func(s string) bool { return strings.HasPrefix(status, s) }) {
		return true
	}
	if status != "" && status != "active" {
		r.pass(line, "the status %q is not known, the account counts as active", status)
	}
	return false
}

// split takes the values of a cell apart.
func (r *reader) split(cell string) []string {
	var values []string
	switch r.book.Kind {
	case Contacts:
		values = strings.Split(cell, googleSeparator)
	case Users:
		values = strings.Split(cell, listSeparator)
	case Workspace:
		values = strings.FieldsFunc(cell, func(c rune) bool { return strings.ContainsRune(",; ", c) })
	}
	for i, v := range values {
		values[i] = directory.UnguardCell(strings.TrimSpace(v))
	}
	return slices.DeleteFunc(values, func(v string) bool { return v == "" })
}

// take gives a person its addresses, in their normal form and each only once.
func (r *reader) take(p *Person, all []string) {
	p.Aliases = nil
	if len(all) == 0 {
		r.pass(p.Line, "it has no address")
		return
	}
	for i, a := range all {
		normal, err := directory.Normalize(a)
		if err != nil {
			r.pass(p.Line, "%q: %v", a, err)
			if i == 0 {
				return
			}
			continue
		}
		switch line, taken := r.lineOf[normal]; {
		case taken && line == p.Line:
		case taken && i == 0:
			r.pass(p.Line, "%s is in line %d already", normal, line)
			return
		case taken:
			r.pass(p.Line, "the alias %s is in line %d already", normal, line)
		case p.Address == "":
			p.Address = normal
			r.lineOf[normal] = p.Line
		default:
			p.Aliases = append(p.Aliases, normal)
			r.lineOf[normal] = p.Line
		}
	}
}

func (r *reader) pass(line int, format string, args ...any) {
	if len(r.book.Passed) == maxNotices {
		r.book.More++
		return
	}
	r.book.Passed = append(r.book.Passed, fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...))
}
