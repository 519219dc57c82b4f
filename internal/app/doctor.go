package app

// What `cloakroom doctor` looks at, for a configuration.

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloakroom/internal/coexist"
	"cloakroom/internal/config"
	"cloakroom/internal/doctor"
	"cloakroom/internal/mtasetup"
	"cloakroom/internal/mtasetup/attach"
	"cloakroom/internal/secret"
)

// Doctor says what is looked at, and how.
type Doctor struct {
	ConfigFile    string        // absolute
	PostfixFolder string        // "" for Postfix's own
	SendmailFile  string        // sendmail.cf
	Resolvers     []string      // DNS servers; none: the system's
	DirectoryAge  time.Duration // how old a directory file may be; 0: any age
	Roots         *x509.CertPool

	mu     sync.Mutex
	config *config.Config // what ReadConfig read

	look sync.Once
	seen *Store // the data directory, opened to look at; nil: see lookErr
	err  error
}

// DoctorChecks are the names of all checks, in the order of the table.
var DoctorChecks = []string{"config", "daemon", "mta", "milter", "data", "space", "fsync", "database", "secret", "store",
	"web", "certificate", "dns", "vault", "directory", "clock", "limits"}

// doctorByRoot are the checks that see more as root. The others are made as the
// owner of the data, as they open what the daemon has to open.
var doctorByRoot = []string{"config", "daemon", "mta", "data", "limits"}

// ByRoot tells whether a check is made as root, where there is the choice.
func ByRoot(check string) bool { return slices.Contains(doctorByRoot, check) }

const (
	// packagedAccount is the one that the package makes for the service.
	packagedAccount = "cloakroom"
	// SendmailConfig is where Sendmail has its configuration.
	SendmailConfig = "/etc/mail/sendmail.cf"
	// maxMistakes bounds the mistakes that are told of one configuration.
	maxMistakes = 10
)

// ReadConfig reads the configuration, and tells of it.
func (d *Doctor) ReadConfig(context.Context) []doctor.Line {
	cfg, warnings, err := config.Load(d.ConfigFile)
	var mistakes *config.Error
	switch {
	case errors.As(err, &mistakes):
		var out []doctor.Line
		for _, p := range mistakes.Problems[:min(len(mistakes.Problems), maxMistakes)] {
			out = append(out, doctor.Bad("cloakroom config check shows the place; nothing else can be looked at before", "%s", p.Headline()))
		}
		return out
	case errors.Is(err, fs.ErrNotExist):
		return []doctor.Line{doctor.Bad("cloakroom config example > "+d.ConfigFile+", or name the file with --config", "%v", err)}
	case errors.Is(err, fs.ErrPermission):
		return []doctor.Line{doctor.Bad("the daemon's account must be able to read it: chgrp cloakroom and chmod 0640 "+d.ConfigFile, "this account: %v", err)}
	case err != nil:
		return []doctor.Line{doctor.Bad("look at the file", "%v", err)}
	}
	d.mu.Lock()
	d.config = cfg
	d.mu.Unlock()
	var out []doctor.Line
	for _, w := range warnings {
		out = append(out, doctor.Doubtful("see docs/config.md for this key", "%s", w.Problem.Headline()))
	}
	if len(out) == 0 {
		out = append(out, doctor.Good("%s: no mistakes; mode %s, %d rules", d.ConfigFile, cfg.Mode, len(cfg.Rules)))
	}
	return out
}

// Ready gives the configuration that ReadConfig has read; nil for none.
func (d *Doctor) Ready() *config.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config
}

