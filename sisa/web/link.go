package web

// A link: its page, and the button that starts a download.

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"cloakroom/sisa"
)

// showLink answers GET and HEAD of a link. It changes and counts nothing.
func (s *Site) showLink(x *exchange, token string) {
	link, ok := s.byToken(x, token)
	if !ok {
		return
	}
	page, err := renderFiles(s.host, link, s.now())
	if err != nil {
		s.fail(x, http.StatusInternalServerError, err)
		return
	}
	x.html(http.StatusOK, page)
}

// startDownload answers the POST of a link's form: it records the download and
// leads to the file.
func (s *Site) startDownload(x *exchange, token string) {
	part, status := formPart(x)
	if status != 0 {
		s.notice(x, status, badForm)
		return
	}
	link, ok := s.byToken(x, token)
	if !ok {
		return
	}
	file, ok := findFile(link, part)
	if !ok {
		s.notice(x, http.StatusNotFound, noSuchFile)
		return
	}
	s.record(x, link.ID, file.Part)
	ticket := s.signer.ticket(link.ID, file.Part, s.now().Add(s.ttl))
	x.Header().Set("Location", ticket.location(file.Name))
	x.Header().Set("Content-Length", "0")
	x.WriteHeader(http.StatusSeeOther)
	s.log.Info("download started", x.attrs()...)
}

// byToken looks a link up, or answers why there is none.
func (s *Site) byToken(x *exchange, token string) (sisa.Link, bool) {
	x.linkID = sisa.TokenID(token)
	link, err := s.links.ByToken(x.r.Context(), token)
	return link, s.usable(x, link, err)
}

// usable tells whether a lookup gave a link that may be used now, and if not
// answers why.
func (s *Site) usable(x *exchange, link sisa.Link, err error) bool {
	if err == nil && !link.Expires.IsZero() && !s.now().Before(link.Expires) {
		err = sisa.ErrExpired // between the lookup and now, or by another clock
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, sisa.ErrNotFound):
		s.notice(x, http.StatusNotFound, nothingHere)
	case errors.Is(err, sisa.ErrExpired):
		s.notice(x, http.StatusGone, linkExpired)
	default:
		s.fail(x, http.StatusServiceUnavailable, err)
	}
	return false
}

// formPart reads the form's one field. The status is that of the refusal, or 0.
func formPart(x *exchange) (part, status int) {
	r := x.r
	r.URL.RawQuery = "" // mail programs append tracking parameters; a malformed one is none of our business
	r.Body = http.MaxBytesReader(x.ResponseWriter, r.Body, maxFormBytes)
	// Both kinds of form that curl sends; ParseMultipartForm alone would keep the
	// errors of the usual kind to itself. All of it fits into memory.
	err := r.ParseForm()
	if err == nil {
		err = r.ParseMultipartForm(maxFormBytes)
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return 0, http.StatusRequestEntityTooLarge
	}
	if err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return 0, http.StatusBadRequest
	}
	values := r.PostForm["file"]
	if len(values) != 1 {
		return 0, http.StatusBadRequest
	}
	part, err = strconv.Atoi(strings.TrimSpace(values[0]))
	if err != nil {
		return 0, http.StatusBadRequest
	}
	return part, 0
}

func findFile(link sisa.Link, part int) (sisa.File, bool) {
	i := slices.IndexFunc(link.Files, func(f sisa.File) bool { return f.Part == part })
	if i < 0 {
		return sisa.File{}, false
	}
	return link.Files[i], true
}

// record notes the download. The client may leave at once, and the store may be
// slow or down: neither loses the other's business.
func (s *Site) record(x *exchange, linkID string, part int) {
	x.linkID, x.part = linkID, strconv.Itoa(part)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), recordTimeout)
	defer cancel()
	err := s.links.Downloaded(ctx, sisa.Download{
		LinkID: linkID,
		Part:   part,
		Client: x.client,
		Agent:  cleanAgent(x.r.UserAgent()),
		At:     s.now(),
	})
	if err != nil {
		s.log.Error("download not recorded", append(x.attrs(), "error", err)...)
	}
}
