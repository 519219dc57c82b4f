package tnef

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// builder writes TNEF for the tests.
type builder struct{ b []byte }

func begin() *builder {
	return &builder{[]byte{0x78, 0x9f, 0x3e, 0x22, 1, 0}}
}

func (b *builder) attribute(level byte, id uint32, data []byte) *builder {
	b.b = append(b.b, level)
	b.b = le.AppendUint32(b.b, id)
	b.b = le.AppendUint32(b.b, uint32(len(data)))
	b.b = append(b.b, data...)
	sum := uint16(0)
	for _, c := range data {
		sum += uint16(c)
	}
	b.b = le.AppendUint16(b.b, sum)
	return b
}

// note begins as every note does.
func note() *builder {
	return begin().attribute(levelMessage, attTnefVersion, []byte{0, 0, 1, 0}).
		attribute(levelMessage, attOemCodepage, []byte{0xe3, 4, 0, 0, 0, 0, 0, 0}). // 1251
		attribute(levelMessage, attMessageClass, []byte("IPM.Microsoft Mail.Note\x00"))
}

func (b *builder) file(title, content string, properties ...[]byte) *builder {
	rendering := make([]byte, 14)
	rendering[0] = 1
	b.attribute(levelAttachment, attAttachRenddata, rendering)
	if title != "" {
		b.attribute(levelAttachment, attAttachTitle, []byte(title+"\x00"))
	}
	if content != "" {
		b.attribute(levelAttachment, attAttachData, []byte(content))
	}
	if properties != nil {
		b.attribute(levelAttachment, attAttachment, list(properties...))
	}
	return b
}

func list(properties ...[]byte) []byte {
	return append(le.AppendUint32(nil, uint32(len(properties))), bytes.Join(properties, nil)...)
}

func long(id uint16, n uint32) []byte {
	return le.AppendUint32([]byte{3, 0, byte(id), byte(id >> 8)}, n)
}

// value is a property of variable length, padded.
func value(typ, id uint16, content []byte) []byte {
	b := []byte{byte(typ), byte(typ >> 8), byte(id), byte(id >> 8), 1, 0, 0, 0}
	b = append(le.AppendUint32(b, uint32(len(content))), content...)
	return append(b, make([]byte, -len(content)&3)...)
}

func wide(id uint16, s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = le.AppendUint16(b, u)
	}
	return value(typeUnicode, id, b)
}

// named is a property that is named by a number, or by a text.
func named(number uint32, text string) []byte {
	b := append([]byte{3, 0, 0x10, 0x80}, make([]byte, 16)...)
	if text == "" {
		b = le.AppendUint32(append(b, 0, 0, 0, 0), number)
	} else {
		b = le.AppendUint32(append(b, 1, 0, 0, 0), uint32(len(text)))
		b = append(append(b, text...), make([]byte, -len(text)&3)...)
	}
	return append(b, 7, 0, 0, 0)
}

