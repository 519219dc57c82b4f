package db

// The journal: an append-only log of facts beside the database, synced before
// each commit. It is the audit log, and what a lost database is rebuilt from.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxSegment is the size in bytes after which a new segment is begun: a
	// file that any tool can still open.
	maxSegment = 64 << 20

	segmentDay    = "2006-01-02"
	segmentSuffix = ".jsonl"

	// kindSegment is the kind of the first line of a segment, which is not for
	// the readers of facts.
	kindSegment = "segment"
)

// segmentHead is the first line of a segment.
type segmentHead struct {
	// After is the segment that was the last before: so one that was lost is
	// missed. "" for the first of all.
	After string `json:"after"`
	// Since is the time of the latest line that was there already, in milliseconds
	// since 1970, where the clock is behind that: see order.
	Since int64 `json:"since,omitempty"`
}

// Fact is one line of the journal. Data is marshalled to JSON after the
// commit function returned, so that the function may still complete what Data
// points to.
type Fact struct {
	Kind string // names who reads it back and how, such as "link"
	Data any
}

// Entry is what one commit adds to the journal, a line for each fact; nil
// adds none. Facts are written before the transaction commits and a repeated
// mail writes them again: readers take them as true, and as often as they come.
type Entry []Fact

// journalLine is the form of a line on disk.
type journalLine struct {
	T    int64  `json:"t"` // milliseconds since 1970, UTC
	Kind string `json:"kind"`
	Data any    `json:"data"`
}

// appendLines adds entry's lines to buf; on an error buf is as it was.
func appendLines(buf []byte, entry Entry, now time.Time) ([]byte, error) {
	out := buf
	for _, fact := range entry {
		line, err := json.Marshal(journalLine{now.UnixMilli(), fact.Kind, fact.Data})
		if err != nil {
			return buf, fmt.Errorf("db: journal entry %q: %w", fact.Kind, err)
		}
		if len(line) > maxLine {
			return buf, fmt.Errorf("db: journal entry %q has %d bytes, the limit is %d", fact.Kind, len(line), maxLine)
		}
		out = append(append(out, line...), '\n')
	}
	return out, nil
}

// journal writes segments. Each process writes segments of its own, begun
// when it has its first line: nobody ever appends to a line torn by a crash.
type journal struct {
	dir string
	now func() time.Time

	mu     sync.Mutex
	file   *os.File // nil: the next append begins a segment
	day    string
	last   time.Time // the latest time at which it was written to
	head   int64     // bytes of the first line
	size   int64     // bytes of acknowledged lines behind it
	closed bool
	// left are segments that nothing more is written to, by name, and how many
	// bytes of them were acknowledged: as long as settled was not called.
	left map[string]int64
}

func openJournal(dir string, now func() time.Time) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("db: journal: %w", err)
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("db: journal: %w", err)
	}
	return &journal{dir: dir, now: now}, nil
}

// append writes whole lines and syncs them. After an error nothing more goes
// into that segment: what the file holds is then not known.
func (j *journal) append(lines []byte) error { return j.appendAt(lines, nil) }

// appendAt is append that tells, before it writes, in which segment the lines
// will stand, and how many bytes it will have then; and the same of segments that
// were left before, with whatever lines came into them without being
// acknowledged: those are not to be done again long after, over what happened
// since. An error of before is returned, and nothing is written.
func (j *journal) appendAt(lines []byte, before func(segment string, end int64) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	now := j.now().UTC()
	day := now.Format(segmentDay)
	if j.file != nil && (j.day != day || j.size+int64(len(lines)) > maxSegment || now.Before(j.last.Add(-clockSlack))) {
		j.leave() // everything in it was synced
	}
	if j.file == nil {
		f, err := j.create(day)
		if err != nil {
			return fmt.Errorf("db: begin journal segment: %w", err)
		}
		j.file, j.day, j.size, j.last = f, day, 0, now
	}
	if now.After(j.last) {
		j.last = now
	}
	if before != nil {
		if err := j.tellLeft(before); err != nil {
			return err
		}
		if err := before(j.segment(), j.head+j.size+int64(len(lines))); err != nil {
			return err
		}
	}
	_, err := j.file.Write(lines)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.abandon()
		return fmt.Errorf("db: write journal: %w", err)
	}
	if j.size += int64(len(lines)); before == nil {
		j.left = nil // nobody asks
	}
	return nil
}

