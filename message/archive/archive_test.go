package archive

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// entry is a file of a zip that the tests make.
type entry struct {
	name    string
	content string
	change  func(*zip.FileHeader)
}

// zipped makes a zip with Go's own writer.
func zipped(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.change != nil {
			e.change(h)
		}
		out, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(out, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func stored(h *zip.FileHeader) { h.Method = zip.Store }

// raw makes a zip by hand: local headers, a directory and its end, each as told.
type raw struct {
	prefix        string
	local, listed []string // names
	flags, method uint16
	shift         uint32 // of the directory's written offset
	extra         string
	comment       string
	entries       int // more than there are
}

func (r raw) bytes() []byte {
	b := []byte(r.prefix)
	put := func(values ...any) {
		for _, v := range values {
			if s, ok := v.(string); ok {
				b = append(b, s...)
				continue
			}
			b, _ = binary.Append(b, binary.LittleEndian, v)
		}
	}
	u16, u32 := func(n int) uint16 { return uint16(n) }, func(n int) uint32 { return uint32(n) }
	for _, name := range r.local {
		put(localSignature, u16(20), r.flags, r.method, u32(0), u32(0), u32(4), u32(4), u16(len(name)), u16(len(r.extra)), name, r.extra, "data")
	}
	start := len(b)
	for _, name := range r.listed {
		put(directorySignature, u16(20), u16(20), r.flags, r.method, u32(0), u32(0), u32(4), u32(4), u16(len(name)), u16(len(r.extra)), u16(0), u16(0), u16(0), u32(0), u32(0), name, r.extra)
	}
	length := len(b) - start
	put(endSignature, u16(0), u16(0), u16(len(r.listed)+r.entries), u16(len(r.listed)+r.entries), u32(length), u32(start)+r.shift, u16(len(r.comment)), r.comment)
	return b
}

func both(names ...string) raw { return raw{local: names, listed: names} }

func mustRead(t testing.TB, b []byte) *Contents {
	t.Helper()
	c, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func many(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("file %d.txt", i))
	}
	return names
}

func TestRead(t *testing.T) {
	plain := zipped(t, entry{"docs/plan.pdf", "x", nil}, entry{"docs/", "", nil}, entry{"setup.exe", strings.Repeat("y", 1<<20), nil})
	big := zipped(t, entry{"large.bin", strings.Repeat("\x00", 1<<20), stored}, entry{"evil.js", "1", nil})
	nested := zipped(t, entry{"inner.zip", string(zipped(t, entry{"hidden.exe", "z", nil})), stored}, entry{"outer.txt", "", nil})
	commented := both("a.txt").bytes()
	commented[len(commented)-2] = 0xff // a comment that is not there
	masked := both("0000000", "0000001")
	masked.flags = flagEncrypted | flagMasked
	end64 := zip64(both("a.txt"), 0)
	for name, tt := range map[string]struct {
		file      []byte
		names     string
		encrypted bool
		why       string // "" where it is complete
	}{
		"empty file":                 {nil, "", false, ""},
		"text":                       {[]byte("hello\n"), "", false, ""},
		"picture":                    {[]byte("\xff\xd8\xff\xe0\x00\x10JFIF" + strings.Repeat("\x00P", 200_000)), "", false, ""},
		"zip":                        {plain, "plan.pdf setup.exe", false, ""},
		"empty zip":                  {zipped(t), "", false, ""},
		"zip behind a program":       {append(bytes.Repeat([]byte("MZ\x90PK"), 50_000), plain...), "plan.pdf setup.exe", false, ""},
		"zip with bytes behind it":   {append(slices.Clone(plain), "\r\n--boundary"...), "plan.pdf setup.exe", false, ""},
		"zip longer than a window":   {big, "evil.js large.bin", false, ""},
		"zip in a zip, stored":       {nested, "hidden.exe inner.zip outer.txt", false, ""},
		"two zips, one behind":       {append(slices.Clone(both("first.exe").bytes()), both("second.txt").bytes()...), "first.exe second.txt", false, ""},
		"zip64":                      {end64, "a.txt", false, ""},
		"zip64, two directories":     {zip64(both("a.txt"), 7), "a.txt", false, "two directories"},
		"cut off":                    {plain[:len(plain)-30], "plan.pdf setup.exe", false, "no directory"},
		"directory alone":            {raw{listed: []string{"x.exe"}}.bytes(), "x.exe", false, ""},
		"local headers alone":        {raw{local: []string{"x.exe"}}.bytes(), "x.exe", false, ""},
		"two names for one file":     {raw{local: []string{"x.exe"}, listed: []string{"x.txt"}}.bytes(), "x.exe x.txt", false, ""},
		"fewer files than it says":   {raw{listed: []string{"x.exe"}, entries: 3}.bytes(), "x.exe", false, "another number"},
		"comment cut off":            {commented, "a.txt", false, "cut off"},
		"comment":                    {raw{local: []string{"a"}, listed: []string{"a"}, comment: strings.Repeat("c", 65535)}.bytes(), "a", false, ""},
		"end in the comment":         {raw{local: []string{"a"}, listed: []string{"a"}, comment: string(both("b").bytes())}.bytes(), "a b", false, "several directories"},
		"offset that leads astray":   {raw{prefix: string(raw{listed: []string{"decoy"}}.bytes()), listed: []string{"x"}, shift: -dirSize("decoy")}.bytes(), "decoy x", false, "directories"},
		"other end of the list":      {both(many(MaxNames + 1)...).bytes(), "", false, "too many names"},
		"code page 437":              {both("\x81ber.exe").bytes(), "über.exe", false, ""},
		"UTF-8 without a mark":       {both("über.exe").bytes(), "über.exe ├╝ber.exe", false, ""},
		"folders of Windows":         {both(`..\..\Start\evil.lnk`).bytes(), "evil.lnk", false, ""},
		"name with a stream":         {both("evil.exe::$DATA").bytes(), "", false, ""},
		"override of the direction":  {both("gpj\u202eexe.scr").bytes(), "", false, ""},
		"name of nothing":            {both("..").bytes(), "", false, "no name"},
		"name in an extra field":     {raw{local: []string{"a.txt"}, listed: []string{"a.txt"}, extra: "\x75\x70\x0a\x00\x01\x00\x00\x00\x00b.exe"}.bytes(), "a.txt b.exe", false, ""},
		"ZipCrypto":                  {raw{local: []string{"a.txt"}, listed: []string{"a.txt"}, flags: 1}.bytes(), "a.txt", true, ""},
		"AES":                        {raw{local: []string{"a.txt"}, listed: []string{"a.txt"}, flags: 1, method: 99, extra: "\x01\x99\x07\x00\x02\x00AE\x03\x08\x00"}.bytes(), "a.txt", true, ""},
		"encrypted by one header":    {append(raw{local: []string{"b.txt"}, flags: 1}.bytes()[:39], both("a.txt").bytes()...), "a.txt b.txt", true, ""},
		"encrypted directory":        {masked.bytes(), "", true, "encrypted"},
		"split zip":                  {append([]byte("PK\x07\x08"), plain[:300]...), "plan.pdf setup.exe", false, "no directory"},
		"gzip":                       {[]byte("\x1f\x8b\x08\x00"), "", false, "kind"},
		"7z":                         {sevenZipFile("\x17\x06\x10\x01\x09\x30\x00\x07\x0b\x01\x00\x01\x23\x03\x01\x01"), "", false, "kind"},
		"7z with an encrypted list":  {sevenZipFile("\x17\x06\x10\x01\x09\x30\x00\x07\x0b\x01\x00\x02\x24\x06\xf1\x07\x01\x12"), "", true, "kind"},
		"RAR 4":                      {rarFour(0, 0x8000), "", false, "kind"},
		"RAR 4 with a password":      {rarFour(0, 0x8004), "", true, "kind"},
		"RAR 4 with hidden names":    {rarFour(0x80, 0x8000), "", true, "kind"},
		"RAR 5":                      {rarFive(2, "\x03\x02\x00\x00"), "", false, "kind"},
		"RAR 5 with a password":      {rarFive(2, "\x03\x01\x00\x00"), "", true, "kind"},
		"RAR 5 with hidden names":    {rarFive(4, ""), "", true, "kind"},
		"PDF":                        {[]byte("%PDF-1.7\n/EncryptMetadata true /Encrypted (x)\ntrailer << /Root 1 0 R >>\n%%EOF"), "", false, ""},
		"PDF with a password":        {[]byte("%PDF-1.7\ntrailer << /Root 1 0 R /Encrypt 12 0 R >>\n%%EOF"), "", true, ""},
		"PDF, the dictionary there":  {[]byte("junk%PDF-1.4\n" + strings.Repeat("0", 300_000) + "trailer<</Encrypt<</Filter/Standard>>>>"), "", true, ""},
		"Office, encrypted package":  {compoundFile("EncryptedPackage", nil), "", true, ""},
		"Word 97":                    {compoundFile("WordDocument", []byte("\xec\xa5\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x02")), "", false, ""},
		"Word 97 with a password":    {compoundFile("WordDocument", []byte("\xec\xa5\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x03")), "", true, ""},
		"Excel 97":                   {compoundFile("Workbook", []byte("\x09\x08\x02\x00\x00\x06\xe1\x00\x02\x00\xb0\x04")), "", false, ""},
		"Excel 97 with a password":   {compoundFile("Workbook", []byte("\x09\x08\x02\x00\x00\x06\x2f\x00\x02\x00\x01\x00")), "", true, ""},
		"PowerPoint with a password": {compoundFile("EncryptedSummary", nil), "", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustRead(t, tt.file)
			if c.Encrypted != tt.encrypted {
				t.Errorf("encrypted is %v", c.Encrypted)
			}
			if c.Complete != (tt.why == "") || !strings.Contains(c.Why, tt.why) {
				t.Errorf("complete is %v (%s), want %q", c.Complete, c.Why, tt.why)
			}
			if got := strings.Join(c.Names, " "); tt.names != "" && got != tt.names {
				t.Errorf("names %q, want %q", got, tt.names)
			}
		})
	}
	if c := mustRead(t, both("evil.exe::$DATA").bytes()); !slices.Contains(c.Names, "evil.exe") {
		t.Errorf("a stream's file is not named: %q", c.Names)
	}
	if c := mustRead(t, both("gpj\u202eexe.scr").bytes()); !slices.Contains(c.Names, "gpjexe.scr") {
		t.Errorf("a name with an override is %q", c.Names)
	}
	if c := mustRead(t, both(many(MaxNames+1)...).bytes()); len(c.Names) != MaxNames {
		t.Errorf("%d names, want %d", len(c.Names), MaxNames)
	}
}

