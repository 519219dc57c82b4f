package testserver

// A private ProFTPD for FTP over TLS, and ways to make it fail.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	// proftpdReadyTimeout bounds the wait for the server's greeting, which takes
	// 0.1 s on an idle machine.
	proftpdReadyTimeout = 30 * time.Second
	// proftpdUser is the account that may log in.
	proftpdUser = "vault"
)

// ProFTPD is a private, running ProFTPD. It demands TLS, and that data
// connections resume the session of their control connection, as ProFTPD does
// unless told otherwise. Its one account has the rights of the caller, or as
// root those of an account without rights.
type ProFTPD struct {
	folder   string
	root     string
	ports    [3]int // explicit TLS, implicit TLS, without TLS
	password string
	account  *account // nil: the caller's
	guard    *guard

	stop    sync.Once
	stopErr error
}

// StartProFTPD starts a ProFTPD on ports of 127.0.0.1, with a certificate of its
// own. dir is the parent of its folder, as in PostfixOptions. It runs until Stop
// is called, ctx ends or this process dies.
func StartProFTPD(ctx context.Context, dir string) (*ProFTPD, error) {
	return StartProFTPDAt(ctx, dir, "")
}

// StartProFTPDAt is StartProFTPD with another folder to serve, such as a small
// disk; the server's account becomes its owner.
func StartProFTPDAt(ctx context.Context, dir, root string) (*ProFTPD, error) {
	for attempt := 1; ; attempt++ {
		s, err := startProFTPD(ctx, dir, root)
		if err == nil {
			return s, nil
		}
		if attempt == portAttempts || !errors.Is(err, errPortTaken) {
			return nil, fmt.Errorf("start ProFTPD: %w", err)
		}
	}
}

