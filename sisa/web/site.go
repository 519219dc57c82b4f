// Package web is what recipients of links see: one page per mail that lists its
// files, and the downloads.
//
// A GET of a link only shows; the button is a POST, so that scanners and
// previews neither fetch nor count. It answers with a redirect to a short-lived
// signed address of one file, which any number of (range) requests may read.
//
//	GET  {url}/d/{token}                                  the page
//	POST {url}/d/{token}  file={part}                     303 to
//	GET  {url}/f/{link id}/{part}/{expiry}/{mac}/{name}   the bytes
//
// Limits: no password in front of a link, no archive of all files at once, English only.
package web

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"cloakroom/sisa"
)

// Links is where links are looked up. Both lookups return sisa.ErrNotFound for a
// link that is unknown or revoked and sisa.ErrExpired for one that ran out; any
// other error is a failure of the store and must not quote the token.
type Links interface {
	ByToken(ctx context.Context, token string) (sisa.Link, error)
	ByID(ctx context.Context, id string) (sisa.Link, error)
	// Downloaded records a download. Its failure is logged and blocks nothing.
	Downloaded(ctx context.Context, d sisa.Download) error
}

// Blobs opens a file's content. A missing blob is an error that is fs.ErrNotExist.
// Where the reader is (or embeds) an *os.File, the kernel copies it to the socket.
type Blobs interface {
	Open(ctx context.Context, sha256 [32]byte) (io.ReadSeekCloser, error)
}

// KeyBytes is the length of the key that signs download addresses, in bytes.
const KeyBytes = 32

// Site answers the HTTP requests of recipients. It is safe for concurrent use.
type Site struct {
	links   Links
	blobs   Blobs
	signer  signer
	now     func() time.Time
	log     *slog.Logger
	host    string // of the public URL, shown on pages
	prefix  string // path of the public URL, without a final slash
	hsts    bool
	proxies []netip.Prefix
	ttl     time.Duration
	stall   time.Duration // see stallTimeout
}

// New makes a Site. It panics on a cfg that does not pass Validate and on a key
// that is not KeyBytes long: both are mistakes of the program, and to serve with
// them would not be safe.
func New(cfg Config, links Links, blobs Blobs, key []byte, now func() time.Time, log *slog.Logger) *Site {
	if err := cfg.Validate(); err != nil {
		panic("web: configuration was not validated: " + err.Error())
	}
	if len(key) != KeyBytes {
		panic(fmt.Sprintf("web: the key has %d bytes, not %d", len(key), KeyBytes))
	}
	base, _ := parseURL(cfg.URL) // Validate parsed it already
	return &Site{
		links:   links,
		blobs:   blobs,
		signer:  signer{key: append([]byte(nil), key...)},
		now:     now,
		log:     log,
		host:    base.Host,
		prefix:  base.Path,
		hsts:    base.Scheme == "https",
		proxies: cfg.TrustedProxies,
		ttl:     cfg.DownloadURLTTL,
		stall:   stallTimeout,
	}
}

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{
		answer: newAnswer(w, s.hsts, s.stall),
		r:      r,
		client: clientAddr(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), s.proxies),
	}
	x.secureHeaders()
	defer s.finish(x)
	s.serve(x, s.locate(r.URL.Path))
}

// serve hands the request to the one method that answers it.
func (s *Site) serve(x *exchange, at place) {
	get := x.r.Method == http.MethodGet || x.r.Method == http.MethodHead
	post := x.r.Method == http.MethodPost
	switch {
	case at.kind == placeLink && post:
		s.startDownload(x, at.token)
	case at.kind == placeLink && get:
		s.showLink(x, at.token)
	case at.kind == placeFile && get:
		s.serveFile(x, at.file)
	case at.kind == placeHome && get:
		s.notice(x, http.StatusOK, homeNotice)
	case at.kind == placeRobots && get:
		x.text("User-agent: *\nDisallow: /\n")
	case at.kind == placeNowhere:
		s.notice(x, http.StatusNotFound, nothingHere)
	default:
		x.Header().Set("Allow", at.kind.methods())
		s.notice(x, http.StatusMethodNotAllowed, wrongMethod)
	}
}

// finish turns a panic into an answer where that is still possible, and logs.
func (s *Site) finish(x *exchange) {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler {
			panic(p)
		}
		started := x.started()
		s.fail(x, http.StatusInternalServerError, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		if started {
			panic(http.ErrAbortHandler) // the client must see that the answer is cut short
		}
	}
	s.log.Debug("web request", append(x.attrs(), "method", x.r.Method, "status", x.status, "bytes", x.written)...)
}

type placeKind int

const (
	placeNowhere placeKind = iota
	placeHome
	placeRobots
	placeLink
	placeFile
)

func (k placeKind) methods() string {
	if k == placeLink {
		return "GET, HEAD, POST"
	}
	return "GET, HEAD"
}

// place is what a request path names.
type place struct {
	kind  placeKind
	token string     // of a link: well-formed, not known to exist
	file  fileTicket // of a file: unverified
}

// locate reads a request path. The proxy may have left the public URL's path
// before ours or not.
func (s *Site) locate(path string) place {
	if rest, ok := strings.CutPrefix(path, s.prefix); ok && s.prefix != "" {
		if rest == "" {
			rest = "/"
		}
		if at := parsePath(rest); at.kind != placeNowhere {
			return at
		}
	}
	return parsePath(path)
}

func parsePath(path string) place {
	switch path {
	case "/":
		return place{kind: placeHome}
	case "/robots.txt":
		return place{kind: placeRobots}
	}
	if token, ok := strings.CutPrefix(path, "/d/"); ok && sisa.ValidToken(token) {
		return place{kind: placeLink, token: token}
	}
	if rest, ok := strings.CutPrefix(path, "/f/"); ok {
		// The name at the end is for the eyes of people and tools: not looked at.
		if f := strings.SplitN(rest, "/", 5); len(f) == 5 {
			return place{kind: placeFile, file: fileTicket{linkID: f[0], part: f[1], expiry: f[2], mac: f[3]}}
		}
	}
	return place{}
}
