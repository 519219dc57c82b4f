// Package diskspace tells how much room file systems have, and watches that it
// does not run out below what is kept in them.
package diskspace

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"cloakroom/message"
)

const (
	// lookEvery is the least time between two looks: mail comes by the hundred in
	// a second, and what one fills in that time is far below any watermark.
	lookEvery = time.Second
	// A file system is short of inodes below one in inodeShare of them, or below
	// inodesEnough where that is less: a mail takes two or three.
	inodeShare   = 100
	inodesEnough = 10_000
	// margin is how much more than the watermark must be free, as a part of it
	// (one in margin), before the shortage counts as over: one that is about to
	// begin again is not.
	margin = 4
)

// Usage is how full a file system is. Free is what a process without root's
// rights may still fill.
type Usage struct {
	Free, Size         int64 // bytes
	FreeInodes, Inodes int64 // Inodes is 0 where the file system has no fixed number
}

// Of looks at the file system that a folder is on.
func Of(folder string) (Usage, error) {
	u, _, err := look(folder)
	return u, err
}

// Device tells file systems apart by a folder on them.
func Device(folder string) (uint64, error) {
	_, device, err := look(folder)
	return device, err
}

// look tells besides which file system it is.
func look(folder string) (u Usage, device uint64, err error) {
	var fs unix.Statfs_t
	for {
		if err = unix.Statfs(folder, &fs); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Stat(folder, &st)
	}
	if err != nil {
		return Usage{}, 0, fmt.Errorf("free space of %s: %w", folder, err)
	}
	// The counts are in fragments; a block is what is best read at once, and may be
	// many of them where a file system is served by a program or another host.
	unit := int64(fs.Frsize)
	u = Usage{Free: int64(fs.Bavail) * unit, Size: int64(fs.Blocks) * unit, FreeInodes: int64(fs.Ffree), Inodes: int64(fs.Files)}
	return u, uint64(st.Dev), nil
}

// short says what there is too little of; "" for nothing. While a shortage
// lasts, more must be free for it to end than for it to begin.
func (u Usage) short(watermark int64, lasting bool) string {
	inodes := min(u.Inodes/inodeShare, inodesEnough)
	if lasting {
		watermark += watermark / margin
		inodes += inodes / margin
	}
	switch {
	case u.Free < watermark:
		return fmt.Sprintf("%s free of %s", message.FormatSize(u.Free), message.FormatSize(u.Size))
	case u.Inodes > 0 && u.FreeInodes < inodes:
		return fmt.Sprintf("%d inodes free of %d", u.FreeInodes, u.Inodes)
	}
	return ""
}

// Watch tells whether the file systems of some folders are nearly full. It is
// safe for concurrent use, and cheap enough to be asked for each mail.
type Watch struct {
	folders   []string
	log       *slog.Logger
	watermark atomic.Int64 // bytes; 0: nothing is watched
	low       atomic.Pointer[string]
	looked    atomic.Int64 // when, by clock
	clock     func() time.Duration

	looking sync.Mutex // held by who looks; the others take what was seen before
	blind   bool       // the last look failed
}

// New watches the file systems of folders, of which all but the first need not
// exist; the watermark is the free space in bytes below which they are nearly
// full, and 0 turns the watch off.
func New(watermark int64, log *slog.Logger, folders ...string) *Watch {
	begin := time.Now()
	w := &Watch{folders: folders, log: log, clock: func() time.Duration { return time.Since(begin) }}
	w.low.Store(new(string))
	w.looked.Store(int64(-lookEvery))
	w.watermark.Store(watermark)
	return w
}

// Watermark is the one in force, in bytes.
func (w *Watch) Watermark() int64 { return w.watermark.Load() }

// SetWatermark exchanges it; the next call of Low looks again.
func (w *Watch) SetWatermark(bytes int64) {
	if w.watermark.Swap(bytes) != bytes {
		w.looked.Store(int64(w.clock() - lookEvery))
	}
}

// Low says of which file system too little is free, for people; "" while all is
// well. It looks at most once a second, and what cannot be looked at stays as it
// was seen last: who writes there will hear of it.
func (w *Watch) Low() string {
	now := w.clock()
	if now-time.Duration(w.looked.Load()) < lookEvery || !w.looking.TryLock() {
		return *w.low.Load()
	}
	defer w.looking.Unlock()
	before := *w.low.Load()
	after := w.see(before)
	w.low.Store(&after)
	w.looked.Store(int64(now))
	switch {
	case before == "" && after != "":
		w.log.Warn("the disk is nearly full: no more links are made until there is room", "where", after, "low_space", message.FormatSize(w.Watermark()))
	case before != "" && after == "":
		w.log.Info("the disk has room again: links are made again")
	}
	return after
}

// see looks at each file system once.
func (w *Watch) see(before string) string {
	watermark := w.Watermark()
	if watermark == 0 {
		return ""
	}
	var seen []uint64
	for i, folder := range w.folders {
		u, device, err := look(folder)
		if i > 0 && errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			if !w.blind {
				w.log.Warn("the free space of the disk is not known: what was seen last counts", "err", err)
			}
			w.blind = true
			return before
		}
		if slices.Contains(seen, device) {
			continue
		}
		seen = append(seen, device)
		if short := u.short(watermark, before != ""); short != "" {
			w.blind = false
			return "disk of " + folder + ": " + short
		}
	}
	w.blind = false
	return ""
}
