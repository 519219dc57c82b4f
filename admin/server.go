// Package admin is the listener for administrators: health, metrics for
// Prometheus, and the dashboard.
//
//	GET  /healthz            the process answers
//	GET  /readyz             mail can be handled; if not, why not
//	GET  /metrics            for Prometheus
//	GET  /                   today, and how it went
//	GET  /report /queue /targets /links /trace /store /audit
//	GET  /act                the question before anything is changed
//	POST /act                the change
//	GET  /debug/pprof/       profiles, where that is asked for
//
// Pages work without scripts; a script refreshes them. Nothing is loaded from
// elsewhere. Whatever is changed is remembered in ledger/audit, under the name of
// who did it: where nobody names himself, nothing can be changed.
//
// Limits: one role, that may do everything; no sessions beyond the browser's.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"cloakroom/internal/certificate"
	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/sisa"
)

const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	// writeTimeout is longer than pprof's 30 s and than the test of a target.
	writeTimeout   = 90 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10 // bytes
	maxFormBytes   = 64 << 10 // bytes: the keys of a page of jobs
	// bindAgain is how often an address that is taken is tried again.
	bindAgain = 30 * time.Second
)

// Build is what is running.
type Build struct{ Version, Commit string }

// Jobs says which jobs are meant: those with the keys, or all that match what
// else is said.
type Jobs struct {
	Keys                       []string
	State, Kind, Target, Owner string
}

// Acts is what administrators can do to the queue: the same as by command.
type Acts interface {
	// CountJobs tells how many jobs an act (hold, release, retry, drop) would be
	// about, what would be lost, and up to when they were made.
	CountJobs(ctx context.Context, act string, which Jobs) (n int, lost string, until time.Time, err error)
	// ChangeJobs does it, to those made until then, and tells what it did.
	ChangeJobs(ctx context.Context, act string, which Jobs, until time.Time) (outcome string, err error)
	// SetTarget holds a target as a whole, or releases it.
	SetTarget(ctx context.Context, kind, target string, hold bool) (outcome string, err error)
	// TestTarget puts a file there and takes it away again.
	TestTarget(ctx context.Context, target string) (outcome string, err error)
}

// Target is a configured target, as people know it.
type Target struct{ Name, Kind, Address string }

// Parts are what the listener works with.
type Parts struct {
	Meters *Meters
	DB     *db.DB
	Jobs   *jobs.Store
	Links  *sisa.Links
	Acts   Acts
	Checks []Check
	// Targets are the configured ones.
	Targets func() []Target
	// Disk tells the free space and the size of the data folder's disk, in bytes,
	// and whether it is too full for links; nil: not known.
	Disk func() (free, size int64, low bool, err error)
	// Loops tells how many recipients were refused because their mail came back.
	Loops func() int64
	Build Build
	Node  string // of a fleet
	Mode  func() string
	// Paused tells of a pause in which mail passes untouched; "" while there is
	// none. Nil: there never is.
	Paused   func() string
	QueueAge time.Duration // see Config; set by Open
	Now      func() time.Time
	Log      *slog.Logger
}

// Server serves administrators.
type Server struct {
	cfg     Config
	guard   *guard
	watch   *watch
	handler http.Handler
	log     *slog.Logger
	now     func() time.Time
	tls     *certificate.Certificate // nil: none
	cross   *http.CrossOriginProtection

	tried chan struct{} // closed when the address was first tried
	once  sync.Once

	mu   sync.Mutex
	addr net.Addr
}

// Open makes a server and reads the files that cfg, which is valid, names; its
// error begins with the key of the file.
func Open(cfg Config, p Parts) (*Server, error) {
	p.QueueAge = cfg.QueueAge
	g, err := newGuard(cfg, p.Now)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, guard: g, watch: &watch{p: p, now: p.Now}, log: p.Log, now: p.Now, cross: http.NewCrossOriginProtection(), tried: make(chan struct{})}
	if cfg.TLS.CertFile != "" {
		if s.tls, err = certificate.Open(cfg.TLS, "admin", p.Now, p.Log); err != nil {
			return nil, err
		}
	}
	registry, err := newRegistry(s.watch)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	s.handler = s.routes(metricsHandler(registry))
	return s, nil
}

// CheckFiles reads the files that a valid configuration names, as Open does. Its
// error begins with the key of the file.
func (c Config) CheckFiles() error {
	if c.Listen == "" {
		return nil
	}
	_, err := newGuard(c, time.Now)
	if err == nil && c.TLS.CertFile != "" {
		_, err = certificate.Open(c.TLS, "admin", time.Now, slog.New(slog.DiscardHandler))
	}
	return err
}

