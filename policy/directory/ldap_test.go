package directory

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// startSlapd starts a server with the people in it.
func startSlapd(t *testing.T) *testserver.Slapd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	s, err := testserver.StartSlapd(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	dn := func(u *User) string { return fmt.Sprintf("uid=u%d,%s", slices.Index(people, u), s.PeopleDN()) }
	var entries []testserver.LDAPEntry
	for i, u := range people {
		attributes := map[string][]string{
			"objectClass": {"inetOrgPerson", "inetLocalMailRecipient"}, "uid": {fmt.Sprintf("u%d", i)},
			"cn": {"user"}, "sn": {"user"}, "mail": {u.Address},
		}
		for _, alias := range u.Aliases {
			name := "mailLocalAddress"
			if strings.Contains(alias, "ü") { // mailLocalAddress is ASCII
				name, alias = "description", strings.Replace(alias, "xn--bcher-kva", "Bücher", 1)
			}
			attributes[name] = append(attributes[name], alias)
		}
		attributes["description"] = append(attributes["description"], "sip:bob@acmecorp.test", "no address")
		for name, value := range map[string]string{"departmentNumber": u.Department, "mailHost": u.System, "displayName": u.Name} {
			if value != "" {
				attributes[name] = []string{value}
			}
		}
		entries = append(entries, testserver.LDAPEntry{DN: dn(u), Attributes: attributes})
	}
	group := func(name string, members ...string) {
		entries = append(entries, testserver.LDAPEntry{DN: groupDN(s, name), Attributes: map[string][]string{
			"objectClass": {"groupOfNames"}, "cn": {name}, "member": members}})
	}
	group("research", dn(people[0]))
	group("gapps", dn(people[1]))
	group("Domain Users, all", dn(people[4]))
	group("staff", groupDN(s, "research"), groupDN(s, "gapps"))
	if err := s.Add(ctx, entries...); err != nil {
		t.Fatal(err)
	}
	// A cycle: research is in staff and staff in research.
	if err := s.Replace(ctx, groupDN(s, "research"), "member", dn(people[0]), groupDN(s, "staff")); err != nil {
		t.Fatal(err)
	}
	return s
}

func groupDN(s *testserver.Slapd, name string) string {
	return "cn=" + strings.ReplaceAll(name, ",", `\,`) + "," + s.GroupsDN()
}

func ldapConfig(s *testserver.Slapd) LDAPConfig {
	c := DefaultConfig().LDAP
	c.URLs = []string{s.TLSURL()}
	c.CAFile = s.CAFile()
	c.BindDN, c.BindPasswordFile = s.ReaderDN(), s.PasswordFile()
	c.Base = s.BaseDN()
	c.Filter = "(|(mail={address})(mailLocalAddress={address})(description={address}))"
	c.Attributes = AttributesConfig{Address: "mail", Aliases: []string{"mailLocalAddress", "description"},
		Department: "departmentNumber", System: "mailHost", Name: "displayName"}
	return c
}

