package directory

// The directory section of the configuration.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Config says where users, their aliases and groups are found. Without file
// and ldap nobody is known.
type Config struct {
	// File is a YAML (.yaml, .yml) or CSV (.csv) file of users. It is read
	// again when the daemon reloads; a file with a mistake leaves the users read
	// before in place. A relative path starts at the folder of this file.
	File string `yaml:"file"`

	// LDAP is an LDAP server, such as OpenLDAP or Active Directory, in place of
	// a file.
	LDAP LDAPConfig `yaml:"ldap"`

	// Cache says how long answers of the LDAP server are kept.
	Cache CacheConfig `yaml:"cache"`

	// Subaddress lists the characters that begin a subaddress: with "+" mail to
	// bob+news is bob's unless somebody has exactly that address. It should be
	// what the MTA has (Postfix: recipient_delimiter). Empty: none.
	Subaddress string `yaml:"subaddress"`
}

// LDAPConfig says how users are found on an LDAP server.
type LDAPConfig struct {
	// URLs lists servers with the same content: ldaps://HOST[:PORT] or
	// ldap://HOST[:PORT]. When one does not answer the next is asked.
	URLs []string `yaml:"urls"`

	// StartTLS encrypts connections to ldap:// servers. Switch it off only where
	// nobody can listen in: the password crosses the network.
	StartTLS bool `yaml:"starttls"`

	// CAFile holds the certificates (PEM) of the authorities that may have
	// signed the servers'. Default: those the system trusts.
	CAFile string `yaml:"ca_file"`

	// ServerName is the name in the servers' certificates. Default: the host of
	// the URL.
	ServerName string `yaml:"server_name"`

	// BindDN is the account that searches. Empty: anonymous.
	BindDN string `yaml:"bind_dn"`

	// BindPasswordFile holds the password of bind_dn and nothing else. Other
	// users of this host must not be able to read it.
	BindPasswordFile string `yaml:"bind_password_file"`

	// Base is the entry below which users are, such as
	// ou=people,dc=example,dc=com.
	Base string `yaml:"base"`

	// Filter finds the entry of an address. {address} stands for the whole
	// address, {local} and {domain} for its parts, escaped. The entry counts
	// only if the attributes address or aliases hold the address. Two entries
	// with the same address are an error: leave one of them out here.
	Filter string `yaml:"filter"`

	// ListFilter finds all users, to list them.
	ListFilter string `yaml:"list_filter"`

	// Attributes names where the entries keep what.
	Attributes AttributesConfig `yaml:"attributes"`

	// Groups says how the groups of a user are found.
	Groups GroupsConfig `yaml:"groups"`

	// Timeout bounds one lookup, connecting included.
	Timeout time.Duration `yaml:"timeout"`

	// Connections is how many lookups go on at a time; more wait.
	Connections int `yaml:"connections"`

	// PageSize is how many entries are asked for at a time. It must not exceed
	// the server's own limit (Active Directory: 1000, OpenLDAP: 500).
	PageSize int `yaml:"page_size"`
}

// AttributesConfig names attributes of user entries; an empty name is none.
type AttributesConfig struct {
	// Address holds the primary address. Further values count as aliases.
	Address string `yaml:"address"`

	// Aliases hold further addresses, bare or as smtp:ADDRESS. Values of other
	// kinds (x500:, sip:) are passed over.
	Aliases []string `yaml:"aliases"`

	// Department is the user's department.
	Department string `yaml:"department"`

	// System names the mail system that holds the mailbox; no value is ours.
	System string `yaml:"system"`

	// Name is the user's name for people.
	Name string `yaml:"name"`
}

// GroupsConfig says how groups are found.
type GroupsConfig struct {
	// Method is memberof (the server tells a user's groups in the attribute
	// memberOf), member (groups that list the user in their attribute member
	// are searched), ad (Active Directory's chain rule searches nested groups
	// in one step) or none.
	Method string `yaml:"method"`

	// Base is the entry below which groups count. Default: ldap.base for a
	// search, anywhere for memberof. Set it where others than you can make
	// groups.
	Base string `yaml:"base"`

	// Nested counts groups of groups too.
	Nested bool `yaml:"nested"`

	// Depth is how many levels of groups in groups are followed.
	Depth int `yaml:"depth"`

	// Name is cn to call a group by the first part of its DN, or dn for the
	// whole.
	Name string `yaml:"name"`
}