// dirSize is the length of a zip that has a directory of one name and nothing
// else: how far before its end that directory begins.
func dirSize(name string) uint32 { return uint32(directoryLen + len(name) + endLen) }

// zip64 gives a zip its 64-bit end, and leaves the old one as it is, with
// difference added to its number of files, or open where that is 0.
func zip64(r raw, difference uint16) []byte {
	b := r.bytes()
	end := slices.Clone(b[len(b)-endLen:])
	b = b[:len(b)-endLen]
	at := len(b)
	var e [end64Len + locatorLen]byte
	copy(e[:], end64Signature)
	le.PutUint64(e[4:], end64Len-12)
	le.PutUint64(e[24:], uint64(le.Uint16(end[8:])))
	le.PutUint64(e[32:], uint64(le.Uint16(end[10:])))
	le.PutUint64(e[40:], uint64(le.Uint32(end[12:])))
	le.PutUint64(e[48:], uint64(le.Uint32(end[16:])))
	copy(e[end64Len:], locatorSignature)
	le.PutUint64(e[end64Len+8:], uint64(at))
	le.PutUint32(e[end64Len+16:], 1)
	if difference == 0 {
		le.PutUint32(end[16:], 0xffffffff)
	}
	return append(append(b, e[:]...), end...)
}

func sevenZipFile(header string) []byte {
	b := make([]byte, 32)
	copy(b, "7z\xbc\xaf\x27\x1c\x00\x04")
	le.PutUint64(b[12:], 1000)
	le.PutUint64(b[20:], uint64(len(header)))
	return append(append(b, make([]byte, 1000)...), header...)
}

