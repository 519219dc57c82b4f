package web

// The stage of the tests: a real HTTP server, real files, and links as data.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/sisa"
)

// linkTable holds links by token.
type linkTable struct {
	mu        sync.Mutex
	links     map[string]sisa.Link
	errs      map[string]error // by token: what the lookup says instead
	broken    error            // what every lookup says instead
	recordErr error
	lookups   int
	delay     map[string]time.Duration // by token: how long the lookup takes
	downloads []sisa.Download
}

func (l *linkTable) ByToken(_ context.Context, token string) (sisa.Link, error) {
	l.mu.Lock()
	delay := l.delay[token]
	l.mu.Unlock()
	time.Sleep(delay)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lookups++
	if l.broken != nil {
		return sisa.Link{}, l.broken
	}
	if err := l.errs[token]; err != nil {
		return sisa.Link{}, err
	}
	link, ok := l.links[token]
	if !ok {
		return sisa.Link{}, sisa.ErrNotFound
	}
	return link, nil
}

func (l *linkTable) ByID(ctx context.Context, id string) (sisa.Link, error) {
	l.mu.Lock()
	token := ""
	for t := range l.links {
		if sisa.TokenID(t) == id {
			token = t
		}
	}
	l.mu.Unlock()
	return l.ByToken(ctx, token)
}

func (l *linkTable) Downloaded(_ context.Context, d sisa.Download) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.recordErr == nil {
		if err := l.spend(d); err != nil {
			return err
		}
	}
	l.downloads = append(l.downloads, d)
	return l.recordErr
}

// spend takes a download off what is left, as sisa.Links does.
func (l *linkTable) spend(d sisa.Download) error {
	for token, link := range l.links {
		if link.ID != d.LinkID || !link.Limited() {
			continue
		}
		files := slices.Clone(link.Files)
		for i := range files {
			if f := &files[i]; (d.Part == AllParts || d.Part == f.Part) && !slices.Contains(d.Again, f.Part) {
				if f.Left == 0 {
					return sisa.ErrUsedUp
				}
				f.Left--
			}
		}
		link.Files = files
		l.links[token] = link
	}
	return nil
}

func (l *linkTable) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *linkTable) recorded() []sisa.Download {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]sisa.Download(nil), l.downloads...)
}

// folder is blobs as files named by their hash.
type folder string

func (f folder) Open(_ context.Context, sum [32]byte) (io.ReadSeekCloser, error) {
	return os.Open(f.path(sum))
}

func (f folder) path(sum [32]byte) string {
	return filepath.Join(string(f), hex.EncodeToString(sum[:]))
}

// syncBuffer is a log that the server writes while the test reads.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type stage struct {
	t      testing.TB
	links  *linkTable
	blobs  folder
	site   *Site
	server *httptest.Server
	client *http.Client // does not follow redirects
	log    *syncBuffer
	parts  Parts
	proto  string // X-Forwarded-Proto of all requests; "" sends none
	token  string
	files  map[int][]byte            // content of the link's files
	tune   func(*Site, *http.Server) // called before the server starts

	clockMu sync.Mutex
	clock   time.Time
}

var (
	testKey   = []byte("0123456789abcdef0123456789abcdef")
	testStart = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
)

// newStage serves one link with two files. setup may change what it is made of
// before the server starts.
func newStage(t testing.TB, setup ...func(*stage, *Config)) *stage {
	t.Helper()
	s := &stage{
		t:     t,
		links: &linkTable{links: map[string]sisa.Link{}, errs: map[string]error{}},
		blobs: folder(t.TempDir()),
		log:   &syncBuffer{},
		proto: "https",
		token: sisa.Token(testKey, [32]byte{1}, 0),
		files: map[int][]byte{},
		clock: testStart,
	}
	s.links.links[s.token] = sisa.Link{
		ID:      sisa.TokenID(s.token),
		Sender:  "bob@acmecorp.test",
		Subject: "Plans for the new building",
		Created: testStart.Add(-time.Hour),
		Expires: testStart.Add(18*24*time.Hour + time.Minute),
	}
	s.addFile(2, "report.pdf", "application/pdf", []byte(strings.Repeat("%PDF sort of\n", 200_000)))
	s.addFile(5, "Übersicht 2026.txt", "text/plain; charset=utf-8", []byte("0123456789"))

	cfg := DefaultConfig()
	cfg.URL = "https://files.acmecorp.test"
	cfg.Limits.Misses, cfg.Limits.TotalMisses = 1000, 1000
	s.parts = Parts{Links: s.links, Blobs: s.blobs, Key: testKey}
	for _, f := range setup {
		f(s, &cfg)
	}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if s.site, err = Open(cfg, s.parts, s.now, log); err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewUnstartedServer(nil)
	s.server.Config = NewServer(s.site, log)
	if s.tune != nil {
		s.tune(s.site, s.server.Config)
	}
	s.server.Start()
	t.Cleanup(s.server.Close)
	s.client = s.server.Client()
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s
}

func (s *stage) now() time.Time {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	return s.clock
}

func (s *stage) advance(d time.Duration) {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	s.clock = s.clock.Add(d)
}

// addFile stores content and adds it to the link.
func (s *stage) addFile(part int, name, mediaType string, content []byte) {
	s.t.Helper()
	sum := sha256.Sum256(content)
	if err := os.WriteFile(s.blobs.path(sum), content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	link := s.links.links[s.token]
	link.Files = append(link.Files, sisa.File{Part: part, Name: name, Type: mediaType, Size: int64(len(content)), SHA256: sum})
	s.links.links[s.token] = link
	s.files[part] = content
}

func (s *stage) page() string { return s.server.URL + "/d/" + s.token }

// reply is an answer read to its end.
type reply struct {
	*http.Response
	body []byte
}

func (s *stage) send(req *http.Request, err error) reply {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	if s.proto != "" {
		req.Header.Set("X-Forwarded-Proto", s.proto)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: read body: %v", req.Method, req.URL, err)
	}
	return reply{resp, body}
}

// do sends a request without a body; headers are name, value pairs.
func (s *stage) do(method, target string, headers ...string) reply {
	s.t.Helper()
	req, err := http.NewRequest(method, target, nil)
	for i := 0; err == nil && i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return s.send(req, err)
}

func (s *stage) get(target string, headers ...string) reply {
	s.t.Helper()
	return s.do("GET", target, headers...)
}

func (s *stage) post(target, form string, headers ...string) reply {
	s.t.Helper()
	req, err := http.NewRequest("POST", target, strings.NewReader(form))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	return s.send(req, err)
}

// press presses a file's button and gives the absolute address it leads to.
func (s *stage) press(part string) string {
	s.t.Helper()
	r := s.post(s.page(), "file="+part)
	s.wantStatus(r, http.StatusSeeOther)
	base, _ := url.Parse(s.page())
	to, err := base.Parse(r.Header.Get("Location"))
	if err != nil {
		s.t.Fatal(err)
	}
	return to.String()
}

func (s *stage) wantStatus(r reply, want int) {
	s.t.Helper()
	if r.StatusCode != want {
		s.t.Fatalf("%s %s: status %d, want %d\n%s", r.Request.Method, r.Request.URL.Path, r.StatusCode, want, r.body)
	}
}

func (s *stage) wantText(r reply, texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		if !strings.Contains(string(r.body), text) {
			s.t.Errorf("%q is not in:\n%s", text, r.body)
		}
	}
}

func crcOf(p []byte) uint32 { return crc32.ChecksumIEEE(p) }

func contextWithTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
