package web

// The bytes of a file, behind a signed address.

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"cloakroom/sisa"
)

// serveFile answers GET and HEAD of a signed address. The link is looked up each
// time, so that a revocation holds from the next request on.
func (s *Site) serveFile(x *exchange, ticket fileTicket) {
	if !s.signer.verify(ticket) {
		s.nothing(x)
		return
	}
	x.linkID, x.part = ticket.linkID, ticket.part
	if ticket.expired(s.now()) {
		s.notice(x, http.StatusGone, noteAddress)
		return
	}
	link, err := s.links.ByID(x.r.Context(), ticket.linkID)
	if !s.usable(x, link, err) {
		return
	}
	if ticket.use == ticketFile && ticket.part == allFiles {
		s.serveAll(x, link)
		return
	}
	part, err := strconv.Atoi(ticket.part)
	file, ok := findFile(link, part)
	if err != nil || !ok {
		s.notice(x, http.StatusNotFound, noteNothing)
		return
	}
	if ticket.use == ticketPreview {
		s.servePreview(x, file)
		return
	}
	content, err := s.open(x.r.Context(), file)
	if err != nil {
		s.fail(x, blobStatus(err), err)
		return
	}
	defer content.Close()
	s.send(x, file, content)
}

// open gives a file's content, positioned at its start, of the size it must have.
func (s *Site) open(ctx context.Context, file sisa.File) (io.ReadSeekCloser, error) {
	content, err := s.blobs.Open(ctx, file.SHA256)
	if err != nil {
		return nil, fmt.Errorf("open blob %x: %w", file.SHA256, err)
	}
	size, err := content.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = content.Seek(0, io.SeekStart)
	}
	if err == nil && size != file.Size {
		err = fmt.Errorf("%w: it has %d bytes, not %d", errDamaged, size, file.Size)
	}
	if err != nil {
		content.Close()
		return nil, fmt.Errorf("open blob %x: %w", file.SHA256, err)
	}
	return content, nil
}

var errDamaged = errors.New("the stored content is damaged")

// blobStatus tells what will not mend by itself (500) from what may (503).
func blobStatus(err error) int {
	if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) {
		return http.StatusInternalServerError
	}
	return http.StatusServiceUnavailable
}

// send writes the file or the ranges of it that were asked for.
func (s *Site) send(x *exchange, file sisa.File, content io.ReadSeeker) {
	h := x.Header()
	h.Set("Content-Type", servedType(file.Type))
	h.Set("Content-Disposition", attachment(file.Name))
	h.Set("ETag", `"`+hex.EncodeToString(file.SHA256[:])+`"`)
	x.pace()
	// No modification time: content under a hash has none, and the ETag says more.
	http.ServeContent(x, x.r, "", time.Time{}, content)
	s.checkSent(x)
}

// checkSent finds what ServeContent keeps to itself: a file that ended or failed
// on the way. The client notices too, by Content-Length.
func (s *Site) checkSent(x *exchange) {
	want, err := strconv.ParseInt(x.Header().Get("Content-Length"), 10, 64)
	if err != nil || x.r.Method == http.MethodHead || x.written >= want || clientLeft(x) {
		return
	}
	cause := x.err
	if cause == nil {
		cause = io.ErrUnexpectedEOF
	}
	s.log.Error("download cut short: the stored content could not be read to its end",
		append(x.attrs(), "sent", x.written, "expected", want, "error", cause)...)
}

// clientLeft tells whether the connection, not the store, ended an answer.
func clientLeft(x *exchange) bool {
	return x.r.Context().Err() != nil ||
		errors.Is(x.err, syscall.EPIPE) || errors.Is(x.err, syscall.ECONNRESET) ||
		errors.Is(x.err, os.ErrDeadlineExceeded)
}
