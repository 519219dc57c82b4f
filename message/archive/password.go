package archive

// 7z and RAR, as far as their headers tell that a password is needed.

import (
	"bytes"
	"encoding/binary"
)

const (
	// maxSevenZipHeader is how much of a 7z header is looked at, in bytes, packed
	// or not, and maxUnpackedHeader what is unpacked: some 10,000 files.
	maxSevenZipHeader = 1 << 20
	maxUnpackedHeader = 2 << 20
	// maxRARHeader is how much of a RAR header is looked at, in bytes: the fixed
	// fields, and of RAR 5 the extra area, which follows a name of 1 KB at most.
	maxRARHeader = 4 << 10
)

// coderAES is the number of AES-256 among the methods of 7z, as a coder names
// it: an id of four bytes, with properties.
const coderAES = "\x24\x06\xf1\x07\x01"

// readSevenZip looks for AES-256 in the header of a 7z archive (7zFormat.txt).
// Where that is packed, as it mostly is, it is unpacked.
func (f *file) readSevenZip() error {
	const startLen = 32 // signature, version, CRC, and where the header is
	if len(f.head) < startLen {
		return nil
	}
	offset, length := le.Uint64(f.head[12:]), le.Uint64(f.head[20:])
	if offset > uint64(f.size) || length > uint64(f.size) {
		return nil // cut off, or one of several volumes
	}
	header, err := f.part(startLen+int64(offset), int(min(length, maxSevenZipHeader)))
	if err != nil {
		return err
	}
	p, packed := readPackedHeader(header)
	if packed && p.size <= maxSevenZipHeader && p.offset <= uint64(f.size) {
		b, err := f.part(startLen+int64(p.offset), int(p.size))
		if err != nil {
			return err
		}
		if inner, ok := unpackLZMA(p.properties, b, int(p.unpacked)); ok {
			header = inner
		}
	}
	if bytes.Contains(header, []byte(coderAES)) {
		f.contents.Encrypted = true
	}
	return nil
}

// packedHeader is where a header lies that is packed with LZMA.
type packedHeader struct {
	offset, size uint64 // behind the first 32 bytes
	unpacked     uint64
	properties   []byte
}

// readPackedHeader reads the description of a packed header as 7-Zip writes it:
// one stream, one coder. ok is false for everything else.
func readPackedHeader(b []byte) (p packedHeader, ok bool) {
	s := sevenZipNumbers{b: b}
	s.expect("\x17\x06") // encoded header, pack info
	p.offset = s.next()
	s.expect("\x01\x09") // one stream, sizes
	p.size = s.next()
	if len(s.b) > 0 && s.b[0] == 0x0a { // checksum: all defined
		s.expect("\x0a\x01")
		s.skip(4)
	}
	s.expect("\x00\x07\x0b\x01\x00\x01") // end; folders: one, here, of one coder
	s.expect("\x23\x03\x01\x01\x05")     // LZMA with five bytes of properties
	p.properties = s.skip(5)
	s.expect("\x0c") // unpacked sizes
	p.unpacked = s.next()
	return p, !s.broken && p.unpacked <= maxUnpackedHeader
}

// sevenZipNumbers reads the variable-length numbers of 7z: as many bytes follow
// as the first has leading ones, low ones first.
type sevenZipNumbers struct {
	b      []byte
	broken bool
}

func (s *sevenZipNumbers) skip(n int) []byte {
	if len(s.b) < n {
		s.broken, s.b = true, nil
		return nil
	}
	out := s.b[:n]
	s.b = s.b[n:]
	return out
}

func (s *sevenZipNumbers) expect(text string) {
	if b := s.skip(len(text)); string(b) != text {
		s.broken = true
	}
}

func (s *sevenZipNumbers) next() (n uint64) {
	first := s.skip(1)
	if s.broken {
		return 0
	}
	mask := byte(0x80)
	for i := range 8 {
		if first[0]&mask == 0 {
			return n | uint64(first[0]&(mask-1))<<(8*i)
		}
		b := s.skip(1)
		if s.broken {
			return 0
		}
		n |= uint64(b[0]) << (8 * i)
		mask >>= 1
	}
	return n
}

// readRAR4 walks over the blocks of a RAR 1.5 to 4 archive.
func (f *file) readRAR4() error {
	const (
		markLen, baseLen         = 7, 7
		typeMain, typeFile       = 0x73, 0x74
		mainEncrypted            = 0x0080 // all headers behind it are
		fileEncrypted, fileLarge = 0x0004, 0x0100
		hasData                  = 0x8000
	)
	pos := int64(markLen)
	for range maxBlocks {
		b, err := f.part(pos, baseLen+32)
		if err != nil || len(b) < baseLen {
			return err
		}
		kind, flags, size := b[2], le.Uint16(b[3:]), int64(le.Uint16(b[5:]))
		if kind == typeMain && flags&mainEncrypted != 0 || kind == typeFile && flags&fileEncrypted != 0 {
			f.contents.Encrypted = true
			return nil
		}
		if size < baseLen {
			return nil // broken
		}
		if (flags&hasData != 0 || kind == typeFile) && len(b) >= 11 {
			size += int64(le.Uint32(b[7:]))
		}
		if kind == typeFile && flags&fileLarge != 0 && len(b) >= 36 {
			size += int64(le.Uint32(b[32:])&0x3fffffff) << 32
		}
		pos += size
	}
	return nil
}

// readRAR5 walks over the blocks of a RAR 5 archive.
func (f *file) readRAR5() error {
	const (
		markLen                          = 8
		typeFile, typeService, typeCrypt = 2, 3, 4
		hasExtra, hasData                = 1, 2
		recordEncrypted                  = 1
	)
	pos := int64(markLen)
	for range maxBlocks {
		b, err := f.part(pos, maxRARHeader)
		if err != nil || len(b) < 7 {
			return err
		}
		v := vints{b: b[4:]} // behind the checksum
		size := v.next()
		fields := len(b) - len(v.b)
		kind, flags := v.next(), v.next()
		var extra, data uint64
		if flags&hasExtra != 0 {
			extra = v.next()
		}
		if flags&hasData != 0 {
			data = v.next()
		}
		if v.broken || size == 0 || size > 2<<20 || extra > size || data > uint64(f.size) {
			return nil
		}
		end := fields + int(size)
		switch {
		case kind == typeCrypt:
			f.contents.Encrypted = true
			return nil
		case (kind == typeFile || kind == typeService) && end <= len(b) && extraHas(b[end-int(extra):end], recordEncrypted):
			f.contents.Encrypted = true
			return nil
		}
		pos += int64(end) + int64(data)
	}
	return nil
}

// extraHas tells whether a record of a type is in the extra area of a header.
func extraHas(b []byte, want uint64) bool {
	for len(b) > 0 {
		v := vints{b: b}
		size := v.next()
		if v.broken || size > uint64(len(v.b)) {
			return false
		}
		b = v.b[size:]
		if record := (&vints{b: v.b[:size]}).next(); size > 0 && record == want {
			return true
		}
	}
	return false
}

// vints reads the variable-length numbers of RAR 5: seven bits a byte, low ones
// first.
type vints struct {
	b      []byte
	broken bool
}

func (v *vints) next() uint64 {
	n, length := binary.Uvarint(v.b)
	if length <= 0 {
		v.broken, v.b = true, nil
		return 0
	}
	v.b = v.b[length:]
	return n
}