// CacheConfig says how long answers of an LDAP server are kept.
type CacheConfig struct {
	// TTL is how long a user is taken from memory.
	TTL time.Duration `yaml:"ttl"`

	// NegativeTTL is how long an address that is nobody's is.
	NegativeTTL time.Duration `yaml:"negative_ttl"`

	// Stale is how old an answer may be that is used because the server is
	// away. After that mail is deferred.
	Stale time.Duration `yaml:"stale"`

	// Size is how many users, and how many addresses that are nobody's, are
	// kept at most.
	Size int `yaml:"size"`
}

// How groups are found.
const (
	GroupsMemberOf = "memberof"
	GroupsMember   = "member"
	GroupsAD       = "ad"
	GroupsNone     = "none"
)

// How groups are called.
const (
	GroupNameCN = "cn"
	GroupNameDN = "dn"
)

// Limits of the settings.
const (
	minLDAPTimeout  = 100 * time.Millisecond // shorter ones fail on any network
	maxLDAPTimeout  = time.Minute            // the MTA waits meanwhile
	maxConnections  = 1000                   // beyond what directory servers admit from one host
	maxPageSize     = 10_000                 // memory for one answer
	maxGroupDepth   = 100                    // no organisation is nested like that
	maxCacheSize    = 10_000_000             // some 5 GB
	maxCacheStale   = 30 * 24 * time.Hour    // people leave
	subaddressChars = "+-=_.#%~"             // what stands for itself in a local part and an LDAP filter
)

// DefaultConfig fits OpenLDAP and Active Directory once urls and base are set.
func DefaultConfig() Config {
	return Config{
		LDAP: LDAPConfig{
			URLs:       []string{},
			StartTLS:   true,
			Filter:     "(|(mail={address})(proxyAddresses=smtp:{address}))",
			ListFilter: "(mail=*)",
			Attributes: AttributesConfig{
				Address:    "mail",
				Aliases:    []string{"proxyAddresses"},
				Department: "department",
				Name:       "displayName",
			},
			Groups:      GroupsConfig{Method: GroupsMemberOf, Nested: true, Depth: 10, Name: GroupNameCN},
			Timeout:     5 * time.Second,
			Connections: 4,
			PageSize:    500,
		},
		Cache:      CacheConfig{TTL: 5 * time.Minute, NegativeTTL: time.Minute, Stale: 24 * time.Hour, Size: 100_000},
		Subaddress: "+",
	}
}

// UsesLDAP tells whether an LDAP server is to be asked.
func (c Config) UsesLDAP() bool { return len(c.LDAP.URLs) > 0 }

// Resolve gives the configuration with relative paths made to start at folder.
func (c Config) Resolve(folder string) Config {
	for _, path := range []*string{&c.File, &c.LDAP.CAFile, &c.LDAP.BindPasswordFile} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
	return c
}

// Validate tells the settings that cannot work; each error begins with its key.
func (c Config) Validate() error {
	var errs []error
	if c.File != "" {
		if _, err := readerOf(c.File); err != nil {
			errs = append(errs, fmt.Errorf("file: the name of %s tells neither YAML (.yaml, .yml) nor CSV (.csv)", c.File))
		}
	}
	if c.File != "" && c.UsesLDAP() {
		errs = append(errs, errors.New("file: there is an LDAP server too; keep one of them"))
	}
	for _, delimiter := range c.Subaddress {
		if !strings.ContainsRune(subaddressChars, delimiter) {
			errs = append(errs, fmt.Errorf("subaddress: %q cannot begin a subaddress; there are %s", delimiter, subaddressChars))
		}
	}
	if c.UsesLDAP() {
		errs = append(errs, prefixed("ldap", c.LDAP.problems()), prefixed("cache", c.Cache.problems()))
	} else if c.LDAP.Base != "" || c.LDAP.BindDN != "" {
		errs = append(errs, errors.New("ldap.urls: is required: the servers, such as [ldaps://ldap.example.com]"))
	}
	return errors.Join(errs...)
}

// prefixed puts a section before the keys that errors begin with.
func prefixed(section string, errs []error) error {
	for i, err := range errs {
		errs[i] = fmt.Errorf("%s.%w", section, err)
	}
	return errors.Join(errs...)
}

