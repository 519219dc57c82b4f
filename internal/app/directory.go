package app

// The directory as commands see it: its users one by one, and where their
// mailboxes are.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"

	"cloakroom/internal/config"
	"cloakroom/policy"
	"cloakroom/policy/directory"
	"cloakroom/policy/forward"
)

// Directory is the directory of a configuration with its co-existence routes.
// It needs none of the daemon's secrets.
type Directory struct {
	users   *Users
	routes  *forward.Table
	domains []string
}

var (
	// ErrNoDirectory is returned where the configuration names no directory.
	ErrNoDirectory = errors.New("no directory is configured: set directory.file or directory.ldap")
	// ErrNoRoutes is returned where the configuration has no co-existence.
	ErrNoRoutes = errors.New("coexistence is empty: no mailbox is in another system, so there is no map to make")
)

// OpenDirectory opens the directory of a configuration; without one it knows
// nobody.
func OpenDirectory(cfg *config.Config, log *slog.Logger) (*Directory, error) {
	d := &Directory{domains: cfg.Domains}
	var err error
	if d.routes, err = forward.NewTable(cfg.Coexistence, d.isOurs); err != nil {
		return nil, err
	}
	d.users, err = OpenUsers(cfg.Directory, log)
	return d, err
}

// Close ends what OpenDirectory began.
func (d *Directory) Close() { d.users.Close() }

func (d *Directory) isOurs(domain string) bool { return slices.Contains(d.domains, domain) }

// All calls yield with each user, until it returns false.
func (u *Users) All(ctx context.Context, yield func(*directory.User) bool) error {
	switch {
	case u.file != nil:
		u.file.All(yield)
		return ctx.Err()
	case u.ldap != nil:
		return u.ldap.All(ctx, yield)
	}
	return ErrNoDirectory
}

// Side is on which side a mailbox is.
type Side string

// The sides; "" is any.
const (
	Here  Side = "here"
	There Side = "there" // where co-existence sends the user's mail, or where the user's system is another
)

// Select says which users are meant; empty fields are any.
type Select struct {
	Group, Department, System string
	Side                      Side
}

// each calls f with the users of a selection, until it fails.
func (d *Directory) each(ctx context.Context, s Select, f func(*directory.User) error) error {
	var failed error
	err := d.users.All(ctx, func(u *directory.User) bool {
		if s.Group != "" && !slices.Contains(u.Groups, s.Group) || s.Department != "" && u.Department != s.Department ||
			s.System != "" && u.System != s.System {
			return true
		}
		if s.Side != "" && (s.Side == There) != (d.away(u) != "") {
			return true
		}
		if failed = ctx.Err(); failed == nil {
			failed = f(u)
		}
		return failed == nil
	})
	return errors.Join(failed, err)
}

// away is where the mail of a user goes on to; "" is nowhere.
func (d *Directory) away(u *directory.User) string {
	if to, _, ok := d.routes.Destination(u.Address, memberOf(u)); ok {
		return to
	}
	if u.System != "" {
		return "the system " + u.System
	}
	return ""
}

// memberOf tells the groups of one user.
func memberOf(u *directory.User) forward.Member {
	return func(group, _ string) bool { return u != nil && slices.Contains(u.Groups, group) }
}

// UserInfo is one user as commands show it.
type UserInfo struct {
	Address    string   `json:"address"`
	Aliases    []string `json:"aliases,omitempty"`
	Groups     []string `json:"groups,omitempty"`
	Department string   `json:"department,omitempty"`
	System     string   `json:"system,omitempty"`
	Name       string   `json:"name,omitempty"`
	ForwardTo  string   `json:"forward_to,omitempty"` // where co-existence sends mail for Address
}

func (d *Directory) info(u *directory.User) UserInfo {
	to, _, _ := d.routes.Destination(u.Address, memberOf(u))
	return UserInfo{u.Address, u.Aliases, u.Groups, u.Department, u.System, u.Name, to}
}

// listBlock is how many users share the widths of their columns: a table of a
// million users begins at once.
const listBlock = 1000

// List writes the users of a selection as a table, and how many there are.
func (d *Directory) List(ctx context.Context, w io.Writer, s Select) (int, error) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	n := 0
	err := d.each(ctx, s, func(u *directory.User) error {
		if n == 0 {
			fmt.Fprintln(t, "ADDRESS\tNAME\tDEPARTMENT\tSYSTEM\tGROUPS\tALIASES\tFORWARDED TO")
		}
		n++
		i := d.info(u)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(i.Address), cell(i.Name), cell(i.Department), cell(i.System),
			cell(strings.Join(i.Groups, ",")), cell(strings.Join(i.Aliases, ",")), cell(i.ForwardTo))
		if n%listBlock == 0 {
			return t.Flush()
		}
		return nil
	})
	return n, errors.Join(err, t.Flush())
}