func openLDAP(t *testing.T, cfg LDAPConfig) *LDAP {
	t.Helper()
	l, err := OpenLDAP(cfg, "+", testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestLDAPConforms(t *testing.T) {
	s := startSlapd(t)
	for name, change := range map[string]func(*LDAPConfig){
		"ldaps, memberof":  func(*LDAPConfig) {},
		"StartTLS, member": func(c *LDAPConfig) { c.URLs, c.Groups.Method = []string{s.URL()}, GroupsMember },
		"plain, small pages": func(c *LDAPConfig) {
			c.URLs, c.StartTLS, c.PageSize, c.Connections = []string{s.URL()}, false, 2, 1
		},
		"groups below a base": func(c *LDAPConfig) { c.Groups.Base = strings.ToUpper(s.GroupsDN()) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := ldapConfig(s)
			change(&cfg)
			l := openLDAP(t, cfg)
			if err := l.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			conformance(t, l)
			t.Run("cached", func(t *testing.T) {
				conformance(t, NewCached(l, DefaultConfig().Cache, testLog(t)))
			})
			var all []*User
			if err := l.All(t.Context(), func(u *User) bool { all = append(all, u); return true }); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(all, people) {
				t.Errorf("All gave %+v", all)
			}
		})
	}
	t.Run("groups as configured", func(t *testing.T) {
		for want, change := range map[string]func(*GroupsConfig){
			"research":        func(c *GroupsConfig) { c.Nested = false },
			"research staff":  func(c *GroupsConfig) { c.Depth = 2 },
			"research only":   func(c *GroupsConfig) { c.Depth = 1 },
			"":                func(c *GroupsConfig) { c.Method = GroupsNone },
			"none below":      func(c *GroupsConfig) { c.Base = s.PeopleDN() },
			"none below, too": func(c *GroupsConfig) { c.Base, c.Method = s.PeopleDN(), GroupsMember },
			"cn=research," + s.GroupsDN() + " cn=staff," + s.GroupsDN(): func(c *GroupsConfig) { c.Name = GroupNameDN },
		} {
			cfg := ldapConfig(s)
			change(&cfg.Groups)
			found, err := openLDAP(t, cfg).Lookup(t.Context(), []string{"bob@acmecorp.test"})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(found["bob@acmecorp.test"].Groups, " ")
			want = strings.TrimSuffix(want, " only")
			if strings.HasPrefix(want, "none below") {
				want = ""
			}
			if got != want {
				t.Errorf("groups are %q, want %q", got, want)
			}
		}
	})
	t.Run("two entries with one address", func(t *testing.T) { testAmbiguous(t, s) })
	t.Run("secrets", func(t *testing.T) { testTrust(t, s) })
	t.Run("pages", func(t *testing.T) { testPages(t, s) })
}

// testAmbiguous: an alias gives way to a primary address; else it is an error.
func testAmbiguous(t *testing.T, s *testserver.Slapd) {
	person := func(uid, mail, alias string) testserver.LDAPEntry {
		return testserver.LDAPEntry{DN: "uid=" + uid + "," + s.PeopleDN(), Attributes: map[string][]string{
			"objectClass": {"inetOrgPerson", "inetLocalMailRecipient"}, "uid": {uid}, "cn": {"x"}, "sn": {"x"},
			"mail": {mail}, "mailLocalAddress": {alias}}}
	}
	if err := s.Add(t.Context(), person("a1", "twin@acmecorp.test", "shared@acmecorp.test"),
		person("a2", "TWIN@acmecorp.test", "boss@acmecorp.test")); err != nil {
		t.Fatal(err)
	}
	defer s.Delete(t.Context(), "uid=a1,"+s.PeopleDN(), "uid=a2,"+s.PeopleDN())
	cached := NewCached(openLDAP(t, ldapConfig(s)), DefaultConfig().Cache, testLog(t))
	_, err := cached.Lookup(t.Context(), []string{"twin@acmecorp.test"})
	if err == nil || !strings.Contains(err.Error(), "uid=a1") || !strings.Contains(err.Error(), "uid=a2") {
		t.Errorf("the error does not name both entries: %v", err)
	}
	found, err := cached.Lookup(t.Context(), []string{"boss@acmecorp.test", "shared@acmecorp.test"})
	if err != nil || found["boss@acmecorp.test"] == nil || found["boss@acmecorp.test"].System != "gapps" {
		t.Errorf("the primary address does not win, or the ambiguous one is in the way of others: %+v, %v", found, err)
	}
}

// testTrust: no answer without the right certificate and password.
func testTrust(t *testing.T, s *testserver.Slapd) {
	lookup := func(change func(*LDAPConfig)) error {
		cfg := ldapConfig(s)
		change(&cfg)
		l, err := OpenLDAP(cfg, "+", testLog(t))
		if err != nil {
			return err
		}
		defer l.Close()
		_, err = l.Lookup(t.Context(), []string{"bob@acmecorp.test"})
		return err
	}
	for want, change := range map[string]func(*LDAPConfig){
		"unknown authority":              func(c *LDAPConfig) { c.CAFile = "" },
		"signed by unknown authority":    func(c *LDAPConfig) { c.CAFile, c.URLs = "", []string{s.URL()} },
		"certificate is valid for":       func(c *LDAPConfig) { c.ServerName = "ldap.ext.test" },
		"not ldap.ext.test":              func(c *LDAPConfig) { c.ServerName, c.URLs = "ldap.ext.test", []string{s.URL()} },
		"Invalid Credentials":            func(c *LDAPConfig) { c.BindPasswordFile = writeFile(t, "password", "wrong\n") },
		"is empty":                       func(c *LDAPConfig) { c.BindPasswordFile = writeFile(t, "password", "\n") },
		"bind_password_file":             func(c *LDAPConfig) { c.BindPasswordFile = "/nonexistent" },
		"holds no certificate":           func(c *LDAPConfig) { c.CAFile = writeFile(t, "ca", "none") },
		"No Such Object":                 func(c *LDAPConfig) { c.Base = "dc=ext,dc=test" },
		"bind_dn: is required":           func(c *LDAPConfig) { c.BindDN = "" },
		"search below":                   func(c *LDAPConfig) { c.BindDN, c.BindPasswordFile = "", "" },
		"does not depend on the address": func(c *LDAPConfig) { c.Filter = "(mail=*)" },
	} {
		err := lookup(change)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// testPages: more users than the server gives in one answer.
func testPages(t *testing.T, s *testserver.Slapd) {
	const many = 1200
	group := testserver.LDAPEntry{DN: groupDN(s, "many"), Attributes: map[string][]string{"objectClass": {"groupOfNames"}, "cn": {"many"}}}
	var entries []testserver.LDAPEntry
	var addresses []string
	for i := range many {
		uid := fmt.Sprintf("p%04d", i)
		addresses = append(addresses, uid+"@many.acmecorp.test")
		dn := "uid=" + uid + "," + s.PeopleDN()
		entries = append(entries, testserver.LDAPEntry{DN: dn, Attributes: map[string][]string{
			"objectClass": {"inetOrgPerson"}, "uid": {uid}, "cn": {uid}, "sn": {uid}, "mail": {uid + "@many.acmecorp.test"}}})
		group.Attributes["member"] = append(group.Attributes["member"], dn)
	}
	if err := s.Add(t.Context(), append(entries, group)...); err != nil {
		t.Fatal(err)
	}
	cfg := ldapConfig(s)
	cfg.Timeout = 30 * time.Second
	cfg.ListFilter = "(&(uid=p*)(mail=*@many.acmecorp.test))"
	l := openLDAP(t, cfg)
	found, err := l.Lookup(t.Context(), addresses)
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	if err := l.All(t.Context(), func(*User) bool { listed++; return true }); err != nil {
		t.Fatal(err)
	}
	if len(found) != many || listed != many {
		t.Errorf("found %d, listed %d of %d", len(found), listed, many)
	}
	for address, u := range found {
		if u.Address != address || !slices.Equal(u.Groups, []string{"many"}) {
			t.Fatalf("%s is %+v", address, u)
		}
	}
	// OpenLDAP gives shorter pages than it is asked for; no entry may be missing.
	cfg.PageSize, listed = 1000, 0
	if err := openLDAP(t, cfg).All(t.Context(), func(*User) bool { listed++; return true }); err != nil || listed != many {
		t.Errorf("in pages beyond the server's limit listed %d, %v", listed, err)
	}
}