// rarFour has two files, the second with the flags of a file.
func rarFour(mainFlags, fileFlags uint16) []byte {
	b := []byte("Rar!\x1a\x07\x00")
	b = append(b, 0, 0, 0x73, byte(mainFlags), byte(mainFlags>>8), 13, 0, 0, 0, 0, 0, 0, 0)
	for _, flags := range []uint16{0x8000, fileFlags} {
		h := make([]byte, 33)
		h[2], h[7] = 0x74, 200
		le.PutUint16(h[3:], flags)
		le.PutUint16(h[5:], 33)
		b = append(append(b, h...), make([]byte, 200)...)
	}
	return append(b, 0, 0, 0x7b, 0, 0, 7, 0)
}

// rarFive has a main header, and a block of a kind with an extra area.
func rarFive(kind byte, extra string) []byte {
	b := []byte("Rar!\x1a\x07\x01\x00")
	b = append(b, 0, 0, 0, 0, 3, 1, 0, 0)
	h := []byte{kind, 3, byte(len(extra)), 100, 'n', 'a', 'm', 'e'}
	h = append(h, extra...)
	b = append(b, 0, 0, 0, 0, byte(len(h)))
	return append(append(b, h...), make([]byte, 100)...)
}

// compoundFile has one stream, behind the sector with the directory.
func compoundFile(name string, content []byte) []byte {
	b := make([]byte, 512*3)
	copy(b, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	le.PutUint16(b[30:], 9)
	e := b[512+entryLen:]
	for i, c := range []byte(name + "\x00") {
		e[2*i] = c
	}
	le.PutUint16(e[entryNameLen:], uint16(2*len(name)+2))
	e[entryType] = typeStream
	le.PutUint32(e[entryStart:], 1)
	copy(b[1024:], content)
	return b
}

// TestReadTakesLittleTime: no file, however it is made, is read twice for each
// of its bytes.
func TestReadTakesLittleTime(t *testing.T) {
	odd := func(i int) string { return strings.Repeat(fmt.Sprintf("%%4%d\u202e;é:\"", i%10), 40) + fmt.Sprint(i) }
	var oddNames, blank []string
	for i := range 2*MaxNames + 1 {
		oddNames = append(oddNames, odd(i))
		blank = append(blank, fmt.Sprintf("a;%0490b", i))
	}
	for name, file := range map[string][]byte{
		"signatures":    bytes.Repeat([]byte(localSignature), 1<<20),
		"local headers": bytes.Repeat(raw{local: []string{"a"}}.bytes()[:35], 1<<19),
		"ends":          bytes.Repeat([]byte(endSignature+strings.Repeat("\x00", 18)), 1<<19),
		"odd names":     both(oddNames...).bytes(),
		"equal names":   both(blank...).bytes(),
		"PDF":           append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte("/Encrypt"), 1<<18)...),
		"compound":      append(compoundFile("Book", nil), bytes.Repeat(compoundFile("WordDocument", nil)[512:1024], 1<<15)...),
		"RAR 4":         append([]byte("Rar!\x1a\x07\x00"), bytes.Repeat([]byte{0, 0, 1, 0, 0, 7, 0}, 1<<20)...),
		"RAR 5":         append([]byte("Rar!\x1a\x07\x01\x00"), bytes.Repeat([]byte{0, 0, 0, 0, 3, 1, 0, 0}, 1<<20)...),
	} {
		source := &counting{r: bytes.NewReader(file)}
		start := time.Now()
		c, err := Read(source, int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		// It takes less than a second; the race detector and a busy machine take more.
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s: %v", name, took)
		}
		t.Logf("%-13s %8d bytes, %9d read, %v, %d names, %s", name, len(file), source.n, time.Since(start), len(c.Names), c.Why)
		if limit := int64(3*len(file)) + maxBlocks*maxRARHeader; source.n > limit {
			t.Errorf("%s: %d of %d bytes were read", name, source.n, len(file))
		}
	}
}

