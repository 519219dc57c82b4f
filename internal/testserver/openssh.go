package testserver

// A private OpenSSH server for SFTP, and ways to make it fail.

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

//go:embed openssh.sh
var opensshScript string

// sshdReadyTimeout bounds the wait for the server's greeting, which takes 0.1 s
// on an idle machine.
const sshdReadyTimeout = 30 * time.Second

// smallDisk is the folder below SSHD.Root that StartSSHDWithDisk mounts.
const smallDisk = "disk"

// SSHD is a private, running OpenSSH server that serves SFTP to one account: the
// caller's, or as root one without rights, so that permissions matter.
type SSHD struct {
	folder  string
	port    int
	account *account // nil: the caller's
	disk    int64    // bytes of the small disk; 0: there is none
	guard   *guard
	pid     int // of the listening server

	stop    sync.Once
	stopErr error
}

// StartSSHD starts an OpenSSH server on a port of 127.0.0.1. dir is the parent
// of its folder, as in PostfixOptions. It runs until Stop is called, ctx ends or
// this process dies.
func StartSSHD(ctx context.Context, dir string) (*SSHD, error) {
	return StartSSHDWithDisk(ctx, dir, 0)
}

// StartSSHDWithDisk is StartSSHD with a file system of size bytes at the folder
// "disk". It takes root and the right to mount.
func StartSSHDWithDisk(ctx context.Context, dir string, size int64) (*SSHD, error) {
	if size > 0 && !isRoot() {
		return nil, errors.New("start OpenSSH: only root can mount a small disk")
	}
	for attempt := 1; ; attempt++ {
		s, err := startSSHD(ctx, dir, size)
		if err == nil {
			return s, nil
		}
		if attempt == portAttempts || !errors.Is(err, errPortTaken) {
			return nil, fmt.Errorf("start OpenSSH: %w", err)
		}
	}
}

// startSSHD is one attempt, on one port.
func startSSHD(ctx context.Context, dir string, disk int64) (*SSHD, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(dir, "cloakroom-openssh-*")
	if err != nil {
		return nil, err
	}
	s := &SSHD{folder: folder, port: port, disk: disk}
	if err := s.launch(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	err = s.waitReady(ctx)
	if err == nil {
		err = s.findPID(ctx)
	}
	if err != nil {
		log, _ := os.ReadFile(s.logFile())
		return nil, errors.Join(fmt.Errorf("%w; its log: %q", explainEnd(err, port), log), s.Stop())
	}
	return s, nil
}

// waitReady waits until the server greets with the host key that is on disk.
func (s *SSHD) waitReady(ctx context.Context) error {
	want, err := s.HostKeyFingerprint()
	if err != nil {
		return err
	}
	return s.guard.waitReady(ctx, sshdReadyTimeout, func() bool { return s.presents(want) })
}

// presents tells whether the server answers with the host key of that fingerprint.
func (s *SSHD) presents(fingerprint string) bool {
	found := false
	conn, err := ssh.Dial("tcp", s.Address(), &ssh.ClientConfig{
		User:              "nobody",
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		Timeout:           time.Second,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			found = ssh.FingerprintSHA256(key) == fingerprint
			return errors.New("only looking")
		},
	})
	if err == nil {
		conn.Close()
	}
	return found
}

// launch writes the configuration and starts the server under a guard.
func (s *SSHD) launch(ctx context.Context) error {
	in, program, err := findSSHD()
	if err != nil {
		return err
	}
	if isRoot() {
		// Accounts that the system knows without a shadow entry, such as nobody on some, count as locked.
		if s.account, err = findAccount("daemon", "www-data", "nobody"); err != nil {
			return err
		}
	}
	if err := s.configure(in); err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("log of sshd: %w", err)
	}
	defer log.Close()
	script := []string{"/bin/sh", "-c", opensshScript, "openssh.sh", "", "", "", ""}
	run := guarded{env: in.env(), folder: s.folder, signal: "TERM", log: log, account: s.account}
	if s.disk > 0 {
		script = append(script[:4], filepath.Join(s.vault(), smallDisk), strconv.FormatInt(s.disk, 10),
			strconv.Itoa(int(s.account.uid)), strconv.Itoa(int(s.account.gid)))
		run.account, run.env = nil, append(run.env, "CLOAKROOM_SCRIPT="+opensshScript)
	}
	run.argv = append(script, program, "-D", "-e", "-f", s.configFile())
	s.guard, err = startGuard(ctx, run)
	return err
}

