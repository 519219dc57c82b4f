package directory

// The one form in which addresses are compared.

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"cloakroom/policy"
)

const (
	// maxAddress bounds an address, in octets: local part, "@" and domain (RFC
	// 5321 section 4.5.3.1). A longer local part in a shorter address is let pass.
	maxAddress = 64 + 1 + 255
	// maxLabel bounds a label of a domain, in octets (RFC 1035 section 2.3.4).
	maxLabel = 63
)

// Why a text is not an address.
var (
	errNoAt         = errors.New(`an address is written local@domain`)
	errTooLong      = errors.New("the address is longer than 320 octets")
	errNoLocal      = errors.New(`there is nothing before the "@"`)
	errLocal        = errors.New(`the part before the "@" holds a character that only a quoted one may hold`)
	errQuoted       = errors.New(`the quoted part before the "@" is not quoted as RFC 5321 has it`)
	errDomain       = errors.New(`the part after the "@" is not a domain`)
	errUTF8         = errors.New("the address is not UTF-8")
	errAddressSpace = errors.New("the address holds a space or control character")
)

// Normalize brings an address (without angle brackets) into the form that is
// compared: the domain as policy.Domain gives it, the local part in lower case
// and Unicode's NFC, quoted only where it must be. It fails for what cannot be
// the address of a user, such as one at an address literal (RFC 5321 section
// 4.1.3).
func Normalize(address string) (string, error) {
	if isNormal(address) {
		return address, nil
	}
	if len(address) > maxAddress {
		return "", errTooLong
	}
	if !utf8.ValidString(address) {
		return "", errUTF8
	}
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "", errNoAt
	}
	local, err := normalLocal(address[:at])
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(address[at:], "<> \t") {
		return "", errDomain // policy.Domain would look past them
	}
	domain := policy.Domain(address[at:])
	if !isDomain(domain) {
		return "", errDomain
	}
	return local + "@" + domain, nil
}

// isNormal tells addresses that are in their normal form already, as most are,
// without taking memory.
func isNormal(address string) bool {
	if len(address) > maxAddress {
		return false
	}
	for i := 0; i < len(address); i++ {
		c := address[i]
		if c == '@' {
			return i > 0 && isDomain(address[i+1:])
		}
		if c >= utf8.RuneSelf || !atext[c] || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return false
}

// atext marks what may stand unquoted in a local part: atext of RFC 5321
// section 4.1.2 and the dot, wherever it stands: addresses with two dots in a
// row are in use.
var atext = func() (table [utf8.RuneSelf]bool) {
	for c := range table {
		table[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
			strings.IndexByte(".!#$%&'*+-/=?^_`{|}~", byte(c)) >= 0
	}
	return table
}()

// isDomain tells a domain in lower-case ASCII. Underscores occur in practice.
func isDomain(s string) bool {
	label := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
		if label++; label > maxLabel {
			return false
		}
	}
	return label > 0
}

func normalLocal(local string) (string, error) {
	if local == "" {
		return "", errNoLocal
	}
	content, quoted := local, local[0] == '"'
	if quoted {
		var err error
		if content, err = unquoteLocal(local); err != nil {
			return "", err
		}
	}
	content = fold(content)
	needsQuotes := content == ""
	for _, r := range content {
		switch {
		case r < utf8.RuneSelf && unicode.IsControl(r), r >= utf8.RuneSelf && (unicode.IsControl(r) || unicode.IsSpace(r)):
			return "", errAddressSpace
		case r < utf8.RuneSelf && !atext[r]:
			needsQuotes = true
		}
	}
	switch {
	case !needsQuotes:
		return content, nil
	case !quoted && strings.ContainsRune(content, ' '):
		return "", errAddressSpace
	case !quoted:
		return "", errLocal
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(content) + `"`, nil
}

// unquoteLocal takes the content out of a quoted string (RFC 5321 section 4.1.2).
func unquoteLocal(s string) (string, error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			if i != len(s)-1 {
				return "", errQuoted
			}
			return b.String(), nil
		case '\\':
			i++
			if i == len(s) {
				return "", errQuoted
			}
			fallthrough
		default:
			b.WriteByte(s[i])
		}
	}
	return "", errQuoted
}

// fold writes s in lower case and NFC. A letter beyond ASCII never becomes an
// ASCII one (as the dotted capital I would): nobody shall pass for a user by a
// look-alike.
func fold(s string) string {
	s = strings.Map(func(r rune) rune {
		lower := unicode.ToLower(r)
		if r >= utf8.RuneSelf && lower < utf8.RuneSelf {
			return r
		}
		return lower
	}, s)
	return norm.NFC.String(s)
}

// withoutSubaddress leaves out what follows the first of the delimiters in the
// local part of a normal address. It is false where there is none, and for
// quoted local parts.
func withoutSubaddress(address, delimiters string) (string, bool) {
	end, at, ok := cutSubaddress(address, delimiters)
	if !ok {
		return "", false
	}
	return address[:end] + address[at:], true
}

// cutSubaddress tells where the local part ends without its subaddress, and
// where the "@" is.
func cutSubaddress(address, delimiters string) (end, at int, ok bool) {
	if delimiters == "" || address[0] == '"' {
		return 0, 0, false
	}
	at = strings.LastIndexByte(address, '@')
	end = strings.IndexAny(address[:at], delimiters)
	return end, at, end > 0
}
