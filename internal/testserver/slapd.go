package testserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	// slapdReadyTimeout bounds the wait for the first answer, which takes 0.1 s
	// on an idle machine.
	slapdReadyTimeout = 30 * time.Second
	// slapdRequestTimeout bounds one request of ours to the server.
	slapdRequestTimeout = 10 * time.Second
	// slapdSizeLimit is how many entries the server gives in one answer: what
	// OpenLDAP's own default is. More take a paged search.
	slapdSizeLimit = 500
	// slapdMapSize bounds the database, in bytes.
	slapdMapSize = 256 << 20

	slapdSuffix = "dc=acmecorp,dc=test"
	slapdAdmin  = "cn=admin," + slapdSuffix
	slapdReader = "cn=reader," + slapdSuffix
)

// Slapd is a private, running OpenLDAP server with one empty tree. Entries can
// be read only with a password.
type Slapd struct {
	folder       string
	port         int // ldap://, with StartTLS
	tlsPort      int // ldaps://
	adminPass    string
	readPassword string
	guard        *guard

	stop    sync.Once
	stopErr error
}

// LDAPEntry is one entry to be added.
type LDAPEntry struct {
	DN         string
	Attributes map[string][]string
}

// StartSlapd starts an OpenLDAP server on two ports of 127.0.0.1, with a
// certificate of its own. dir is the parent of its folder, as in
// PostfixOptions. It runs until Stop is called, ctx ends or this process dies.
func StartSlapd(ctx context.Context, dir string) (*Slapd, error) {
	for attempt := 1; ; attempt++ {
		s, err := startSlapd(ctx, dir)
		if err == nil {
			return s, nil
		}
		if attempt == portAttempts || !errors.Is(err, errPortTaken) {
			return nil, fmt.Errorf("start OpenLDAP: %w", err)
		}
	}
}

// startSlapd is one attempt, on one pair of ports.
func startSlapd(ctx context.Context, dir string) (*Slapd, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	tlsPort, err := FreePort()
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(dir, "cloakroom-slapd-*")
	if err != nil {
		return nil, err
	}
	s := &Slapd{folder: folder, port: port, tlsPort: tlsPort, adminPass: rand.Text(), readPassword: rand.Text()}
	if err := s.launch(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	var refused error
	answers := func() bool {
		refused = s.asAdmin(ctx, func(*ldap.Conn) error { return nil })
		return refused == nil
	}
	if err := s.guard.waitReady(ctx, slapdReadyTimeout, answers); err != nil {
		log, _ := os.ReadFile(s.logFile())
		err = explainEnd(explainEnd(err, port), tlsPort)
		return nil, errors.Join(fmt.Errorf("%w (%w); its log: %q", err, refused, log), s.Stop())
	}
	if err := s.Add(ctx, s.base()...); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// launch writes the configuration and starts the server under a guard.
func (s *Slapd) launch(ctx context.Context) error {
	in, program, err := findSlapd()
	if err != nil {
		return err
	}
	if err := s.configure(in); err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("log of slapd: %w", err)
	}
	defer log.Close()
	urls := fmt.Sprintf("ldap://%s/ ldaps://%s/", s.hostPort(s.port), s.hostPort(s.tlsPort))
	s.guard, err = startGuard(ctx, guarded{
		argv:   []string{program, "-d", "0", "-h", urls, "-f", s.configFile()},
		env:    in.env(),
		folder: s.folder,
		signal: "TERM",
		log:    log,
	})
	return err
}

// slapdConfig takes the folder of schema files, that of modules, our own
// folder, the size limit, the database's size, suffix, administrator and
// password. The first "sizelimit" is for each page, "prtotal" for all of them.
const slapdConfig = `include %[1]s/core.schema
include %[1]s/cosine.schema
include %[1]s/inetorgperson.schema
include %[1]s/misc.schema
modulepath %[2]s
moduleload back_mdb
moduleload memberof
pidfile %[3]s/pid
argsfile %[3]s/args
TLSCACertificateFile %[3]s/ca.pem
TLSCertificateFile %[3]s/ca.pem
TLSCertificateKeyFile %[3]s/key.pem
sizelimit size.soft=%[4]d size.hard=%[4]d size.prtotal=unlimited
database mdb
maxsize %[5]d
suffix "%[6]s"
rootdn "%[7]s"
rootpw %[8]s
directory %[3]s/data
dbnosync
index objectClass,uid,mail,mailLocalAddress,member eq
overlay memberof
memberof-group-oc groupOfNames
memberof-member-ad member
memberof-memberof-ad memberOf
memberof-refint TRUE
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous auth by * none
`

func (s *Slapd) configure(in *installation) error {
	if err := os.Mkdir(filepath.Join(s.folder, "data"), 0o700); err != nil {
		return fmt.Errorf("configure slapd: %w", err)
	}
	if err := writeCertificate(s.CAFile(), filepath.Join(s.folder, "key.pem")); err != nil {
		return fmt.Errorf("configure slapd: %w", err)
	}
	text := fmt.Sprintf(slapdConfig, in.path("/etc/ldap/schema"), in.path("/usr/lib/ldap"), s.folder,
		slapdSizeLimit, slapdMapSize, slapdSuffix, slapdAdmin, s.adminPass)
	if err := os.WriteFile(s.configFile(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("configure slapd: %w", err)
	}
	if err := os.WriteFile(s.PasswordFile(), []byte(s.readPassword+"\n"), 0o600); err != nil {
		return fmt.Errorf("configure slapd: %w", err)
	}
	return nil
}

// base is the root of the tree, the account that may read it, and the folders
// for people and groups.
func (s *Slapd) base() []LDAPEntry {
	return []LDAPEntry{
		{slapdSuffix, map[string][]string{"objectClass": {"domain"}, "dc": {"acmecorp"}}},
		{slapdReader, map[string][]string{"objectClass": {"organizationalRole", "simpleSecurityObject"},
			"cn": {"reader"}, "userPassword": {s.readPassword}}},
		{s.PeopleDN(), map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {"people"}}},
		{s.GroupsDN(), map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {"groups"}}},
	}
}

