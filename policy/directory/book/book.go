// Package book writes the users of the directory as address books for other
// systems, reads what such systems export, and compares the two.
//
// It takes readers and writers and keeps nothing: where files are, and how they
// get there, is its callers' business.
package book

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"cloakroom/policy/directory"
)

// Format is a kind of address book.
type Format string

// The address books that can be written.
const (
	// GoogleCSV is what Google Contacts imports and exports.
	GoogleCSV Format = "google-csv"
	// VCard is vCard 4.0 (RFC 6350).
	VCard Format = "vcard"
	// LDIF is LDIF (RFC 2849) with inetOrgPerson entries (RFC 2798).
	LDIF Format = "ldif"
	// CSV is the table that directory.file reads.
	CSV Format = "csv"
	// YAML is the list that directory.file reads.
	YAML Format = "yaml"
)

// Formats lists every format, in the order documents name them.
func Formats() []Format { return []Format{GoogleCSV, VCard, LDIF, CSV, YAML} }

// Options is what formats want to know beside the users.
type Options struct {
	Organization string // of all users; "" is left out
	Base         string // LDIF: the DN of the entry below which the users stand
}

// Notice is something about one address that an administrator should know.
type Notice struct {
	Address string `json:"address"`
	Text    string `json:"text"`
}

func (n Notice) String() string { return n.Address + ": " + n.Text }

// maxNotices is how many notices are kept: more than anybody reads.
const maxNotices = 100

// Writer writes users one by one, and keeps none of them.
type Writer struct {
	// Users is how many users were written.
	Users int
	// Notices tells what the format could not hold and what was changed for it.
	Notices []Notice
	// More is how many further notices there are.
	More int

	out *bufio.Writer
	put func(*directory.User)
}

// NewWriter begins an address book on out.
func NewWriter(out io.Writer, format Format, o Options) (*Writer, error) {
	w := &Writer{out: bufio.NewWriterSize(out, 64<<10)}
	o.Organization = clean(o.Organization)
	switch format {
	case GoogleCSV:
		w.beginGoogle(o)
	case VCard:
		w.beginVCard(o)
	case LDIF:
		return w, w.beginLDIF(o)
	case CSV:
		w.beginCSV()
	case YAML:
		w.beginYAML()
	default:
		return nil, fmt.Errorf("format %q is not known; there are %v", format, Formats())
	}
	return w, nil
}

// Write writes one user. An error is the output's; what the format cannot hold
// is left out and becomes a notice.
func (w *Writer) Write(u *directory.User) error {
	w.put(u)
	_, err := w.out.Write(nil) // an earlier error stays
	return err
}

// Close writes what is left. It does not close the output.
func (w *Writer) Close() error { return w.out.Flush() }

func (w *Writer) notice(address, format string, args ...any) {
	if len(w.Notices) == maxNotices {
		w.More++
		return
	}
	w.Notices = append(w.Notices, Notice{address, fmt.Sprintf(format, args...)})
}

// clean makes one line of UTF-8 of what a directory may hold: a line break or
// control character becomes a space.
func clean(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	bad := func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }
	if strings.IndexFunc(s, bad) >= 0 {
		s = strings.Map(func(r rune) rune {
			if bad(r) {
				return ' '
			}
			return r
		}, s)
	}
	return strings.TrimSpace(s)
}

// names splits the name of a user into given and family name, as well as can be
// told: "Doe, Jane" or "Jane Doe". Without a name both are empty.
func names(u *directory.User) (full, given, family string) {
	full = clean(u.Name)
	if last, first, ok := strings.Cut(full, ","); ok {
		return full, strings.TrimSpace(first), strings.TrimSpace(last)
	}
	if i := strings.LastIndexByte(full, ' '); i > 0 {
		return full, strings.TrimSpace(full[:i]), full[i+1:]
	}
	return full, full, ""
}

// cutRunes cuts s before it exceeds n octets, between two characters.
func cutRunes(s string, n int) (head, tail string) {
	if len(s) <= n {
		return s, ""
	}
	for back := 0; back < utf8.UTFMax-1 && !utf8.RuneStart(s[n]); back++ {
		n--
	}
	return s[:n], s[n:]
}

// addresses lists all addresses of a user, the primary one first.
func addresses(u *directory.User) []string {
	return append(slices.Clip([]string{u.Address}), u.Aliases...)
}
