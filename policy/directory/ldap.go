package directory

// Users from an LDAP server.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// lookupBatch is how many addresses are put into one search: with some 200
// bytes each the filter stays far below what servers take.
const lookupBatch = 100

// LDAP answers from an LDAP server. Use it behind Cached.
type LDAP struct {
	cfg        LDAPConfig
	delimiters string
	filter     template
	groups     *groupFinder
	pool       *connections
	log        *slog.Logger
}

// AmbiguousError is returned when two entries have the same address.
type AmbiguousError struct {
	Address string
	DNs     [2]string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s is the address of two entries, %s and %s: correct one of them, or leave it out by ldap.filter",
		e.Address, e.DNs[0], e.DNs[1])
}

// answerError is an answer that cannot be used, on a connection that can.
type answerError struct{ reason string }

func (e *answerError) Error() string { return e.reason }

// OpenLDAP checks the settings and reads the files they name; it does not
// connect (see Check). delimiters are Config.Subaddress.
func OpenLDAP(cfg LDAPConfig, delimiters string, log *slog.Logger) (*LDAP, error) {
	if err := prefixed("ldap", cfg.problems()); err != nil {
		return nil, err
	}
	filter, err := parseTemplate(cfg.Filter)
	if err != nil {
		return nil, fmt.Errorf("ldap.filter: %w", err)
	}
	pool, err := newConnections(cfg, log)
	if err != nil {
		return nil, fmt.Errorf("ldap.%w", err)
	}
	groups, err := newGroupFinder(cfg, log)
	if err != nil {
		return nil, fmt.Errorf("ldap.groups.%w", err)
	}
	return &LDAP{cfg: cfg, delimiters: delimiters, filter: filter, groups: groups, pool: pool, log: log}, nil
}

// Close cuts idle connections. Lookups under way end by themselves.
func (l *LDAP) Close() { l.pool.close() }

// Check connects and looks at the base, to tell early what is wrong.
func (l *LDAP) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	err := l.pool.use(ctx, func(c *connection) error {
		_, err := c.Search(l.request(l.cfg.Base, ldap.ScopeBaseObject, "(objectClass=*)", "1.1")) // no attributes
		return err
	})
	if err != nil {
		return fmt.Errorf("directory: LDAP: %w", err)
	}
	return nil
}

