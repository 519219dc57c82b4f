package backup

// One run: from a data folder in use to a new generation.

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/diskspace"
	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/sisa"
	"cloakroom/sisa/blob"
)

const segmentSuffix = ".jsonl"

// Source is what is saved.
type Source struct {
	DB      *db.DB
	Blobs   *blob.Local
	Data    string // the data folder
	Secret  string // the file with the secret
	Config  []byte // the configuration file; nil: none is kept
	Host    string
	Version string
}

// Options say how it is saved.
type Options struct {
	Keep   int  // generations; at least 1
	Verify bool // files that are in the pool are read, and written anew where they are damaged
	// Progress is called now and then, if set.
	Progress func(Progress)
}

// Progress is how far a run has come.
type Progress struct {
	What      string // is being done
	Done, All int64  // bytes
}

// Result is what a run did.
type Result struct {
	Manifest
	Copied      int64    `json:"copied"` // files that were new to the pool
	CopiedBytes int64    `json:"copied_bytes"`
	Mended      int64    `json:"mended"`  // files of the pool that were damaged, and are whole again
	Deleted     int64    `json:"deleted"` // files that were deleted while the backup ran
	Dropped     []string `json:"dropped_generations"`
	Removed     int64    `json:"removed"` // files of the pool that no generation needs
	RemovedSize int64    `json:"removed_bytes"`
	SameDisk    bool     `json:"same_disk"` // the backup is on the disk that it is of
}

// run is one run under way.
type run struct {
	f    *Folder
	src  Source
	o    Options
	pool *blob.Local
	part string // the folder in which the generation grows
	out  *Result
	refs []blob.Ref // what the database names, by hash
	last *Manifest  // the generation before; nil: none

	deleted map[[32]byte]bool // files that went while the backup ran
	gone    []ledger.Key      // the mails that are forgotten
}

// Run saves everything as it is at one moment, while the daemon goes on: first the
// database is copied; then what it names is, all of which was durable before.
func (f *Folder) Run(ctx context.Context, src Source, o Options) (*Result, error) {
	r := &run{f: f, src: src, o: o, out: &Result{Dropped: []string{}}, deleted: make(map[[32]byte]bool)}
	var err error
	if r.pool, err = blob.OpenLocal(filepath.Join(f.path, blobsName)); err != nil {
		return nil, err
	}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	copied, err := r.database(ctx)
	if err != nil {
		return nil, err
	}
	defer copied.Close()
	for _, step := range []func(context.Context, *sql.DB) error{r.journal, r.small, r.files, r.end, r.prune} {
		if err := step(ctx, copied); err != nil {
			return nil, err
		}
	}
	return r.out, nil
}

