package backup

// Copying: single files, and the pool.

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"cloakroom/sisa/blob"
)

// copiers copy files at the same time: a disk, or a network folder, answers syncs
// one by one.
const copiers = 4

// copyFile copies at most limit bytes of a file, below zero all of them, syncs the
// copy, and tells what it has. Errors of reading are sourceError.
func copyFile(from, to string, limit int64) (File, error) {
	in, err := os.Open(from)
	if err != nil {
		return File{}, sourceError{err}
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return File{}, err
	}
	var src io.Reader = sourceReader{in}
	if limit >= 0 {
		src = io.LimitReader(src, limit)
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), src)
	if err == nil {
		err = out.Sync()
	}
	return File{Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, errors.Join(err, out.Close())
}

// sourceError is an error of reading what is saved; others are of the backup.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// sourceReader marks the errors of a source.
type sourceReader struct{ io.Reader }

func (r sourceReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = sourceError{err}
	}
	return n, err
}

// files puts into the pool what it does not have.
func (r *run) files(ctx context.Context, _ *sql.DB) error {
	todo, size, err := r.lacking(ctx)
	if err == nil {
		err = r.room("the files", size)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan blob.Ref)
	var all sync.WaitGroup
	var mu sync.Mutex // of what follows, and of r.out
	var done int64
	for range copiers {
		all.Go(func() {
			for ref := range work {
				if err := r.copy(ctx, &mu, ref); err != nil {
					cancel(err)
				}
				mu.Lock()
				done += ref.Size
				r.progress(fmt.Sprintf("%d of %d files", r.out.Copied, len(todo)), done, size)
				mu.Unlock()
			}
		})
	}
	for _, ref := range todo {
		if ctx.Err() != nil {
			break
		}
		work <- ref
	}
	close(work)
	all.Wait()
	return context.Cause(ctx)
}

// lacking lists the files that the pool does not have, and sums up their bytes.
func (r *run) lacking(ctx context.Context) (todo []blob.Ref, size int64, err error) {
	var looked, bytes int64
	for _, ref := range r.refs {
		bytes += ref.Size
	}
	for _, ref := range r.refs {
		there, err := r.pooled(ctx, ref)
		if err != nil {
			return nil, 0, err
		}
		if !there {
			todo = append(todo, ref)
			size += ref.Size
		}
		if looked += ref.Size; r.o.Verify {
			r.progress("reading what is there", looked, bytes)
		}
	}
	return todo, size, nil
}

// pooled tells whether the pool has a file; with Verify, whether it is whole.
func (r *run) pooled(ctx context.Context, ref blob.Ref) (bool, error) {
	got, err := r.pool.Stat(ctx, ref.SHA256)
	if errors.Is(err, blob.ErrNotExist) || err == nil && got.Size != ref.Size {
		return false, nil
	}
	if err != nil || !r.o.Verify {
		return err == nil, err
	}
	if whole(ctx, r.pool, ref) {
		return true, nil
	}
	if !whole(ctx, r.src.Blobs, ref) { // the pool's may be the better one, or read the next time
		r.out.Damaged = append(r.out.Damaged, blobName(ref.SHA256))
		return true, ctx.Err()
	}
	r.out.Mended++
	return false, r.pool.Delete(ctx, ref.SHA256)
}

// whole tells whether a store has a file that is what its name says.
func whole(ctx context.Context, in *blob.Local, ref blob.Ref) bool {
	f, err := in.Open(ctx, ref.SHA256)
	if err != nil {
		return false
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && [32]byte(h.Sum(nil)) == ref.SHA256
}

// copy puts one file into the pool. What is not there, or is damaged, is noted.
func (r *run) copy(ctx context.Context, mu *sync.Mutex, ref blob.Ref) error {
	err := r.put(ctx, ref)
	needed := true
	for tries := 0; errors.Is(err, blob.ErrNotExist) && needed && tries < 2; tries++ {
		if tries > 0 { // a collector moves files aside a moment before its commit
			select {
			case <-time.After(collecting):
			case <-ctx.Done():
				return ctx.Err()
			}
			err = r.put(ctx, ref)
		}
		var lookup error
		if needed, lookup = r.known(ctx, ref.SHA256); lookup != nil {
			return lookup
		}
	}
	var reading sourceError
	mu.Lock()
	defer mu.Unlock()
	switch {
	case err == nil:
		r.out.Copied++
		r.out.CopiedBytes += ref.Size
	case !needed:
		r.out.Deleted++
		r.deleted[ref.SHA256] = true
	case errors.Is(err, blob.ErrNotExist):
		r.out.Missing = append(r.out.Missing, blobName(ref.SHA256))
	case ctx.Err() == nil && (errors.Is(err, blob.ErrMismatch) || errors.As(err, &reading)):
		r.out.Damaged = append(r.out.Damaged, blobName(ref.SHA256))
	default:
		return err
	}
	return nil
}

// collecting is longer than a collector takes from moving a file aside to its
// commit.
const collecting = 2 * time.Second

func (r *run) put(ctx context.Context, ref blob.Ref) error {
	_, err := r.pool.Put(ctx, ref, func(w io.Writer) error {
		f, err := r.src.Blobs.Open(ctx, ref.SHA256)
		if err != nil {
			return sourceError{err}
		}
		defer f.Close()
		_, err = io.Copy(w, sourceReader{f})
		return err
	})
	return err
}

// known tells whether the database of now still has a file: one that was deleted
// since the copy was made is not missed.
func (r *run) known(ctx context.Context, sum [32]byte) (bool, error) {
	var n int
	err := r.src.DB.Read().QueryRowContext(ctx, `SELECT COUNT(*) FROM blobs WHERE sha256 = $1`, sum[:]).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look up file %x: %w", sum, err)
	}
	return n > 0, nil
}
