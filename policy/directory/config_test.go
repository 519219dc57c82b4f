package directory

import (
	"strings"
	"testing"
	"time"
)

func validConfig() Config {
	c := DefaultConfig()
	c.LDAP.URLs = []string{"ldaps://ldap.acmecorp.test", "ldap://ldap2.acmecorp.test:3389"}
	c.LDAP.Base = "dc=acmecorp,dc=test"
	c.LDAP.BindDN, c.LDAP.BindPasswordFile = "cn=reader,dc=acmecorp,dc=test", "/etc/cloakroom/ldap"
	return c
}

func TestValidateNamesTheKey(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"":                            func(*Config) {},
		"file: the name":              func(c *Config) { c.LDAP, c.File = LDAPConfig{}, "users.txt" },
		"file: there is an LDAP":      func(c *Config) { c.File = "users.csv" },
		"subaddress: '*'":             func(c *Config) { c.Subaddress = "+*" },
		"ldap.urls: is required":      func(c *Config) { c.LDAP.URLs = nil },
		"ldap.urls: \"https":          func(c *Config) { c.LDAP.URLs[1] = "https://ldap" },
		"ldap.urls: \"ldap://u:p@":    func(c *Config) { c.LDAP.URLs[1] = "ldap://u:p@ldap" },
		"ldap.base: is required":      func(c *Config) { c.LDAP.Base = "" },
		"ldap.base: \"acmecorp\"":     func(c *Config) { c.LDAP.Base = "acmecorp" },
		"ldap.bind_dn: \"reader\"":    func(c *Config) { c.LDAP.BindDN = "reader" },
		"ldap.bind_dn: is required":   func(c *Config) { c.LDAP.BindDN = "" },
		"ldap.bind_password_file":     func(c *Config) { c.LDAP.BindPasswordFile = "" },
		"ldap.filter: does not":       func(c *Config) { c.LDAP.Filter = "(mail=*)" },
		"ldap.filter: {mail}":         func(c *Config) { c.LDAP.Filter = "(mail={mail})" },
		"ldap.filter: \"(mail={add":   func(c *Config) { c.LDAP.Filter = "(mail={address}" },
		"ldap.filter: {local} stands": func(c *Config) { c.LDAP.Filter = "({local}=x)" },
		"ldap.list_filter":            func(c *Config) { c.LDAP.ListFilter = "mail" },
		"ldap.attributes.address":     func(c *Config) { c.LDAP.Attributes = AttributesConfig{} },
		"ldap.timeout":                func(c *Config) { c.LDAP.Timeout = time.Hour },
		"ldap.connections":            func(c *Config) { c.LDAP.Connections = 0 },
		"ldap.page_size":              func(c *Config) { c.LDAP.PageSize = 0 },
		"ldap.groups.method":          func(c *Config) { c.LDAP.Groups.Method = "x" },
		"ldap.groups.base":            func(c *Config) { c.LDAP.Groups.Base = "x" },
		"ldap.groups.depth":           func(c *Config) { c.LDAP.Groups.Depth = 0 },
		"ldap.groups.name":            func(c *Config) { c.LDAP.Groups.Name = "x" },
		"cache.ttl":                   func(c *Config) { c.Cache.TTL = -1 },
		"cache.negative_ttl":          func(c *Config) { c.Cache.NegativeTTL = time.Hour },
		"cache.stale":                 func(c *Config) { c.Cache.Stale = time.Second },
		"cache.size":                  func(c *Config) { c.Cache.Size = 0 },
	} {
		c := validConfig()
		change(&c)
		err := c.Validate()
		switch {
		case want == "" && err != nil:
			t.Errorf("the valid configuration is refused: %v", err)
		case want != "" && (err == nil || !strings.Contains("\n"+err.Error(), "\n"+want)):
			t.Errorf("error %v, want one that begins with %q", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	ad := validConfig()
	ad.LDAP.BindDN = "reader@acmecorp.test"
	if err := ad.Validate(); err != nil {
		t.Errorf("an account as Active Directory writes it is refused: %v", err)
	}
}

func TestWarningsTellAboutOpenPasswords(t *testing.T) {
	c := validConfig()
	if w := c.Warnings(); len(w) != 0 {
		t.Errorf("warnings without a reason: %v", w)
	}
	c.LDAP.StartTLS = false
	if w := c.Warnings(); len(w) != 1 || !strings.HasPrefix(w[0], "ldap.starttls: ") || !strings.Contains(w[0], "ldap2.acmecorp.test") {
		t.Errorf("warnings %v", w)
	}
	c.LDAP.URLs = []string{"ldap://127.0.0.1", "ldaps://ldap.acmecorp.test"}
	if w := c.Warnings(); len(w) != 0 {
		t.Errorf("warnings without a reason: %v", w)
	}
}

func TestResolveStartsAtTheFolder(t *testing.T) {
	c := validConfig()
	c.File, c.LDAP.CAFile = "users.yaml", "ca.pem"
	r := c.Resolve("/etc/cloakroom")
	if r.File != "/etc/cloakroom/users.yaml" || r.LDAP.CAFile != "/etc/cloakroom/ca.pem" || r.LDAP.BindPasswordFile != "/etc/cloakroom/ldap" {
		t.Errorf("resolved to %+v", r)
	}
}

func TestTemplatesEscape(t *testing.T) {
	f, err := parseTemplate("(|(mail={address})(&(uid={local})(dc={domain})))")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"bob@a.test":      "(|(mail=bob@a.test)(&(uid=bob)(dc=a.test)))",
		"*)(uid=*@a.test": `(|(mail=\2a\29\28uid=\2a@a.test)(&(uid=\2a\29\28uid=\2a)(dc=a.test)))`,
		"a\\b\x00@a.test": `(|(mail=a\5cb\00@a.test)(&(uid=a\5cb\00)(dc=a.test)))`,
		"{domain}@a.test": `(|(mail={domain}@a.test)(&(uid={domain})(dc=a.test)))`,
		"ü@a.test":        `(|(mail=\c3\bc@a.test)(&(uid=\c3\bc)(dc=a.test)))`,
	} {
		if got := f.fill(in); got != want {
			t.Errorf("%q became %s, want %s", in, got, want)
		}
	}
	if got, want := f.anyOf([]string{"a@xn--bcher-kva.test"}), "a@b\\c3\\bccher.test"; !strings.Contains(got, want) || !strings.Contains(got, "a@xn--bcher-kva.test") {
		t.Errorf("%s does not ask for both forms of the domain", got)
	}
}