// abandon gives up a segment after a failed write. One that never held an
// acknowledged line is removed, so that a full disk is not littered with them.
func (j *journal) abandon() {
	if j.size == 0 && os.Remove(j.file.Name()) == nil {
		j.file.Close()
		j.file = nil
		return
	}
	j.leave()
}

// leave ends a segment.
func (j *journal) leave() {
	if j.left == nil {
		j.left = make(map[string]int64)
	}
	j.left[j.segment()] = j.head + j.size
	j.file.Close()
	j.file = nil
}

// segment is the name of the one that is written to.
func (j *journal) segment() string {
	return strings.TrimSuffix(filepath.Base(j.file.Name()), segmentSuffix)
}

// tellLeft tells of the segments that were left.
func (j *journal) tellLeft(f func(segment string, end int64) error) error {
	for name, end := range j.left {
		if all, err := wholeLines(filepath.Join(j.dir, name+segmentSuffix), end); err == nil {
			end = all
		}
		if err := f(name, end); err != nil {
			return err
		}
	}
	return nil
}

// settled says that what before of appendAt was told is known for good.
func (j *journal) settled() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.left = nil
}

// create makes the day's next segment, with its first line. O_EXCL keeps two
// processes apart. Where the clock was set back over midnight, it is one more of
// the day that was the last.
func (j *journal) create(day string) (*os.File, error) {
	segments, err := listSegments(j.dir)
	if err != nil {
		return nil, err
	}
	after := segment{}
	for _, s := range segments {
		if after.less(s) {
			after = s
		}
	}
	since := latestOf(j.dir, segments, after.day, day)
	n := 1
	if after.day >= day {
		day, n = after.day, after.number+1
	}
	for ; ; n++ {
		s := segment{fmt.Sprintf("%s-%04d%s", day, n, segmentSuffix), day, n}
		path := filepath.Join(j.dir, s.file)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
		if errors.Is(err, fs.ErrExist) {
			if after.less(s) {
				after = s
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := j.begin(f, segmentHead{after.name(), since}); err != nil {
			f.Close()
			os.Remove(path)
			return nil, err
		}
		return f, nil
	}
}

// begin writes the first line of a segment, which is synced with those behind it,
// and makes the segment's name durable.
func (j *journal) begin(f *os.File, head segmentHead) error {
	now := j.now()
	if head.Since <= now.UnixMilli() {
		head.Since = 0
	}
	line, err := appendLines(nil, Entry{{kindSegment, head}}, now)
	if err != nil {
		return err
	}
	if _, err := f.Write(line); err != nil {
		return err
	}
	j.head = int64(len(line))
	return syncDir(j.dir)
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// segment is a file of the journal.
type segment struct {
	file, day string
	number    int
}

// name is how a segment is called elsewhere: its file without the suffix.
func (s segment) name() string { return strings.TrimSuffix(s.file, segmentSuffix) }

// less tells that s is an earlier segment than o, by its name.
func (s segment) less(o segment) bool {
	return cmp.Or(cmp.Compare(s.day, o.day), cmp.Compare(s.number, o.number)) < 0
}

// listSegments returns the segments of dir, unsorted; other files are none
// of ours.
func listSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok || len(name) < len(segmentDay)+2 || name[len(segmentDay)] != '-' {
			continue
		}
		day := name[:len(segmentDay)]
		number, err := strconv.Atoi(name[len(segmentDay)+1:])
		if _, dayErr := time.Parse(segmentDay, day); err != nil || dayErr != nil || number < 0 {
			continue
		}
		out = append(out, segment{e.Name(), day, number})
	}
	return out, nil
}