// startProFTPD is one attempt, on one set of ports.
func startProFTPD(ctx context.Context, dir, root string) (*ProFTPD, error) {
	folder, err := newFolder(dir, "cloakroom-proftpd-*")
	if err != nil {
		return nil, err
	}
	s := &ProFTPD{folder: folder, root: root, password: rand.Text()}
	if root == "" {
		s.root = filepath.Join(folder, "root")
	}
	if err := s.launch(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	greets := func() bool { return greeted(s.PlainAddress()) }
	if err := s.guard.waitReady(ctx, proftpdReadyTimeout, greets); err != nil {
		for _, port := range s.ports {
			err = explainEnd(err, port)
		}
		return nil, errors.Join(fmt.Errorf("%w; its log: %q", err, s.Log()), s.Stop())
	}
	return s, nil
}

// greeted tells whether an FTP server answers.
func greeted(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	_, _, err = textproto.NewConn(conn).ReadResponse(220)
	return err == nil
}

// launch writes the configuration and starts the server under a guard.
func (s *ProFTPD) launch(ctx context.Context) error {
	in, program, err := findProFTPD()
	if err != nil {
		return err
	}
	if isRoot() {
		if s.account, err = findAccount("nobody", "daemon"); err != nil {
			return err
		}
	}
	for i := range s.ports {
		if s.ports[i], err = FreePort(); err != nil {
			return err
		}
	}
	if err := s.configure(in); err != nil {
		return fmt.Errorf("configure ProFTPD: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("log of ProFTPD: %w", err)
	}
	defer log.Close()
	s.guard, err = startGuard(ctx, guarded{
		argv: []string{program, "-n", "-q", "-c", filepath.Join(s.folder, "proftpd.conf")},
		// Names are UTF-8 only in a locale that says so.
		env:     append(in.env(), "LC_ALL=C.UTF-8"),
		folder:  s.folder,
		signal:  "TERM",
		log:     log,
		account: s.account,
	})
	return err
}

// proftpdConfig takes the folder of modules, our own folder, the
// directives of the server's account and group, and the three ports. Modules that all of Debian's builds
// have are not named.
const proftpdConfig = `ModulePath %[1]s
LoadModule mod_tls.c
<IfModule !mod_copy.c>
LoadModule mod_copy.c
</IfModule>
ServerName "tests"
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
UseIPv6 off
UseReverseDNS off
PidFile %[2]s/run/pid
ScoreboardFile %[2]s/run/scoreboard
DelayTable none
TransferLog none
WtmpLog off
%[3]s
%[4]s
MaxInstances 200
<Global>
AuthOrder mod_auth_file.c
AuthUserFile %[2]s/passwd
RequireValidShell off
Umask 022
TLSECCertificateFile %[2]s/ca.pem
TLSECCertificateKeyFile %[2]s/key.pem
TLSProtocol TLSv1.2 TLSv1.3
TLSLog %[2]s/run/tls.log
</Global>
Port %[5]d
TLSEngine on
TLSRequired on
AllowOverwrite on
<VirtualHost 127.0.0.1>
Port %[6]d
TLSEngine on
TLSRequired on
TLSOptions UseImplicitSSL
AllowOverwrite off
</VirtualHost>
<VirtualHost 127.0.0.1>
Port %[7]d
TLSEngine off
AllowOverwrite on
</VirtualHost>
`

func (s *ProFTPD) configure(in *installation) error {
	uid, gid := os.Getuid(), os.Getgid()
	if s.account != nil {
		uid, gid = int(s.account.uid), int(s.account.gid)
	}
	for _, dir := range []string{s.root, filepath.Join(s.folder, "run")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return err
		}
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(s.password), bcrypt.MinCost)
	if err != nil {
		return err
	}
	passwd := fmt.Sprintf("%s:%s:%d:%d::%s:/bin/sh\n", proftpdUser, hash, uid, gid, s.root)
	text := fmt.Sprintf(proftpdConfig, in.path("/usr/lib/proftpd"), s.folder, named("User", uid), named("Group", gid), s.ports[0], s.ports[1], s.ports[2])
	if err := writeCertificate(s.CAFile(), filepath.Join(s.folder, "key.pem")); err != nil {
		return err
	}
	for name, content := range map[string]string{"passwd": passwd, "password": s.password + "\n", "proftpd.conf": text} {
		if err := os.WriteFile(filepath.Join(s.folder, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	for _, name := range []string{"passwd", "proftpd.conf", "key.pem"} {
		if err := os.Chown(filepath.Join(s.folder, name), uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// named is the directive with the name of an account or group: numbers are not
// taken. One without a name is left out; the server, which is not root, stays
// what it is in any case.
func named(directive string, id int) string {
	if directive == "User" {
		if u, err := user.LookupId(strconv.Itoa(id)); err == nil {
			return directive + " " + u.Username
		}
	} else if g, err := user.LookupGroupId(strconv.Itoa(id)); err == nil {
		return directive + " " + g.Name
	}
	return ""
}

// Address is the server's host:port for explicit TLS (AUTH TLS).
func (s *ProFTPD) Address() string { return s.hostPort(0) }

// ImplicitAddress is where TLS begins with the first byte. There, and only
// there, files that exist are not replaced.
func (s *ProFTPD) ImplicitAddress() string { return s.hostPort(1) }

// PlainAddress is where there is no TLS.
func (s *ProFTPD) PlainAddress() string { return s.hostPort(2) }

func (s *ProFTPD) hostPort(i int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports[i]))
}

// User is the account that may log in.
func (s *ProFTPD) User() string { return proftpdUser }

// PasswordFile holds the password of User.
func (s *ProFTPD) PasswordFile() string { return filepath.Join(s.folder, "password") }

// CAFile holds the certificate that signed the server's: its own.
func (s *ProFTPD) CAFile() string { return filepath.Join(s.folder, "ca.pem") }

// Root is the folder where sessions start.
func (s *ProFTPD) Root() string { return s.root }

// Give makes path the account's with which sessions run.
func (s *ProFTPD) Give(path string) error {
	if s.account == nil {
		return nil
	}
	return os.Chown(path, int(s.account.uid), int(s.account.gid))
}

// Log is what the server has logged, of its sessions' TLS too.
func (s *ProFTPD) Log() string {
	server, _ := os.ReadFile(filepath.Join(s.folder, "log"))
	tls, _ := os.ReadFile(filepath.Join(s.folder, "run", "tls.log"))
	return string(server) + string(tls)
}

// Pause halts the server and its sessions as a hung machine would: connections
// stay open and are still accepted by the kernel, but nothing is answered.
func (s *ProFTPD) Pause() error { return s.signalAll(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *ProFTPD) Resume() error { return s.signalAll(syscall.SIGCONT) }

func (s *ProFTPD) signalAll(signal syscall.Signal) error {
	pid, err := s.pid()
	if err != nil {
		return err
	}
	return signalEach(append([]int{pid}, descendants(pid)...), signal)
}

// KillSessions kills the sessions there are now at once (kill -9), and tells how
// many processes that were. The server accepts new ones.
func (s *ProFTPD) KillSessions() (int, error) {
	pid, err := s.pid()
	if err != nil {
		return 0, err
	}
	sessions := descendants(pid)
	return len(sessions), signalEach(sessions, syscall.SIGKILL)
}

func (s *ProFTPD) pid() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.folder, "run", "pid"))
	if err != nil {
		return 0, fmt.Errorf("find ProFTPD: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("find ProFTPD: %w", err)
	}
	return pid, nil
}

// Stop ends the server and its sessions, and removes its folder, but not another
// folder that it served. Later calls return what the first returned.
func (s *ProFTPD) Stop() error {
	s.stop.Do(func() {
		if s.guard != nil {
			_ = s.Resume() // a paused server would not see the wish to end
			s.stopErr = s.guard.stop()
		}
		// The guard has emptied the folder, unless it never ran.
		if err := os.RemoveAll(s.folder); err != nil && s.stopErr == nil {
			s.stopErr = err
		}
		if s.stopErr != nil {
			s.stopErr = fmt.Errorf("stop ProFTPD: %w", s.stopErr)
		}
	})
	return s.stopErr
}

// findProFTPD is the installation of ProFTPD, with its module for TLS, and its
// program.
func findProFTPD() (*installation, string, error) {
	const program, module = "/usr/sbin/proftpd", "/usr/lib/proftpd/mod_tls.so"
	if _, err := os.Stat(module); err == nil && executable(program) {
		return &installation{}, program, nil
	}
	in, err := unpacked("proftpd")
	if err != nil {
		return nil, "", err
	}
	return in, in.path(program), nil
}
