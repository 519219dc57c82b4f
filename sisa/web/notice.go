package web

// Everything that is not a list of files: what went wrong, and what to do.

import (
	"context"
	"crypto/rand"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// note is a page of a few sentences: the texts NOTE_heading and NOTE_text. The
// same note is the same bytes for everyone: nothing in it depends on the link.
type note string

const (
	noteHome    note = "home"
	noteNothing note = "nothing"
	noteExpired note = "expired"
	noteAddress note = "address" // a signed address ran out
	noteNoFile  note = "no_file"
	noteForm    note = "form"
	noteMethod  note = "method"
	noteBusy    note = "busy"
	noteFault   note = "fault"
	noteUsedUp  note = "used_up" // as often as the link allows
)

// retryAfter is when a client may try again after a 503, in seconds.
const retryAfter = "60"

// statusClientLeft is what the log has in place of an answer nobody waited for.
const statusClientLeft = 499

type notePage struct {
	frame
	Heading   string
	Text      []string
	Reference template.HTML
}

// notice answers with a page of a few sentences.
func (s *Site) notice(x *exchange, status int, n note) {
	s.sendNote(x, status, n, "")
}

// fail answers that we could not do our part. The page and the log carry the
// same reference, so that a recipient's report finds the cause.
func (s *Site) fail(x *exchange, status int, cause error) {
	if errors.Is(cause, context.Canceled) && x.r.Context().Err() != nil {
		x.status = statusClientLeft
		return
	}
	reference := newReference()
	s.log.Error("web request failed", append(x.attrs(), "reference", reference, "status", status, "error", cause)...)
	if x.started() {
		return
	}
	if status == http.StatusServiceUnavailable {
		x.Header().Set("Retry-After", retryAfter)
	}
	s.sendNote(x, status, noteFault, reference)
}

func (s *Site) sendNote(x *exchange, status int, n note, reference string) {
	for _, name := range []string{"Location", "Content-Disposition", "ETag"} {
		x.Header().Del(name) // of an answer that came to nothing
	}
	heading := x.texts.Say(string(n) + "_heading")
	data := notePage{frame: s.frame(x, heading), Heading: heading, Text: x.texts.Lines(string(n) + "_text")}
	var err error
	if reference != "" {
		data.Reference, err = x.texts.Markup("reference", "reference",
			template.HTML(`<strong class="reference">`+template.HTMLEscapeString(reference)+`</strong>`))
	}
	var page []byte
	if err == nil {
		page, err = render("note.html", data)
	}
	if err != nil { // the templates are ours and tested: this is a last resort
		s.log.Error("web page not rendered", append(x.attrs(), "error", err)...)
		page = []byte(heading)
	}
	x.html(status, page)
}

// busy answers a client that asked for too much.
func (s *Site) busy(x *exchange, wait time.Duration) {
	seconds := retryIn(x, wait)
	level := slog.LevelDebug // whoever floods us shall not flood the log too
	if s.busyLog.take("", s.now()) == 0 {
		level = slog.LevelWarn
	}
	s.log.Log(x.r.Context(), level, "web: too many requests of a client",
		append(x.attrs(), "wait", seconds, "forwarded", x.r.Header.Get("X-Forwarded-For") != "")...)
	s.notice(x, http.StatusTooManyRequests, noteBusy)
}

// retryIn tells the client how long to wait, in seconds.
func retryIn(x *exchange, wait time.Duration) (seconds int) {
	seconds = int(wait.Seconds()) + 1
	x.Header().Set("Retry-After", strconv.Itoa(seconds))
	return seconds
}

// newReference gives something that can be read out on the phone.
func newReference() string {
	text := rand.Text() // base32
	return text[:4] + "-" + text[4:8]
}
