package backup

// What goes: generations beyond those that are kept, files that none of them
// needs, and those of mails that were forgotten.

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
	"cloakroom/sisa/blob"
)

// staleTemp is the age from which a temporary file in the pool is of a run that
// died: others may run where the file system knows no locks.
const staleTemp = 24 * time.Hour

// forgotten writes down which mails are not to come back. What the list had
// before and not now came again since.
func (r *run) forgotten(ctx context.Context, copied *sql.DB) error {
	var err error
	if r.gone, err = ledger.Forgotten(ctx, copied); err != nil {
		return err
	}
	var text bytes.Buffer
	for _, key := range r.gone {
		fmt.Fprintln(&text, key)
	}
	temp := filepath.Join(r.f.path, "."+forgottenName)
	if err := writeFile(temp, text.Bytes()); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return rename(temp, filepath.Join(r.f.path, forgottenName))
}

// Forgotten lists the mails that were forgotten by the time of the last backup:
// what is restored from an older one must forget them again.
func (f *Folder) Forgotten() (keys []ledger.Key, err error) {
	text, err := os.ReadFile(filepath.Join(f.path, forgottenName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		key, err := ledger.ParseKey(strings.TrimSpace(in.Text()))
		if err != nil {
			return nil, fmt.Errorf("backup: %s: %w", forgottenName, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// prune drops old generations, then files of the pool. It comes last: a run that
// is cut off here has lost nothing.
func (r *run) prune(ctx context.Context, _ *sql.DB) error {
	all, err := r.f.Generations()
	if err != nil {
		return err
	}
	for len(all) > max(1, r.o.Keep) {
		if err := r.f.drop(all[0]); err != nil {
			return err
		}
		r.out.Dropped = append(r.out.Dropped, all[0])
		all = all[1:]
	}
	keep, err := r.kept(ctx, all)
	if err != nil {
		return err
	}
	err = r.pool.Walk(ctx, func(ref blob.Ref) error {
		if keep[ref.SHA256] {
			return nil
		}
		r.out.Removed++
		r.out.RemovedSize += ref.Size
		return r.pool.Delete(ctx, ref.SHA256)
	})
	if err == nil {
		_, err = r.pool.Sweep(ctx, time.Now().Add(-staleTemp))
	}
	if err != nil {
		return fmt.Errorf("remove what no backup needs: %w", err)
	}
	return nil
}

// drop removes a generation, which is none any more from the first moment on.
func (f *Folder) drop(name string) error {
	old := f.Path(name) + oldSuffix
	if err := rename(f.Path(name), old); err != nil {
		return err
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// kept are the files that some generation needs: those of the new one, and of the
// others without what belongs to mails that were forgotten since.
func (r *run) kept(ctx context.Context, generations []string) (map[[32]byte]bool, error) {
	keep := make(map[[32]byte]bool)
	for _, name := range generations {
		refs, err := r.f.Blobs(name)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			keep[ref.SHA256] = true
		}
	}
	gone, err := r.goneFiles(ctx, generations)
	if err != nil {
		return nil, err
	}
	for sum := range gone {
		delete(keep, sum)
	}
	for _, ref := range r.refs { // others have it too
		keep[ref.SHA256] = true
	}
	return keep, nil
}

// goneFiles are the files that only mails which are forgotten have, in all
// generations but the new one. All of these mails are looked for each time: a run may
// have been cut off between its list and here.
func (r *run) goneFiles(ctx context.Context, generations []string) (map[[32]byte]bool, error) {
	gone, forgotten := make(map[[32]byte]bool), make(map[ledger.Key]bool)
	for _, key := range r.gone {
		forgotten[key] = true
	}
	for _, look := range []func(*sql.DB) error{
		func(d *sql.DB) error {
			for _, key := range r.gone {
				sums, err := ledger.Contents(ctx, d, key)
				if err != nil {
					return err
				}
				for _, sum := range sums {
					gone[sum] = true
				}
			}
			return nil
		},
		func(d *sql.DB) error { // another mail may have had it that is retired since
			for sum := range gone {
				mails, err := ledger.Keepers(ctx, d, sum)
				if err != nil {
					return err
				}
				if slices.ContainsFunc(mails, func(key ledger.Key) bool { return !forgotten[key] }) {
					delete(gone, sum)
				}
			}
			return nil
		},
	} {
		for _, name := range generations {
			if len(r.gone) == 0 || name == r.out.Generation {
				continue
			}
			d, err := db.OpenCopy(ctx, r.f.Path(name, DatabaseName))
			if err != nil {
				return nil, err
			}
			if err := errors.Join(look(d), d.Close()); err != nil {
				return nil, fmt.Errorf("backup %s: %w", name, err)
			}
		}
	}
	return gone, nil
}
