package sftp_test

// Another SFTP server than OpenSSH, which renames over files and has fewer extensions.

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"sync"
	"testing"

	pkgsftp "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"cloakroom/vault/sftp"
	"cloakroom/vault/vaulttest"
)

type otherOptions struct {
	password    string
	interactive bool // the password is asked as a question only
}

// otherServer serves a folder with the server of the client's library.
type otherServer struct {
	listener net.Listener
	settings *ssh.ServerConfig
	options  otherOptions
	root     string
	pin      string

	mu    sync.Mutex
	conns []net.Conn
}

func startOther(t *testing.T, options otherOptions) *otherServer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s := &otherServer{options: options, root: t.TempDir(), pin: ssh.FingerprintSHA256(signer.PublicKey())}
	check := func(password string) (*ssh.Permissions, error) {
		if password != options.password {
			return nil, errors.New("wrong password")
		}
		return nil, nil
	}
	s.settings = &ssh.ServerConfig{}
	if options.interactive {
		s.settings.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil || len(answers) != 1 {
				return nil, errors.New("no answer")
			}
			return check(answers[0])
		}
	} else {
		s.settings.PasswordCallback = func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			return check(string(password))
		}
	}
	s.settings.AddHostKey(signer)
	if s.listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.listener.Close() })
	go s.accept()
	return s
}

func (s *otherServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
		go s.serve(conn)
	}
}

func (s *otherServer) serve(conn net.Conn) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, s.settings)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			for request := range requests {
				request.Reply(request.Type == "subsystem", nil)
			}
		}()
		server, err := pkgsftp.NewServer(channel, pkgsftp.WithServerWorkingDirectory(s.root))
		if err != nil {
			return
		}
		go func() {
			server.Serve()
			channel.Close()
		}()
	}
}

// kill ends all connections.
func (s *otherServer) kill(*testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
}

func (s *otherServer) config(t *testing.T) sftp.Config {
	t.Helper()
	cfg := sftp.DefaultConfig()
	cfg.Address, cfg.User, cfg.HostKey = s.listener.Addr().String(), "cloakroom", []string{s.pin}
	cfg.PasswordFile = write(t, s.options.password+"\n")
	return cfg
}

// TestServersThatReplaceWhenTheyRename runs the suite against servers where a
// plain rename would lose files.
func TestServersThatReplaceWhenTheyRename(t *testing.T) {
	all := []string{"hardlink@openssh.com", "posix-rename@openssh.com", "statvfs@openssh.com"}
	t.Cleanup(func() {
		if err := pkgsftp.SetSFTPExtensions(all...); err != nil {
			t.Error(err)
		}
	})
	for name, extensions := range map[string][]string{"with hard links": all, "without extensions": {}} {
		t.Run(name, func(t *testing.T) {
			if err := pkgsftp.SetSFTPExtensions(extensions...); err != nil {
				t.Fatal(err)
			}
			vaulttest.Run(t, func(*testing.T) func(*testing.T) vaulttest.Fixture {
				return func(t *testing.T) vaulttest.Fixture {
					s := startOther(t, otherOptions{password: "swordfish"})
					cfg := s.config(t)
					cfg.Timeout = testTimeout
					return vaulttest.Fixture{Destination: open(t, cfg), Root: s.root, Timeout: testTimeout, Kill: s.kill}
				}
			})
		})
	}
}
