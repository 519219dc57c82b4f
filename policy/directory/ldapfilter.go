package directory

// LDAP filters from templates: what comes out of a mail never becomes syntax.

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/net/idna"
)

// template is a filter with places for an address.
type template struct{ text string }

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// parseTemplate checks that the filter is one whatever the address is.
func parseTemplate(text string) (template, error) {
	depends := false
	for _, at := range placeholder.FindAllStringIndex(text, -1) {
		name := text[at[0]:at[1]]
		if i := strings.LastIndexAny(text[:at[0]], "()="); i < 0 || text[i] != '=' {
			return template{}, fmt.Errorf("%s stands where there is no value; write it behind an equals sign", name)
		}
		switch name {
		case "{address}", "{local}":
			depends = true
		case "{domain}":
		default:
			return template{}, fmt.Errorf("%s is not known; there are {address}, {local} and {domain}", name)
		}
	}
	if !depends {
		return template{}, errors.New("does not depend on the address; write {address} where it belongs, such as (mail={address})")
	}
	t := template{text}
	if _, err := ldap.CompileFilter(t.fill("bob@acmecorp.example")); err != nil {
		return template{}, fmt.Errorf("%q is not a filter (RFC 4515): %w", text, err)
	}
	return t, nil
}

// fill puts a normal address into the template, escaped as RFC 4515 section 3 has it.
func (t template) fill(address string) string {
	local, domain := address, ""
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		local, domain = address[:at], address[at+1:]
	}
	return strings.NewReplacer(
		"{address}", ldap.EscapeFilter(address),
		"{local}", ldap.EscapeFilter(local),
		"{domain}", ldap.EscapeFilter(domain),
	).Replace(t.text)
}

// anyOf is the filter for one of several addresses. Where a domain has a form
// in Unicode the directory may hold that one.
func (t template) anyOf(addresses []string) string {
	var b strings.Builder
	b.WriteString("(|")
	for _, address := range addresses {
		b.WriteString(t.fill(address))
		if other, ok := unicodeForm(address); ok {
			b.WriteString(t.fill(other))
		}
	}
	b.WriteByte(')')
	return b.String()
}

// unicodeForm writes the domain of a normal address in U-labels (RFC 5890).
func unicodeForm(address string) (string, bool) {
	at := strings.LastIndexByte(address, '@')
	if !strings.Contains(address[at+1:], "xn--") {
		return "", false
	}
	domain, err := idna.Lookup.ToUnicode(address[at+1:])
	if err != nil || domain == address[at+1:] {
		return "", false
	}
	return address[:at+1] + domain, true
}
