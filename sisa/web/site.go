// Package web is what recipients of links see: one page per mail that lists its
// files, and the downloads.
//
// A GET of a link only shows; the button is a POST, so that scanners and
// previews neither fetch nor count. It answers with a redirect to a short-lived
// signed address of one file, which any number of (range) requests may read.
//
//	GET  {url}/d/{token}                                  the page
//	POST {url}/d/{token}  file={part} or file=all         303 to
//	GET  {url}/f/{link id}/{part}/{expiry}/{mac}/{name}   the bytes, or a ZIP of all
//	GET  {url}/p/{link id}/{part}/{expiry}/{mac}/{name}   a preview of an image
//	GET  {url}/s/{hash}.{ext}                             the logo
//	GET  {url}/w/{nonce}/{mac}                            whether it is us, see Probe
//
// A link may ask who comes (sisa.Guard): for a code by mail to one of the
// recipients, for a password, or both. Then cookies for its page are the proof,
// and the signed addresses on that page.
//
// Limits: an archive cannot be resumed; WebP and HEIC images have no preview; what
// counts requests, tries and used codes is in the memory of one host, and gone
// when it starts again.
package web

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/certificate"
	"cloakroom/sisa"
)

// Links is where links are looked up. Both lookups return sisa.ErrNotFound for a
// link that is unknown or revoked and sisa.ErrExpired for one that ran out; any
// other error is a failure of the store, lets nobody in and must not quote the
// token.
type Links interface {
	ByToken(ctx context.Context, token string) (sisa.Link, error)
	ByID(ctx context.Context, id string) (sisa.Link, error)
	// Downloaded records a download, and takes it off what is left of a limited
	// link: sisa.ErrUsedUp. Another failure stops downloads of limited links only.
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
	links       Links
	blobs       Blobs
	signer      signer
	now         func() time.Time
	log         *slog.Logger
	face        *face
	catalog     *catalog
	zone        *time.Location
	previews    *previews                // nil: none
	certificate *certificate.Certificate // nil: TLS is the proxy's business
	limiter     *limiter
	busyLog     *quota // lines about refused clients
	prefix      string // path of the public URL, without a final slash
	secure      bool   // the public URL is https
	proxies     []netip.Prefix
	ttl         time.Duration
	stall       time.Duration // see stallTimeout

	mailer        Mailer     // nil: no codes, and links that need them stay closed
	mailQuotas    mailQuotas // codes sent
	tries         *quota     // of one code
	usedCodes     *once
	triesByClient *quota // wrong passwords
	triesByLink   *quota
	mails         chan struct{} // one for each code on its way
	hashing       chan struct{} // one for each password being checked
}

// Parts are what a Site works with. Mailer may be nil: then links that ask for a
// code stay closed.
type Parts struct {
	Links  Links
	Blobs  Blobs
	Mailer Mailer
	Key    []byte // signs addresses, codes and cookies: KeyBytes, the same on all hosts
}

// New is Open for configurations that name no files, and without a mailer; it
// panics where Open returns an error.
func New(cfg Config, links Links, blobs Blobs, key []byte, now func() time.Time, log *slog.Logger) *Site {
	s, err := Open(cfg, Parts{Links: links, Blobs: blobs, Key: key}, now, log)
	if err != nil {
		panic("web: " + err.Error())
	}
	return s
}