func mustDecode(t testing.TB, b []byte, shown string) *Contents {
	t.Helper()
	c, err := Decode(bytes.NewReader(b), int64(len(b)), shown)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDecode(t *testing.T) {
	multiple := append([]byte{0x1e, 0x10, 0x10, 0x3a, 2, 0, 0, 0}, "\x02\x00\x00\x00a\x00\x00\x00\x05\x00\x00\x00abcd\x00\x00\x00\x00"...)
	wrong := note().file("a.txt", "hello").b
	wrong[len(wrong)-1]++
	object := func(iid []byte, content string) []byte {
		return value(typeObject, propAttachDataObject, append(slices.Clone(iid), content...))
	}
	for name, tt := range map[string]struct {
		stream []byte
		shown  string
		files  string // kind name content, each
		why    string // "" where it is complete
	}{
		"nothing in it":   {note().b, "", "", ""},
		"one file":        {note().file("a.txt", "hello").b, "", "file a.txt hello", ""},
		"two files":       {note().file("a.txt", "hello").file("b.txt", "you").b, "", "file a.txt hello, file b.txt you", ""},
		"long names":      {note().file("LONGNA~1.TXT", "x", wide(propAttachLongFilename, "a long näme.txt"), long(propAttachMethod, 1)).b, "", "file a long näme.txt x", ""},
		"names in OEM":    {note().file("\xef\xf0\xe8\xe2\xe5\xf2.txt", "x").b, "", "file привет.txt x", ""},
		"a path":          {note().file(`..\..\evil.exe`, "x").b, "", "file evil.exe x", ""},
		"all properties":  {note().file("a", "x", named(3, ""), named(0, "wi\x00d"), multiple, long(propAttachMethod, 1), value(typeBinary, 0x3709, []byte("wmf"))).b, "", "file a x", ""},
		"data elsewhere":  {note().file("a", "", value(typeBinary, propAttachDataObject, []byte("hello"))).b, "", "file a hello", ""},
		"data twice":      {note().file("a", "one", value(typeBinary, propAttachDataObject, []byte("two"))).b, "", "file a one", "two contents"},
		"no data":         {note().file("a", "").b, "", "", "no content"},
		"empty file":      {note().file("a", "").attribute(levelAttachment, attAttachData, nil).b, "", "file a ", ""},
		"a mail":          {note().file("Mail", "icon", object(interfaceMessage, "\x78\x9f\x3e\x22")).b, "", "embedded message Mail \x78\x9f\x3e\x22", "embedded message"},
		"an object":       {note().file("", "", object(interfaceStorage, "ole"), wide(propDisplayName, "Drawing")).b, "", "object Drawing ole", "object"},
		"another object":  {note().file("a", "", object(make([]byte, 16), "ole")).b, "", "object a ole", "unknown kind"},
		"by reference":    {note().file("a", "x", long(propAttachMethod, 2)).b, "", "file a x", "method 2"},
		"body shown":      {note().attribute(levelMessage, attBody, []byte("Hello  you,\r\nall\x00")).b, "> Hello you, all\n-- \nx", "", ""},
		"body not shown":  {note().attribute(levelMessage, attBody, []byte("secret\x00")).b, "public", "", "does not show"},
		"half a word":     {note().attribute(levelMessage, attBody, []byte("pub\x00")).b, "public", "", "does not show"},
		"empty body":      {note().attribute(levelMessage, attBody, []byte("\r\n\x00")).b, "public", "", ""},
		"wide body":       {note().attribute(levelMessage, attMsgProps, list(wide(propBody, "grüße"))).b, "viele grüße", "", ""},
		"body in RTF":     {note().attribute(levelMessage, attMsgProps, list(value(typeBinary, propRTF, []byte("rtf")))).b, "rtf", "", "RTF"},
		"body in HTML":    {note().attribute(levelMessage, attMsgProps, list(value(typeBinary, propHTML, []byte("<p>")))).b, "", "", "HTML"},
		"voting":          {note().attribute(levelMessage, attMsgProps, list(named(0x8520, ""))).b, "", "", "voting"},
		"meeting":         {begin().attribute(levelMessage, attMessageClass, []byte("IPM.Schedule.Meeting.Request\x00")).b, "", "", "more than a note"},
		"class elsewhere": {begin().attribute(levelMessage, attMsgProps, list(wide(propMessageClass, "IPM.Task"))).b, "", "", "IPM.Task"},
		"another version": {begin().attribute(levelMessage, attTnefVersion, []byte{0, 0, 2, 0}).b, "", "", "version 0x20000"},
		"unknown":         {note().attribute(levelMessage, 0x00069999, []byte("?")).file("a", "x").b, "", "file a x", "0x00069999 is not known"},
		"unknown of file": {note().file("a", "x").attribute(levelAttachment, 0x00069998, nil).b, "", "file a x", "0x00069998 is not known"},
		"no beginning":    {note().attribute(levelAttachment, attAttachData, []byte("x")).b, "", "file  x", "belongs to no file"},
		"wrong checksum":  {wrong, "", "file a.txt hello", "checksum"},
		"behind it":       {append(note().file("a", "x").b, "\r\n.......and more"...), "", "file a x", "something else follows"},
		"cut off":         {note().file("a", "x").file("b", strings.Repeat("y", 100)).b[:200], "", "file a x", "broken"},
		"broken property": {note().file("a", "x", []byte{0x1e, 0, 1, 0x30, 1, 0, 0, 0, 0xff, 0xff, 0, 0}).file("b", "y").b, "", "file a x, file b y", "is broken"},
		"unknown type":    {note().file("a", "x", []byte{0x99, 0, 1, 0x30, 1, 0, 0, 0}).b, "", "file a x", "is broken"},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustDecode(t, tt.stream, tt.shown)
			var got []string
			for _, f := range c.Files {
				got = append(got, fmt.Sprintf("%s %s %s", f.Kind, f.Name, tt.stream[f.Offset:f.Offset+f.Size]))
			}
			if s := strings.Join(got, ", "); s != tt.files {
				t.Errorf("files %q, want %q", s, tt.files)
			}
			if c.Complete != (tt.why == "") || !strings.Contains(c.Why, tt.why) {
				t.Errorf("complete is %v: %q, want %q", c.Complete, c.Why, tt.why)
			}
		})
	}
}

