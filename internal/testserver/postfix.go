package testserver

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed postfix.sh
var postfixScript string

const (
	// postfixReadyTimeout bounds the wait for "daemon started", which takes
	// 50 ms on an idle machine.
	postfixReadyTimeout = 15 * time.Second
	// portAttempts is how many ports are tried: between choosing a free one
	// and listening on it somebody else may take it.
	portAttempts = 3
)

// PostfixOptions describes a private Postfix.
type PostfixOptions struct {
	// Dir is the parent of the instance's own folder, which every account must
	// be able to search (a test's TempDir is not); "" is the system's folder
	// for temporary files. The instance's folder is removed when it stops.
	Dir string
	// MilterAddr is the milter for mail by SMTP and by sendmail(1), in Postfix's
	// own words: "inet:127.0.0.1:8891" or "unix:/path". Postfix's account must
	// be able to reach a socket file. "": no milter.
	MilterAddr string
	// DefaultAction is milter_default_action: what happens to mail while the
	// milter cannot be reached; "" is tempfail.
	DefaultAction string
	// Mailboxes are the addresses that mail is delivered to, each in a mailbox
	// of its own. Their domains are local: other addresses in them are refused.
	Mailboxes []string
	// Routes says where mail for other domains goes: domain to "host:port".
	// Mail without mailbox or route bounces.
	Routes map[string]string
	// Extra are main.cf parameters that replace or join the usual ones.
	Extra map[string]string
	// Services are further lines of master.cf, such as listeners with parameters
	// of their own.
	Services []string
	// Port is where its SMTP service listens; 0 is a free one. Two instances that
	// send mail to each other have to be told before they start.
	Port int
}

// Postfix is a private, running Postfix.
type Postfix struct {
	programs  *postfixPrograms
	folder    string
	port      int
	mailboxes map[string]bool
	guard     *guard

	stop    sync.Once
	stopErr error
	lastLog string // the log as it was before its file was removed
}

// StartPostfix starts a Postfix that listens on 127.0.0.1. It runs until Stop
// is called, ctx ends or this process dies. A milter should listen before: mail
// that arrives earlier gets the default action.
//
// Readiness is read from the log, so that the first connection a milter sees is
// the caller's. Unless root, the caller must be allowed to use sudo without
// being asked for a password.
func StartPostfix(ctx context.Context, opt PostfixOptions) (*Postfix, error) {
	if err := checkPrivilege(ctx); err != nil {
		return nil, err
	}
	programs, err := findPostfix(ctx)
	if err != nil {
		return nil, fmt.Errorf("start Postfix: %w", err)
	}
	for attempt := 1; ; attempt++ {
		p, err := startPostfix(ctx, programs, opt)
		if err == nil {
			return p, nil
		}
		if attempt == portAttempts || opt.Port != 0 || !errors.Is(err, errPortTaken) {
			return nil, fmt.Errorf("start Postfix: %w", err)
		}
	}
}

// startPostfix is one attempt, on one port.
func startPostfix(ctx context.Context, programs *postfixPrograms, opt PostfixOptions) (*Postfix, error) {
	port, err := opt.Port, error(nil)
	if port == 0 {
		port, err = FreePort()
	}
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(opt.Dir, "cloakroom-postfix-*")
	if err != nil {
		return nil, err
	}
	p := &Postfix{programs: programs, folder: folder, port: port, mailboxes: map[string]bool{}}
	for _, address := range opt.Mailboxes {
		p.mailboxes[strings.ToLower(address)] = true
	}
	if err := p.launch(ctx, opt); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	started := func() bool { return strings.Contains(p.Log(), "daemon started") }
	if err := p.guard.waitReady(ctx, postfixReadyTimeout, started); err != nil {
		reason := p.complaint()
		err = explainEnd(err, port)
		return nil, errors.Join(fmt.Errorf("%w; %s", err, reason), p.Stop())
	}
	return p, nil
}

// launch writes the configuration and starts master(8) under a guard.
func (p *Postfix) launch(ctx context.Context, opt PostfixOptions) error {
	accounts, err := choosePostfixAccounts()
	if err != nil {
		return err
	}
	if err := p.configure(opt, accounts); err != nil {
		return err
	}
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("log of Postfix: %w", err)
	}
	defer log.Close()
	p.guard, err = startGuard(ctx, guarded{
		argv: []string{"/bin/sh", "-c", postfixScript, "postfix.sh", p.folder, accounts.owner.name, accounts.group,
			strconv.FormatUint(uint64(accounts.mailbox.uid), 10), strconv.FormatUint(uint64(accounts.mailbox.gid), 10),
			// -s: in the foreground, with the log on standard output.
			filepath.Join(p.programs.daemons, "master"), "-c", p.configFolder(), "-s"},
		env:        p.env(),
		folder:     p.folder,
		signal:     "TERM",
		log:        log,
		privileged: true,
	})
	return err
}

// SMTPAddr is the address of its SMTP service.
func (p *Postfix) SMTPAddr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
}

// Folder is the instance's own folder: etc/main.cf is its configuration, log
// its log, and mail/ADDRESS/new the mailboxes. It is gone after Stop.
func (p *Postfix) Folder() string { return p.folder }

// Log is what Postfix has logged so far; after Stop, what it had logged until then.
func (p *Postfix) Log() string {
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		return p.lastLog
	}
	return string(text)
}

// Stop ends Postfix and removes its folder, with all mail in it. Later calls
// return what the first returned.
func (p *Postfix) Stop() error {
	p.stop.Do(func() {
		p.lastLog = p.Log()
		if p.guard != nil {
			p.stopErr = p.guard.stop()
		}
		// The guard has removed the folder, unless it never ran.
		if err := os.RemoveAll(p.folder); err != nil && p.stopErr == nil {
			p.stopErr = err
		}
		if p.stopErr != nil {
			p.stopErr = fmt.Errorf("stop Postfix: %w", p.stopErr)
		}
	})
	return p.stopErr
}

// complaint is why Postfix does not start, in its words. master(8) itself
// tells only syslog about a broken configuration; postqueue(1) tells us.
func (p *Postfix) complaint() string {
	out, _ := p.asRoot(filepath.Join(p.programs.commands, "postqueue"), "-c", p.configFolder(), "-p").CombinedOutput()
	return fmt.Sprintf("its log: %q; postqueue says: %q", p.Log(), out)
}

func (p *Postfix) logFile() string      { return filepath.Join(p.folder, "log") }
func (p *Postfix) configFolder() string { return filepath.Join(p.folder, "etc") }

// env is what Postfix's programs need in their environment.
func (p *Postfix) env() []string {
	return append([]string{"MAIL_CONFIG=" + p.configFolder()}, p.programs.env()...)
}
