package message

import (
	"bufio"
	"bytes"
	"strings"

	"github.com/emersion/go-message/textproto"
)

// Header is the header of a message or a part: the bytes as they came, and
// the fields read from them. The embedded Header answers Get, Values, Fields.
type Header struct {
	textproto.Header
	Raw []byte // every field with its line end; without the closing blank line
	Err error  // why not every field could be read; nil when all were
	// Blank is the line that ended the header; nil stands for an empty line
	// with the header's line end, which is all that a milter is told.
	Blank []byte
}

// Block is the header with the line that ends it.
func (h Header) Block() []byte {
	blank := h.Blank
	if blank == nil {
		blank = []byte(lineEnd(h.Raw))
	}
	return append(h.Raw[:len(h.Raw):len(h.Raw)], blank...)
}

// ParseHeader reads a block of header fields (RFC 5322 section 2.2), with
// CRLF or LF line ends. On an error the fields before the malformed line are
// in the Header, and Raw is complete.
func ParseHeader(raw []byte) (Header, error) {
	h, err := textproto.ReadHeader(bufio.NewReaderSize(bytes.NewReader(raw), 512))
	return Header{Header: h, Raw: raw, Err: err}, err
}

// RawValue is the value of the first field of a name as it stands there, folds
// included, without the white space around it.
func (h Header) RawValue(name string) (value string, ok bool) {
	raw, err := h.Header.Raw(name)
	if err != nil {
		return "", false
	}
	_, value, ok = strings.Cut(string(raw), ":")
	return strings.TrimSpace(value), ok
}
