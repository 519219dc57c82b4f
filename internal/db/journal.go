package db

// The journal: an append-only log of facts beside the database, synced before
// each commit. It is the audit log, and what a lost database is rebuilt from.

import (
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
)

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
	size   int64
	closed bool
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
func (j *journal) append(lines []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	day := j.now().UTC().Format(segmentDay)
	if j.file != nil && (j.day != day || j.size+int64(len(lines)) > maxSegment) {
		j.file.Close() // everything in it was synced
		j.file = nil
	}
	if j.file == nil {
		f, err := j.create(day)
		if err != nil {
			return fmt.Errorf("db: begin journal segment: %w", err)
		}
		j.file, j.day, j.size = f, day, 0
	}
	_, err := j.file.Write(lines)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.abandon()
		return fmt.Errorf("db: write journal: %w", err)
	}
	j.size += int64(len(lines))
	return nil
}

// abandon gives up a segment after a failed write. One that never held an
// acknowledged line is removed, so that a full disk is not littered with them.
func (j *journal) abandon() {
	if j.size == 0 {
		os.Remove(j.file.Name())
	}
	j.file.Close()
	j.file = nil
}

// create makes the day's next segment. O_EXCL keeps two processes apart.
func (j *journal) create(day string) (*os.File, error) {
	segments, err := listSegments(j.dir)
	if err != nil {
		return nil, err
	}
	n := 1
	for _, s := range segments {
		if s.day == day && s.number >= n {
			n = s.number + 1
		}
	}
	for ; ; n++ {
		path := filepath.Join(j.dir, fmt.Sprintf("%s-%04d%s", day, n, segmentSuffix))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := syncDir(j.dir); err != nil {
			f.Close()
			os.Remove(path)
			return nil, err
		}
		return f, nil
	}
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
	name, day string
	number    int
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
