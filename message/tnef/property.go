package tnef

// MAPI properties, of the message and of its files (MS-OXTNEF section 2.1.3.4).

import (
	"bytes"
	"strings"

	"cloakroom/message"
)

// Property types (MS-OXCDATA section 2.11.1).
const (
	typeObject   = 0x000d
	typeString8  = 0x001e
	typeUnicode  = 0x001f
	typeBinary   = 0x0102
	typeMultiple = 0x1000
)

// fixedSizes are the sizes of types of fixed size, in bytes with their padding.
var fixedSizes = map[uint16]int64{
	0x0001: 0, 0x0002: 4, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000a: 4, 0x000b: 4, 0x0014: 8, 0x0040: 8, 0x0048: 16,
}

// Properties that are looked at (MS-OXPROPS).
const (
	propMessageClass       = 0x001a
	propBody               = 0x1000
	propRTF                = 0x1009
	propHTML               = 0x1013
	propDisplayName        = 0x3001
	propAttachDataObject   = 0x3701
	propAttachFilename     = 0x3704
	propAttachMethod       = 0x3705
	propAttachLongFilename = 0x3707
	propAttachMimeTag      = 0x370e
	propAttachContentID    = 0x3712
)

// property is one value of a property, as it is come to; its value lies next in
// the stream, up to end.
type property struct {
	id, typ uint16
	named   bool
	nameID  uint32 // of a property named by a number
	end     int64
}