// Open makes a Site and reads the files that cfg names; its error begins with
// the key of the file. It panics on a cfg that does not pass Validate and on a
// key that is not KeyBytes long: both are mistakes of the program, and to serve
// with them would not be safe.
func Open(cfg Config, parts Parts, now func() time.Time, log *slog.Logger) (*Site, error) {
	if err := cfg.Validate(); err != nil {
		panic("web: configuration was not validated: " + err.Error())
	}
	if len(parts.Key) != KeyBytes {
		panic(fmt.Sprintf("web: the key has %d bytes, not %d", len(parts.Key), KeyBytes))
	}
	base, _ := parseURL(cfg.URL)               // Validate parsed it already
	zone, _ := time.LoadLocation(cfg.TimeZone) // and this
	s := &Site{
		links:         parts.Links,
		blobs:         parts.Blobs,
		mailer:        parts.Mailer,
		signer:        signer{key: slices.Clone(parts.Key)},
		now:           now,
		log:           log,
		zone:          zone,
		limiter:       newLimiter(cfg.Limits),
		busyLog:       newQuota(busyLines, busyLinesAtOnce),
		mailQuotas:    newMailQuotas(),
		tries:         newQuota(triesComeBack, triesPerCode),
		usedCodes:     newOnce(),
		triesByClient: newQuota(triesPerClient, triesAtOnceClient),
		triesByLink:   newQuota(triesPerLink, triesAtOnceLink),
		mails:         make(chan struct{}, maxMails),
		hashing:       make(chan struct{}, maxHashing),
		prefix:        base.Path,
		secure:        base.Scheme == "https",
		proxies:       cfg.TrustedProxies,
		ttl:           cfg.DownloadURLTTL,
		stall:         stallTimeout,
	}
	var err error
	if s.face, err = newFace(cfg); err != nil {
		return nil, err
	}
	if s.catalog, err = loadCatalog(cfg.Texts, cfg.Language); err != nil {
		return nil, err
	}
	if cfg.TLS.CertFile != "" {
		if s.certificate, err = certificate.Open(cfg.TLS, "web", now, log); err != nil {
			return nil, err
		}
	}
	if cfg.Previews {
		s.previews = newPreviews()
	}
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hsts := overTLS(r.TLS != nil, r.RemoteAddr, r.Header.Get("X-Forwarded-Proto"), s.proxies)
	x := &exchange{
		answer: newAnswer(w, s.face.policy, hsts, s.stall),
		r:      r,
		began:  time.Now(), // real time: see missTime
		texts:  s.catalog.pick(r.Header.Get("Accept-Language")),
		client: clientAddr(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), s.proxies),
	}
	x.secureHeaders()
	defer s.finish(x)
	if wait := s.limiter.allow(x.client, s.now()); wait > 0 {
		s.busy(x, wait)
		return
	}
	s.serve(x, s.locate(r.URL.Path))
}

// serve hands the request to the one method that answers it.
func (s *Site) serve(x *exchange, at place) {
	get := x.r.Method == http.MethodGet || x.r.Method == http.MethodHead
	post := x.r.Method == http.MethodPost
	switch {
	case at.kind == placeLink && post:
		s.postLink(x, at.token)
	case at.kind == placeLink && get:
		s.showLink(x, at.token)
	case at.kind == placeFile && get:
		s.serveFile(x, at.file)
	case at.kind == placeHome && get:
		s.notice(x, http.StatusOK, noteHome)
	case at.kind == placeProbe && get && s.signer.asks(at.probe):
		s.answerProbe(x, at.probe)
	case at.kind == placeRobots && get:
		x.text("User-agent: *\nDisallow: /\n")
	case at.kind == placeIcon && get:
		x.WriteHeader(http.StatusNoContent) // browsers ask by themselves
	case at.kind == placeLogo && at.logo == s.face.Logo && get:
		s.serveLogo(x)
	case at.kind == placeNowhere || at.kind == placeProbe || at.kind == placeLogo && at.logo != s.face.Logo:
		s.notice(x, http.StatusNotFound, noteNothing)
	default:
		x.Header().Set("Allow", at.kind.methods())
		s.notice(x, http.StatusMethodNotAllowed, noteMethod)
	}
}

// finish turns a panic into an answer where that is still possible, and logs.
func (s *Site) finish(x *exchange) {
	defer func() {
		s.log.Debug("web request", append(x.attrs(), "method", x.r.Method, "status", x.status, "bytes", x.written)...)
	}()
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	started := x.started()
	s.fail(x, http.StatusInternalServerError, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	if started {
		panic(http.ErrAbortHandler) // the client must see that the answer is cut short
	}
}

type placeKind int

const (
	placeNowhere placeKind = iota
	placeHome
	placeRobots
	placeLink
	placeFile
	placeLogo
	placeIcon
	placeProbe
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
	token string      // of a link: well-formed, not known to exist
	file  fileTicket  // of a file: unverified
	logo  string      // path of a logo: ours, if it is face.Logo
	probe probeTicket // unverified
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
	case "/favicon.ico":
		return place{kind: placeIcon}
	}
	if token, ok := strings.CutPrefix(path, "/d/"); ok && sisa.ValidToken(token) {
		return place{kind: placeLink, token: token}
	}
	if p, ok := parseProbe(path); ok {
		return place{kind: placeProbe, probe: p}
	}
	if strings.HasPrefix(path, "/s/") {
		return place{kind: placeLogo, logo: path[1:]}
	}
	for _, use := range []string{ticketFile, ticketPreview} {
		rest, ok := strings.CutPrefix(path, "/"+use+"/")
		// The name at the end is for the eyes of people and tools: not looked at.
		if f := strings.SplitN(rest, "/", 5); ok && len(f) == 5 {
			return place{kind: placeFile, file: fileTicket{use: use, linkID: f[0], part: f[1], expiry: f[2], mac: f[3]}}
		}
	}
	return place{}
}
