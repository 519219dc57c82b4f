package app

// What `cloakroom doctor` sees of the data directory: database, secret and store,
// opened to look at and not to change; and of the places that the configuration
// names.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/config"
	"cloakroom/internal/db"
	"cloakroom/internal/doctor"
	"cloakroom/internal/jobs"
	"cloakroom/message"
	"cloakroom/policy/directory"
	"cloakroom/sisa"
	"cloakroom/sisa/blob"
)

const (
	// sampleFiles and sampleBytes are how much of the store is read: some seconds
	// of a slow disk at most.
	sampleFiles = 200
	sampleBytes = 128 << 20
	// checkShare of the time is for looking at all of the database: the rest is for
	// telling about it.
	checkShare = 0.7
)

// errNothingStored says that there is no database yet.
var errNothingStored = errors.New("nothing was ever stored here")

// open opens the data directory once for all checks: the schema stays as it is, and
// nothing is made.
func (d *Doctor) open(ctx context.Context) (*Store, error) {
	d.look.Do(func() { d.seen, d.err = openToLook(context.WithoutCancel(ctx), d.Ready()) })
	return d.seen, d.err
}

// Close ends what the checks opened, unless that takes longer than patience: the
// end of the process does it too.
func (d *Doctor) Close(patience time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.look.Do(func() { d.err = errors.New("closed") })
		if d.seen != nil {
			_ = d.seen.Close() // nothing was written
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
	}
}

func openToLook(ctx context.Context, cfg *config.Config) (*Store, error) {
	path := filepath.Join(cfg.Data, databaseName)
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && emptied(st, path) {
		if err := refuseLostDatabase(cfg.Data, path); err != nil {
			return nil, err
		}
		return nil, errNothingStored
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	s := &Store{Dir: cfg.Data}
	if s.DB, err = db.Open(ctx, db.Options{Path: path, Frozen: true, Log: unheard()}, Migrations()...); err != nil {
		return nil, err
	}
	s.Links = sisa.NewLinks(s.DB, time.Now)
	if s.Jobs, err = jobs.New(ctx, s.DB, jobs.Options{Node: cfg.Hostname, Log: unheard()}); err != nil {
		return nil, errors.Join(err, s.DB.Close())
	}
	return s, nil
}

// database looks at the structure of all of it, and whether it can be written.
func (d *Doctor) database(ctx context.Context) []doctor.Line {
	const backup = "docs/operations.md, \"The database is damaged\": keep a copy of the data folder, look at dmesg, restore from the backup"
	s, err := d.open(ctx)
	switch {
	case errors.Is(err, errNothingStored):
		return []doctor.Line{doctor.Good("none yet: %v", err)}
	case errors.Is(err, db.ErrOlder):
		return []doctor.Line{doctor.Doubtful("systemctl restart cloakroom: the new program brings it up to date", "%v", err)}
	case errors.Is(err, db.ErrNewer):
		return []doctor.Line{doctor.Bad("install the newer version of Cloakroom again", "%v", err)}
	case err != nil:
		return []doctor.Line{doctor.Bad(backup, "%v", err)}
	}
	begin := time.Now()
	free := func(ctx context.Context, tx db.Tx) error {
		var n int
		return tx.QueryRowContext(ctx, "SELECT count(*) FROM schema_migrations").Scan(&n)
	}
	if err := s.DB.Commit(ctx, nil, free); err != nil {
		return []doctor.Line{doctor.Bad("look which program holds the file (fuser -v "+filepath.Join(s.Dir, databaseName)+"); "+"dmesg", "a commit fails: %v", err)}
	}
	commit := time.Since(begin)
	size := int64(0)
	if st, err := os.Stat(filepath.Join(s.Dir, databaseName)); err == nil {
		size = st.Size()
	}
	begin = time.Now()
	short, cancel := partOf(ctx, checkShare)
	defer cancel()
	err = s.DB.Check(short)
	words := fmt.Sprintf("%s, waited %d ms for its lock", message.FormatSize(size), commit.Milliseconds())
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return []doctor.Line{doctor.Good("%s; too large to be looked at whole in %.0f s, nothing wrong was found", words, time.Since(begin).Seconds())}
	case err != nil:
		return []doctor.Line{doctor.Bad(backup, "%v", err)}
	}
	return []doctor.Line{doctor.Good("%s; looked at whole in %d ms", words, time.Since(begin).Milliseconds())}
}

// partOf gives a share of the time that ctx has left.
func partOf(ctx context.Context, share float64) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(float64(time.Until(deadline))*share))
}

// secret looks whether it is there, and the one that links were made with.
func (d *Doctor) secret(ctx context.Context) []doctor.Line {
	s, opened := d.open(ctx)
	key, err := openSecret(d.Ready(), false)
	const fix = "docs/operations.md, \"The secret is lost\": restore it from a backup, any will do"
	switch {
	case secretMissing(err) && errors.Is(opened, errNothingStored) && d.Ready().SecretFile == "":
		return []doctor.Line{doctor.Good("none yet: the first start makes it")}
	case errors.Is(err, fs.ErrPermission):
		return []doctor.Line{doctor.Bad("run this as root; for the daemon's account see the line data", "%v", err)}
	case err != nil:
		return []doctor.Line{doctor.Bad(fix, "%v", err)}
	case opened != nil:
		return []doctor.Line{doctor.Good("there; no link to compare it with")}
	}
	ends, err := s.Links.Ends(ctx)
	if err != nil {
		return []doctor.Line{doctor.Doubtful("see the line database", "there; not compared with links: %v", err)}
	}
	for i := range ends {
		if _, err := ends[i].Token(key.Derive(labelLinks)); err != nil {
			return []doctor.Line{doctor.Bad(fix+": the one that is there is another", "%v: links in delivered mail do not open", err)}
		}
	}
	if len(ends) == 0 {
		return []doctor.Line{doctor.Good("there; no link to compare it with")}
	}
	return []doctor.Line{doctor.Good("there, and the one that links were made with")}
}

