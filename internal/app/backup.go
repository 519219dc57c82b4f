package app

// Saving the data folder, and giving it back.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"cloakroom/flow"
	"cloakroom/internal/backup"
	"cloakroom/internal/config"
	"cloakroom/internal/secret"
	"cloakroom/sisa"
)

// account is the user of the daemon, where the package made it.
const account = "cloakroom"

// PrepareBackup makes the folder for a backup where it is missing, as the owner of
// the data folder's own. It is to be called before BecomeOwner.
func PrepareBackup(cfg *config.Config, dir string) error {
	if err := apart(cfg.Data, dir); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("backup folder: %w", err)
	}
	return giveLike(cfg.Data, dir)
}

// apart refuses a backup in the data folder, and the other way round.
func apart(data, dir string) error {
	a, err := realPath(data)
	if err != nil {
		return err
	}
	b, err := realPath(dir)
	if err != nil {
		return err
	}
	inside := func(in, of string) bool {
		rel, err := filepath.Rel(of, in)
		return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
	}
	if inside(a, b) || inside(b, a) {
		return fmt.Errorf("%s and the data folder %s must not be in each other", b, a)
	}
	return nil
}

// realPath follows symbolic links as far as the path is there.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		parent, err := realPath(filepath.Dir(path))
		return filepath.Join(parent, filepath.Base(path)), err
	}
	return real, err
}

// giveLike gives a file to the owner of another, where we may.
func giveLike(model, path string) error {
	info, err := os.Stat(model)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}

// Backup saves the data folder as it is now, while the daemon goes on. text is the
// configuration file.
func (s *Store) Backup(ctx context.Context, cfg *config.Config, text []byte, version, dir string, o backup.Options) (r *backup.Result, err error) {
	f, err := backup.Create(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Run(ctx, backup.Source{DB: s.DB, Blobs: s.Blobs, Data: cfg.Data, Secret: secretFile(cfg), Config: text,
		Host: cfg.Hostname, Version: version}, o)
}

// secretFile is where the secret is.
func secretFile(cfg *config.Config) string {
	if cfg.SecretFile != "" {
		return cfg.SecretFile
	}
	return filepath.Join(cfg.Data, secret.FileName)
}

// RestoreOptions says what is restored.
type RestoreOptions struct {
	Actor      string
	Generation string // "": the newest
	Journal    string // a folder with a journal that survived; "": none
	Progress   func(backup.Progress)
}

// DataRestored tells what is there again.
type DataRestored struct {
	backup.Restored
	Forgotten int                `json:"forgotten_again"` // mails that were forgotten after the backup
	Copies    int64              `json:"copies_waiting"`  // of mail, which may have been sent since
	Store     *sisa.Verification `json:"store"`
	Config    string             `json:"config"` // where the configuration of that time is; "" if it was not kept
}

// OK tells whether all that mails need is there.
func (r *DataRestored) OK() bool { return len(r.Damaged) == 0 && r.Store.OK() && !r.lacksJournal() }

// lacksJournal tells that a segment of the journal is missing; files that are are
// told by Store, if anything needs them.
func (r *DataRestored) lacksJournal() bool {
	return slices.ContainsFunc(r.Absent, func(name string) bool { return strings.HasPrefix(name, backup.JournalName+"/") })
}

// RestoreData puts a backup into the empty data folder of a configuration. Run by
// root, what it makes belongs to whoever owns the folder.
func RestoreData(ctx context.Context, cfg *config.Config, dir string, o RestoreOptions, log *slog.Logger) (r *DataRestored, err error) {
	if err := apart(cfg.Data, dir); err != nil {
		return nil, err
	}
	if o.Journal != "" {
		if err := apart(cfg.Data, o.Journal); err != nil {
			return nil, fmt.Errorf("the journal that survived must be moved out of the data folder first: %w", err)
		}
	}
	f, err := backup.Open(dir)
	if err != nil {
		return nil, err
	}
	m, err := f.Manifest(o.Generation)
	if err != nil {
		return nil, err
	}
	if err := sameSecret(cfg, f.Path(m.Generation, backup.SecretName)); err != nil {
		return nil, err
	}
	if err := makeData(cfg.Data); err != nil {
		return nil, err
	}
	lock, err := lockData(cfg.Data)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	got, err := f.Restore(ctx, backup.Restoring{Generation: m.Generation, Data: cfg.Data, Journal: o.Journal, Secret: cfg.SecretFile == "", Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	r = &DataRestored{Restored: *got}
	if slices.ContainsFunc(m.Files, func(file backup.File) bool { return file.Name == backup.ConfigName }) {
		r.Config = f.Path(m.Generation, backup.ConfigName)
	}
	forgotten, err := f.Forgotten()
	if err != nil {
		return nil, err
	}
	if err := giveAll(cfg.Data); err != nil {
		return nil, err
	}
	if err := BecomeOwner(cfg.Data); err != nil {
		return nil, err
	}
	s, err := openData(ctx, cfg, false, false, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	k := s.Keeper(log)
	k.Forgets = forgetAllJobs
	if o.Journal == "" || !got.Reaches { // which else tells it itself, and what came again since
		if r.Forgotten, err = k.ForgetAgain(ctx, forgotten, sisa.Act{By: o.Actor, Reason: "restore of an older backup"}); err != nil {
			return nil, err
		}
	}
	if err := backup.Finish(cfg.Data); err != nil {
		return nil, err
	}
	if r.Store, err = k.Verify(ctx, sisa.VerifyOptions{Names: true}); err != nil {
		return nil, err
	}
	err = s.DB.Read().QueryRowContext(ctx, `SELECT COUNT(*) FROM jobs WHERE kind = $1 AND state IN ('waiting', 'running', 'held')`, flow.JobCopy).Scan(&r.Copies)
	if err != nil {
		return nil, fmt.Errorf("count copies: %w", err)
	}
	return r, s.Audited(ctx, o.Actor, "restore a backup", m.Generation, func(context.Context) (string, error) {
		return fmt.Sprintf("%d files, %d missing or damaged", r.Blobs, len(r.Store.Missing)+len(r.Damaged)), nil
	})
}

// sameSecret looks whether the secret of a backup is that of the configuration,
// where it is a file of its own.
func sameSecret(cfg *config.Config, saved string) error {
	if cfg.SecretFile == "" {
		return nil
	}
	was, err := secret.OpenFile(saved)
	if err != nil {
		return err
	}
	is, err := secret.OpenFile(cfg.SecretFile)
	if err != nil {
		return fmt.Errorf("%w; that of the backup is %s", err, saved)
	}
	if string(LogKey(was)) != string(LogKey(is)) {
		return fmt.Errorf("secret_file %s is another secret than that of the backup, %s: links would not fit", cfg.SecretFile, saved)
	}
	return nil
}

// makeData makes a missing data folder; run by root, for the daemon's account.
func makeData(data string) error {
	err := os.Mkdir(data, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	u, err := user.Lookup(account)
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return fmt.Errorf("user %s: %w", account, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return fmt.Errorf("user %s: %w", account, err)
	}
	return os.Lchown(data, uid, gid)
}

// giveAll gives everything in the data folder to its owner, where we may.
func giveAll(data string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	data, err := filepath.EvalSymlinks(data) // a link is not walked into
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == data {
			return err
		}
		return giveLike(data, path)
	})
}
