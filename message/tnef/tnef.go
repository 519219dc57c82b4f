// Package tnef reads application/ms-tnef, the winmail.dat in which Outlook and
// Exchange wrap attachments and much else (MS-OXTNEF). It tells where the files
// lie in it, copies nothing, and tells honestly whether they are all there is.
package tnef

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"cloakroom/message"
)

// Limits on what is taken apart. Beyond one of them the decode is not complete,
// and says so.
const (
	// MaxFiles is how many files are listed, like message.MaxParts.
	MaxFiles = 1000
	// maxAttributes is how many attributes are looked at; each file has some six.
	maxAttributes = 10_000
	// maxProperties is how many MAPI properties and values are looked at, in all
	// of the stream. Outlook writes about a hundred a message and twenty a file.
	maxProperties = 100_000
	// maxText is how much of one text is read, in bytes: names, and bodies to be
	// compared with what the mail shows.
	maxText = 1 << 20
	// maxTexts is the sum of the bodies that are compared, in bytes.
	maxTexts = 4 << 20
	// maxName is how much of a name is read, in bytes. CleanName leaves 200.
	maxName = 1 << 10
)

// ErrNotTNEF is returned for what does not begin like TNEF.
var ErrNotTNEF = errors.New("not a TNEF stream")

// Kind is what an item is.
type Kind int

// What an attachment may be.
const (
	PlainFile Kind = iota
	// EmbeddedMessage is a mail in Outlook's own form: a TNEF stream again.
	EmbeddedMessage
	// Object is an OLE object, such as a drawing: a compound file, or what its
	// program made of it.
	Object
)

func (k Kind) String() string {
	switch k {
	case EmbeddedMessage:
		return "embedded message"
	case Object:
		return "object"
	}
	return "file"
}

// File is one attachment.
type File struct {
	Kind Kind
	// Name is for people, as message.CleanName leaves it; "" when there is none.
	Name string
	// Names are all distinct names that readers may come to, for policy.
	Names []string
	// Offset and Size, in bytes, tell where the content lies in the stream.
	Offset, Size int64
	Type         string // media type as told (PR_ATTACH_MIME_TAG), in lower case; "" where it is not
	ContentID    string // without angle brackets
}

// Contents is what a stream holds.
type Contents struct {
	Files []File
	Class string // message class, such as IPM.Note
	// Complete tells that Files, and the text that the mail shows elsewhere, are
	// all of it: nothing is lost if they stand in its place.
	Complete bool
	// Why tells why it is not complete.
	Why string
}

// Decode reads the stream of size bytes in r, once and from front to back. shown
// is the text that the mail shows beside it: a body in the stream that is not in
// there word by word counts as one that would be lost; so does every body in RTF
// or HTML. The error is ErrNotTNEF, or one of r. A stream that is broken or cut
// off is not an error, but not complete: Files has what was found before.
func Decode(r io.ReaderAt, size int64, shown string) (*Contents, error) {
	d := &decoder{
		s:        stream{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 32<<10), size: size},
		contents: Contents{Complete: true},
		shown:    shown,
	}
	err := d.decode()
	if errors.Is(err, errBroken) {
		d.incomplete("the stream is cut off or broken")
		err = nil
	}
	if err != nil {
		return nil, err
	}
	d.finishFile()
	if d.began && !isNote(d.contents.Class) {
		d.incomplete("it is more than a note: %.100q", d.contents.Class)
	}
	return &d.contents, nil
}

type decoder struct {
	s        stream
	contents Contents
	shown    string
	words    string // of shown, once they are needed
	texts    int    // bytes of bodies that were compared
	began    bool

	codepage   message.Charset
	properties int
	file       *attachment // the one being read
}

// attachment is a file while its attributes come.
type attachment struct {
	file                      File
	there                     bool // its content was found
	long, title, short, shows string
	method                    uint32
	object, twice             bool
}

func (d *decoder) incomplete(format string, args ...any) {
	if d.contents.Complete {
		d.contents.Complete, d.contents.Why = false, fmt.Sprintf(format, args...)
	}
}

func (d *decoder) decode() error {
	const signature = 0x223e9f78
	head, err := d.s.take(6)
	if errors.Is(err, errBroken) || err == nil && le.Uint32(head) != signature {
		return ErrNotTNEF
	}
	if err != nil {
		return err
	}
	d.began = true
	for n := 0; d.s.at < d.s.size; n++ {
		if n == maxAttributes {
			d.incomplete("more than %d attributes", maxAttributes)
			return nil
		}
		if more, err := d.attribute(); !more || err != nil {
			return err
		}
	}
	return nil
}

