package backup

// The way back: from a generation to an empty data folder.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"cloakroom/internal/db"
	"cloakroom/internal/diskspace"
	"cloakroom/message"
	"cloakroom/sisa/blob"
)

// UnfinishedName is a file in a data folder into which a backup is being restored,
// or that was cut off: nothing may work with such a folder.
const UnfinishedName = "restoring"

// ErrNotEmpty is returned for a data folder that has something in it.
var ErrNotEmpty = errors.New("the data folder is not empty")

// ErrOtherJournal is returned for a journal that does not go on where the backup's
// ends.
var ErrOtherJournal = errors.New("the journal is not the one that was saved")

// Restoring says what is restored, and where to.
type Restoring struct {
	Generation string // "": the newest
	Data       string
	// Journal is a folder with a journal that goes on where the backup's ends; "":
	// there is none.
	Journal string
	// Secret is also restored; else the configuration names a file elsewhere.
	Secret bool
	// Progress is called now and then, if set.
	Progress func(Progress)
}

// Restored tells what came back.
type Restored struct {
	Manifest Manifest `json:"backup"`
	Blobs    int64    `json:"blobs"`
	Bytes    int64    `json:"bytes"`
	Absent   []string `json:"absent"`  // files that the backup does not have any more
	Damaged  []string `json:"damaged"` // or that are not what their names say; and segments of the journal
	Journal  int      `json:"segments_added"`
	// Reaches tells that the journal has all that the newest backup has.
	Reaches bool `json:"-"`
}

// restore is one under way.
type restore struct {
	f   *Folder
	o   Restoring
	out *Restored
}

// Restore fills an empty data folder. Every file is compared with its SHA-256
// while it is copied. The database comes last: until then nothing starts there, and
// a Restore that was cut off can be begun again.
func (f *Folder) Restore(ctx context.Context, o Restoring) (*Restored, error) {
	m, err := f.Manifest(o.Generation)
	if err != nil {
		return nil, err
	}
	r := &restore{f: f, o: o, out: &Restored{Manifest: *m, Absent: []string{}, Damaged: []string{}}}
	if err := r.begin(); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{r.journal, r.secret, r.blobs, r.database} {
		if err := step(ctx); err != nil {
			return r.out, err
		}
	}
	return r.out, nil
}

