package db

// Adding to a SQLite database what its journal has and it does not.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"modernc.org/sqlite"
)

const (
	// replayLines and replayBytes bound what one transaction adds to a database
	// that nobody uses yet.
	replayLines = 5000
	replayBytes = 16 << 20
)

// Replay says how lines of the journal are done again.
type Replay struct {
	// Apply does one line again, and reports whether it knows its kind. It keeps to
	// the rules of a commit function. An error that is ErrStop ends everything.
	Apply func(ctx context.Context, tx Tx, r Record) (known bool, err error)
	// Strict gives up where a line cannot be read or done, or a segment is missing;
	// else these are passed over and told.
	Strict bool
	// New says that nobody uses the database yet: it is written in many
	// transactions, and of no use after an error.
	New bool
	// Progress is told of bytes of the journal, now and then, if set.
	Progress func(done, all int64)
}

// Replayed tells what was added.
type Replayed struct {
	Lines   map[string]int64 // by kind
	Unknown map[string]int64 // lines whose kind nobody knows, which were passed over
	Passed  error            // lines that could not be read or done; nil: none
	Bad     int              // how many those are
	Lost    []string         // segments that are missing
}

// ErrReplay says that not all of the journal could be done again, and nothing was
// changed.
var ErrReplay = errors.New("not all of the journal can be read back")

// ErrStop is, in an error of Replay.Apply, that no further line is to be tried.
var ErrStop = errors.New("the journal is not read any further")

// Behind tells how many bytes of the journal the database does not have. On
// PostgreSQL, and without a journal, that is 0.
func (d *DB) Behind(ctx context.Context) (int64, error) {
	if _, ok := d.committer.(*writer); !ok || d.journal == nil {
		return 0, nil
	}
	have, err := Positions(ctx, d.read)
	if err != nil {
		return 0, err
	}
	segments, err := listSegments(d.journal.dir)
	if err != nil {
		return 0, fmt.Errorf("read journal: %w", err)
	}
	var behind int64
	for _, s := range segments {
		path := filepath.Join(d.journal.dir, s.file)
		st, err := os.Stat(path)
		if err != nil {
			return 0, fmt.Errorf("read journal: %w", err)
		}
		from := have[s.name()]
		if st.Size() <= from {
			continue
		}
		end, err := wholeLines(path, from)
		if err != nil {
			return 0, fmt.Errorf("read journal: %w", err)
		}
		behind += end - from
	}
	return behind, nil
}

// CatchUp adds what the journal has and the database does not, each line once. No
// line is written while it runs: a line beyond what the database has is one whose
// commit ended in a crash, or came after this database was copied. ErrReplay.
func (d *DB) CatchUp(ctx context.Context, o Replay) (Replayed, error) {
	all, err := d.Behind(ctx)
	if err != nil || all == 0 {
		return Replayed{}, err
	}
	y := &replaying{d: d, o: o, all: all}
	if o.New {
		err = y.inBatches(ctx)
	} else {
		err = d.Commit(ctx, nil, func(ctx context.Context, tx Tx) error { return y.atOnce(ctx, tx) })
	}
	return y.out, err
}

// replaying is one run of CatchUp.
type replaying struct {
	d         *DB
	o         Replay
	all, done int64 // bytes
	reader    *journalReader
	out       Replayed
	ends      map[string]int64 // by segment: behind the last line that was done
}

// begin looks where the database is.
func (y *replaying) begin(ctx context.Context, tx Tx) error {
	have, err := Positions(ctx, tx)
	y.reader = &journalReader{dir: y.d.journal.dir, from: have, progress: func(n int64) {
		if y.done += n; y.o.Progress != nil {
			y.o.Progress(y.done, y.all)
		}
	}}
	y.out = Replayed{Lines: make(map[string]int64), Unknown: make(map[string]int64)}
	y.ends = make(map[string]int64)
	return err
}

// atOnce does everything in one transaction, which keeps all others out.
func (y *replaying) atOnce(ctx context.Context, tx Tx) error {
	if err := y.begin(ctx, tx); err != nil {
		return err
	}
	if err := y.reader.read(func(p place, r Record) error { return y.one(ctx, tx, p, r) }); err != nil {
		return err
	}
	return y.end(ctx, tx)
}

// inBatches does everything in transactions of a bearable size.
func (y *replaying) inBatches(ctx context.Context) error {
	if err := y.begin(ctx, y.d.read); err != nil {
		return err
	}
	type line struct {
		place
		Record
	}
	var batch []line
	size := 0
	flush := func(last func(context.Context, Tx) error) error {
		err := y.d.Commit(ctx, nil, func(ctx context.Context, tx Tx) error {
			for _, l := range batch {
				if err := y.one(ctx, tx, l.place, l.Record); err != nil {
					return err
				}
			}
			return last(ctx, tx)
		})
		batch, size = batch[:0], 0
		return err
	}
	err := y.reader.read(func(p place, r Record) error {
		r.Data = slices.Clone(r.Data)
		batch = append(batch, line{p, r})
		if size += len(r.Data); len(batch) < replayLines && size < replayBytes {
			return nil
		}
		return flush(y.note)
	})
	if err != nil {
		return err
	}
	return flush(y.end)
}

// one does a line in a savepoint of its own: what fails leaves nothing behind.
func (y *replaying) one(ctx context.Context, tx Tx, p place, r Record) error {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT line"); err != nil {
		return err
	}
	known, err := y.o.Apply(ctx, tx, r)
	w := tx.(*writerTx)
	if err == nil {
		err = w.failed
	}
	if errors.Is(err, ErrStop) || ofTheDisk(err) {
		return err
	}
	if err != nil {
		w.failed = nil
		y.reader.report(p.file, p.offset, fmt.Errorf("%s: %w", r.Kind, err))
		if _, err := tx.ExecContext(ctx, "ROLLBACK TO line"); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
	case known:
		y.out.Lines[r.Kind]++
	default:
		y.out.Unknown[r.Kind]++
	}
	y.ends[segment{file: p.file}.name()] = p.end()
	_, err = tx.ExecContext(ctx, "RELEASE line")
	return err
}

// ofTheDisk tells an error of the database from one of the line: the line is as
// good as before when there is room again.
func ofTheDisk(err error) bool {
	e := (*sqlite.Error)(nil)
	return errors.As(err, &e) && slices.Contains([]int{sqliteBusy, sqliteNoMem, sqliteReadOnly, sqliteIOErr, sqliteCorrupt, sqliteFull, sqliteCantOpen}, e.Code()&0xff)
}

// end notes that everything was read, or gives up.
func (y *replaying) end(ctx context.Context, tx Tx) error {
	r := y.reader
	y.out.Lost, y.out.Bad = r.lost(), len(r.damaged)+r.more
	if y.out.Bad > 0 {
		y.out.Passed = r.damage()
	}
	if y.o.Strict && (y.out.Bad > 0 || len(y.out.Lost) > 0) {
		return fmt.Errorf("%w: %w", ErrReplay, r.trouble())
	}
	for name, end := range r.ends {
		y.ends[name] = end
	}
	return y.note(ctx, tx)
}

// note writes down how far the database is.
func (y *replaying) note(ctx context.Context, tx Tx) error {
	for _, name := range slices.Sorted(maps.Keys(y.ends)) {
		if _, err := tx.ExecContext(ctx, putPosition, name, y.ends[name]); err != nil {
			return fmt.Errorf("db: note the place in the journal: %w", err)
		}
	}
	return nil
}