// store reads some of the files.
func (d *Doctor) store(ctx context.Context) []doctor.Line {
	s, err := d.open(ctx)
	switch {
	case errors.Is(err, errNothingStored):
		return []doctor.Line{doctor.Good("empty: %v", err)}
	case err != nil:
		return []doctor.Line{doctor.Doubtful("see the line database", "not looked at, as the database cannot be read")}
	}
	folder := filepath.Join(s.Dir, blobsName)
	if _, err := os.Stat(folder); err != nil {
		return []doctor.Line{doctor.Bad("bring the folder back, or mount its disk: it has all attachments; then restart the daemon", "%v", err)}
	}
	// Not before the folder is there: it would be made.
	blobs, err := blob.OpenLocal(folder)
	if err != nil {
		return []doctor.Line{doctor.Bad("see the line data", "%v", err)}
	}
	keeper := &sisa.Keeper{DB: s.DB, Blobs: blobs, Needs: needs(), Recent: keepRecent, Now: time.Now, Log: unheard()}
	begin := time.Now()
	some, cancel := partOf(ctx, checkShare)
	defer cancel()
	found, err := keeper.Sample(some, sampleFiles, sampleBytes)
	if err != nil {
		return []doctor.Line{doctor.Bad("see the lines data and database", "%v", err)}
	}
	var bad []string
	for _, h := range found.Missing {
		bad = append(bad, h.String()[:12]+" is missing")
	}
	for _, h := range found.Damaged {
		bad = append(bad, h.String()[:12]+" is damaged")
	}
	if len(bad) > 0 {
		words := strings.Join(bad[:min(len(bad), 3)], ", ")
		return []doctor.Line{doctor.Bad("cloakroom store verify looks at all files and names the mails; restore what it finds from a backup into "+folder,
			"%d of %d files in a sample are missing or damaged: %s", len(bad), found.Blobs+int64(len(found.Missing)), words)}
	}
	return []doctor.Line{doctor.Good("a sample of %d files, %s read in %d ms: all whole", found.Blobs, message.FormatSize(found.Bytes), time.Since(begin).Milliseconds())}
}

// vault connects to all targets at once.
func (d *Doctor) vault(ctx context.Context) []doctor.Line {
	targets := d.Ready().Vault.Targets
	if len(targets) == 0 {
		return []doctor.Line{doctor.Good("no targets are configured")}
	}
	queue := make(map[string]VaultTarget)
	if s, err := d.open(ctx); err == nil {
		all, err := VaultTargets(ctx, s, d.Ready())
		if err != nil {
			return []doctor.Line{doctor.Doubtful("see the line database", "the queue cannot be read: %v", err)}
		}
		for _, t := range all {
			queue[t.Name] = t
		}
	}
	names := slices.Sorted(maps.Keys(targets))
	answers := make([]chan Check, len(names))
	for i, name := range names {
		answers[i] = make(chan Check, 1)
		go func() { answers[i] <- CheckTarget(ctx, targets[name]) }()
	}
	var out []doctor.Line
	for i, name := range names {
		q := queue[name]
		_, address := serverOf(targets[name])
		t := doctor.Target{Name: name, Address: address, Held: q.State == targetHeld, Why: q.Error, Waiting: q.Waiting + q.Held, Failed: q.Failed}
		select {
		case c := <-answers[i]:
			t.Connect, t.Question, t.Err, t.Hint = span(c.Connect), span(c.Latency), c.Error, c.Hint
		case <-ctx.Done():
			t.Err = "no answer in time"
		}
		out = append(out, t.Line())
	}
	return out
}

func span(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// directory reads the file, or asks the server as mail does: for somebody, and
// whether there is anybody.
func (d *Doctor) directory(ctx context.Context) []doctor.Line {
	cfg := d.Ready().Directory
	now := time.Now()
	facts := doctor.Directory{File: cfg.File, Oldest: d.DirectoryAge, Stale: cfg.Cache.Stale}
	if cfg.UsesLDAP() {
		facts.Server = strings.Join(cfg.LDAP.URLs, ", ")
	}
	users, err := OpenUsers(cfg, unheard())
	if err == nil {
		defer users.Close()
	}
	switch {
	case err != nil:
		facts.Err = err
	case users.file != nil:
		facts.Users, facts.None = users.file.Len(), users.file.Len() == 0
		if st, err := os.Stat(cfg.File); err == nil {
			facts.Written = st.ModTime()
		}
	case users.ldap != nil:
		_, facts.Err = users.ldap.Lookup(ctx, []string{d.milter(false).Recipient})
		facts.Took = time.Since(now)
		if facts.Err == nil {
			facts.None = true
			facts.Err = users.ldap.All(ctx, func(*directory.User) bool { facts.None = false; return false })
		}
	}
	return []doctor.Line{facts.Line(now)}
}
