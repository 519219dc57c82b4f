package web

// Everything that is not a list of files: what went wrong, and what to do.

import (
	"context"
	"crypto/rand"
	"errors"
	"html/template"
	"net/http"
)

// note is a page of a few sentences. The same note is the same bytes for
// everyone: nothing in it depends on the link.
type note struct {
	Heading string
	Text    []string
}

var (
	homeNotice = note{"Nothing to see here", []string{
		"If a mail brought you here, please open the complete address that stands in it.",
	}}
	nothingHere = note{"There is nothing at this address", []string{
		"The address may be incomplete: some programs break long ones. Please copy all of it from the mail.",
		"It is also possible that the files were withdrawn. The sender of the mail can tell you.",
	}}
	linkExpired = note{"This link has expired", []string{
		"Its files can no longer be downloaded. If you still need them, please ask the sender of the mail.",
	}}
	addressExpired = note{"This download address has expired", []string{
		"The address was short-lived, it is made anew for each download.",
		"Please go back to the link in the mail and press Download again.",
	}}
	noSuchFile = note{"There is no such file", []string{
		"This link does not have the file that was asked for. Please go back to the list and choose one there.",
	}}
	badForm = note{"That request was not understood", []string{
		"Please go back to the list of files and press one of its Download buttons.",
	}}
	wrongMethod = note{"That cannot be done here", []string{
		"This address can be opened in a browser. Nothing else is possible with it.",
	}}
	ourFault = note{"Something went wrong on our side", []string{
		"It is nothing you did. Please try again in a few minutes.",
	}}
)

// retryAfter is when a client may try again after a 503, in seconds.
const retryAfter = "60"

// statusClientLeft is what the log has in place of an answer nobody waited for.
const statusClientLeft = 499

type notePage struct {
	frame
	note
	Reference string
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
	s.sendNote(x, status, ourFault, reference)
}

func (s *Site) sendNote(x *exchange, status int, n note, reference string) {
	for _, name := range []string{"Location", "Content-Disposition", "ETag"} {
		x.Header().Del(name) // of an answer that came to nothing
	}
	page, err := render("note.html", notePage{
		frame:     frame{Title: n.Heading, Style: template.CSS(style)},
		note:      n,
		Reference: reference,
	})
	if err != nil { // the templates are ours and tested: this is a last resort
		s.log.Error("web page not rendered", append(x.attrs(), "error", err)...)
		page = []byte(n.Heading)
	}
	x.html(status, page)
}

// newReference gives something that can be read out on the phone.
func newReference() string {
	text := rand.Text() // base32
	return text[:4] + "-" + text[4:8]
}
