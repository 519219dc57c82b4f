package web

// One request and its answer: common headers, what is known for the log, and
// the write deadline that follows the client's pace.

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	// paceBytes is how much is handed to the connection per write deadline: with
	// stallTimeout it sets the slowest client that is still served, about 1 KB/s.
	paceBytes = 64 << 10

	// idPrefix is how many characters of a link's ID are logged: enough to find
	// it, and the ID opens nothing anyway.
	idPrefix = 12

	hstsMaxAge = 365 * 24 * time.Hour // what browsers' preload lists ask for as a minimum
)

// exchange is one request and its answer.
type exchange struct {
	*answer
	r      *http.Request
	began  time.Time
	texts  *texts
	client string // address the request came from; "" when unknown
	linkID string // "" until a link is named
	part   string // as in the request; "" until a file is named
}

// attrs describes the exchange for the log. Paths are never logged: they are secrets.
func (x *exchange) attrs() []any {
	attrs := []any{"client", x.client}
	if x.linkID != "" {
		attrs = append(attrs, "link", x.linkID[:min(idPrefix, len(x.linkID))])
	}
	if x.part != "" {
		attrs = append(attrs, "part", x.part)
	}
	return attrs
}

// pauseUntil waits until the request is as old as d, or its client has left.
func (x *exchange) pauseUntil(d time.Duration) {
	timer := time.NewTimer(d - time.Since(x.began))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.r.Context().Done():
	}
}

// html answers with a page.
func (x *exchange) html(status int, page []byte) {
	x.Header().Set("Content-Language", x.texts.Code)
	x.Header().Set("Vary", "Accept-Language")
	x.body(status, "text/html; charset=utf-8", page)
}

// text answers 200 with plain text.
func (x *exchange) text(text string) {
	x.body(http.StatusOK, "text/plain; charset=utf-8", []byte(text))
}

func (x *exchange) body(status int, mediaType string, content []byte) {
	x.Header().Set("Content-Type", mediaType)
	x.Header().Set("Content-Length", strconv.Itoa(len(content)))
	x.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		x.Write(content) // an error here is the client's leaving
	}
}

// answer is the response writer of an exchange.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	policy  string // Content-Security-Policy
	hsts    bool
	stall   time.Duration
	paced   bool // write deadlines are ours
	status  int  // 0 until the header is written
	written int64
	err     error // the first that a write met
}

func newAnswer(w http.ResponseWriter, policy string, hsts bool, stall time.Duration) *answer {
	return &answer{ResponseWriter: w, control: http.NewResponseController(w), policy: policy, hsts: hsts, stall: stall}
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) started() bool { return a.status != 0 }

// secureHeaders sets what every answer of ours has, whatever it is.
func (a *answer) secureHeaders() {
	h := a.Header()
	h.Set("Content-Security-Policy", a.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	// no-transform: a proxy that compresses would break ranges and ETags.
	h.Set("Cache-Control", "private, no-store, no-transform")
	if a.hsts {
		h.Set("Strict-Transport-Security", "max-age="+strconv.Itoa(int(hstsMaxAge.Seconds())))
	}
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	if status >= http.StatusBadRequest {
		a.secureHeaders() // http.ServeContent takes Cache-Control off its errors
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	total := 0
	for {
		piece := p[total:min(len(p), total+paceBytes)]
		a.extend()
		n, err := a.ResponseWriter.Write(piece)
		total += n
		a.count(int64(n), err)
		if err != nil || total == len(p) {
			return total, err
		}
	}
}

// ReadFrom implements io.ReaderFrom, which io.Copy prefers to Write, so that
// sendfile(2) keeps working: net/http passes a reader on to the TCP connection,
// and that uses sendfile for a file within one io.LimitedReader. So the pieces
// between two deadlines are LimitedReaders around the file itself, not around
// the caller's LimitedReader.
func (a *answer) ReadFrom(src io.Reader) (int64, error) {
	to, ok := a.ResponseWriter.(io.ReaderFrom)
	limited, isLimited := src.(*io.LimitedReader)
	if !ok || !isLimited {
		return io.Copy(struct{ io.Writer }{a}, src)
	}
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	var total int64
	for limited.N > 0 {
		size := min(limited.N, paceBytes)
		piece := &io.LimitedReader{R: limited.R, N: size}
		a.extend()
		n, err := to.ReadFrom(piece)
		limited.N -= size - piece.N
		total += n
		a.count(n, err)
		if err != nil || n < size {
			return total, err
		}
	}
	return total, nil
}

// pace replaces the server's write deadline, which is made for pages, by one
// that moves on with each piece the client took: a download may last as long as
// it makes progress. (While a handler runs net/http has no read deadline.)
func (a *answer) pace() {
	a.paced = true
	a.extend()
}

func (a *answer) extend() {
	if a.paced {
		// An error means that there is no connection below: nothing to extend.
		a.control.SetWriteDeadline(time.Now().Add(a.stall)) // real time: it is the kernel's clock that counts
	}
}

func (a *answer) count(n int64, err error) {
	a.written += n
	if a.err == nil {
		a.err = err
	}
}