// cell is a value in a table, "-" for none.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	return plain(s)
}

// ListJSON writes the users of a selection as a JSON array, one a line.
func (d *Directory) ListJSON(ctx context.Context, w io.Writer, s Select) (int, error) {
	n := 0
	err := d.each(ctx, s, func(u *directory.User) error {
		line, err := json.Marshal(d.info(u))
		if err != nil {
			return err
		}
		before := ",\n"
		if n == 0 {
			before = "[\n"
		}
		n++
		_, err = fmt.Fprintf(w, "%s%s", before, line)
		return err
	})
	if err != nil {
		return n, err // what is there is no JSON, and shall not look like it
	}
	end := "\n]\n"
	if n == 0 {
		end = "[]\n"
	}
	_, err = io.WriteString(w, end)
	return n, err
}

// Known is what is known of one address.
type Known struct {
	Asked string    `json:"asked"`
	User  *UserInfo `json:"user"` // nil: nobody's
	// As tells how the address is the user's: "primary", "alias", "subaddress",
	// or "alternate" for one in the other system's own domain.
	As string `json:"as,omitempty"`
	// ForwardTo is where mail for the address goes on to; "" is nowhere.
	ForwardTo string `json:"forward_to,omitempty"`
	// Route is the place of the route that says so in coexistence; -1: none.
	Route int    `json:"route"`
	Text  string `json:"text"` // what becomes of mail for the address, in words
}

// Lookup tells what is known of addresses.
func (d *Directory) Lookup(ctx context.Context, asked []string) ([]Known, error) {
	homes := make([]string, len(asked))
	for i, a := range asked {
		homes[i] = d.routes.Home(a)
	}
	found, err := d.users.Lookup(ctx, homes)
	if err != nil {
		return nil, err
	}
	out := make([]Known, len(asked))
	for i, a := range asked {
		if out[i], err = d.known(a, homes[i], found[homes[i]]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d *Directory) known(asked, home string, u *directory.User) (Known, error) {
	k := Known{Asked: asked, Route: -1}
	normal, err := directory.Normalize(home)
	if err != nil {
		return k, fmt.Errorf("%q: %w", asked, err)
	}
	if u != nil {
		info := d.info(u)
		k.User = &info
		switch {
		case home != asked:
			k.As = "alternate"
		case normal == u.Address:
			k.As = "primary"
		case slices.Contains(u.Aliases, normal):
			k.As = "alias"
		default:
			k.As = "subaddress"
		}
	}
	if home == asked {
		if to, route, ok := d.routes.Destination(asked, memberOf(u)); ok {
			k.ForwardTo, k.Route = to, route
		}
	}
	k.Text = d.fate(k, home)
	return k, nil
}

// fate says in words what becomes of mail for an address.
func (d *Directory) fate(k Known, home string) string {
	_, domain, _ := strings.Cut(home, "@")
	switch {
	case home != k.Asked:
		return "an address of the other mail system; it stands for " + home
	case k.ForwardTo != "":
		return fmt.Sprintf("mail is forwarded to %s, by coexistence[%d]", k.ForwardTo, k.Route)
	case !d.isOurs(policy.Domain(k.Asked)):
		return "mail is not for us: " + domain + " is not one of `domains`"
	case k.User == nil:
		return "nobody in the directory; mail stays here, where the MTA decides about it"
	case k.User.System != "":
		return fmt.Sprintf("mail stays here, though the mailbox is in the system %s: no route in coexistence fits", k.User.System)
	}
	return "mail stays here"
}

// PrintKnown writes what is known of addresses.
func PrintKnown(w io.Writer, all []Known) error {
	for i, k := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		err := table(w, func(t io.Writer) {
			fmt.Fprintf(t, "asked\t%s\n", plain(k.Asked))
			if u := k.User; u != nil {
				fmt.Fprintf(t, "user\t%s\n", plain(u.Address))
				fmt.Fprintf(t, "found by\tthe %s\n", map[string]string{"primary": "primary address", "alias": "alias",
					"subaddress": "address without its subaddress", "alternate": "address in the other mail system"}[k.As])
				for _, row := range [][2]string{{"name", u.Name}, {"aliases", strings.Join(u.Aliases, ", ")}, {"groups", strings.Join(u.Groups, ", ")},
					{"department", u.Department}, {"system", u.System}} {
					fmt.Fprintf(t, "%s\t%s\n", row[0], cell(row[1]))
				}
			} else {
				fmt.Fprintln(t, "user\tnobody")
			}
			fmt.Fprintf(t, "mail\t%s\n", plain(k.Text))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Plain makes a text from a directory or a mail safe for a terminal.
func Plain(s string) string { return plain(s) }