func TestEveryNameIsToldToPolicy(t *testing.T) {
	c := mustDecode(t, note().file("REPORT~1.EXE", "x", wide(propAttachLongFilename, "report.pdf"), wide(propDisplayName, "report.scr"),
		value(typeString8, propAttachFilename, []byte("r.com\x00")), value(typeString8, propAttachMimeTag, []byte("Application/PDF\x00")),
		value(typeString8, propAttachContentID, []byte("<a@b>\x00"))).b, "")
	f := c.Files[0]
	if f.Name != "report.pdf" || strings.Join(f.Names, " ") != "report.pdf REPORT~1.EXE r.com report.scr" || f.Type != "application/pdf" || f.ContentID != "a@b" {
		t.Errorf("%+v", f)
	}
}

func TestLimits(t *testing.T) {
	b := note()
	for range MaxFiles + 1 {
		b.file("a", "x")
	}
	if c := mustDecode(t, b.b, ""); len(c.Files) != MaxFiles || c.Complete || !strings.Contains(c.Why, "files") {
		t.Errorf("%d files, complete %v: %s", len(c.Files), c.Complete, c.Why)
	}
	b = note()
	for range maxAttributes {
		b.attribute(levelMessage, 0x00018004, nil)
	}
	if c := mustDecode(t, b.b, ""); c.Complete || !strings.Contains(c.Why, "attributes") {
		t.Errorf("complete %v: %s", c.Complete, c.Why)
	}
	nulls := []byte{1, 0x10, 0x10, 0x30, 0xff, 0xff, 0xff, 0xff} // four thousand million values of no size
	if c := mustDecode(t, note().attribute(levelMessage, attMsgProps, list(nulls)).b, ""); c.Complete || !strings.Contains(c.Why, "properties") {
		t.Errorf("complete %v: %s", c.Complete, c.Why)
	}
	if c := mustDecode(t, note().attribute(levelMessage, attBody, bytes.Repeat([]byte("a "), maxText)).b, "a"); c.Complete || !strings.Contains(c.Why, "too long") {
		t.Errorf("complete %v: %s", c.Complete, c.Why)
	}
}

var errDisk = errors.New("disk")

type failing struct {
	r     io.ReaderAt
	until int64
}

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.until {
		return 0, errDisk
	}
	return f.r.ReadAt(b, off)
}

func TestErrorsOfTheReaderAreTold(t *testing.T) {
	b := note().file("a", strings.Repeat("x", 200_000)).b
	for until := int64(0); until < int64(len(b)); until += 30_000 {
		if _, err := Decode(failing{bytes.NewReader(b), until}, int64(len(b)), ""); !errors.Is(err, errDisk) {
			t.Errorf("until %d: %v", until, err)
		}
	}
	for _, s := range []string{"", "x", "\x78\x9f\x3e", "not TNEF at all"} {
		if _, err := Decode(strings.NewReader(s), int64(len(s)), ""); !errors.Is(err, ErrNotTNEF) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzTNEF(f *testing.F) {
	f.Add(note().file("a.txt", "hello", wide(propAttachLongFilename, "ü.txt"), named(3, ""), named(0, "x")).b)
	f.Add(note().attribute(levelMessage, attMsgProps, list(wide(propBody, "b"), value(typeBinary, propRTF, []byte("x")))).file("b", "").b)
	f.Add(note().attribute(levelMessage, attBody, []byte("b")).file("c", "", value(typeObject, propAttachDataObject, append(slices.Clone(interfaceMessage), 1))).b)
	f.Fuzz(func(t *testing.T, b []byte) {
		// Checksums made right let the fuzzer past them.
		for _, stream := range [][]byte{b, summed(b)} {
			c, err := Decode(bytes.NewReader(stream), int64(len(stream)), "b")
			if err != nil {
				if !errors.Is(err, ErrNotTNEF) {
					t.Fatal(err)
				}
				continue
			}
			if c.Complete != (c.Why == "") || len(c.Files) > MaxFiles {
				t.Errorf("complete %v: %q, %d files", c.Complete, c.Why, len(c.Files))
			}
			for _, file := range c.Files {
				if file.Offset < 0 || file.Size < 0 || file.Offset+file.Size > int64(len(stream)) {
					t.Errorf("%+v lies outside of %d bytes", file, len(stream))
				}
				if (file.Name == "") != (len(file.Names) == 0) || len(file.Names) > 0 && file.Names[0] != file.Name {
					t.Errorf("names %q of %q", file.Names, file.Name)
				}
			}
		}
	})
}

// summed is a stream with the checksums that its attributes should have.
func summed(b []byte) []byte {
	b = slices.Clone(b)
	for at := 6; at+11 <= len(b); {
		n := int(binary.LittleEndian.Uint32(b[at+5:]))
		if n > len(b)-at-11 {
			break
		}
		sum := uint16(0)
		for _, c := range b[at+9 : at+9+n] {
			sum += uint16(c)
		}
		le.PutUint16(b[at+9+n:], sum)
		at += 11 + n
	}
	return b
}
