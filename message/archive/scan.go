package archive

// The one look at every byte, from front to back: local headers of a zip
// wherever they are, and the marks of documents.

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"cloakroom/message"
)

const (
	// lookahead is how far from its first byte a thing is looked at, in bytes:
	// a local header with the longest name (30 + 65,535), and the end of a zip
	// with the longest comment and its zip64 records (22 + 65,535 + 20 + 56).
	lookahead = 66 << 10
	scanChunk = 64 << 10
)

// Signatures of a zip (APPNOTE.TXT section 4.3).
const (
	localSignature     = "PK\x03\x04"
	directorySignature = "PK\x01\x02"
	endSignature       = "PK\x05\x06"
	locatorSignature   = "PK\x06\x07"
	end64Signature     = "PK\x06\x06"
	decryptSignature   = "PK\x06\x08" // archive extra data: the directory is encrypted
)

const (
	localLen     = 30
	directoryLen = 46
	endLen       = 22
	locatorLen   = 20
	end64Len     = 56
)

// Flags of an entry (section 4.4.4).
const (
	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	flagStrong     = 1 << 6
	flagUTF8       = 1 << 11
	flagMasked     = 1 << 13 // the directory is encrypted, and this header tells nothing
)

// scan looks at the whole file, and keeps its tail.
func (f *file) scan() error {
	window := make([]byte, min(f.size, lookahead+scanChunk))
	filled, start := 0, int64(0) // window[0] is at start
	for {
		n := min(int64(len(window)-filled), f.size-start-int64(filled))
		if err := f.readAt(window[filled:filled+int(n)], start+int64(filled)); err != nil {
			return err
		}
		filled += int(n)
		last := start+int64(filled) == f.size
		until := filled - lookahead // things that begin before it are wholly here
		if last {
			until = filled
		}
		f.look(window[:filled], until, start)
		if last {
			f.tail = window[max(0, filled-lookahead):filled]
			return nil
		}
		filled = copy(window, window[until:filled])
		start += int64(until)
	}
}

// look finds what begins in the first until bytes of window, which is at start.
func (f *file) look(window []byte, until int, start int64) {
	for at := 0; f.locals <= maxLocals; {
		i := bytes.Index(window[at:], []byte(localSignature))
		if i < 0 || at+i >= until {
			break
		}
		f.local(window[at+i:])
		at += i + len(localSignature)
	}
	switch f.kind {
	case pdf:
		f.lookPDF(window, until)
	case compound:
		f.lookOffice(window, until, start)
	}
}

// local takes a local header (section 4.3.7).
func (f *file) local(b []byte) {
	if len(b) < localLen {
		return
	}
	flags, method, length := le.Uint16(b[6:]), le.Uint16(b[8:]), int(le.Uint16(b[26:]))
	if method > 99 || length == 0 {
		return // not one that any reader unpacks: four bytes by chance
	}
	if f.locals++; f.locals > maxLocals {
		f.incomplete("it has too many files")
		return
	}
	f.flags(flags, method)
	if flags&flagMasked != 0 {
		return
	}
	if len(b) < localLen+length {
		f.incomplete("it is cut off")
		return
	}
	name := b[localLen : localLen+length]
	extra := b[localLen+length:]
	extra = extra[:min(len(extra), int(le.Uint16(b[28:])))]
	empty := le.Uint32(b[18:]) == 0 && le.Uint32(b[22:]) == 0 && flags&flagDescriptor == 0
	f.entry(name, extra, flags, empty)
}

// flags notes what the flags of an entry tell.
func (f *file) flags(flags, method uint16) {
	const methodAES = 99 // AE-x: the real method is in an extra field
	if flags&(flagEncrypted|flagStrong|flagMasked) != 0 || method == methodAES {
		f.contents.Encrypted = true
	}
	if flags&flagMasked != 0 {
		f.incomplete("its directory is encrypted")
	}
}

// entry lists the name of an entry. empty tells that it has no content; with a
// slash at the end it is a folder then.
func (f *file) entry(name, extra []byte, flags uint16, empty bool) {
	if empty && len(name) > 0 && (name[len(name)-1] == '/' || name[len(name)-1] == '\\') {
		return
	}
	if other := unicodePath(extra); other != nil {
		f.name(other, true)
	}
	f.name(name, flags&flagUTF8 != 0)
}

// unicodePath is the name in an Info-ZIP Unicode Path field (section 4.6.9).
// Its checksum is not looked at: some readers do not either.
func unicodePath(extra []byte) []byte {
	for len(extra) >= 4 {
		id, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			return nil
		}
		if id == 0x7075 && n > 5 {
			return extra[5:n]
		}
		extra = extra[n:]
	}
	return nil
}

// name lists a name as written in all ways it may be read.
func (f *file) name(raw []byte, marked bool) {
	if len(raw) > maxNameLen {
		raw = raw[len(raw)-maxNameLen:]
		for marked && len(raw) > 0 && !utf8.RuneStart(raw[0]) {
			raw = raw[1:]
		}
	}
	if f.raw[string(raw)] || f.full() {
		return
	}
	f.raw[string(raw)] = true
	before := len(f.contents.Names)
	known := false
	for _, text := range readings(raw) {
		for _, n := range cleanNames(text) {
			known = f.list(n) || known
		}
	}
	if len(f.contents.Names) == before && !known {
		f.incomplete("a file in it has no name")
	}
}

// full tells that no more names are listed, and why the list is not complete.
func (f *file) full() bool {
	if len(f.contents.Names) < MaxNames && f.nameSize < MaxNameBytes && len(f.raw) < 2*MaxNames {
		return false
	}
	f.incomplete("it has too many names")
	return true
}

// list adds a clean name, and tells whether it is in the list then.
func (f *file) list(name string) bool {
	switch {
	case name == "":
		return false
	case f.seen[name]:
		return true
	case f.full():
		return false
	}
	f.seen[name] = true
	f.nameSize += len(name)
	f.contents.Names = append(f.contents.Names, name)
	return true
}

// readings decodes a name: UTF-8 where it is that, and code page 437, which is
// what a zip without a mark should mean. Whether the mark is there is no matter:
// writers forget it, and readers guess.
func readings(raw []byte) []string {
	ascii := true
	for _, c := range raw {
		ascii = ascii && c < utf8.RuneSelf
	}
	if ascii {
		return []string{string(raw)}
	}
	var out []string
	if utf8.Valid(raw) {
		out = append(out, string(raw))
	}
	if text, err := charmap.CodePage437.NewDecoder().Bytes(raw); err == nil {
		out = append(out, string(text))
	}
	return out
}

// cleanNames is message.NameReadings with a short way for what is read in one
// way only.
func cleanNames(text string) []string {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-', c == '/':
		default:
			return message.NameReadings(text)
		}
	}
	return []string{message.CleanName(text)}
}
