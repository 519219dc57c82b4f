package milter

// The header of a message, put together again from its SMFIC_HEADER packets.

import (
	"bytes"
	"fmt"
)

// headerBlock collects header fields as they stood in the message, with CRLF
// line ends.
type headerBlock struct {
	raw []byte
	// leadingSpace: values come with the white space that follows the colon
	// (OptHeaderLeadingSpace).
	leadingSpace bool
	// defect says why raw is not the whole header; the rest is not collected.
	defect string
}

// add takes the payload of one SMFIC_HEADER packet: name and value, each ended
// by NUL. Folded values have LF (both MTAs) or CRLF line ends.
func (b *headerBlock) add(data []byte) {
	if b.defect != "" {
		return
	}
	name, rest, ok := bytes.Cut(data, []byte{0})
	if !ok || len(name) == 0 || len(rest) == 0 || bytes.IndexByte(rest, 0) != len(rest)-1 {
		b.defect = "malformed header packet"
		return
	}
	value, before := rest[:len(rest)-1], len(b.raw)
	b.raw = append(b.raw, name...)
	b.raw = append(b.raw, ':')
	// Without the option MTAs eat one space after the colon. Whether there was
	// one is not known; most programs write it.
	if !b.leadingSpace && len(value) > 0 && !startsBlank(value) {
		b.raw = append(b.raw, ' ')
	}
	for {
		i := bytes.IndexByte(value, '\n')
		if i < 0 {
			break
		}
		b.raw = append(b.raw, bytes.TrimSuffix(value[:i], []byte{'\r'})...)
		b.raw = append(b.raw, '\r', '\n')
		value = value[i+1:]
		if len(value) == 0 || value[0] != ' ' && value[0] != '\t' {
			b.raw, b.defect = b.raw[:before], fmt.Sprintf("the value of header field %q is not folded properly", name)
			return
		}
	}
	b.raw = append(b.raw, value...)
	b.raw = append(b.raw, '\r', '\n')
	if len(b.raw) > maxHeader {
		b.raw, b.defect = b.raw[:before], fmt.Sprintf("header over the limit of %d bytes", maxHeader)
	}
}

func startsBlank(value []byte) bool {
	return value[0] == ' ' || value[0] == '\t' || value[0] == '\r' || value[0] == '\n'
}
