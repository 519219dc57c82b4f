package doctor

// The clock: links expire by it, signatures and logs are compared by it. Without
// asking the network there is the kernel's word, and what must not be in the
// future.

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// wrongClock and doubtfulClock are how far it may be from others' before links
	// expire at the wrong time, and before logs cannot be compared.
	wrongClock    = 2 * time.Minute
	doubtfulClock = 5 * time.Second
	// journalTail is how much of the journal's end is searched for a line, in
	// bytes. Most lines have a few KB.
	journalTail = 256 << 10
)

// Clock asks the kernel whether somebody keeps the time, compares it with that of
// the data directory's file system, which may be a server's, and with the last
// line of the journal, which was written before now.
func Clock(data string) []Line {
	w := clockWorld{now: time.Now()}
	w.apart, w.seen = filesystemClock(data, w.now)
	w.last = lastWritten(filepath.Join(data, "journal"))
	if program, err := os.Executable(); err == nil {
		if info, err := os.Stat(program); err == nil {
			w.program = info.ModTime()
		}
	}
	var t unix.Timex
	if _, w.err = unix.Adjtimex(&t); w.err == nil {
		w.kept = t.Status&unix.STA_UNSYNC == 0
	}
	return w.lines(data)
}

// clockWorld is what can be known of the time.
type clockWorld struct {
	now     time.Time
	apart   time.Duration // the file system's clock, less ours
	seen    bool          // apart is known
	last    time.Time     // of the journal's last line; zero: not known
	program time.Time     // when this program was built or unpacked; zero: not known
	kept    bool          // the kernel says that somebody keeps the time
	err     error         // or does not say
}

func (w clockWorld) lines(data string) []Line {
	const keep = "run chrony, ntpd or systemd-timesyncd (timedatectl set-ntp true)"
	words := w.now.Format("2006-01-02 15:04:05 -07:00")
	switch {
	case w.last.Sub(w.now) > doubtfulClock:
		return []Line{w.by(w.last.Sub(w.now), keep+"; what was written in the meantime has wrong times, links made then end later than they say",
			words+"; the journal was last written at "+w.last.Local().Format("2006-01-02 15:04:05")+", in the future: the clock is slow, or was fast then")}
	case w.program.Sub(w.now) > wrongClock:
		return []Line{wrong(keep, "%s; this program is from %s, in the future", words, w.program.Format("2006-01-02 15:04:05"))}
	case w.seen && w.apart.Abs() > doubtfulClock:
		return []Line{w.by(w.apart.Abs(), "keep the time of both hosts by NTP", words+"; the file system of "+data+" is "+short(w.apart.Abs())+" apart from this host's clock")}
	case w.err != nil:
		return []Line{warn(keep, "%s; whether somebody keeps the clock cannot be seen: %v", words, w.err)}
	case !w.kept:
		return []Line{warn(keep, "%s; the kernel says that nobody keeps it", words)}
	}
	return []Line{ok("%s, synchronised", words)}
}

// by is a warning, or wrong where the clock is off by more.
func (w clockWorld) by(apart time.Duration, fix, text string) Line {
	if apart > wrongClock {
		return wrong(fix, "%s", text)
	}
	return warn(fix, "%s", text)
}

// filesystemClock makes a file and compares its time.
func filesystemClock(dir string, now time.Time) (apart time.Duration, seen bool) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	if os.Remove(f.Name()) != nil {
		return 0, false
	}
	info, err := f.Stat()
	if err != nil {
		return 0, false
	}
	return info.ModTime().Sub(now), true
}

// lastWritten is the time of the last line of a journal, as that line says; zero
// where there is none, or it cannot be read.
func lastWritten(journal string) time.Time {
	segments, err := filepath.Glob(filepath.Join(journal, "*.jsonl"))
	if err != nil || len(segments) == 0 {
		return time.Time{}
	}
	slices.Sort(segments) // named by day
	f, err := os.Open(segments[len(segments)-1])
	if err != nil {
		return time.Time{}
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return time.Time{}
	}
	tail := make([]byte, min(size, journalTail))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return time.Time{}
	}
	lines := bytes.Split(tail, []byte("\n"))
	for _, line := range slices.Backward(lines) {
		var record struct {
			T int64 `json:"t"` // milliseconds since 1970
		}
		if json.Unmarshal(line, &record) == nil && record.T > 0 {
			return time.UnixMilli(record.T)
		}
	}
	return time.Time{}
}