// eachProperty reads the list of properties that ends at end.
func (d *decoder) eachProperty(end int64, f func(property) error) error {
	b, err := d.s.takeUntil(4, end)
	if err != nil {
		return err
	}
	for range le.Uint32(b) {
		if err := d.property(end, f); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) property(end int64, f func(property) error) error {
	b, err := d.s.takeUntil(4, end)
	if err != nil {
		return err
	}
	p := property{typ: le.Uint16(b), id: le.Uint16(b[2:])}
	if p.id >= 0x8000 {
		if err := d.propertyName(&p, end); err != nil {
			return err
		}
	}
	count := uint32(1)
	size, fixed := fixedSizes[p.typ&^typeMultiple]
	variable := p.typ&^typeMultiple == typeObject || p.typ&^typeMultiple == typeString8 || p.typ&^typeMultiple == typeUnicode || p.typ&^typeMultiple == typeBinary
	if !fixed && !variable {
		return errBroken
	}
	if variable || p.typ&typeMultiple != 0 {
		if b, err = d.s.takeUntil(4, end); err != nil {
			return err
		}
		count = le.Uint32(b)
	}
	for range count {
		if d.properties++; d.properties > maxProperties {
			d.incomplete("more than %d properties", maxProperties)
			return errBroken
		}
		padded := size
		p.end = d.s.at + size
		if variable {
			if b, err = d.s.takeUntil(4, end); err != nil {
				return err
			}
			n := int64(le.Uint32(b))
			p.end, padded = d.s.at+n, (n+3)&^3
		}
		next := d.s.at + padded
		if next > end {
			return errBroken
		}
		if err := f(p); err != nil {
			return err
		}
		if err := d.s.skip(next - d.s.at); err != nil {
			return err
		}
	}
	return nil
}

// propertyName reads the name that stands behind the tag of a named property.
func (d *decoder) propertyName(p *property, end int64) error {
	b, err := d.s.takeUntil(24, end) // GUID, kind, and a number or a length
	if err != nil {
		return err
	}
	p.named = true
	kind, n := le.Uint32(b[16:]), le.Uint32(b[20:])
	if kind == 0 {
		p.nameID = n
		return nil
	}
	padded := (int64(n) + 3) &^ 3
	if padded > end-d.s.at {
		return errBroken
	}
	return d.s.skip(padded)
}

// messageProperties looks for bodies, and for what is more than a note.
func (d *decoder) messageProperties(end int64) error {
	return d.eachProperty(end, func(p property) error {
		const verbStream = 0x8520 // PidLidVerbStream: voting buttons
		switch {
		case p.named:
			if p.nameID == verbStream {
				d.incomplete("it has voting buttons")
			}
		case p.id == propMessageClass && d.contents.Class == "":
			text, err := d.text(p.typ, p.end, maxName)
			d.contents.Class = text
			return err
		case p.id == propBody:
			return d.body(p.typ, p.end)
		case (p.id == propRTF || p.id == propHTML) && p.end > d.s.at:
			d.incomplete("it has a body of its own, in RTF or HTML")
		}
		return nil
	})
}

// fileProperties looks for the names and the content of a file.
func (d *decoder) fileProperties(end int64) error {
	return d.eachProperty(end, func(p property) (err error) {
		f := d.file
		switch {
		case p.named:
		case p.id == propAttachLongFilename:
			f.long, err = d.text(p.typ, p.end, maxName)
		case p.id == propAttachFilename:
			f.short, err = d.text(p.typ, p.end, maxName)
		case p.id == propDisplayName:
			f.shows, err = d.text(p.typ, p.end, maxName)
		case p.id == propAttachMimeTag:
			f.file.Type, err = d.text(p.typ, p.end, maxName)
			f.file.Type = strings.ToLower(f.file.Type)
		case p.id == propAttachContentID:
			f.file.ContentID, err = d.text(p.typ, p.end, maxName)
			f.file.ContentID = strings.Trim(f.file.ContentID, "<> \t")
		case p.id == propAttachMethod && p.end-d.s.at >= 4:
			var b []byte
			if b, err = d.s.take(4); err == nil {
				f.method = le.Uint32(b)
			}
		case p.id == propAttachDataObject:
			return d.object(p)
		}
		return err
	})
}

// Interfaces that tell what an object is; the first 16 bytes of its value.
var (
	interfaceMessage = []byte("\x07\x03\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46")
	interfaceStorage = []byte("\x0b\x00\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46")
)

// object takes the value of PidTagAttachDataObject.
func (d *decoder) object(p property) error {
	if p.typ != typeObject {
		d.content(PlainFile, d.s.at, p.end-d.s.at)
		return nil
	}
	b, err := d.s.takeUntil(len(interfaceMessage), p.end)
	if err != nil {
		return err
	}
	kind := Object
	switch {
	case bytes.Equal(b, interfaceMessage):
		kind = EmbeddedMessage
	case !bytes.Equal(b, interfaceStorage):
		d.incomplete("it holds an object of an unknown kind")
	}
	d.content(kind, d.s.at, p.end-d.s.at)
	return nil
}

// text reads the text that lies next in the stream, up to its first NUL and to
// limit bytes.
func (d *decoder) text(typ uint16, end int64, limit int) (string, error) {
	n := end - d.s.at
	if n < 0 || n > maxText {
		n = min(max(n, 0), maxText)
	}
	raw := make([]byte, 0, min(n, int64(limit)))
	for left := min(n, int64(limit)); left > 0; {
		b, err := d.s.take(int(min(left, 4096)))
		if err != nil {
			return "", err
		}
		raw = append(raw, b...)
		left -= int64(len(b))
	}
	charset := d.codepage
	if typ&^typeMultiple == typeUnicode {
		charset, _ = message.LookupCharset("utf-16le")
		raw = raw[:len(raw)&^1]
	}
	text, _, _ := strings.Cut(charset.Decode(raw), "\x00")
	return text, nil
}

// body takes a plain body: it is accounted for if the mail shows its words.
func (d *decoder) body(typ uint16, end int64) error {
	n := end - d.s.at
	if n > maxText || d.texts+int(n) > maxTexts {
		d.incomplete("it has a body of its own, too long to be compared")
		return nil
	}
	d.texts += int(n)
	text, err := d.text(typ, end, maxText)
	if err != nil {
		return err
	}
	if len(strings.Fields(text)) == 0 {
		return nil
	}
	if d.words == "" {
		d.words = words(d.shown)
	}
	if !strings.Contains(d.words, words(text)) {
		d.incomplete("it has a body that the mail does not show")
	}
	return nil
}

// words are the words of a text, each between spaces.
func words(s string) string { return " " + strings.Join(strings.Fields(s), " ") + " " }
