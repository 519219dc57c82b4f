package archive

// Documents that need a password: PDF and Office.

import (
	"bytes"
	"unicode/utf16"
)

// lookPDF looks for the encryption dictionary that a trailer names (ISO 32000-1
// section 7.6.1): "/Encrypt 12 0 R", or the dictionary itself. Updates append
// trailers and fast web view puts one in front, so it may be anywhere.
func (f *file) lookPDF(window []byte, until int) {
	key := []byte("/Encrypt")
	for at := 0; !f.contents.Encrypted; {
		i := bytes.Index(window[at:], key)
		if i < 0 || at+i >= until {
			return
		}
		at += i + len(key)
		rest := window[at:min(at+64, len(window))]
		value := bytes.TrimLeft(rest, "\x00\t\n\f\r ")
		if bytes.HasPrefix(value, []byte("<<")) {
			f.contents.Encrypted = true
		}
		if len(value) == len(rest) {
			continue // another name that begins so, such as /EncryptMetadata
		}
		if fields := bytes.Fields(value); len(fields) >= 3 && digits(fields[0]) && digits(fields[1]) && fields[2][0] == 'R' {
			f.contents.Encrypted = true
		}
	}
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// Directory entries of a compound file (MS-CFB section 2.6.1).
const (
	entryLen       = 128
	entryNameLen   = 64
	entryType      = 66
	entryStart     = 116
	typeStream     = 2
	maxSectorShift = 12
)

// office is what was found in a compound file; 0 where nothing was.
type office struct{ word, excel int64 } // offsets of the streams

// streams are the names that tell something, as a directory entry has them.
var streams = map[string]bool{"EncryptedPackage": true, "EncryptedSummary": true, "WordDocument": true, "Workbook": true, "Book": true}

// lookOffice looks for directory entries. They begin at multiples of 128 and say
// enough of themselves to be known without following the chain of sectors.
func (f *file) lookOffice(window []byte, until int, start int64) {
	for at := int((entryLen - start%entryLen) % entryLen); at < until && at+entryLen <= len(window); at += entryLen {
		e := window[at : at+entryLen]
		n := int(le.Uint16(e[entryNameLen:]))
		if e[entryType] != typeStream || n < len("Book\x00")*2 || n > len("EncryptedPackage\x00")*2 || n%2 != 0 {
			continue
		}
		units := make([]uint16, n/2-1)
		for i := range units {
			units[i] = le.Uint16(e[2*i:])
		}
		name := string(utf16.Decode(units))
		if !streams[name] {
			continue
		}
		switch name {
		case "WordDocument":
			f.office.word = f.sector(le.Uint32(e[entryStart:]))
		case "Workbook", "Book":
			f.office.excel = f.sector(le.Uint32(e[entryStart:]))
		default: // MS-OFFCRYPTO section 2.3; MS-PPT section 2.3.7
			f.contents.Encrypted = true
		}
	}
}

// sector is the offset of a sector (MS-CFB section 2.2); 0 if there is none.
func (f *file) sector(number uint32) int64 {
	if len(f.head) < 512 {
		return 0
	}
	shift := le.Uint16(f.head[30:])
	if shift < 7 || shift > maxSectorShift {
		return 0
	}
	at := (int64(number) + 1) << shift
	if at >= f.size {
		return 0
	}
	return at
}

// readOffice reads the marks of encryption in Word and Excel files of 97 to 2003.
func (f *file) readOffice() error {
	if f.contents.Encrypted {
		return nil
	}
	if f.office.word > 0 {
		b, err := f.part(f.office.word, 12)
		if err != nil {
			return err
		}
		// Fib.base (MS-DOC section 2.5.2): wIdent, and fEncrypted in the flags.
		if len(b) == 12 && le.Uint16(b) == 0xa5ec && le.Uint16(b[10:])&0x0100 != 0 {
			f.contents.Encrypted = true
		}
	}
	if f.office.excel > 0 {
		b, err := f.part(f.office.excel, 512)
		if err != nil {
			return err
		}
		f.contents.Encrypted = f.contents.Encrypted || filePass(b)
	}
	return nil
}

// filePass tells whether a FilePass record is among the first of a workbook
// (MS-XLS section 2.1.7.20.5): after BOF, and WriteProtect where there is one.
func filePass(b []byte) bool {
	const recordBOF, recordWriteProtect, recordFilePass = 0x0809, 0x0086, 0x002f
	for len(b) >= 4 {
		record, n := le.Uint16(b), int(le.Uint16(b[2:]))
		switch record {
		case recordFilePass:
			return true
		case recordBOF, recordWriteProtect:
		default:
			return false
		}
		b = b[min(4+n, len(b)):]
	}
	return false
}