func (s *Server) routes(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.known(metrics))
	mux.HandleFunc("GET /static/{file}", serveStatic)
	for path, page := range map[string]pageFunc{
		"/{$}": s.overview, "/report": s.report, "/queue": s.queue, "/queue/{key}": s.job, "/targets": s.targets, "/links": s.links, "/links/{id}": s.link,
		"/trace": s.trace, "/store": s.storePage, "/audit": s.audit, "/act": s.ask,
	} {
		mux.Handle("GET "+path, s.known(s.page(page)))
	}
	mux.Handle("GET /audit.jsonl", s.known(http.HandlerFunc(s.auditExport)))
	mux.Handle("POST /act", s.known(http.HandlerFunc(s.act)))
	if s.cfg.PProf {
		mux.Handle("GET /debug/pprof/", s.known(http.HandlerFunc(pprof.Index)))
		mux.Handle("GET /debug/pprof/cmdline", s.known(http.HandlerFunc(pprof.Cmdline)))
		mux.Handle("GET /debug/pprof/profile", s.known(http.HandlerFunc(pprof.Profile)))
		mux.Handle("GET /debug/pprof/symbol", s.known(http.HandlerFunc(pprof.Symbol)))
		mux.Handle("GET /debug/pprof/trace", s.known(http.HandlerFunc(pprof.Trace)))
	}
	return s.outer(mux)
}

// policy lets a page load its own style and script and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// outer is what holds for every answer.
func (s *Server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !s.guard.hostAllowed(r) {
			http.Error(w, "This listener asks nobody for a name, and so it only answers to localhost and loopback addresses. Set admin.token_file or admin.password_file to use another name.", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
		next.ServeHTTP(w, r)
	})
}

type visitorKey struct{}

// known lets in who may come in.
func (s *Server) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := s.guard.check(r)
		if !v.in {
			if r.Header.Get("Authorization") != "" { // not the first request of a browser, which has none
				s.log.Warn("administrator: refused, the name, password or token is wrong", "client", r.RemoteAddr)
			}
			if s.cfg.PasswordFile != "" {
				w.Header().Set("WWW-Authenticate", `Basic realm="Cloakroom", charset="UTF-8"`)
			} else {
				w.Header().Set("WWW-Authenticate", `Bearer realm="Cloakroom"`)
			}
			http.Error(w, "who are you? See admin.token_file and admin.password_file of the configuration", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitorKey{}, v)))
	})
}

func visitorOf(ctx context.Context) visitor {
	v, _ := ctx.Value(visitorKey{}).(visitor)
	return v
}

// Handler answers the requests, for tests that bring a listener of their own.
func (s *Server) Handler() http.Handler { return s.handler }

// Addr is where the server listens; nil before it does.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Tried is closed once Run has tried its address, whether it got it or not.
func (s *Server) Tried() <-chan struct{} { return s.tried }

// Run listens, serves and keeps watch until ctx ends. An address that cannot be
// had is logged and tried again: mail does not depend on it.
func (s *Server) Run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { s.watch.run(ctx) })
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ConnContext: withPeer,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	if s.tls != nil {
		server.TLSConfig = s.tls.Config()
	}
	group.Go(func() {
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTime)
		defer cancel()
		if err := server.Shutdown(late); err != nil {
			server.Close()
		}
	})
	for ctx.Err() == nil {
		err := s.serve(server)
		if errors.Is(err, http.ErrServerClosed) {
			return
		}
		s.log.Error("no health, metrics and dashboard for now; mail goes on, and the address is tried again", "listen", s.cfg.Listen, "err", err)
		select {
		case <-time.After(bindAgain):
		case <-ctx.Done():
		}
	}
}

func (s *Server) serve(server *http.Server) error {
	ln, err := listen(s.cfg)
	defer s.once.Do(func() { close(s.tried) })
	if err != nil {
		return err
	}
	defer ln.Close()
	s.mu.Lock()
	s.addr = ln.Addr()
	s.mu.Unlock()
	s.log.Info("health, metrics and dashboard", "listen", ln.Addr().String())
	s.once.Do(func() { close(s.tried) })
	if server.TLSConfig != nil {
		return server.ServeTLS(ln, "", "")
	}
	return server.Serve(ln)
}