// URL is the server's address without TLS; it offers StartTLS.
func (s *Slapd) URL() string { return "ldap://" + s.hostPort(s.port) }

// TLSURL is the server's address with TLS from the first byte.
func (s *Slapd) TLSURL() string { return "ldaps://" + s.hostPort(s.tlsPort) }

// CAFile holds the certificate that signed the server's: its own.
func (s *Slapd) CAFile() string { return filepath.Join(s.folder, "ca.pem") }

// BaseDN is the root of the tree.
func (s *Slapd) BaseDN() string { return slapdSuffix }

// PeopleDN is an empty folder for accounts.
func (s *Slapd) PeopleDN() string { return "ou=people," + slapdSuffix }

// GroupsDN is an empty folder for groups.
func (s *Slapd) GroupsDN() string { return "ou=groups," + slapdSuffix }

// ReaderDN is an account that may read everything, under the server's size
// limit (the administrator is above it).
func (s *Slapd) ReaderDN() string { return slapdReader }

// PasswordFile holds the password of ReaderDN.
func (s *Slapd) PasswordFile() string { return filepath.Join(s.folder, "password") }

// Add adds entries in the order given. The server fills memberOf only for
// members that exist before their group.
func (s *Slapd) Add(ctx context.Context, entries ...LDAPEntry) error {
	return s.asAdmin(ctx, func(conn *ldap.Conn) error {
		for _, e := range entries {
			req := ldap.NewAddRequest(e.DN, nil)
			for name, values := range e.Attributes {
				req.Attribute(name, values)
			}
			if err := conn.Add(req); err != nil {
				return fmt.Errorf("add %s: %w", e.DN, err)
			}
		}
		return nil
	})
}

// Replace sets one attribute of an entry.
func (s *Slapd) Replace(ctx context.Context, dn, attribute string, values ...string) error {
	return s.asAdmin(ctx, func(conn *ldap.Conn) error {
		req := ldap.NewModifyRequest(dn, nil)
		req.Replace(attribute, values)
		if err := conn.Modify(req); err != nil {
			return fmt.Errorf("change %s: %w", dn, err)
		}
		return nil
	})
}

// Delete removes entries without children.
func (s *Slapd) Delete(ctx context.Context, dns ...string) error {
	return s.asAdmin(ctx, func(conn *ldap.Conn) error {
		for _, dn := range dns {
			if err := conn.Del(ldap.NewDelRequest(dn, nil)); err != nil {
				return fmt.Errorf("delete %s: %w", dn, err)
			}
		}
		return nil
	})
}

// asAdmin runs f with the administrator's rights.
func (s *Slapd) asAdmin(ctx context.Context, f func(*ldap.Conn) error) error {
	dialer := net.Dialer{Timeout: slapdRequestTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", s.hostPort(s.port))
	if err != nil {
		return err
	}
	conn := ldap.NewConn(raw, false)
	conn.Start()
	defer conn.Close()
	conn.SetTimeout(slapdRequestTimeout)
	if err := conn.Bind(slapdAdmin, s.adminPass); err != nil {
		return err
	}
	return f(conn)
}

// Pause halts the server as a hung machine would: connections stay open and
// are still accepted by the kernel, but nothing is answered until Resume.
func (s *Slapd) Pause() error { return s.guard.tell("STOP") }

// Resume lets a paused server go on.
func (s *Slapd) Resume() error { return s.guard.tell("CONT") }

// Kill ends the server at once, as a crash would.
func (s *Slapd) Kill() error { return s.guard.tell("KILL") }

// Stop ends the server, whoever is connected, and removes its folder. Later
// calls return what the first returned.
func (s *Slapd) Stop() error {
	s.stop.Do(func() {
		if s.guard != nil {
			_ = s.Resume() // a paused server would not see the wish to end; an ended guard does not matter
			s.stopErr = s.guard.stop()
		}
		// The guard has emptied the folder, unless it never ran.
		if err := os.RemoveAll(s.folder); err != nil && s.stopErr == nil {
			s.stopErr = err
		}
		if s.stopErr != nil {
			s.stopErr = fmt.Errorf("stop OpenLDAP: %w", s.stopErr)
		}
	})
	return s.stopErr
}

func (s *Slapd) hostPort(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
func (s *Slapd) configFile() string       { return filepath.Join(s.folder, "slapd.conf") }
func (s *Slapd) logFile() string          { return filepath.Join(s.folder, "log") }

// findSlapd is the installation of OpenLDAP's server and its program.
func findSlapd() (*installation, string, error) {
	for _, program := range []string{"/usr/sbin/slapd", lookPath("slapd")} {
		if executable(program) {
			return &installation{}, program, nil
		}
	}
	in, err := unpacked("slapd")
	if err != nil {
		return nil, "", err
	}
	return in, in.path("/usr/sbin/slapd"), nil
}