// Lookup implements Source. It takes no longer than the timeout of the
// configuration. Two entries with one address are an *AmbiguousError, unless
// it is the primary address of one of them only.
func (l *LDAP) Lookup(ctx context.Context, addresses []string) (map[string]*User, error) {
	normal := make(map[string]string, len(addresses)) // as asked -> normal
	var wanted []string                               // normal ones and those without their subaddress
	for _, asked := range addresses {
		address, err := Normalize(asked)
		if err != nil {
			continue // nobody's
		}
		normal[asked] = address
		wanted = append(wanted, address)
		if base, ok := withoutSubaddress(address, l.delimiters); ok {
			wanted = append(wanted, base)
		}
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	users := make(map[string]*User, len(wanted))
	if len(wanted) > 0 {
		ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
		defer cancel()
		err := l.pool.use(ctx, func(c *connection) error {
			clear(users)
			for batch := range slices.Chunk(wanted, lookupBatch) {
				if err := l.search(c, batch, users); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("directory: LDAP: %w", err)
		}
	}
	found := make(map[string]*User, len(addresses))
	for asked, address := range normal {
		u := users[address]
		if u == nil {
			if base, ok := withoutSubaddress(address, l.delimiters); ok {
				u = users[base]
			}
		}
		if u != nil {
			found[asked] = u
		}
	}
	return found, nil
}

// match is the entry that has an address.
type match struct {
	entry   *ldap.Entry
	primary bool
}

// search finds the users of a batch of normal addresses.
func (l *LDAP) search(c *connection, batch []string, users map[string]*User) error {
	entries, err := l.entries(c, l.cfg.Base, l.filter.anyOf(batch))
	if err != nil {
		return err
	}
	matches := make(map[string]match, len(batch))
	for _, entry := range entries {
		all, err := l.addresses(entry)
		if err != nil {
			return err
		}
		for i, address := range all {
			if _, asked := slices.BinarySearch(batch, address); !asked {
				continue
			}
			before, taken := matches[address]
			switch primary := i == 0; {
			case !taken || primary && !before.primary:
				matches[address] = match{entry, primary}
			case before.primary == primary && before.entry != entry:
				return &AmbiguousError{address, [2]string{before.entry.DN, entry.DN}}
			}
		}
	}
	made := make(map[*ldap.Entry]*User, len(matches))
	for address, m := range matches {
		if made[m.entry] == nil {
			if made[m.entry], err = l.user(c, m.entry); err != nil {
				return err
			}
		}
		users[address] = made[m.entry]
	}
	return nil
}

// errListCut keeps users from being listed twice when a connection proves to be
// dead in the middle.
var errListCut = errors.New("the connection ended while users were listed; try again")

// All calls yield with each user that the list filter finds and that has an
// address, until it returns false.
func (l *LDAP) All(ctx context.Context, yield func(*User) bool) error {
	begun := false
	err := l.pool.use(ctx, func(c *connection) error {
		if begun {
			return errListCut
		}
		entries, err := l.entries(c, l.cfg.Base, l.cfg.ListFilter)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			u, err := l.user(c, entry)
			if err != nil {
				return err
			}
			begun = true
			if u.Address != "" && !yield(u) {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("directory: LDAP: %w", err)
	}
	return nil
}

// entries searches below base, page by page.
func (l *LDAP) entries(c *connection, base, filter string) ([]*ldap.Entry, error) {
	a := l.cfg.Attributes
	var names []string
	for _, name := range append([]string{a.Address, a.Department, a.System, a.Name, l.groups.userAttribute()}, a.Aliases...) {
		if name != "" {
			names = append(names, name)
		}
	}
	return l.groups.search(c, l.request(base, ldap.ScopeWholeSubtree, filter, names...))
}

func (l *LDAP) request(base string, scope int, filter string, attributes ...string) *ldap.SearchRequest {
	return newRequest(base, scope, filter, attributes...)
}

// newRequest has no limits of its own: the caller's time is the limit.
func newRequest(base string, scope int, filter string, attributes ...string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter, attributes, nil)
}

// user makes a User of an entry; it has no Address if the entry has none.
func (l *LDAP) user(c *connection, entry *ldap.Entry) (*User, error) {
	all, err := l.addresses(entry)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return &User{}, nil
	}
	u := &User{Address: all[0], Aliases: slices.Clone(all[1:])}
	if len(u.Aliases) == 0 {
		u.Aliases = nil
	}
	for name, to := range map[string]*string{
		l.cfg.Attributes.Department: &u.Department,
		l.cfg.Attributes.System:     &u.System,
		l.cfg.Attributes.Name:       &u.Name,
	} {
		if name == "" {
			continue
		}
		if values := entry.GetEqualFoldAttributeValues(name); len(values) > 0 {
			*to = values[0]
		}
	}
	u.Groups, err = l.groups.of(c, entry)
	return u, err
}

// addresses gives the normal addresses of an entry, the primary one first.
func (l *LDAP) addresses(entry *ldap.Entry) ([]string, error) {
	var all []string
	for _, name := range append([]string{l.cfg.Attributes.Address}, l.cfg.Attributes.Aliases...) {
		if name == "" {
			continue
		}
		values, err := attribute(entry, name)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			if kind, rest, ok := strings.Cut(v, ":"); ok && !strings.ContainsAny(kind, `@"`) {
				if !strings.EqualFold(kind, "smtp") {
					continue
				}
				v = rest
			}
			normal, err := Normalize(v)
			if err != nil {
				l.log.Debug("directory: value passed over", "dn", entry.DN, "attribute", name, "value", v, "error", err)
				continue
			}
			if !slices.Contains(all, normal) {
				all = append(all, normal)
			}
		}
	}
	return all, nil
}

// attribute gives all values. Active Directory gives a very long list only in
// part, under another name: half of it would be worse than an error.
func attribute(entry *ldap.Entry, name string) ([]string, error) {
	for _, a := range entry.Attributes {
		if len(a.Name) > len(name) && strings.EqualFold(a.Name[:len(name)], name) &&
			strings.HasPrefix(strings.ToLower(a.Name[len(name):]), ";range=") {
			return nil, &answerError{fmt.Sprintf("%s has more values of %s than the server gives at once (%s); for groups use the method ad or member", entry.DN, name, a.Name)}
		}
	}
	return entry.GetEqualFoldAttributeValues(name), nil
}