// Checks gives the checks of some names, in order; "config" is ReadConfig's.
func (d *Doctor) Checks(names []string) []doctor.Check {
	cfg := d.Ready()
	daemon := sync.OnceValue(func() doctor.Daemon {
		found := doctor.FindDaemon(cfg.Data, d.ConfigFile)
		found.Pause = NewBrake(cfg.Data).words()
		return found
	})
	all := map[string]func(context.Context) []doctor.Line{
		"daemon": func(ctx context.Context) []doctor.Line { return d.daemon(ctx, daemon()) },
		"mta":    d.mta,
		"milter": func(ctx context.Context) []doctor.Line { return d.milter(daemon().Runs).Run(ctx) },
		"data":   func(context.Context) []doctor.Line { return d.folder(daemon()) },
		"space":  func(context.Context) []doctor.Line { return doctor.Space(cfg.Data, cfg.Store.LowSpace) },
		"fsync":  func(ctx context.Context) []doctor.Line { return doctor.Sync(ctx, cfg.Data) },

		"database": d.database,
		"secret":   d.secret,
		"store":    d.store,

		"web":         func(ctx context.Context) []doctor.Line { return d.pages(daemon().Runs).Run(ctx) },
		"certificate": d.certificate,
		"dns":         d.dns,
		"vault":       d.vault,
		"directory":   d.directory,
		"clock":       func(context.Context) []doctor.Line { return doctor.Clock(cfg.Data) },
		"limits": func(context.Context) []doctor.Line {
			return doctor.OpenFiles(daemon().Process, cfg.Milter.MaxConnections)
		},
	}
	var out []doctor.Check
	for _, name := range DoctorChecks {
		if run := all[name]; run != nil && slices.Contains(names, name) {
			out = append(out, doctor.Check{Name: name, Run: run})
		}
	}
	return out
}

// daemon tells of the process, and of what it says of itself.
func (d *Doctor) daemon(ctx context.Context, found doctor.Daemon) []doctor.Line {
	var ready []doctor.Line
	if listen := d.Ready().Admin.Listen; listen != "" && found.Runs {
		client, url := adminClient(listen, d.Ready().Admin.TLS.CertFile != "")
		// The pause has its line here, and the disk one of its own.
		ready = doctor.Readiness(ctx, client, url, map[string]bool{"pause": true, "disk": true})
	}
	return found.Lines(d.Ready().Data, ready)
}

// mta compares the MTA's configuration with what `setup` would make of it.
func (d *Doctor) mta(ctx context.Context) []doctor.Line {
	cfg := d.Ready()
	p, err := attach.Open(ctx, d.PostfixFolder)
	if err != nil && d.PostfixFolder == "" && (errors.Is(err, attach.ErrNoPostfix) || errors.Is(err, fs.ErrNotExist)) {
		set := SetupSettings(cfg)
		return doctor.Sendmail(d.SendmailFile, mtasetup.Reached(cfg.Milter.Listen), set.Accept && set.LinksOnly)
	}
	const fix = "postfix check tells more; --postfix-config names another instance"
	if err != nil {
		return []doctor.Line{doctor.Bad(fix, "Postfix: %v", err)}
	}
	set := SetupSettings(cfg)
	m, err := p.Machine(ctx, set)
	if err != nil {
		return []doctor.Line{doctor.Bad(fix, "Postfix: %v", err)}
	}
	lines := doctor.Postfix(mtasetup.Postfix(set, m, mtasetup.Options{}))
	if stopped(filepath.Join(m.Expanded["queue_directory"], "pid", "master.pid")) {
		lines = append([]doctor.Line{doctor.Bad("postfix start, or systemctl start postfix; the mail log tells why it ended", "Postfix in %s does not run: no mail flows", p.Folder)},
			slices.DeleteFunc(lines, func(l doctor.Line) bool { return l.State == doctor.OK })...)
	}
	return lines
}

// stopped tells for sure that a process is not there: its number's file is missing,
// or names none.
func stopped(pidFile string) bool {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
	return errors.Is(err, fs.ErrNotExist)
}

func (d *Doctor) milter(runs bool) doctor.Milter {
	cfg := d.Ready()
	m := doctor.Milter{Network: "tcp", Host: cfg.Hostname, Runs: runs}
	m.Address = strings.TrimPrefix(mtasetup.Reached(cfg.Milter.Listen), "inet:")
	if path, ok := strings.CutPrefix(m.Address, "unix:"); ok {
		m.Network, m.Address = "unix", path
	}
	domain := cfg.Hostname
	if len(cfg.Domains) > 0 {
		domain = cfg.Domains[0]
	}
	m.Sender, m.Recipient = "cloakroom-doctor@"+domain, "postmaster@"+domain
	return m
}