type counting struct {
	r io.ReaderAt
	n int64
}

func (c *counting) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(b, off)
	c.n += int64(n)
	return n, err
}

var errDisk = errors.New("disk")

// failing fails at its nth call.
type failing struct {
	r    io.ReaderAt
	left int
}

func (f *failing) ReadAt(b []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errDisk
	}
	return f.r.ReadAt(b, off)
}

func TestReadTellsErrorsOfTheReader(t *testing.T) {
	for name, file := range map[string][]byte{"zip": both("a", "b").bytes(), "7z": sevenZipFile("\x17"), "RAR": rarFour(0, 0), "Word": compoundFile("WordDocument", nil)} {
		for n := 0; ; n++ {
			source := &failing{bytes.NewReader(file), n}
			_, err := Read(source, int64(len(file)))
			if source.left >= 0 {
				if err != nil || n < 3 {
					t.Errorf("%s: %v with %d reads", name, err, n)
				}
				break
			}
			if !errors.Is(err, errDisk) {
				t.Errorf("%s: error %v when read %d fails", name, err, n)
			}
		}
	}
}

func FuzzArchive(f *testing.F) {
	for _, b := range [][]byte{
		both("a.txt", "ü.exe").bytes(), zip64(both("a"), 0), zip64(both("a"), 7), zipped(f, entry{"x/y.js", "1", nil}),
		raw{local: []string{"a"}, listed: []string{"b"}, flags: 0x2041, extra: "\x75\x70\x06\x00\x01\x00\x00\x00\x00b", comment: "PK\x05\x06"}.bytes(),
		sevenZipFile("\x17\x24\x06\xf1\x07\x01"), rarFour(0, 0x8104), rarFive(2, "\x03\x01\x00\x00"), rarFive(4, ""),
		compoundFile("WordDocument", []byte("\xec\xa5")), compoundFile("Book", []byte("\x09\x08\x00\x00")), []byte("%PDF-1.4 /Encrypt 1 0 R"),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := mustRead(t, b)
		if len(c.Names) > MaxNames || !slices.IsSorted(c.Names) || c.Complete != (c.Why == "") {
			t.Errorf("%+v", c)
		}
		// What the readers of Go show is in the list.
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil || !c.Complete {
			return
		}
		for _, file := range z.File {
			if file.Flags&flagEncrypted != 0 && !c.Encrypted {
				t.Errorf("%q is encrypted", file.Name)
			}
			if file.CompressedSize64 == 0 && file.UncompressedSize64 == 0 && strings.HasSuffix(file.Name, "/") {
				continue
			}
			for _, text := range readings([]byte(file.Name)) {
				for _, n := range cleanNames(text) {
					if len(file.Name) <= maxNameLen && n != "" && !slices.Contains(c.Names, n) {
						t.Errorf("%q is not in %q", n, c.Names)
					}
				}
			}
		}
	})
}