// attribute reads one attribute (MS-OXTNEF section 2.1.3.1). more is false where
// what follows is not TNEF.
func (d *decoder) attribute() (more bool, err error) {
	head, err := d.s.take(9)
	if err != nil {
		return false, err
	}
	level, id, length := head[0], le.Uint32(head[1:]), int64(le.Uint32(head[5:]))
	if level != levelMessage && level != levelAttachment {
		d.incomplete("something else follows behind the last attribute")
		return false, nil
	}
	end := d.s.at + length
	if end > d.s.size-2 {
		return false, errBroken
	}
	d.s.sum = 0
	if level == levelMessage {
		err = d.messageAttribute(id, end)
	} else {
		err = d.fileAttribute(id, end)
	}
	if errors.Is(err, errBroken) {
		d.incomplete("attribute %#08x is broken", id)
	} else if err != nil {
		return false, err
	}
	if err := d.s.skip(end - d.s.at); err != nil {
		return false, err
	}
	sum := d.s.sum
	written, err := d.s.take(2)
	if err == nil && le.Uint16(written) != sum {
		d.incomplete("the checksum of attribute %#08x is wrong", id)
	}
	return true, err
}

func (d *decoder) messageAttribute(id uint32, end int64) error {
	switch id {
	case attTnefVersion:
		b, err := d.s.takeUntil(4, end)
		if err == nil && le.Uint32(b) != 0x00010000 {
			d.incomplete("version %#x of TNEF is not known", le.Uint32(b))
		}
		return err
	case attOemCodepage:
		b, err := d.s.takeUntil(4, end)
		if err == nil {
			d.codepage, _ = message.LookupCharset(fmt.Sprintf("cp%d", le.Uint32(b)))
		}
		return err
	case attMessageClass:
		text, err := d.text(typeString8, end, maxName)
		if d.contents.Class == "" {
			d.contents.Class = strings.TrimPrefix(text, "Microsoft Mail v3.0 ")
		}
		return err
	case attBody:
		return d.body(typeString8, end)
	case attMsgProps:
		return d.messageProperties(end)
	}
	if !knownAttributes[id] {
		d.incomplete("attribute %#08x is not known", id)
	}
	return nil
}

// fileAttribute reads an attribute of an attachment. Each begins with its
// attAttachRenddata (section 2.1.3.3.15).
func (d *decoder) fileAttribute(id uint32, end int64) error {
	if id == attAttachRenddata {
		d.finishFile()
		d.file = new(attachment)
		b, err := d.s.takeUntil(14, end)
		if err != nil {
			return err
		}
		const typeOLE, macBinary = 2, 1
		d.file.object = le.Uint16(b) == typeOLE
		if le.Uint32(b[10:])&macBinary != 0 {
			d.incomplete("a file in it is MacBinary, a file in a file")
		}
		return nil
	}
	if d.file == nil {
		d.incomplete("attribute %#08x belongs to no file", id)
		d.file = new(attachment)
	}
	switch id {
	case attAttachData:
		d.content(PlainFile, d.s.at, end-d.s.at)
		return nil
	case attAttachTitle:
		text, err := d.text(typeString8, end, maxName)
		d.file.title = text
		return err
	case attAttachTransportFilename:
		text, err := d.text(typeString8, end, maxName)
		d.file.short = text
		return err
	case attAttachment:
		return d.fileProperties(end)
	}
	if !knownAttributes[id] {
		d.incomplete("attribute %#08x is not known", id)
	}
	return nil
}

// content notes where the content of the current file lies. Beside an embedded
// message or an object, attAttachData has no more than its picture.
func (d *decoder) content(kind Kind, offset, size int64) {
	f := &d.file.file
	switch {
	case !d.file.there || f.Size == 0 || f.Kind == PlainFile && kind != PlainFile:
		d.file.there = true
		f.Kind, f.Offset, f.Size = kind, offset, size
	case f.Kind == kind && size > 0:
		d.file.twice = true
	}
}

// finishFile lists the file whose attributes have come.
func (d *decoder) finishFile() {
	f := d.file
	d.file = nil
	switch {
	case f == nil:
		return
	case len(d.contents.Files) == MaxFiles:
		d.incomplete("more than %d files", MaxFiles)
		return
	case !f.there:
		d.incomplete("a file in it has no content")
		return
	case f.twice:
		d.incomplete("a file in it has two contents")
	}
	if f.object && f.file.Kind == PlainFile {
		f.file.Kind = Object
	}
	if f.file.Kind != PlainFile {
		d.incomplete("it holds an %s", f.file.Kind)
	} else if f.method > 1 { // ATTACH_BY_VALUE
		d.incomplete("a file in it is attached by method %d", f.method)
	}
	names := []string{f.long, f.title, f.short, f.shows}
	if f.file.Kind == EmbeddedMessage {
		names = []string{f.shows, f.long, f.title, f.short} // its subject; the others are "Untitled Attachment"
	}
	for _, written := range names {
		for _, name := range message.NameReadings(written) {
			if f.file.Name == "" {
				f.file.Name = name
			}
			f.file.Names = addName(f.file.Names, name)
		}
	}
	d.contents.Files = append(d.contents.Files, f.file)
}

func addName(names []string, name string) []string {
	for _, n := range names {
		if n == name {
			return names
		}
	}
	return append(names, name)
}