// sshdConfig takes the port, our folder, further lines, the folder where
// sessions start and the file for the process id. StrictModes would object to the mode of /tmp, and MaxStartups
// would drop some of many connections made at once.
const sshdConfig = `Port %[1]d
ListenAddress 127.0.0.1
HostKey %[2]s/host_ed25519
HostKey %[2]s/host_ecdsa
AuthorizedKeysFile %[2]s/authorized_keys
PidFile %[5]s
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UseDNS no
PrintMotd no
LogLevel VERBOSE
MaxStartups 100:30:200
MaxSessions 100
%[3]sSubsystem sftp internal-sftp -d %[4]s
`

func (s *SSHD) configure(in *installation) error {
	for _, dir := range []string{s.vault(), filepath.Join(s.vault(), smallDisk), filepath.Join(s.folder, "run")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("configure sshd: %w", err)
		}
		if err := s.give(dir); err != nil {
			return err
		}
	}
	if err := s.writeHostKeys(); err != nil {
		return err
	}
	public, err := writeSSHKey(s.KeyFile(), newEd25519)
	if err != nil {
		return err
	}
	if err := s.Authorize(public); err != nil {
		return err
	}
	if err := s.writeClientConfig(); err != nil {
		return err
	}
	further := ""
	// From 9.8 on sshd is several programs, which it looks for where they belong when installed.
	for option, program := range map[string]string{"SshdSessionPath": "sshd-session", "SshdAuthPath": "sshd-auth"} {
		if path := in.path("/usr/lib/openssh/" + program); executable(path) {
			further += option + " " + path + "\n"
		}
	}
	text := fmt.Sprintf(sshdConfig, s.port, s.folder, further, s.vault(), s.pidFile())
	if err := os.WriteFile(s.configFile(), []byte(text), 0o644); err != nil {
		return fmt.Errorf("configure sshd: %w", err)
	}
	return nil
}

// give makes path the server account's.
func (s *SSHD) give(path string) error {
	if s.account == nil {
		return nil
	}
	if err := os.Chown(path, int(s.account.uid), int(s.account.gid)); err != nil {
		return fmt.Errorf("configure sshd: %w", err)
	}
	return nil
}

// writeHostKeys makes new host keys, and the known_hosts file that fits: with
// one of the two, as files made by clients have.
func (s *SSHD) writeHostKeys() error {
	for name, generate := range map[string]func() (any, error){"host_ed25519": newEd25519, "host_ecdsa": newECDSA} {
		path := filepath.Join(s.folder, name)
		public, err := writeSSHKey(path, generate)
		if err != nil {
			return err
		}
		if err := s.give(path); err != nil {
			return err
		}
		if name != "host_ed25519" {
			continue
		}
		line := fmt.Sprintf("[127.0.0.1]:%d %s", s.port, ssh.MarshalAuthorizedKey(public))
		if err := os.WriteFile(s.KnownHostsFile(), []byte(line), 0o644); err != nil {
			return fmt.Errorf("known_hosts: %w", err)
		}
	}
	return nil
}

