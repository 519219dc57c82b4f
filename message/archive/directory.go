package archive

// The central directory of a zip, and all the places where readers look for it.

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxEnds is how many ends of a zip are looked at: where there are several,
// readers differ in which they take.
const maxEnds = 4

// directory is where a central directory should be.
type directory struct {
	start, end int64
	entries    uint64
	exact      bool // it must end at end, with so many entries
}

// readDirectories reads the central directories that readers may come to, and
// tells whether there is any end of a zip.
func (f *file) readDirectories() (found bool, err error) {
	ends := f.ends()
	if len(ends) > 1 {
		f.incomplete("it has several directories")
	}
	for _, at := range ends {
		if err := f.readEnd(at); err != nil {
			return true, err
		}
	}
	return len(ends) > 0, nil
}

// ends lists the offsets in the tail where the end of a zip (section 4.3.16) may
// be: the last one, which most readers take, and those whose comment reaches
// exactly to the end of the file.
func (f *file) ends() (out []int) {
	for at := len(f.tail); len(out) < maxEnds; {
		at = bytes.LastIndex(f.tail[:at], []byte(endSignature))
		if at < 0 {
			break
		}
		if at+endLen > len(f.tail) {
			continue
		}
		if comment := int(le.Uint16(f.tail[at+20:])); len(out) == 0 || at+endLen+comment == len(f.tail) {
			out = append(out, at)
		}
	}
	return out
}

// readEnd reads the directory that the end at an offset in the tail names.
func (f *file) readEnd(at int) error {
	b := f.tail[at:]
	pos := f.size - int64(len(f.tail)) + int64(at)
	if int(le.Uint16(b[20:]))+endLen > len(b) {
		f.incomplete("it is cut off")
	}
	disk, first := le.Uint16(b[4:]), le.Uint16(b[6:])
	here, entries := le.Uint16(b[8:]), le.Uint16(b[10:])
	length, offset := le.Uint32(b[12:]), le.Uint32(b[16:])
	open := disk == 0xffff || first == 0xffff || here == 0xffff || entries == 0xffff || length == 0xffffffff || offset == 0xffffffff
	if big, err := f.readEnd64(at, pos); big || err != nil {
		if !open {
			f.incomplete("it has two directories") // and readers take one or the other
			return errors.Join(err, f.readDirectory(pos, uint64(length), uint64(offset), uint64(entries)))
		}
		return err
	}
	if disk != 0 || first != 0 || here != entries {
		f.incomplete("it is one of several volumes")
	}
	return f.readDirectory(pos, uint64(length), uint64(offset), uint64(entries))
}

// readEnd64 reads the directory named by the zip64 end (section 4.3.14), if
// there is one before the end at pos.
func (f *file) readEnd64(at int, pos int64) (found bool, err error) {
	if at < locatorLen || string(f.tail[at-locatorLen:at-locatorLen+4]) != locatorSignature {
		return false, nil
	}
	written := le.Uint64(f.tail[at-locatorLen+8:])
	if le.Uint32(f.tail[at-locatorLen+4:]) != 0 || le.Uint32(f.tail[at-locatorLen+16:]) > 1 {
		f.incomplete("it is one of several volumes")
	}
	// Before the locator, if nothing follows its fixed fields; else where the
	// locator says.
	at64 := pos - locatorLen - end64Len
	b := f.end64(at64)
	if b == nil && written < uint64(pos) {
		at64 = int64(written)
		if b, err = f.part(at64, end64Len); err != nil {
			return true, err
		}
	}
	if len(b) < end64Len || string(b[:4]) != end64Signature {
		f.incomplete("its zip64 end is not there")
		return true, nil
	}
	if version := b[12]; version > 45 && le.Uint64(b[4:]) > end64Len-12 {
		f.contents.Encrypted = true // version 2 of the record: an encrypted directory
		f.incomplete("its directory is encrypted")
	}
	return true, f.readDirectory(at64, le.Uint64(b[40:]), le.Uint64(b[48:]), le.Uint64(b[32:]))
}

