package forward

// Addresses as the envelope has them: where they are cut, how local parts are
// quoted, and in which form they are compared.

import (
	"strings"
	"unicode/utf8"

	"cloakroom/policy"
)

const (
	maxLocalPart = 64  // octets, RFC 5321 section 4.5.3.1.1
	maxDomain    = 253 // octets of a name that fits DNS's 255 (RFC 1035 section 2.3.4)
	maxLabel     = 63  // octets, RFC 1035 section 2.3.4
	maxAddress   = 254 // octets: a path of 256 (RFC 5321 section 4.5.3.1.3) without its angle brackets
)

// split cuts an address at its last "@". The domain comes as policy.Domain
// gives it; ok is false where either side is missing. A source route is left
// out, as every MTA does (RFC 5321 appendix C).
func split(address string) (local, domain string, ok bool) {
	if strings.HasPrefix(address, "@") {
		_, address, _ = strings.Cut(address, ":")
	}
	at := strings.LastIndexByte(address, '@')
	if at <= 0 {
		return address, "", false
	}
	domain = normalDomain(address[at+1:])
	return address[:at], domain, domain != ""
}

// normalDomain brings a domain name into the form of policy.Domain. It is ""
// for what cannot be a domain name, address literals among it.
func normalDomain(name string) string {
	if strings.ContainsAny(name, " \t\r\n<>@") {
		return "" // policy.Domain would see through these
	}
	domain := policy.Domain("@" + name)
	if len(domain) > maxDomain || !utf8.ValidString(domain) {
		return ""
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > maxLabel {
			return ""
		}
		for i := range len(label) {
			c := label[i]
			if !isAlnum(c) && c != '-' && c != '_' && c < utf8.RuneSelf {
				return ""
			}
		}
	}
	return domain
}

// unquote gives what a local part means (RFC 5321 section 4.1.2: "a\b" and ab
// are the same mailbox), and whether it was quoted. Dots may stand where the
// RFC forbids them in unquoted form, as some large sites give out such
// addresses; anything else that is wrong makes ok false.
func unquote(local string) (content string, quoted, ok bool) {
	if !utf8.ValidString(local) || local == "" {
		return "", false, false
	}
	if local[0] != '"' {
		for i := range len(local) {
			if !isAtext(local[i]) && local[i] != '.' {
				return "", false, false
			}
		}
		return local, false, true
	}
	if len(local) < 3 || local[len(local)-1] != '"' {
		return "", true, false
	}
	var b strings.Builder
	inner := local[1 : len(local)-1]
	for i := 0; i < len(inner); i++ {
		c := inner[i]
		if c == '"' {
			return "", true, false
		}
		if c == '\\' {
			i++
			if i == len(inner) {
				return "", true, false
			}
			c = inner[i]
		}
		if c < ' ' || c == 0x7f {
			return "", true, false
		}
		b.WriteByte(c)
	}
	return b.String(), true, true
}

// quote writes content as a quoted local part, with as few escapes as there can be.
func quote(content string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(content) + `"`
}

// untagged takes the tag off user+tag; ok is false where there is none.
func untagged(local string) (user string, ok bool) {
	plus := strings.IndexByte(local, '+')
	if plus <= 0 || local[0] == '"' {
		return local, false
	}
	return local[:plus], true
}

// foldKey is an address in the form in which marks and lists of members are
// compared: unquoted, ASCII letters in lower case. Only the host of a mailbox
// knows whether case matters (RFC 5321 section 2.4), so that copies are never
// merged by it; but a mail that comes back with other case is a loop.
func foldKey(local, domain string) string {
	if content, _, ok := unquote(local); ok {
		local = content
	}
	return lowerASCII(local) + "@" + domain
}

// lowerASCII leaves all but A to Z as it is, so that the length in octets and
// the bytes of other scripts never change.
func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isAtext tells the characters of an atom (RFC 5322 section 3.2.3, RFC 6531
// section 3.3 for all beyond ASCII).
func isAtext(c byte) bool {
	return isAlnum(c) || c >= utf8.RuneSelf || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}
