package admin

// Who comes in, and who does not.

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestConfigRefusesStrangersWithoutAPassword(t *testing.T) {
	for listen, want := range map[string]string{
		"":                         "",
		"127.0.0.1:9091":           "",
		"[::1]:9091":               "",
		"localhost:9091":           "",
		"unix:/run/cloakroom/a":    "",
		"unix:run/a":               "listen: the path",
		"0.0.0.0:9091":             "listen: 0.0.0.0:9091 can be reached",
		":9091":                    "listen: :9091 can be reached",
		"192.0.2.1:9091":           "listen: 192.0.2.1:9091 can be reached",
		"[::ffff:127.0.0.1]:9091":  "",
		"[::ffff:192.0.2.1]:9091":  "listen: ",
		"127.0.0.1":                "listen: write host:port",
		"127.0.0.1:x":              `listen: "x" is not a port`,
		"localhost.evil.test:9091": "listen: ",
	} {
		c := DefaultConfig()
		c.Listen = listen
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", listen, err, want)
		}
	}
	c := DefaultConfig()
	c.Listen, c.PasswordFile = "0.0.0.0:9091", "x"
	if err := c.Validate(); err != nil || len(c.Warnings()) != 1 {
		t.Errorf("with a password: %v, %v", err, c.Warnings())
	}
	c.TLS = TLS{CertFile: "a", KeyFile: "b"}
	if w := c.Warnings(); len(w) != 0 {
		t.Errorf("with TLS: %v", w)
	}
	c.TLS.KeyFile = ""
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "tls: ") {
		t.Errorf("half a certificate: %v", err)
	}
	c = DefaultConfig()
	c.SocketMode = "999"
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "socket_mode: ") {
		t.Errorf("socket_mode: %v", err)
	}
}

func TestOnlyWhoIsKnownComesIn(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	const secret = "0123456789abcdef0123"
	if err := os.WriteFile(token, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	s := newStage(t, withPassword(t), func(c *Config, p *Parts) {
		c.TokenFile, c.PProf = token, true
		p.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	none := func(r *http.Request) { r.Header.Del("Authorization") }
	for path, open := range map[string]bool{"/healthz": true, "/readyz": true, "/": false, "/metrics": false, "/queue": false, "/audit.jsonl": false, "/debug/pprof/": false, "/act": false} {
		status, _, _ := s.request("GET", path, none)
		if open != (status == http.StatusOK) || !open && status != http.StatusUnauthorized {
			t.Errorf("%s without a name: %d", path, status)
		}
	}
	if _, body, _ := s.request("GET", "/readyz", none); strings.Contains(body, "database") {
		t.Errorf("a stranger hears %q", body)
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"password":        {func(r *http.Request) {}, 200},
		"wrong password":  {func(r *http.Request) { r.SetBasicAuth("alice", "x") }, 401},
		"unknown name":    {func(r *http.Request) { r.SetBasicAuth("bob", "correct horse") }, 401},
		"empty":           {func(r *http.Request) { r.SetBasicAuth("", "") }, 401},
		"token":           {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) }, 200},
		"wrong token":     {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret+"x") }, 401},
		"token as a part": {func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, 401},
	} {
		if status, _, _ := s.request("GET", "/metrics", c.change); status != c.want {
			t.Errorf("%s: %d, want %d", name, status, c.want)
		}
	}
	if n := strings.Count(log.String(), "administrator: refused"); n != 5 { // not of those who said nothing
		t.Errorf("%d lines tell of 5 refusals:\n%s", n, log.String())
	}
	// Taking a name out of the file takes the access away at once.
	line, err := HashPassword("carol", "another one")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.server.cfg.PasswordFile, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := s.request("GET", "/", nil); status != 401 {
		t.Errorf("alice was taken out and still gets %d", status)
	}
}

func TestPasswordFilesAreChecked(t *testing.T) {
	for content, want := range map[string]string{
		"":                       "names nobody",
		"alice:secret\n":         "line 1 is not name:hash",
		"# x\nalice\n":           "line 2 is not name:hash",
		"alice:$apr1$x$abcdefg/": "line 1 is not name:hash",
	} {
		c := DefaultConfig()
		c.PasswordFile = filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(c.PasswordFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), "password_file: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
	for _, c := range [][2]string{{"", "long enough"}, {"a:b", "long enough"}, {"alice", "short"}, {"alice", strings.Repeat("x", 73)}} {
		if _, err := HashPassword(c[0], c[1]); err == nil {
			t.Errorf("%q with a password of %d was taken", c[0], len(c[1]))
		}
	}
}

// Without anybody to name, a page of somebody else's must not come by a name that
// leads here (DNS rebinding), and nothing can be changed.
func TestWithoutNamesOnlyLoopbackIsAnsweredAndNothingChanges(t *testing.T) {
	s := newStage(t)
	if status, _, _ := s.request("GET", "/", func(r *http.Request) { r.Host = "evil.test" }); status != http.StatusForbidden {
		t.Errorf("another host name gets %d", status)
	}
	key, _ := s.mail(1, "x")
	job := s.upload(key, 1, "assets")
	if status, body := s.get("/queue"); status != 200 || strings.Contains(body, "Delete") || !strings.Contains(body, "nobody names himself") {
		t.Errorf("the queue offers changes: %d", status)
	}
	if status, _ := s.get("/act?do=drop&job=" + job); status != http.StatusForbidden {
		t.Errorf("the question is asked: %d", status)
	}
	status, _, _ := s.request("POST", "/act?do=drop&job="+job, nil)
	if status != http.StatusForbidden || len(s.acts.asked) > 0 {
		t.Errorf("a change gets %d, asked %v", status, s.acts.asked)
	}
}

func TestAUnixSocketKnowsItsPeer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "a.sock")
	s := newStage(t, func(c *Config, _ *Parts) { c.Listen = "unix:" + socket; c.SocketMode = "0660" })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.server.Run(ctx) }()
	defer func() { cancel(); <-done }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}}
	var resp *http.Response
	var err error
	for range 100 {
		if resp, err = client.Get("http://localhost/queue"); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	body := readAll(t, resp)
	resp.Body.Close()
	if want := "you are " + userName(uint32(os.Getuid())); !strings.Contains(body, want) || strings.Contains(body, "nobody names himself") {
		t.Errorf("the page does not say %q", want)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket: %v, %v", info, err)
	}
}

func TestAnAddressThatIsTakenIsTriedAgain(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := newStage(t, func(c *Config, _ *Parts) { c.Listen = ln.Addr().String() })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	s.server.Run(ctx) // returns when ctx ends, and not before
	if ctx.Err() == nil || s.server.Addr() != nil {
		t.Error("the server gave up, or claims the address")
	}
}

// lockedBuffer is what several goroutines log to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
