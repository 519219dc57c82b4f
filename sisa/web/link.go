package web

// A link: its page, and the button that starts a download.

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloakroom/sisa"
)

// missTime is how long an answer about a link that does not exist takes: longer
// than a lookup, so that the time of one does not tell what it found.
const missTime = 40 * time.Millisecond

// showLink answers GET and HEAD of a link. It changes and counts nothing.
func (s *Site) showLink(x *exchange, token string) {
	link, ok := s.byToken(x, token)
	if !ok {
		return
	}
	if _, ok = s.admit(x, link, token); !ok {
		return
	}
	page, err := s.renderFiles(x, link)
	if err != nil {
		s.fail(x, http.StatusInternalServerError, err)
		return
	}
	x.html(http.StatusOK, page)
}

// postLink answers the POST of a form on a link's page: a download, or an answer
// to who the visitor is.
func (s *Site) postLink(x *exchange, token string) {
	if fromElsewhere(x.r) {
		s.notice(x, http.StatusForbidden, noteForm)
		return
	}
	if status := readForm(x); status != 0 {
		s.notice(x, status, noteForm)
		return
	}
	link, ok := s.byToken(x, token)
	if !ok {
		return
	}
	if proven, ok := s.admit(x, link, token); ok {
		s.startDownload(x, link, token, proven)
	}
}

// fromElsewhere tells whether another site made the browser send a form: it could
// use up downloads, or have codes sent, by way of strangers. Browsers that do not
// say (Fetch Metadata) are believed, and so are programs.
func fromElsewhere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}

// startDownload records the download and leads to the file, or to the archive of
// all files.
func (s *Site) startDownload(x *exchange, link sisa.Link, token, proven string) {
	values := x.r.PostForm["file"]
	if len(values) != 1 {
		s.notice(x, http.StatusBadRequest, noteForm)
		return
	}
	part := strings.TrimSpace(values[0])
	named, name := part, zipName(link.Subject, x.texts)
	number := AllParts
	if part != allFiles {
		var err error
		if number, err = strconv.Atoi(part); err != nil {
			s.notice(x, http.StatusBadRequest, noteForm)
			return
		}
		file, ok := findFile(link, number)
		if !ok {
			s.notice(x, http.StatusNotFound, noteNoFile)
			return
		}
		named, name = strconv.Itoa(file.Part), file.Name
	}
	x.linkID, x.part = link.ID, named
	if !s.count(x, &link, token, number, proven) {
		return
	}
	ticket := s.signer.ticket(ticketFile, link.ID, named, s.now().Add(s.ttl))
	s.seeOther(x, ticket.location(name))
	s.log.Info("download started", x.attrs()...)
}

// count records the download, and tells whether it may be. If not, the visitor
// was answered.
func (s *Site) count(x *exchange, link *sisa.Link, token string, part int, proven string) bool {
	fetched := s.fetched(x, link.ID)
	d := sisa.Download{LinkID: link.ID, Part: part, Client: x.client, Agent: cleanAgent(x.r.UserAgent()), At: s.now(), Proven: proven}
	patience := recordTimeout
	if link.Limited() {
		d.Again, patience = slices.Sorted(maps.Keys(fetched)), countTimeout
	}
	// The client may leave at once, and the store may be slow or down: neither
	// loses the other's business.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), patience)
	defer cancel()
	err := s.links.Downloaded(ctx, d)
	switch {
	case errors.Is(err, sisa.ErrUsedUp):
		s.log.Info("download refused: it was fetched as often as the link allows", x.attrs()...)
		s.notice(x, http.StatusGone, noteUsedUp)
		return false
	case err != nil && link.Limited():
		s.fail(x, http.StatusServiceUnavailable, err)
		return false
	case err != nil:
		s.log.Error("download not recorded", append(x.attrs(), "error", err)...)
	case link.Limited():
		for _, f := range link.Files {
			if _, again := fetched[f.Part]; !again && (part == AllParts || part == f.Part) {
				fetched[f.Part] = d.At.Add(againTime).Unix() // what is fetched again gets no more time
			}
		}
		s.setFetched(x, link.ID, token, fetched)
	}
	return true
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
		s.nothing(x)
	case errors.Is(err, sisa.ErrExpired):
		s.notice(x, http.StatusGone, noteExpired)
	default:
		s.fail(x, http.StatusServiceUnavailable, err)
	}
	return false
}

// nothing answers for a link that is unknown, revoked or forged. All of them
// take the same time, whatever the lookup did, and count as a miss.
func (s *Site) nothing(x *exchange) {
	s.limiter.miss(x.client, s.now())
	x.pauseUntil(missTime)
	s.notice(x, http.StatusNotFound, noteNothing)
}

// readForm reads a form of either kind that browsers and curl send.
func readForm(x *exchange) (status int) {
	r := x.r
	r.URL.RawQuery = "" // mail programs append tracking parameters; a malformed one is none of our business
	r.Body = http.MaxBytesReader(x.ResponseWriter, r.Body, maxFormBytes)
	// ParseMultipartForm alone would keep the errors of the usual kind to itself.
	// All of it fits into memory.
	err := r.ParseForm()
	if err == nil {
		err = r.ParseMultipartForm(maxFormBytes)
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	if err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return http.StatusBadRequest
	}
	x.began = time.Now() // see missTime: who sends slowly learns no more
	return 0
}

func findFile(link sisa.Link, part int) (sisa.File, bool) {
	i := slices.IndexFunc(link.Files, func(f sisa.File) bool { return f.Part == part })
	if i < 0 {
		return sisa.File{}, false
	}
	return link.Files[i], true
}
