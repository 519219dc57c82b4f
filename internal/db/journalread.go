package db

// Reading the journal back.

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// maxLine bounds a line in bytes, so that a damaged file cannot exhaust
	// memory. Writers keep it too; a mail's record is a few KB.
	maxLine = 32 << 20
	// maxDamage bounds the damaged lines that are reported one by one.
	maxDamage = 20
)

// Record is one line read back.
type Record struct {
	Time time.Time // UTC, to the millisecond
	Kind string
	Data json.RawMessage // valid until the function given to ReadJournal returns
}

// ReadJournal calls f for every record of the journal in dir. Days come in
// order; within a day the segments, which several processes may have written
// side by side, are merged by time, and the order within a segment is kept
// even where a clock was set back.
//
// A last line without its line end was torn by a crash, never acknowledged,
// and is passed over in silence. Any other line that cannot be read is passed
// over too but reported: reading goes on, and the error at the end names the
// places. An error of f ends the reading and is returned as it is.
func ReadJournal(dir string, f func(Record) error) error {
	segments, err := listSegments(dir)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	slices.SortFunc(segments, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.number, b.number))
	})
	r := journalReader{dir: dir}
	for len(segments) > 0 {
		n := 1
		for n < len(segments) && segments[n].day == segments[0].day {
			n++
		}
		if err := r.day(segments[:n], f); err != nil {
			return err
		}
		segments = segments[n:]
	}
	return r.damage()
}

type journalReader struct {
	dir     string
	damaged []error
	more    int // damaged lines beyond maxDamage
}

func (r *journalReader) damage() error {
	if r.more > 0 {
		r.damaged = append(r.damaged, fmt.Errorf("and %d more", r.more))
	}
	if len(r.damaged) == 0 {
		return nil
	}
	return fmt.Errorf("damaged journal lines were passed over: %w", errors.Join(r.damaged...))
}

func (r *journalReader) report(segment string, line int, err error) {
	if len(r.damaged) == maxDamage {
		r.more++
		return
	}
	r.damaged = append(r.damaged, fmt.Errorf("%s:%d: %w", filepath.Join(r.dir, segment), line, err))
}

// place is where a line of a day stands.
type place struct {
	t       int64 // not falling within a segment
	segment int32
	length  int32
	offset  int64
}

// day merges one day's segments: an index of all lines is sorted by time, 24
// bytes a line, then each line is read at its place.
func (r *journalReader) day(segments []segment, f func(Record) error) error {
	var index []place
	for i, s := range segments {
		var err error
		if index, err = r.index(index, int32(i), s.name); err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
	}
	if len(segments) > 1 {
		slices.SortStableFunc(index, func(a, b place) int { return cmp.Compare(a.t, b.t) })
	}
	var file *os.File
	open := int32(-1)
	defer func() { file.Close() }() // nil is allowed
	var buf []byte
	for _, p := range index {
		if p.segment != open {
			file.Close()
			var err error
			if file, err = os.Open(filepath.Join(r.dir, segments[p.segment].name)); err != nil {
				return fmt.Errorf("read journal: %w", err)
			}
			open = p.segment
		}
		buf = slices.Grow(buf[:0], int(p.length))[:p.length]
		if _, err := file.ReadAt(buf, p.offset); err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		rec, err := parseLine(buf)
		if err != nil {
			return fmt.Errorf("read journal: %s changed while it was read: %w", file.Name(), err)
		}
		if err := f(rec); err != nil {
			return err
		}
	}
	return nil
}

// index adds the readable lines of one segment.
func (r *journalReader) index(index []place, number int32, name string) ([]place, error) {
	f, err := os.Open(filepath.Join(r.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	var offset, last int64
	var line []byte
	for n := 1; ; n++ {
		var size int64
		line, size, err = readLine(in, line[:0])
		if err == io.EOF {
			return index, nil
		}
		if err != nil {
			return nil, err
		}
		if size > int64(len(line)) {
			r.report(name, n, fmt.Errorf("line of %d bytes", size))
		} else if rec, err := parseLine(line); err != nil {
			r.report(name, n, err)
		} else {
			last = max(last, rec.Time.UnixMilli())
			index = append(index, place{t: last, segment: number, length: int32(len(line)), offset: offset})
		}
		offset += size
	}
}

// readLine appends the next line to buf, with its line end, and tells its
// true size; of a line longer than maxLine only the size is of use. A line
// without an end is io.EOF.
func readLine(in *bufio.Reader, buf []byte) ([]byte, int64, error) {
	var size int64
	for {
		chunk, err := in.ReadSlice('\n')
		size += int64(len(chunk))
		if size <= maxLine+1 {
			buf = append(buf, chunk...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return buf, size, err
		}
	}
}

func parseLine(line []byte) (Record, error) {
	var raw struct {
		T    int64           `json:"t"`
		Kind string          `json:"kind"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return Record{}, err
	}
	if raw.Kind == "" {
		return Record{}, errors.New("line has no kind")
	}
	return Record{Time: time.UnixMilli(raw.T).UTC(), Kind: raw.Kind, Data: raw.Data}, nil
}
