package testserver

// A private Dovecot: an IMAP server with as many accounts as are asked for, all
// with one password.

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// dovecotReadyTimeout bounds the wait for the first greeting, which takes
	// 0.2 s on an idle machine.
	dovecotReadyTimeout = 30 * time.Second
	dovecotDial         = 5 * time.Second
)

// Dovecot is a private, running Dovecot that serves IMAP on two ports of
// 127.0.0.1: plain, and with TLS from the first byte. Every name is an account,
// with mail in Maildir.
type Dovecot struct {
	folder   string
	port     int
	tlsPort  int
	password string
	extra    string
	guard    *guard

	stop    sync.Once
	stopErr error
}

// StartDovecot starts an IMAP server. dir is the parent of its folder, as in
// PostfixOptions; extra are more lines of its configuration. It runs until Stop is
// called, ctx ends or this process dies.
func StartDovecot(ctx context.Context, dir string, extra ...string) (*Dovecot, error) {
	for attempt := 1; ; attempt++ {
		d, err := startDovecot(ctx, dir, strings.Join(extra, "\n"))
		if err == nil {
			return d, nil
		}
		if attempt == portAttempts || !errors.Is(err, errPortTaken) {
			return nil, fmt.Errorf("start Dovecot: %w", err)
		}
	}
}

func startDovecot(ctx context.Context, dir, extra string) (*Dovecot, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	tlsPort, err := FreePort()
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(dir, "cloakroom-dovecot-*")
	if err != nil {
		return nil, err
	}
	d := &Dovecot{folder: folder, port: port, tlsPort: tlsPort, password: rand.Text(), extra: extra}
	err = d.launch(ctx)
	if err == nil {
		err = d.guard.waitReady(ctx, dovecotReadyTimeout, d.greets)
	}
	if err != nil {
		log, _ := os.ReadFile(d.logFile())
		err = explainEnd(explainEnd(err, port), tlsPort)
		return nil, errors.Join(fmt.Errorf("%w; its log: %q", err, log), d.Stop())
	}
	return d, nil
}

// launch writes the configuration and starts the server under a guard.
func (d *Dovecot) launch(ctx context.Context) error {
	in, program, err := findDovecot()
	if err != nil {
		return err
	}
	// All of its processes run as one account, so that none needs to be made:
	// the caller's, or nobody where that would be root.
	var runAs *account
	if isRoot() {
		if runAs, err = findAccount("nobody"); err != nil {
			return err
		}
		if err := os.Chown(d.folder, int(runAs.uid), int(runAs.gid)); err != nil {
			return fmt.Errorf("folder for the server: %w", err)
		}
	}
	// An unpacked one looks for its modules here, see deploy/setup/dovecot.sh.
	base := filepath.Join(d.folder, "run")
	if err := os.Mkdir(base, 0o755); err != nil {
		return fmt.Errorf("configure Dovecot: %w", err)
	}
	if err := os.Symlink(in.path("/usr/lib/dovecot/modules"), filepath.Join(base, "modules")); err != nil {
		return fmt.Errorf("configure Dovecot: %w", err)
	}
	key := filepath.Join(d.folder, "key.pem")
	if err := writeCertificate(d.CAFile(), key); err != nil {
		return fmt.Errorf("configure Dovecot: %w", err)
	}
	if runAs != nil {
		for _, path := range []string{base, key} {
			if err := os.Chown(path, int(runAs.uid), int(runAs.gid)); err != nil {
				return fmt.Errorf("configure Dovecot: %w", err)
			}
		}
	}
	text, err := d.configuration(in, runAs)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.configFile(), []byte(text), 0o644); err != nil {
		return fmt.Errorf("configure Dovecot: %w", err)
	}
	log, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("log of Dovecot: %w", err)
	}
	defer log.Close()
	d.guard, err = startGuard(ctx, guarded{
		// dovecot(1) begins as doveconf(1), which it looks for where an installed
		// one is.
		argv: []string{in.path("/usr/bin/doveconf"), "-f", "service=master", "-c", d.configFile(), "-m", "master",
			"-e", program, "-F", "-c", d.configFile()},
		env:     in.env(),
		folder:  d.folder,
		signal:  "TERM",
		log:     log,
		account: runAs,
	})
	return err
}