// folder looks at whose the data is.
func (d *Doctor) folder(found doctor.Daemon) []doctor.Line {
	var runs, packaged *doctor.Account
	if p := found.Process; p != nil && p.UID >= 0 {
		runs = &doctor.Account{UID: p.UID}
		if u, err := user.LookupId(strconv.Itoa(p.UID)); err == nil {
			runs.Name = u.Username
		}
	}
	if u, err := user.Lookup(packagedAccount); err == nil {
		if uid, err := strconv.Atoi(u.Uid); err == nil {
			packaged = &doctor.Account{UID: uid, Name: u.Username}
		}
	}
	return doctor.Folder(d.Ready().Data, runs, packaged)
}

func (d *Doctor) pages(runs bool) doctor.Pages {
	p := doctor.Pages{Listen: d.Ready().Web.Listen, TLS: d.Ready().Web.TLS.CertFile != "", URL: d.Ready().Web.URL, Runs: runs}
	if s, err := openSecret(d.Ready(), false); err == nil {
		p.Key = s.Derive(labelDownload)
	}
	return p
}

func (d *Doctor) certificate(ctx context.Context) []doctor.Line {
	out := doctor.Certificate(ctx, d.Ready().Web.URL, d.Roots)
	now := time.Now()
	out = append(out, doctor.CertificateFile("web.tls.cert_file", d.Ready().Web.TLS.CertFile, now)...)
	return append(out, doctor.CertificateFile("admin.tls.cert_file", d.Ready().Admin.TLS.CertFile, now)...)
}

// dns looks up our names, and compares DNS with co-existence.
func (d *Doctor) dns(ctx context.Context) []doctor.Line {
	system := net.DefaultResolver
	if len(d.Resolvers) > 0 {
		var dialer net.Dialer
		system = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, d.Resolvers[0])
		}}
	}
	out := doctor.Names(ctx, system.LookupHost, d.Ready().Hostname, d.Ready().Web.URL)
	var domains []string
	for _, r := range d.Ready().Coexistence {
		if !slices.Contains(domains, r.Domain) {
			domains = append(domains, r.Domain)
			out = append(out, d.coexistence(ctx, r.Domain)...)
		}
	}
	return out
}

func (d *Doctor) coexistence(ctx context.Context, domain string) []doctor.Line {
	resolver, err := coexist.SystemResolver("/etc/resolv.conf")
	if len(d.Resolvers) > 0 {
		resolver, err = coexist.NewResolver(d.Resolvers...)
	}
	var report *coexist.Report
	if err == nil {
		report, err = CheckCoexistence(ctx, d.Ready(), resolver, domain, coexist.Options{Now: time.Now()})
	}
	if err != nil {
		return []doctor.Line{doctor.Doubtful("cloakroom coexistence check "+domain, "co-existence of %s: %v", domain, err)}
	}
	var out []doctor.Line
	for _, row := range report.Rows {
		text, fix := fmt.Sprintf("%s, %s %s: %s", domain, row.Area, row.What, row.Found), row.Fix+" (cloakroom coexistence check "+domain+" tells more)"
		switch row.State {
		case coexist.Wrong:
			out = append(out, doctor.Bad(fix, "%s", text))
		case coexist.Warning, coexist.Unknown:
			out = append(out, doctor.Doubtful(fix, "%s", text))
		}
	}
	if len(out) == 0 {
		out = append(out, doctor.Good("%s: DNS is as co-existence needs it", domain))
	}
	return out
}

// adminClient reaches the listener for administrators on this host, and the start
// of its addresses.
func adminClient(listen string, tls bool) (*http.Client, string) {
	transport := doctor.Transport()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if path, ok := strings.CutPrefix(listen, "unix:"); ok {
		var dialer net.Dialer
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
		listen = "localhost"
	}
	scheme := "http"
	if tls {
		scheme = "https"
	}
	return client, scheme + "://" + doctor.Local(listen)
}

// unheard is for what is only looked at.
func unheard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// secretMissing tells a key that is not there, from one that is no good.
func secretMissing(err error) bool { return errors.Is(err, secret.ErrMissing) }
