package admin

// What all pages have: the frame, the templates, the files beside them.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"cloakroom/ledger/audit"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static/style.css
var styleFile []byte

//go:embed static/live.js
var scriptFile []byte

//go:embed static/icon.svg
var iconFile []byte

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"number": number, "size": size, "moment": moment, "plain": plain, "short": short, "age": ageWords, "percent": percent,
	"count": countWords, "target": targetWords, "digits": digits, "tail": tail,
	"seconds": secondsWords, "list": func(all ...string) []string { return all },
}).ParseFS(templateFiles, "templates/*.html"))

// idDigits are shown of ids, as the commands do.
const idDigits = 8

// digits are the first ones of an id, tail the last ones of a job's key.
func digits(id string) string { return id[:min(len(id), idDigits)] }
func tail(key string) string  { return key[max(0, len(key)-idDigits):] }

// queryTime bounds what the database does for one page. What takes longer is a
// search that needs to be narrowed.
const queryTime = 10 * time.Second

// frame is what every page has.
type frame struct {
	Title   string
	Here    string // the page's path, for the menu
	Style   string
	Script  string
	Icon    string
	Live    bool // the page refreshes itself
	Who     visitor
	Mode    string
	Paused  string // of a pause; "" for none
	Node    string
	Ready   bool
	Results []Result
	CSRF    string
	Now     time.Time
	Done    *audit.Act // what was just done
	Version string
}

// menu are the pages.
func (frame) Menu() [][2]string {
	return [][2]string{{"/", "Overview"}, {"/report", "Report"}, {"/queue", "Queue"}, {"/targets", "Targets"}, {"/links", "Links"}, {"/trace", "Trace"}, {"/store", "Store"}, {"/audit", "Audit"}}
}

// Trouble are the checks that do not pass.
func (f frame) Trouble() []Result {
	var out []Result
	for _, r := range f.Results {
		if !r.OK {
			out = append(out, r)
		}
	}
	return out
}

// pageFunc makes a page: the template and what fills it.
type pageFunc func(r *http.Request, f *frame) (name string, data any, err error)

// problem is an error that has a status of its own.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func notFound(text string) error { return &problem{http.StatusNotFound, text} }
func badRequest(format string, args ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// page serves a page.
func (s *Server) page(make pageFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), queryTime)
		defer cancel()
		r = r.WithContext(ctx)
		f := s.frame(w, r)
		name, data, err := make(r, f)
		s.show(w, r, f, name, data, err)
	})
}

// show writes a page, or what went wrong.
func (s *Server) show(w http.ResponseWriter, r *http.Request, f *frame, name string, data any, err error) {
	status := http.StatusOK
	if err != nil {
		status = http.StatusServiceUnavailable
		text := err.Error()
		if p, ok := errors.AsType[*problem](err); ok {
			status = p.status
		} else if errors.Is(r.Context().Err(), context.DeadlineExceeded) {
			text = fmt.Sprintf("This took longer than %v and was given up: narrow the search, by a sender or a time.", queryTime)
		} else {
			s.log.Error("admin: page failed", "path", r.URL.Path, "err", err)
		}
		name, data = "problem.html", text
		f.Title, f.Live = "That did not work", false
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, struct {
		*frame
		Data any
	}{f, data}); err != nil {
		s.log.Error("admin: page failed", "path", r.URL.Path, "err", err)
		http.Error(w, "the page could not be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes()) // who has left need not hear it
}

func (s *Server) frame(w http.ResponseWriter, r *http.Request) *frame {
	f := &frame{Here: r.URL.Path, Style: stylePath, Script: scriptPath, Icon: iconPath, Who: visitorOf(r.Context()), Node: s.watch.p.Node, Now: s.now(),
		Results: s.watch.results(), Version: s.watch.p.Build.Version}
	f.Ready = ready(f.Results)
	if s.watch.p.Mode != nil {
		f.Mode = s.watch.p.Mode()
	}
	if s.watch.p.Paused != nil {
		f.Paused = s.watch.p.Paused()
	}
	if f.Who.acts {
		f.CSRF = s.csrf(w, r)
	}
	if id := r.URL.Query().Get("did"); id != "" {
		if act, err := audit.Get(r.Context(), s.watch.p.DB.Read(), id); err == nil {
			f.Done = act
		}
	}
	return f
}

// The files beside the pages have their content's hash in their names, so that
// browsers may keep them for good.
var (
	stylePath  = staticPath("style", ".css", styleFile)
	scriptPath = staticPath("live", ".js", scriptFile)
	iconPath   = staticPath("icon", ".svg", iconFile)
)

func staticPath(name, extension string, content []byte) string {
	sum := sha256.Sum256(content)
	return "/static/" + name + "-" + hex.EncodeToString(sum[:6]) + extension
}

func serveStatic(w http.ResponseWriter, r *http.Request) {
	var content []byte
	switch r.URL.Path {
	case stylePath:
		content = styleFile
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
	case scriptPath:
		content = scriptFile
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	case iconPath:
		content = iconFile
		w.Header().Set("Content-Type", "image/svg+xml")
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(content) // who has left need not hear it
}

// trimmed is a field of the query.
func trimmed(r *http.Request, name string) string { return strings.TrimSpace(r.URL.Query().Get(name)) }