// Finish takes the mark of an unfinished restore away.
func Finish(data string) error {
	if err := os.Remove(filepath.Join(data, UnfinishedName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(data)
}

// begin marks the folder, which must be empty or marked.
func (r *restore) begin() error {
	if err := os.MkdirAll(r.o.Data, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	mark := filepath.Join(r.o.Data, UnfinishedName)
	_, err := os.Stat(mark)
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh {
		if err := isEmpty(r.o.Data); err != nil {
			return err
		}
		if err := writeFile(mark, []byte("from "+r.f.path+"\n")); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
	} else if err := r.startOver(); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	u, err := diskspace.Of(r.o.Data)
	if err != nil {
		return err
	}
	need := r.out.Manifest.Bytes
	for _, file := range r.out.Manifest.Files {
		need += file.Size
	}
	if fresh && u.Free < need {
		return fmt.Errorf("the disk of %s has %s free, and the backup has %s", r.o.Data, message.FormatSize(u.Free), message.FormatSize(need))
	}
	for _, name := range []string{blobsName, JournalName} {
		if err := os.MkdirAll(filepath.Join(r.o.Data, name), 0o700); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
	}
	return syncDir(r.o.Data)
}

// startOver removes what a restore that was cut off has put there and that is not
// known by its content: it may have been of another backup, and a database that was
// opened left its log.
func (r *restore) startOver() error {
	old, err := filepath.Glob(filepath.Join(r.o.Data, JournalName, "*.jsonl*"))
	if err != nil {
		return err
	}
	for _, ending := range []string{"", "-wal", "-shm", "-journal"} {
		old = append(old, filepath.Join(r.o.Data, DatabaseName+ending))
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// isEmpty looks whether a folder has nothing but what file systems and mounts make,
// and the lock.
func isEmpty(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	for _, e := range entries {
		if slices.Contains([]string{"lost+found", "lock"}, e.Name()) {
			continue
		}
		if e.IsDir() {
			inside, err := os.ReadDir(filepath.Join(folder, e.Name()))
			if err == nil && (len(inside) == 0 || len(inside) == 1 && inside[0].Name() == "lost+found") {
				continue
			}
		}
		return fmt.Errorf("%w: %s has %s", ErrNotEmpty, folder, e.Name())
	}
	return nil
}

func (r *restore) progress(what string, done, all int64) {
	if r.o.Progress != nil {
		r.o.Progress(Progress{what, min(done, all), all})
	}
}

// put copies one file of the generation, and compares it with its sum.
func (r *restore) put(name, to string) error {
	want := r.out.Manifest.file(name)
	if want == nil {
		return fmt.Errorf("backup %s has no %s", r.out.Manifest.Generation, name)
	}
	temp := to + ".restoring"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	got, err := copyFile(r.f.Path(r.out.Manifest.Generation, filepath.FromSlash(name)), temp, -1)
	if err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	if got.Size != want.Size || got.SHA256 != want.SHA256 {
		return errors.Join(fmt.Errorf("%s of backup %s is damaged: its SHA-256 is %s, and should be %s", name, r.out.Manifest.Generation, got.SHA256, want.SHA256), os.Remove(temp))
	}
	return rename(temp, to)
}

func (r *restore) secret(context.Context) error {
	if !r.o.Secret {
		return nil
	}
	return r.put(SecretName, filepath.Join(r.o.Data, SecretName))
}

// blobs restores the files. What is not there, or damaged, is noted: the rest is
// worth having.
func (r *restore) blobs(ctx context.Context) error {
	list, err := hashFile(r.f.Path(r.out.Manifest.Generation, blobsName), -1)
	if want := r.out.Manifest.file(blobsName); err != nil || want == nil || list.SHA256 != want.SHA256 {
		return errors.Join(fmt.Errorf("the list of files of backup %s is damaged", r.out.Manifest.Generation), err)
	}
	refs, err := r.f.Blobs(r.out.Manifest.Generation)
	if err != nil {
		return err
	}
	pool, err := blob.OpenLocal(filepath.Join(r.f.path, blobsName))
	if err != nil {
		return err
	}
	store, err := blob.OpenLocal(filepath.Join(r.o.Data, blobsName))
	if err != nil {
		return err
	}
	var done int64
	for _, ref := range refs {
		_, err := store.Put(ctx, ref, func(w io.Writer) error {
			f, err := pool.Open(ctx, ref.SHA256)
			if err != nil {
				return sourceError{err}
			}
			defer f.Close()
			_, err = io.Copy(w, sourceReader{f})
			return err
		})
		var reading sourceError
		switch {
		case errors.Is(err, blob.ErrNotExist):
			r.out.Absent = append(r.out.Absent, blobName(ref.SHA256))
		case errors.Is(err, blob.ErrMismatch) || errors.As(err, &reading) && ctx.Err() == nil:
			r.out.Damaged = append(r.out.Damaged, blobName(ref.SHA256))
		case err != nil:
			return err
		default:
			r.out.Blobs++
			r.out.Bytes += ref.Size
		}
		done += ref.Size
		r.progress(fmt.Sprintf("%d files", r.out.Blobs), done, r.out.Manifest.Bytes)
	}
	return nil
}

func (r *restore) database(context.Context) error {
	return r.put(DatabaseName, filepath.Join(r.o.Data, DatabaseName))
}

// Checked tells what a check of a generation found.
type Checked struct {
	Manifest Manifest `json:"backup"`
	Bytes    int64    `json:"bytes"` // that were read
	Absent   []string `json:"absent"`
	Damaged  []string `json:"damaged"`
}

// OK tells whether all is there and whole.
func (c *Checked) OK() bool { return len(c.Absent)+len(c.Damaged) == 0 }

// Check reads a generation with all its files, "" the newest, and looks into the
// database.
func (f *Folder) Check(ctx context.Context, generation string, progress func(Progress)) (*Checked, error) {
	m, err := f.Manifest(generation)
	if err != nil {
		return nil, err
	}
	c := &Checked{Manifest: *m, Absent: []string{}, Damaged: []string{}}
	all := m.Bytes
	for _, file := range m.Files {
		all += file.Size
	}
	one := func(name, path string, want File) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := hashFile(path, -1)
		c.Bytes += got.Size
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c.Absent = append(c.Absent, name)
		case err != nil || got.SHA256 != want.SHA256 || got.Size != want.Size:
			c.Damaged = append(c.Damaged, name)
		}
		if progress != nil {
			progress(Progress{"reading", min(c.Bytes, all), all})
		}
		return nil
	}
	for _, file := range m.Files {
		if err := one(file.Name, f.Path(m.Generation, filepath.FromSlash(file.Name)), file); err != nil {
			return c, err
		}
	}
	refs, err := f.Blobs(m.Generation)
	if err != nil {
		return c, err
	}
	for _, ref := range refs {
		name := blobName(ref.SHA256)
		want := File{Size: ref.Size, SHA256: filepath.Base(name)}
		if err := one(name, filepath.Join(f.path, filepath.FromSlash(name)), want); err != nil {
			return c, err
		}
	}
	return c, f.checkDatabase(ctx, m.Generation, c)
}

// checkDatabase looks into the database of a generation that has its sum.
func (f *Folder) checkDatabase(ctx context.Context, generation string, c *Checked) error {
	if slices.Contains(c.Absent, DatabaseName) || slices.Contains(c.Damaged, DatabaseName) {
		return nil
	}
	d, err := db.OpenCopy(ctx, f.Path(generation, DatabaseName))
	if err != nil {
		return err
	}
	if err := db.CheckCopy(ctx, d); err != nil {
		c.Damaged = append(c.Damaged, DatabaseName+": "+err.Error())
	}
	return d.Close()
}