// dovecotConfig takes our folder, the programs' folder, the account and group,
// the port, the environment of its processes, the password, uid and gid, and the port for TLS.
// Without shutdown_clients=yes sessions would outlive the server.
const dovecotConfig = `base_dir = %[1]s/run
state_dir = %[1]s/state
libexec_dir = %[2]s
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <%[1]s/ca.pem
ssl_key = <%[1]s/key.pem
disable_plaintext_auth = no
log_path = /dev/stderr
import_environment = %[6]s
default_internal_user = %[3]s
default_login_user = %[3]s
default_internal_group = %[4]s
first_valid_uid = 1
shutdown_clients = yes
mail_location = maildir:~/Maildir
mail_fsync = never
auth_mechanisms = plain
auth_failure_delay = 0
auth_cache_size = 0
mail_max_userip_connections = 100
passdb {
  driver = static
  args = password=%[7]s
}
userdb {
  driver = static
  args = uid=%[8]s gid=%[9]s home=%[1]s/mail/%%u
}
service imap-login {
  chroot =
  inet_listener imap {
    port = %[5]d
  }
  inet_listener imaps {
    port = %[10]d
    ssl = yes
  }
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
service old-stats {
  chroot =
}
service auth {
  chroot =
}
service imap {
  process_limit = 100
}
`

func (d *Dovecot) configuration(in *installation, runAs *account) (string, error) {
	if runAs == nil {
		u, err := user.Current()
		if err != nil {
			return "", fmt.Errorf("configure Dovecot: %w", err)
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return "", fmt.Errorf("configure Dovecot: uid %q: %w", u.Uid, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return "", fmt.Errorf("configure Dovecot: gid %q: %w", u.Gid, err)
		}
		runAs = &account{name: u.Username, uid: uint32(uid), gid: uint32(gid)}
	}
	gid := strconv.FormatUint(uint64(runAs.gid), 10)
	group, err := user.LookupGroupId(gid)
	if err != nil {
		return "", fmt.Errorf("configure Dovecot: %w", err)
	}
	return fmt.Sprintf(dovecotConfig, d.folder, in.path("/usr/lib/dovecot"), runAs.name, group.Name, d.port,
		strings.Join(append(in.env(), "TZ"), " "), d.password, strconv.FormatUint(uint64(runAs.uid), 10), gid, d.tlsPort) + d.extra + "\n", nil
}

// greets tells whether the server says what an IMAP server says first.
func (d *Dovecot) greets() bool {
	conn, err := net.DialTimeout("tcp", d.Address(), dovecotDial)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(dovecotDial))
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "* OK")
}

// Address serves IMAP without TLS, host:port.
func (d *Dovecot) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port)) }

// TLSAddress serves IMAP with TLS from the first byte, host:port.
func (d *Dovecot) TLSAddress() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.tlsPort)) }

// CAFile holds the certificate that signed the one of TLSAddress: itself.
func (d *Dovecot) CAFile() string { return filepath.Join(d.folder, "ca.pem") }

// Password is that of every account.
func (d *Dovecot) Password() string { return d.password }

// Stop ends the server, whoever is connected, and removes its folder. Later
// calls return what the first returned.
func (d *Dovecot) Stop() error {
	d.stop.Do(func() {
		if d.guard != nil {
			d.stopErr = d.guard.stop()
		}
		// The guard has emptied the folder, unless it never ran.
		if err := os.RemoveAll(d.folder); err != nil && d.stopErr == nil {
			d.stopErr = err
		}
		if d.stopErr != nil {
			d.stopErr = fmt.Errorf("stop Dovecot: %w", d.stopErr)
		}
	})
	return d.stopErr
}

func (d *Dovecot) configFile() string { return filepath.Join(d.folder, "dovecot.conf") }
func (d *Dovecot) logFile() string    { return filepath.Join(d.folder, "log") }

// findDovecot is the installation of Dovecot and its program.
func findDovecot() (*installation, string, error) {
	const program = "/usr/sbin/dovecot"
	if executable(program) && executable("/usr/lib/dovecot/imap") {
		return &installation{}, program, nil
	}
	in, err := unpacked("dovecot")
	if err != nil {
		return nil, "", err
	}
	return in, in.path(program), nil
}
