package db

// The order of the journal's lines where a clock was set back: what was written
// later is to be read later, or a revoked link would be open again.

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"time"
)

// clockSlack is how far a clock may go back within a segment. What is more begins
// another one.
const clockSlack = time.Second

// order is how the lines of a segment stand to those of others: a line is as late
// as its time and ahead together, and never before since. Milliseconds.
type order struct{ since, ahead int64 }

func (o order) of(t int64) int64 { return max(o.since, t+o.ahead) }

// orderOf reads the first line of a segment. A segment that has none is of before
// there were such lines, and keeps to its own time.
func orderOf(first Record) (o order) {
	var head segmentHead
	if first.Kind == kindSegment && json.Unmarshal(first.Data, &head) == nil && head.Since > 0 {
		o.since, o.ahead = head.Since, max(0, head.Since-first.Time.UnixMilli())
	}
	return o
}

// orderIn is orderOf for a file.
func orderIn(path string) (o order, err error) {
	f, err := os.Open(path)
	if err != nil {
		return o, err
	}
	defer f.Close()
	line, _, err := readLine(bufio.NewReader(f), nil)
	if err == io.EOF {
		return o, nil
	}
	if err != nil {
		return o, err
	}
	first, err := parseLine(line)
	if err != nil {
		return o, nil // damage is reported elsewhere
	}
	return orderOf(first), nil
}

// latest tells how late the last whole line of a segment is; 0 where that is not
// known.
func latest(path string) int64 {
	o, err := orderIn(path)
	if err != nil {
		return 0
	}
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0
	}
	for size := int64(64 << 10); ; size *= 8 {
		size = min(size, end)
		buf := make([]byte, size)
		if _, err := f.ReadAt(buf, end-size); err != nil {
			return 0
		}
		buf = buf[:bytes.LastIndexByte(buf, '\n')+1]
		begin := 0
		if len(buf) > 0 {
			begin = bytes.LastIndexByte(buf[:len(buf)-1], '\n') + 1
		}
		if begin == 0 && size < min(end, 2*maxLine) {
			continue // all of it is one line
		}
		last, err := parseLine(buf[begin:])
		if err != nil {
			return 0
		}
		return o.of(last.Time.UnixMilli())
	}
}

// latestOf is latest of all segments of a day, if that is today or later: there
// the clock may have been ahead.
func latestOf(dir string, segments []segment, day, today string) (t int64) {
	if day < today {
		return 0
	}
	for _, s := range segments {
		if s.day == day {
			t = max(t, latest(filepath.Join(dir, s.file)))
		}
	}
	return t
}