func newEd25519() (any, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func newECDSA() (any, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// writeSSHKey makes a key pair and writes the private one.
func writeSSHKey(path string, generate func() (any, error)) (ssh.PublicKey, error) {
	key, err := generate()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return signer.PublicKey(), nil
}

// Address is the server's host:port.
func (s *SSHD) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// User is the account that may log in.
func (s *SSHD) User() string {
	if s.account != nil {
		return s.account.name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// KeyFile holds a private key that User may log in with.
func (s *SSHD) KeyFile() string { return filepath.Join(s.folder, "client_ed25519") }

// KnownHostsFile holds the server's present Ed25519 host key; it has an ECDSA
// key too, which is not in there.
func (s *SSHD) KnownHostsFile() string { return filepath.Join(s.folder, "known_hosts") }

// HostKeyFingerprint is the SHA256:… fingerprint of the key in KnownHostsFile.
func (s *SSHD) HostKeyFingerprint() (string, error) {
	text, err := os.ReadFile(s.KnownHostsFile())
	if err != nil {
		return "", err
	}
	_, _, key, _, _, err := ssh.ParseKnownHosts(text)
	if err != nil {
		return "", fmt.Errorf("known_hosts: %w", err)
	}
	return ssh.FingerprintSHA256(key), nil
}

// Authorize lets one more key log in.
func (s *SSHD) Authorize(key ssh.PublicKey) error {
	f, err := os.OpenFile(filepath.Join(s.folder, "authorized_keys"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("authorize a key: %w", err)
	}
	_, err = f.Write(ssh.MarshalAuthorizedKey(key))
	return errors.Join(err, f.Close())
}

// Root is the folder where sessions start, as this process sees it.
func (s *SSHD) Root() string {
	if s.disk > 0 { // its mounts are the server's own
		return fmt.Sprintf("/proc/%d/root%s", s.pid, s.vault())
	}
	return s.vault()
}

// ReplaceHostKey gives the server other host keys, and KnownHostsFile a line
// that fits. Connections that exist stay.
func (s *SSHD) ReplaceHostKey(ctx context.Context) error {
	if err := s.writeHostKeys(); err != nil {
		return err
	}
	// It shows new keys before it has begun again, and writes this file after.
	if err := os.Remove(s.pidFile()); err != nil {
		return fmt.Errorf("reload sshd: %w", err)
	}
	if err := syscall.Kill(s.pid, syscall.SIGHUP); err != nil {
		return fmt.Errorf("reload sshd: %w", err)
	}
	if err := s.findPID(ctx); err != nil {
		return fmt.Errorf("reload sshd: %w", err)
	}
	return s.waitReady(ctx)
}

// Stop ends the server and its sessions, and removes its folder. Later calls
// return what the first returned.
func (s *SSHD) Stop() error {
	s.stop.Do(func() {
		if s.guard != nil {
			s.stopErr = s.guard.stop()
		}
		// The guard has emptied the folder, unless it never ran.
		if err := os.RemoveAll(s.folder); err != nil && s.stopErr == nil {
			s.stopErr = err
		}
		if s.stopErr != nil {
			s.stopErr = fmt.Errorf("stop OpenSSH: %w", s.stopErr)
		}
	})
	return s.stopErr
}

// findPID waits for the server to tell its process id, which it does after it
// has begun to listen.
func (s *SSHD) findPID(ctx context.Context) error {
	return s.guard.waitReady(ctx, sshdReadyTimeout, func() bool {
		text, err := os.ReadFile(s.pidFile())
		if err != nil {
			return false
		}
		s.pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
}

func (s *SSHD) vault() string      { return filepath.Join(s.folder, "vault") }
func (s *SSHD) pidFile() string    { return filepath.Join(s.folder, "run", "pid") }
func (s *SSHD) configFile() string { return filepath.Join(s.folder, "sshd_config") }
func (s *SSHD) logFile() string    { return filepath.Join(s.folder, "log") }

// findSSHD is the installation of OpenSSH's server and its program.
func findSSHD() (*installation, string, error) {
	for _, program := range []string{"/usr/sbin/sshd", lookPath("sshd")} {
		if executable(program) {
			return &installation{}, program, nil
		}
	}
	in, err := unpacked("openssh")
	if err != nil {
		return nil, "", err
	}
	return in, in.path("/usr/sbin/sshd"), nil
}
