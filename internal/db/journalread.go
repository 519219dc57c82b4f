package db

// Reading the journal back.

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
// places, and the segments that are missing. An error of f ends the reading and
// is returned as it is.
func ReadJournal(dir string, f func(Record) error) error {
	r := journalReader{dir: dir}
	if err := r.read(func(_ place, rec Record) error { return f(rec) }); err != nil {
		return err
	}
	return r.trouble()
}

type journalReader struct {
	dir  string
	from map[string]int64 // by the segments' names: where to begin; nil: at the beginning
	// progress is told of bytes that were read, if set.
	progress func(n int64)

	damaged []error
	more    int              // damaged lines beyond maxDamage
	ends    map[string]int64 // of segments that were read: behind the last whole line
	after   map[string]bool  // segments that are named
}

// read calls f for every record. What cannot be read is in damaged.
func (r *journalReader) read(f func(place, Record) error) error {
	segments, err := listSegments(r.dir)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	r.ends, r.after = make(map[string]int64), make(map[string]bool)
	slices.SortFunc(segments, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.number, b.number))
	})
	for left := segments; len(left) > 0; {
		n := 1
		for n < len(left) && left[n].day == left[0].day {
			n++
		}
		if err := r.day(left[:n], f); err != nil {
			return err
		}
		left = left[n:]
	}
	for _, s := range segments {
		delete(r.after, s.name())
	}
	return nil
}

// lost lists the segments that others name as the one before them, and that are
// not there.
func (r *journalReader) lost() []string { return slices.Sorted(maps.Keys(r.after)) }

// trouble is an error of all that could not be read; nil for nothing.
func (r *journalReader) trouble() error {
	var errs []error
	if len(r.damaged) > 0 {
		errs = append(errs, fmt.Errorf("damaged journal lines were passed over: %w", r.damage()))
	}
	if lost := r.lost(); len(lost) > 0 {
		errs = append(errs, fmt.Errorf("segments of the journal are missing from %s: %s", r.dir, strings.Join(lost, ", ")))
	}
	return errors.Join(errs...)
}

// damage joins what was reported.
func (r *journalReader) damage() error {
	all := r.damaged
	if r.more > 0 {
		all = append(slices.Clone(all), fmt.Errorf("and %d more", r.more))
	}
	return errors.Join(all...)
}

// report notes a line that is passed over, by where it begins.
func (r *journalReader) report(file string, offset int64, err error) {
	if len(r.damaged) == maxDamage {
		r.more++
		return
	}
	path := filepath.Join(r.dir, file)
	r.damaged = append(r.damaged, fmt.Errorf("%s:%d: %w", path, lineAt(path, offset), err))
}

// lineAt counts the lines of a file up to an offset, from 1.
func lineAt(path string, offset int64) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	n := 1
	for in := bufio.NewReader(io.LimitReader(f, offset)); ; {
		_, err := in.ReadSlice('\n')
		if err == nil {
			n++
		} else if !errors.Is(err, bufio.ErrBufferFull) {
			return n
		}
	}
}

// place is where a line of a day stands.
type place struct {
	t       int64 // in milliseconds, by order; not falling within a segment
	segment int32
	length  int32
	offset  int64
	file    string // set when the line is given to its reader
}

// end is the offset behind the line.
func (p place) end() int64 { return p.offset + int64(p.length) }

// day merges one day's segments: an index of all lines is sorted by time, some
// dozen bytes a line, then each line is read at its place.
func (r *journalReader) day(segments []segment, f func(place, Record) error) error {
	var index []place
	for i, s := range segments {
		var err error
		if index, err = r.index(index, int32(i), s); err != nil {
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
			if file, err = os.Open(filepath.Join(r.dir, segments[p.segment].file)); err != nil {
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
		p.file = segments[p.segment].file
		if err := f(p, rec); err != nil {
			return err
		}
		if r.progress != nil {
			r.progress(int64(p.length))
		}
	}
	return nil
}

// index adds the readable lines of one segment.
func (r *journalReader) index(index []place, number int32, s segment) ([]place, error) {
	f, err := os.Open(filepath.Join(r.dir, s.file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	offset := r.from[s.name()]
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(f, 64<<10)
	late, err := orderIn(filepath.Join(r.dir, s.file))
	if err != nil {
		return nil, err
	}
	var last int64
	var line []byte
	for {
		var size int64
		line, size, err = readLine(in, line[:0])
		if err == io.EOF {
			r.ends[s.name()] = offset
			return index, nil
		}
		if err != nil {
			return nil, err
		}
		rec, err := parseLine(line)
		switch {
		case size > int64(len(line)):
			r.report(s.file, offset, fmt.Errorf("line of %d bytes", size))
		case err != nil:
			r.report(s.file, offset, err)
		case rec.Kind == kindSegment:
			r.follows(rec)
		default:
			last = max(last, late.of(rec.Time.UnixMilli()))
			index = append(index, place{t: last, segment: number, length: int32(len(line)), offset: offset})
		}
		offset += size
	}
}

// follows notes what the first line of a segment says of the one before.
func (r *journalReader) follows(rec Record) {
	var head segmentHead
	if err := json.Unmarshal(rec.Data, &head); err == nil && head.After != "" {
		r.after[head.After] = true
	}
}

// wholeLines tells how many bytes of a file are lines with their end; from, where
// one begins, is where to look.
func wholeLines(path string, from int64) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return 0, err
	}
	in := bufio.NewReaderSize(f, 64<<10)
	for end, at := from, from; ; {
		chunk, err := in.ReadSlice('\n')
		at += int64(len(chunk))
		switch {
		case err == nil:
			end = at
		case errors.Is(err, io.EOF):
			return end, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return 0, err
		}
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