// end64 is the zip64 end at an offset of the file, if it is in the tail.
func (f *file) end64(pos int64) []byte {
	at := pos - (f.size - int64(len(f.tail)))
	if at < 0 || at+end64Len > int64(len(f.tail)) || string(f.tail[at:at+4]) != end64Signature {
		return nil
	}
	return f.tail[at : at+end64Len]
}

// readDirectory reads the directory that ends where its end begins; and, as
// some readers go by the offset that is written there, what is at that offset.
func (f *file) readDirectory(end int64, length, offset, entries uint64) error {
	if length > uint64(end) {
		f.incomplete("its directory is not where it should be")
	} else if err := f.entries(directory{end - int64(length), end, entries, true}); err != nil {
		return err
	}
	if offset >= uint64(end) || offset == uint64(end)-min(length, uint64(end)) {
		return nil
	}
	b, err := f.part(int64(offset), 4)
	if err != nil || string(b) != directorySignature {
		return err
	}
	f.incomplete("it has two directories")
	return f.entries(directory{int64(offset), end, entries, false})
}

// entries reads the entries of a directory (section 4.3.12).
func (f *file) entries(d directory) error {
	length := d.end - d.start
	if length > maxDirectory {
		f.incomplete("its directory is too large")
		length = maxDirectory
	}
	source := &remembering{r: f.r}
	r := bufio.NewReaderSize(io.NewSectionReader(source, d.start, length), 32<<10)
	count, err := f.eachEntry(r)
	switch {
	case source.err != nil:
		return source.err
	case !d.exact:
	case err != nil:
		f.incomplete("its directory is broken")
	case count != d.entries && (d.entries > 0xffff || uint64(uint16(count)) != d.entries):
		f.incomplete("its directory has another number of files than it says")
	}
	return nil
}

var errNoEntry = errors.New("not an entry of a directory")

// eachEntry reads entries up to the end of r, and counts them.
func (f *file) eachEntry(r *bufio.Reader) (count uint64, err error) {
	var b [directoryLen]byte
	name := make([]byte, 0, 256)
	for {
		if _, err := io.ReadFull(r, b[:4]); err == io.EOF {
			return count, nil
		} else if err != nil {
			return count, err
		}
		switch string(b[:4]) {
		case directorySignature:
		case "PK\x05\x05": // digital signature (section 4.3.13)
			_, err := io.ReadFull(r, b[4:6])
			if err == nil {
				_, err = r.Discard(int(le.Uint16(b[4:])))
			}
			if err != nil {
				return count, err
			}
			continue
		case decryptSignature:
			f.contents.Encrypted = true
			return count, errNoEntry
		default:
			return count, errNoEntry
		}
		if _, err := io.ReadFull(r, b[4:]); err != nil {
			return count, err
		}
		count++
		flags, method := le.Uint16(b[8:]), le.Uint16(b[10:])
		named, extra := int(le.Uint16(b[28:])), int(le.Uint16(b[30:]))
		f.flags(flags, method)
		if cap(name) < named+extra {
			name = make([]byte, named+extra)
		}
		name = name[:named+extra]
		if _, err := io.ReadFull(r, name); err != nil {
			return count, err
		}
		if flags&flagMasked == 0 {
			f.entry(name[:named], name[named:], flags, le.Uint32(b[20:]) == 0 && le.Uint32(b[24:]) == 0)
		}
		if _, err := r.Discard(int(le.Uint16(b[32:]))); err != nil {
			return count, err
		}
	}
}

// remembering keeps an error of the source apart from the ends of what is read.
type remembering struct {
	r   io.ReaderAt
	err error
}

func (r *remembering) ReadAt(b []byte, off int64) (int, error) {
	n, err := r.r.ReadAt(b, off)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
