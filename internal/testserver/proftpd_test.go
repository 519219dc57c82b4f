package testserver

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"
)

func TestProFTPDServesItsUserAndLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	began := time.Now()
	s, err := StartProFTPD(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	t.Logf("ready after %v", time.Since(began))
	password := strings.TrimSpace(mustRead(t, s.PasswordFile()))

	if conn, err := ftp.Dial(s.Address()); err != nil {
		t.Error(err)
	} else if err := conn.Login(s.User(), password); err == nil {
		t.Error("it lets us in without TLS")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(mustRead(t, s.CAFile())))
	config := &tls.Config{RootCAs: roots, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for name, dial := range map[string]func() (*ftp.ServerConn, error){
		"explicit": func() (*ftp.ServerConn, error) { return ftp.Dial(s.Address(), ftp.DialWithExplicitTLS(config)) },
		"implicit": func() (*ftp.ServerConn, error) { return ftp.Dial(s.ImplicitAddress(), ftp.DialWithTLS(config)) },
		"plain":    func() (*ftp.ServerConn, error) { return ftp.Dial(s.PlainAddress()) },
	} {
		conn, err := dial()
		if err != nil {
			t.Errorf("%s: %v; %s", name, err, s.Log())
			continue
		}
		if err := conn.Login(s.User(), "wrong"); err == nil {
			t.Errorf("%s: it takes a wrong password", name)
		}
		if err := conn.Login(s.User(), password); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := conn.Stor(name, strings.NewReader("Grüße")); err != nil {
			t.Errorf("%s: %v; %s", name, err, s.Log())
		}
		if got := mustRead(t, s.Root()+"/"+name); got != "Grüße" {
			t.Errorf("%s: it stored %q", name, got)
		}
		defer conn.Quit()
	}
	pid, err := s.pid()
	if err != nil {
		t.Fatal(err)
	}
	pids := append(descendants(pid), pid)
	if len(pids) < 4 {
		t.Errorf("three sessions have processes %v", pids)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // signals are delivered one by one
	if greeted(s.PlainAddress()) {
		t.Error("a paused server answers")
	}
	if err := s.Stop(); err != nil { // paused, with sessions open
		t.Fatal(err)
	}
	assertGone(t, s.folder, pids)
}

func TestProFTPDSessionsCanBeKilled(t *testing.T) {
	t.Parallel()
	s, err := StartProFTPD(testContext(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	conn, err := ftp.Dial(s.PlainAddress())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.KillSessions(); err != nil || n == 0 {
		t.Errorf("killed %d, %v", n, err)
	}
	if err := conn.NoOp(); err == nil {
		t.Error("a killed session answers")
	}
	if !greeted(s.PlainAddress()) {
		t.Error("there are no new sessions")
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.folder); err == nil {
		t.Error("its folder is still there")
	}
}
