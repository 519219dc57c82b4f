package app

// The brake: while it is on, mail passes untouched. It is a file in the data
// directory, so that it holds over restarts, and works when little else does.

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// pauseName is the brake's file in the data directory. Its being there is
	// what counts; what is in it tells who, why, and until when.
	pauseName = "paused"
	// lookEvery is how long a mail may still go the old way after the brake was
	// touched: a look is one stat(2).
	lookEvery = 250 * time.Millisecond
	// maxPauseFile bounds what is read of the file, in bytes.
	maxPauseFile = 16 << 10
)

// Pause says since when mail passes untouched, and why.
type Pause struct {
	Who   string    `json:"who,omitempty"`
	Why   string    `json:"why,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"` // zero: until somebody resumes
}

// over tells whether a pause has ended by itself.
func (p *Pause) over(now time.Time) bool { return !p.Until.IsZero() && !now.Before(p.Until) }

// String tells of a pause in one line.
func (p *Pause) String() string {
	words := "mail passes untouched"
	if !p.Since.IsZero() {
		words += " since " + when(p.Since, "")
	}
	if p.Who != "" {
		words += ", by " + p.Who
	}
	if !p.Until.IsZero() {
		words += ", until " + when(p.Until, "")
	}
	if p.Why != "" {
		words += ": " + p.Why
	}
	return plain(words)
}

// Brake looks at the file, as often as somebody asks, and seldom enough for
// everybody to ask.
type Brake struct {
	path string

	looking sync.Mutex
	next    atomic.Int64 // when to look again: time.Time's Unix milliseconds
	stamp   stamp        // of the file that was read
	seen    atomic.Pointer[Pause]
	trouble atomic.Pointer[error] // of the last look
}

// stamp tells a file from the one that was there before.
type stamp struct {
	inode    uint64
	size     int64
	modified time.Time
}

// NewBrake takes the brake of a data directory.
func NewBrake(data string) *Brake { return &Brake{path: filepath.Join(data, pauseName)} }

// On gives the pause that is in force; nil for none.
func (b *Brake) On() *Pause {
	now := time.Now()
	if due := b.next.Load(); now.UnixMilli() >= due || due > now.Add(2*lookEvery).UnixMilli() { // or the clock was set back
		if due == 0 {
			b.looking.Lock() // nothing was ever seen: everybody waits
			b.look(now)
			b.looking.Unlock()
		} else if b.looking.TryLock() {
			b.look(now)
			b.looking.Unlock()
		}
	}
	if p := b.seen.Load(); p != nil && !p.over(now) {
		return p
	}
	return nil
}

// look reads the file where it is another than before. Where that cannot be
// known, what was seen last holds.
func (b *Brake) look(now time.Time) {
	defer b.next.Store(now.Add(lookEvery).UnixMilli())
	info, err := os.Stat(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		b.stamp, err = stamp{}, nil
		b.seen.Store(nil)
	} else if err == nil {
		is := stamp{size: info.Size(), modified: info.ModTime()}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			is.inode = st.Ino
		}
		if is != b.stamp {
			b.seen.Store(readPause(b.path, info))
			b.stamp = is
		}
	}
	if err != nil {
		b.trouble.Store(&err)
		return
	}
	b.trouble.Store(nil)
}

// readPause reads the file. One that says nothing is a pause all the same.
func readPause(path string, info fs.FileInfo) *Pause {
	p := new(Pause)
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		err = json.NewDecoder(io.LimitReader(f, maxPauseFile)).Decode(p)
	}
	if err != nil {
		p = new(Pause)
		if !errors.Is(err, io.EOF) { // empty, as touch makes it
			p.Why = "what " + path + " says cannot be read: " + err.Error()
		}
	}
	if p.Since.IsZero() {
		p.Since = info.ModTime()
	}
	return p
}

// watch tells of the brake until ctx ends: also when no mail comes. changed is
// called each time it was put on, changed, or taken off.
func (b *Brake) watch(ctx context.Context, log *slog.Logger, changed func()) {
	var last *Pause
	failing := false
	beat := time.NewTicker(lookEvery)
	defer beat.Stop()
	for {
		if now := b.On(); now != last {
			switch {
			case now != nil:
				log.Warn("paused: mail passes untouched, co-existence, links and uploads go on", "who", now.Who, "why", now.Why, "since", now.Since, "until", now.Until)
			case last.over(time.Now()):
				log.Info("the pause ended by itself: mail goes by the rules again", "until", last.Until)
			default:
				log.Info("resumed: mail goes by the rules again")
			}
			last = now
			changed()
		}
		if err := b.trouble.Load(); (err != nil) != failing {
			if failing = err != nil; failing {
				log.Error("whether there is a pause cannot be seen: what was seen last holds", "paused", last != nil, "err", *err)
			}
		}
		select {
		case <-beat.C:
		case <-ctx.Done():
			return
		}
	}
}

// status is what systemctl status shows of it.
func (b *Brake) status() string {
	if p := b.On(); p != nil {
		return "PAUSED, " + p.String() + "; "
	}
	return ""
}

// check asks for attention while the brake is on.
func (b *Brake) check(context.Context) (attention string, err error) {
	return b.words(), nil
}

// words tell of a pause in one line; "" while there is none.
func (b *Brake) words() string {
	if p := b.On(); p != nil {
		return p.String()
	}
	return ""
}

// Put puts the brake on, durably. It also works on a full disk, where the file
// stays empty; told says whether who and why are in it.
func (b *Brake) Put(p Pause) (told bool, err error) {
	err = writeWhole(b.path, func(w io.Writer) error { return json.NewEncoder(w).Encode(p) }, nil)
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err == nil, err
	}
	f, again := os.OpenFile(b.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, exportMode)
	if again != nil {
		return false, errors.Join(err, again)
	}
	return false, errors.Join(f.Sync(), f.Close(), syncFolder(filepath.Dir(b.path)))
}

// Release takes the brake off, durably. was is nil where it was not on.
func (b *Brake) Release() (was *Pause, err error) {
	b.next.Store(0)
	was = b.On()
	if err := os.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	b.next.Store(0)
	return was, syncFolder(filepath.Dir(b.path))
}
