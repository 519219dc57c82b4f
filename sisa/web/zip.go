package web

// All files of a link as one ZIP archive, made while it is sent.
//
// Files are stored, not compressed: what mail carries in size is compressed
// already, and so the archive's length is known before its first byte. A client
// sees by Content-Length whether it has all of it.

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"cloakroom/sisa"
)

const (
	// AllParts is the Part of a sisa.Download that is the archive of all files.
	AllParts = sisa.AllParts
	// allFiles is what names the archive in forms and addresses, where files have
	// their part's number.
	allFiles = "all"

	zipType = "application/zip"
	// copyBytes is how much of a file is read at once. archive/zip passes pieces
	// of this size on without copying.
	copyBytes = 256 << 10
	// timestampExtra is what archive/zip adds to an entry for its time, in bytes.
	timestampExtra = 9
	// dataDescriptor is the flag (APPNOTE 4.4.4, bit 3) for sizes behind the data.
	dataDescriptor = 1 << 3
)

// serveAll answers GET and HEAD of the signed address of an archive.
func (s *Site) serveAll(x *exchange, link sisa.Link) {
	if err := s.checkAll(x.r.Context(), link.Files); err != nil {
		s.fail(x, blobStatus(err), err)
		return
	}
	names := zipNames(link.Files)
	size, err := zipSize(link.Files, names, link.Created)
	if err != nil {
		s.fail(x, http.StatusInternalServerError, err)
		return
	}
	h := x.Header()
	h.Set("Content-Type", zipType)
	h.Set("Content-Disposition", attachment(zipName(link.Subject, x.texts)))
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Accept-Ranges", "none")
	x.pace()
	x.WriteHeader(http.StatusOK)
	if x.r.Method == http.MethodHead {
		return
	}
	if err := s.writeAll(x.r.Context(), x, link, names); err != nil {
		if !clientLeft(x) {
			s.log.Error("archive cut short: the stored content could not be read to its end",
				append(x.attrs(), "sent", x.written, "expected", size, "error", err)...)
		}
		panic(http.ErrAbortHandler) // cuts the connection: what arrived must not look whole
	}
}

// checkAll finds files that are missing or damaged while an error page can
// still be sent.
func (s *Site) checkAll(ctx context.Context, files []sisa.File) error {
	for _, f := range files {
		content, err := s.open(ctx, f)
		if err != nil {
			return err
		}
		content.Close()
	}
	return nil
}

func (s *Site) writeAll(ctx context.Context, to io.Writer, link sisa.Link, names []string) error {
	archive := zip.NewWriter(to)
	buffer := make([]byte, copyBytes)
	for i, f := range link.Files {
		if err := s.writeEntry(ctx, archive, f, zipEntry(names[i], link.Created), buffer); err != nil {
			return fmt.Errorf("file %d: %w", f.Part, err)
		}
	}
	return archive.Close()
}

func (s *Site) writeEntry(ctx context.Context, archive *zip.Writer, f sisa.File, entry *zip.FileHeader, buffer []byte) error {
	content, err := s.open(ctx, f)
	if err != nil {
		return err
	}
	defer content.Close()
	to, err := archive.CreateHeader(entry)
	if err != nil {
		return err
	}
	// Only Read and Write: with their further methods io.CopyBuffer would leave
	// our buffer alone.
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{content}, buffer)
	if err == nil && n != f.Size {
		err = fmt.Errorf("%w: it has %d bytes, not %d", errDamaged, n, f.Size)
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func zipEntry(name string, modified time.Time) *zip.FileHeader {
	return &zip.FileHeader{Name: name, Method: zip.Store, Modified: modified.UTC().Truncate(time.Second)}
}

// zipSize gives the length of the archive in bytes. It has archive/zip write one
// of the same shape, whose content is never looked at: ten thousand GB take a
// second.
func zipSize(files []sisa.File, names []string, modified time.Time) (int64, error) {
	var total lengthWriter
	archive := zip.NewWriter(&total)
	blank := make([]byte, 1<<20)
	for i, f := range files {
		if f.Size < 0 {
			return 0, errors.New("a file has a negative size")
		}
		entry := zipEntry(names[i], modified)
		entry.Flags |= dataDescriptor
		entry.CompressedSize64, entry.UncompressedSize64 = uint64(f.Size), uint64(f.Size)
		if !modified.IsZero() {
			entry.Extra = make([]byte, timestampExtra)
		}
		to, err := archive.CreateRaw(entry)
		if err != nil {
			return 0, fmt.Errorf("size of the archive: %w", err)
		}
		for left := f.Size; left > 0; {
			n, err := to.Write(blank[:min(left, int64(len(blank)))])
			if err != nil {
				return 0, fmt.Errorf("size of the archive: %w", err)
			}
			left -= int64(n)
		}
	}
	if err := archive.Close(); err != nil {
		return 0, fmt.Errorf("size of the archive: %w", err)
	}
	return int64(total), nil
}

// lengthWriter counts bytes.
type lengthWriter int64

func (l *lengthWriter) Write(p []byte) (int, error) {
	*l += lengthWriter(len(p))
	return len(p), nil
}
