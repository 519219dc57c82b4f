// Package directory knows who a user is: the addresses, groups, department and
// mail system behind an address of a mail.
//
// Two sources answer: a File (YAML or CSV, one immutable snapshot in a compact
// form) and an LDAP server (OpenLDAP, Active Directory). Cached stands before
// the latter and goes on answering for a while when it is away.
//
// # Addresses
//
// Addresses are compared as Normalize writes them. Where no user has an
// address, the part behind the delimiter of a subaddress (RFC 5233) is left
// out: bob+news@acmecorp.example is bob@acmecorp.example, unless somebody else
// has exactly that address.
package directory

import "context"

// User is one person or mailbox. Users are shared between callers: never
// change one, nor its slices.
type User struct {
	Address    string   // the primary address, as Normalize writes it
	Aliases    []string // further addresses, as Normalize writes them, without Address
	Groups     []string // names of groups, nested ones included, as their source writes them; sorted
	Department string
	System     string // the mail system that holds the mailbox; "" is ours
	Name       string // for people to read
}

// Source answers who is behind addresses. It is what Cached stands before.
type Source interface {
	// Lookup finds the users of addresses, such as all of one mail, at once.
	// The answer is keyed by the address as it was asked; what is absent is not
	// a user, nor is what cannot be an address. An error means that nothing is
	// known about any of them.
	Lookup(ctx context.Context, addresses []string) (map[string]*User, error)
}
