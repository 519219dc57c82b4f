package book

// LDIF (RFC 2849): one inetOrgPerson entry (RFC 2798) for each user, to be added
// below an entry that is there. There is no line "version: 1": slapadd takes it
// for an attribute, and nobody misses it.

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"cloakroom/policy/directory"
)

// maxLDIFLine is where lines are folded, in octets; the RFC leaves it open, and
// this is what other programs write.
const maxLDIFLine = 76

func (w *Writer) beginLDIF(o Options) error {
	if o.Base == "" {
		return errors.New("LDIF needs the DN below which the users stand, such as ou=people,dc=example,dc=com")
	}
	if _, err := ldap.ParseDN(o.Base); err != nil {
		return fmt.Errorf("%q is not a DN: %w", o.Base, err)
	}
	separator := ""
	w.put = func(u *directory.User) {
		if !isASCII(u.Address) { // mail holds IA5 strings (RFC 4524 section 2.16)
			w.notice(u.Address, "is left out: LDAP's attribute mail holds ASCII only")
			return
		}
		full, given, family := names(u)
		if full == "" {
			full = u.Address
		}
		if family == "" { // sn must be there (RFC 4519 section 3.12)
			family, given = full, ""
		}
		w.out.WriteString(separator)
		separator = "\n"
		w.attribute("dn", "uid="+ldap.EscapeDN(u.Address)+","+o.Base)
		for _, class := range []string{"top", "person", "organizationalPerson", "inetOrgPerson"} {
			w.attribute("objectClass", class)
		}
		w.attribute("uid", u.Address)
		w.attribute("cn", full)
		w.attribute("sn", family)
		w.attribute("givenName", given)
		w.attribute("displayName", clean(u.Name))
		for _, a := range addresses(u) {
			if !isASCII(a) {
				w.notice(u.Address, "the alias %s is left out: LDAP's attribute mail holds ASCII only", a)
				continue
			}
			w.attribute("mail", a)
		}
		w.attribute("o", o.Organization)
		w.attribute("departmentNumber", clean(u.Department))
		w.Users++
	}
	return nil
}

// attribute writes an attribute, unless it is empty.
func (w *Writer) attribute(name, value string) {
	if value == "" {
		return
	}
	line := name + ": " + value
	if !isSafeLDIF(value) {
		line = name + ":: " + base64.StdEncoding.EncodeToString([]byte(value))
	}
	head, rest := cutRunes(line, maxLDIFLine)
	w.out.WriteString(head)
	for rest != "" {
		head, rest = cutRunes(rest, maxLDIFLine-1)
		w.out.WriteString("\n ")
		w.out.WriteString(head)
	}
	w.out.WriteByte('\n')
}

// isSafeLDIF tells a SAFE-STRING (RFC 2849) that does not end in a space (its
// note 8).
func isSafeLDIF(s string) bool {
	return isASCII(s) && !strings.ContainsAny(s, "\x00\r\n") && !strings.HasPrefix(s, " ") &&
		!strings.HasPrefix(s, ":") && !strings.HasPrefix(s, "<") && !strings.HasSuffix(s, " ")
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}