// Warnings tells what works but should be looked at; each begins with its key.
func (c Config) Warnings() []string {
	for _, u := range c.LDAP.URLs {
		parsed, err := url.Parse(u)
		if err == nil && parsed.Scheme == "ldap" && !c.LDAP.StartTLS && c.LDAP.BindDN != "" && !isLoopback(parsed.Hostname()) {
			return []string{fmt.Sprintf("ldap.starttls: is off, so that the password crosses the network to %s unencrypted", parsed.Host)}
		}
	}
	return nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (c LDAPConfig) problems() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, u := range c.URLs {
		if _, err := parseServer(u); err != nil {
			fail("urls: %w", err)
		}
	}
	if c.Base == "" {
		fail("base: is required: the entry below which users are, such as ou=people,dc=example,dc=com")
	} else if _, err := ldap.ParseDN(c.Base); err != nil {
		fail("base: %q is not a DN: %w", c.Base, err)
	}
	if _, err := ldap.ParseDN(c.BindDN); err != nil && !strings.ContainsAny(c.BindDN, `@\`) { // AD takes bob@domain and DOMAIN\bob
		fail("bind_dn: %q is not a DN: %w", c.BindDN, err)
	}
	switch {
	case c.BindDN != "" && c.BindPasswordFile == "":
		fail("bind_password_file: is required for bind_dn: a file with the password")
	case c.BindDN == "" && c.BindPasswordFile != "":
		fail("bind_dn: is required for bind_password_file")
	}
	if _, err := parseTemplate(c.Filter); err != nil {
		fail("filter: %w", err)
	}
	if _, err := ldap.CompileFilter(c.ListFilter); err != nil {
		fail("list_filter: %w", err)
	}
	if c.Attributes.Address == "" && len(c.Attributes.Aliases) == 0 {
		fail("attributes.address: is required: the attribute with the address, such as mail")
	}
	if c.Timeout < minLDAPTimeout || c.Timeout > maxLDAPTimeout {
		fail("timeout: %v is not between %v and %v", c.Timeout, minLDAPTimeout, maxLDAPTimeout)
	}
	if c.Connections < 1 || c.Connections > maxConnections {
		fail("connections: %d is not between 1 and %d", c.Connections, maxConnections)
	}
	if c.PageSize < 1 || c.PageSize > maxPageSize {
		fail("page_size: %d is not between 1 and %d", c.PageSize, maxPageSize)
	}
	return append(errs, c.Groups.problems()...)
}

func (c GroupsConfig) problems() (errs []error) {
	switch c.Method {
	case GroupsMemberOf, GroupsMember, GroupsAD, GroupsNone:
	default:
		errs = append(errs, fmt.Errorf("groups.method: %q is not known; write memberof, member, ad or none", c.Method))
	}
	if _, err := ldap.ParseDN(c.Base); err != nil {
		errs = append(errs, fmt.Errorf("groups.base: %q is not a DN: %w", c.Base, err))
	}
	if c.Depth < 1 || c.Depth > maxGroupDepth {
		errs = append(errs, fmt.Errorf("groups.depth: %d is not between 1 and %d", c.Depth, maxGroupDepth))
	}
	if c.Name != GroupNameCN && c.Name != GroupNameDN {
		errs = append(errs, fmt.Errorf("groups.name: %q is not known; write cn or dn", c.Name))
	}
	return errs
}

func (c CacheConfig) problems() (errs []error) {
	if c.TTL < 0 || c.TTL > maxCacheStale {
		errs = append(errs, fmt.Errorf("ttl: %v is not between 0 and %v", c.TTL, maxCacheStale))
	}
	if c.NegativeTTL < 0 || c.NegativeTTL > c.TTL {
		errs = append(errs, fmt.Errorf("negative_ttl: %v is not between 0 and ttl (%v)", c.NegativeTTL, c.TTL))
	}
	if c.Stale < c.TTL || c.Stale > maxCacheStale {
		errs = append(errs, fmt.Errorf("stale: %v is not between ttl (%v) and %v", c.Stale, c.TTL, maxCacheStale))
	}
	if c.Size < 1 || c.Size > maxCacheSize {
		errs = append(errs, fmt.Errorf("size: %d is not between 1 and %d", c.Size, maxCacheSize))
	}
	return errs
}

// server is one LDAP server.
type server struct {
	url     string
	address string // host:port
	host    string
	tls     bool // from the first byte
}

func parseServer(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil {
		return server{}, err
	}
	s := server{url: text, host: u.Hostname(), tls: u.Scheme == "ldaps"}
	port := map[string]string{"ldap": "389", "ldaps": "636"}[u.Scheme] // RFC 4516, and IANA's for ldaps
	if port == "" || s.host == "" || u.User != nil || u.RawQuery != "" || u.Path != "" && u.Path != "/" {
		return server{}, fmt.Errorf("%q is not a server; write ldaps://HOST or ldap://HOST, with :PORT if it is another than usual", text)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	s.address = net.JoinHostPort(s.host, port)
	return s, nil
}
