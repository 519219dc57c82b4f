// Package archive tells what stands in the way of looking into a file: whether
// it needs a password, and which files a zip holds. It reads names and flags,
// never the files themselves, so nothing can unfold in it.
//
// What a zip holds is told by its central directory, and by every local header
// in the file: readers differ in which of the two they believe, and in where
// they look for the directory. What any of them may show is in the list.
//
// # What needs a password
//
// Recognised are: zip (ZipCrypto, AES, strong encryption, encrypted directory);
// 7z; RAR 4 and 5;
// Office documents of all versions (the encrypted package, Word and Excel files
// of 97 to 2003, PowerPoint's); PDF, also where a password is needed to print or
// copy only.
//
// Not recognised are: self-extracting RAR and 7z, 7z with tens of thousands of
// files, OpenDocument files, and whatever lies packed inside another archive.
package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"cloakroom/message"
)

// Limits on what one file is looked at. Beyond one of them the list of names is
// not complete, and says so.
const (
	// MaxNames is how many distinct names are listed.
	MaxNames = 4096
	// MaxNameBytes is the sum of their lengths in bytes.
	MaxNameBytes = 256 << 10
	// maxNameLen is how much of one name is looked at, in bytes from its end,
	// where the file's own name is.
	maxNameLen = 512
	// maxDirectory is how much of a central directory is read, in bytes: some
	// 200,000 files.
	maxDirectory = 16 << 20
	// maxLocals is how many local headers are looked at.
	maxLocals = 200_000
	// maxBlocks is how many blocks of a RAR archive are looked at.
	maxBlocks = 20_000
)

// Contents is what is known of a file's inside.
type Contents struct {
	// Encrypted tells that the file, or something in it, needs a password.
	Encrypted bool
	// Names are the names of the files in a zip, without folders, as
	// message.CleanName leaves them; a name that readers may take in several
	// ways is there in each.
	Names []string
	// Complete tells that Names has everything: also where there is nothing, as
	// the file is no archive.
	Complete bool
	// Why tells why it is not complete.
	Why string
}

// Read looks into the file of size bytes in r. It reads from front to back, and
// a zip's directory after that. The error is one of r, and says nothing about
// the file; where the reader gives up going back and forth
// (message.ErrTooManyRewinds) the contents are not complete instead.
func Read(r io.ReaderAt, size int64) (*Contents, error) {
	f := &file{r: r, size: size, seen: map[string]bool{}, raw: map[string]bool{}, contents: Contents{Complete: true}}
	err := f.read()
	if errors.Is(err, message.ErrTooManyRewinds) {
		f.incomplete("its parts lie too scattered")
		err = nil
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(f.contents.Names)
	return &f.contents, nil
}

// file is a file that is looked at.
type file struct {
	r        io.ReaderAt
	size     int64
	contents Contents

	seen     map[string]bool // names in contents
	raw      map[string]bool // names as written, to read each only once
	nameSize int

	head   []byte // the first bytes
	tail   []byte // the last bytes
	kind   kind
	locals int // local headers seen
	office office
}

func (f *file) read() error {
	f.head = make([]byte, min(headLen, f.size))
	if err := f.readAt(f.head, 0); err != nil {
		return err
	}
	f.kind = kindOf(f.head)
	if err := f.scan(); err != nil {
		return err
	}
	found, err := f.readDirectories()
	if err != nil {
		return err
	}
	if !found && (f.locals > 0 || f.kind == kindZip) {
		f.incomplete("it has files of a zip, but no directory at its end")
	}
	switch f.kind {
	case sevenZip:
		err = f.readSevenZip()
	case rar4:
		err = f.readRAR4()
	case rar5:
		err = f.readRAR5()
	case compound:
		err = f.readOffice()
	}
	if f.kind.opaque() {
		f.incomplete("names in archives of this kind are not read")
	}
	return err
}

func (f *file) incomplete(why string) {
	if f.contents.Complete {
		f.contents.Complete, f.contents.Why = false, why
	}
}

// readAt fills b, which lies inside the file.
func (f *file) readAt(b []byte, off int64) error {
	if n, err := f.r.ReadAt(b, off); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// part returns up to n bytes at off, fewer where the file ends.
func (f *file) part(off int64, n int) ([]byte, error) {
	if off < 0 || off >= f.size {
		return nil, nil
	}
	b := make([]byte, min(int64(n), f.size-off))
	return b, f.readAt(b, off)
}

// kind is what the first bytes tell a file to be.
type kind int

const (
	other kind = iota
	kindZip
	sevenZip
	rar4
	rar5
	compound // OLE compound file: Office 97 and whatever is encrypted by Office
	pdf
	packed // an archive or packed file of another kind
)

// opaque tells the kinds with names inside that nobody reads here.
func (k kind) opaque() bool { return k == sevenZip || k == rar4 || k == rar5 || k == packed }

// headLen is how many bytes of the head are looked at: the mark of a tar is at
// 257, a PDF's may be anywhere in the first 1,024 (PDF 1.7 implementation note 13).
const headLen = 1024

// marks are the first bytes of a kind.
var marks = []struct {
	kind kind
	at   int
	mark string
}{
	{kindZip, 0, "PK\x03\x04"}, {kindZip, 0, "PK\x05\x06"}, {kindZip, 0, "PK\x07\x08PK"}, {kindZip, 0, "PK00PK"},
	{sevenZip, 0, "7z\xbc\xaf\x27\x1c"},
	{rar5, 0, "Rar!\x1a\x07\x01\x00"}, {rar4, 0, "Rar!\x1a\x07\x00"}, {packed, 0, "RE~^"}, // the last is RAR 1
	{compound, 0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"},
	{packed, 0, "\x1f\x8b"}, {packed, 0, "\x1f\x9d"}, {packed, 0, "\x1f\xa0"}, // gzip, compress
	{packed, 0, "BZh"}, {packed, 0, "\xfd7zXZ\x00"}, {packed, 0, "LZIP"}, {packed, 0, "\x5d\x00\x00"}, // the last is lzma
	{packed, 0, "\x28\xb5\x2f\xfd"}, {packed, 0, "\x04\x22\x4d\x18"}, // zstd, lz4
	{packed, 0, "MSCF"}, {packed, 0, "ISc("}, {packed, 0, "MSWIM\x00"}, {packed, 0, "xar!"},
	{packed, 0, "!<arch>\n"}, {packed, 0, "\xed\xab\xee\xdb"}, // ar and deb, rpm
	{packed, 0, "070701"}, {packed, 0, "070702"}, {packed, 0, "070707"}, {packed, 0, "\xc7\x71"}, // cpio
	{packed, 0, "\x60\xea"}, {packed, 7, "**ACE**"}, {packed, 20, "\xdc\xa7\xc4\xfd"}, // arj, ace, zoo
	{packed, 2, "-lh"}, {packed, 2, "-lz"}, {packed, 2, "-pm"},
	{packed, 257, "ustar"},
}

func kindOf(head []byte) kind {
	for _, m := range marks {
		if len(head) >= m.at && bytes.HasPrefix(head[m.at:], []byte(m.mark)) {
			return m.kind
		}
	}
	if bytes.Contains(head, []byte("%PDF-")) {
		return pdf
	}
	return other
}

var le = binary.LittleEndian