// begin makes the folder in which the generation grows.
func (r *run) begin(ctx context.Context) error {
	all, err := r.f.Generations()
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	if len(all) > 0 {
		newest := all[len(all)-1]
		if err := r.sameFolder(ctx, newest); err != nil {
			return err
		}
		// One whose manifest is damaged is no reason to have no newer one.
		r.last, _ = r.f.Manifest(newest)
		last, err := time.Parse(nameLayout, newest)
		if err != nil {
			return err
		}
		if !now.After(last) { // also where the clock was set back: the newest is the last by name
			now = last.Add(time.Second)
		}
	}
	m := &r.out.Manifest
	m.Generation, m.Version, m.Hostname, m.Data, m.Begun = now.Format(nameLayout), r.src.Version, r.src.Host, r.src.Data, time.Now().UTC()
	r.part = r.f.Path(m.Generation) + partSuffix
	r.out.SameDisk = sameDisk(r.src.Data, r.f.path)
	if err := os.MkdirAll(filepath.Join(r.part, JournalName), 0o700); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

func sameDisk(a, b string) bool {
	one, err := diskspace.Device(a)
	two, err2 := diskspace.Device(b)
	return err == nil && err2 == nil && one == two
}

// room makes sure that the disk of the backup can take so many bytes more.
func (r *run) room(what string, need int64) error {
	u, err := diskspace.Of(r.f.path)
	if err != nil {
		return err
	}
	if u.Free < need {
		return fmt.Errorf("the disk of %s has %s free, and %s take %s: nothing was copied", r.f.path, message.FormatSize(u.Free), what, message.FormatSize(need))
	}
	return nil
}

func (r *run) progress(what string, done, all int64) {
	if r.o.Progress != nil {
		r.o.Progress(Progress{what, min(done, all), all})
	}
}

// database copies it and lists what it names.
func (r *run) database(ctx context.Context) (_ *sql.DB, err error) {
	size, err := r.src.DB.Size(ctx)
	if err == nil {
		err = r.room("the database", size)
	}
	if err != nil {
		return nil, err
	}
	path := filepath.Join(r.part, DatabaseName)
	stop := r.grow(path, size)
	err = r.src.DB.Snapshot(ctx, path)
	stop()
	if err != nil {
		return nil, err
	}
	file, err := hashFile(path, -1)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	file.Name = DatabaseName
	r.out.Files = append(r.out.Files, file)
	copied, err := db.OpenCopy(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := db.CheckCopy(ctx, copied); err != nil {
		return nil, errors.Join(err, copied.Close())
	}
	if r.refs, err = sisa.Stored(ctx, copied); err != nil {
		return nil, errors.Join(err, copied.Close())
	}
	return copied, nil
}

// grow tells how large a file has become, until stop.
func (r *run) grow(path string, all int64) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if st, err := os.Stat(path); err == nil {
					r.progress("database", st.Size(), all)
				}
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// journal copies as much of each segment as the database has. A segment that has
// not grown since the last generation is the same file there, where the file
// system can do that.
func (r *run) journal(ctx context.Context, copied *sql.DB) error {
	have, err := db.Positions(ctx, copied)
	if err != nil {
		return err
	}
	// A segment of which the database has nothing is saved as an empty file: a later
	// one may name it as the one before, and it would be missed.
	there, err := filepath.Glob(filepath.Join(r.src.Data, JournalName, "*"+segmentSuffix))
	if err != nil {
		return err
	}
	for _, path := range there {
		name := strings.TrimSuffix(filepath.Base(path), segmentSuffix)
		have[name] += 0
	}
	var all, done int64
	for _, size := range have {
		all += size
	}
	for segment, size := range have {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.segment(segment+segmentSuffix, size); err != nil {
			return err
		}
		done += size
		r.progress("journal", done, all)
	}
	return nil
}

func (r *run) segment(name string, size int64) error {
	entry, to := JournalName+"/"+name, filepath.Join(r.part, JournalName, name)
	if r.last != nil {
		before, old := r.last.file(entry), r.f.Path(r.last.Generation, JournalName, name)
		if before != nil && before.Size == size && sameEnds(filepath.Join(r.src.Data, JournalName, name), old, size) && os.Link(old, to) == nil {
			r.out.Files = append(r.out.Files, *before)
			return nil
		}
	}
	file, err := copyFile(filepath.Join(r.src.Data, JournalName, name), to, size)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.out.Missing = append(r.out.Missing, entry)
		return nil
	case err != nil:
		return fmt.Errorf("backup: %w", err)
	case file.Size < size:
		r.out.Damaged = append(r.out.Damaged, entry)
	}
	file.Name = entry
	r.out.Files = append(r.out.Files, file)
	return nil
}

// small copies the secret and the configuration.
func (r *run) small(context.Context, *sql.DB) error {
	file, err := copyFile(r.src.Secret, filepath.Join(r.part, SecretName), -1)
	if err != nil {
		return fmt.Errorf("backup: the secret: %w", err)
	}
	file.Name = SecretName
	r.out.Files = append(r.out.Files, file)
	if r.src.Config == nil {
		return nil
	}
	r.out.Files = append(r.out.Files, File{ConfigName, int64(len(r.src.Config)), sumOf(r.src.Config)})
	if err := writeFile(filepath.Join(r.part, ConfigName), r.src.Config); err != nil {
		return fmt.Errorf("backup: the configuration: %w", err)
	}
	return nil
}

// end gives the generation its name.
func (r *run) end(ctx context.Context, copied *sql.DB) error {
	if err := r.forgotten(ctx, copied); err != nil {
		return err
	}
	m := &r.out.Manifest
	lost := make(map[string]bool)
	for _, name := range slices.Concat(m.Missing, m.Damaged) {
		lost[name] = true
	}
	r.refs = slices.DeleteFunc(r.refs, func(ref blob.Ref) bool { return lost[blobName(ref.SHA256)] || r.deleted[ref.SHA256] })
	for _, ref := range r.refs {
		m.Bytes += ref.Size
	}
	m.Blobs = int64(len(r.refs))
	list, err := writeBlobs(filepath.Join(r.part, blobsName), r.refs)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	m.Files = append(m.Files, list)
	slices.Sort(m.Missing)
	slices.Sort(m.Damaged)
	m.Ended = time.Now().UTC()
	if err := copied.Close(); err != nil { // it left nothing beside the file
		return fmt.Errorf("backup: %w", err)
	}
	if err := r.syncPool(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return r.f.finish(r.part, m, r.refs)
}

// syncPool makes all names in the pool durable: also those of files that a run
// put there which was cut off before its syncs.
func (r *run) syncPool() error {
	for i := range 256 {
		dir := filepath.Join(r.f.path, blobsName, hex.EncodeToString([]byte{byte(i)}))
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(filepath.Join(r.f.path, blobsName))
}

// blobName is where a file is in the pool.
func blobName(sum [32]byte) string {
	name := hex.EncodeToString(sum[:])
	return strings.Join([]string{blobsName, name[:2], name}, "/")
}
