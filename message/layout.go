package message

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/segmentio/asm/base64"
)

// Layout says how the encoded form of a content is laid out, so that it can
// be made again from the decoded bytes, byte for byte.
type Layout struct {
	kind    layoutKind
	width   int    // base64: characters in each line but the last
	eol     string // base64: between lines
	trailer string // base64: line breaks behind the last line
}

type layoutKind uint8

const (
	layoutIrregular layoutKind = iota // cannot be made again: keep the encoded bytes
	layoutIdentity                    // 7bit, 8bit, binary
	layoutBase64
)

// maxTrailer bounds the blank lines behind base64 that a Layout remembers,
// in bytes.
const maxTrailer = 64

// Regular tells whether Encode makes the encoded bytes again.
func (l Layout) Regular() bool { return l.kind != layoutIrregular }

// String is the stored form; ParseLayout reads it back.
func (l Layout) String() string {
	switch l.kind {
	case layoutIdentity:
		return "identity"
	case layoutBase64:
		return fmt.Sprintf("base64 %d %q %q", l.width, l.eol, l.trailer)
	}
	return "irregular"
}

// ParseLayout reads what String wrote.
func ParseLayout(s string) (Layout, error) {
	switch s {
	case "identity":
		return Layout{kind: layoutIdentity}, nil
	case "irregular":
		return Layout{}, nil
	}
	l := Layout{kind: layoutBase64}
	if n, err := fmt.Sscanf(s, "base64 %d %q %q", &l.width, &l.eol, &l.trailer); n != 3 || err != nil || l.width < 0 || l.String() != s {
		return Layout{}, fmt.Errorf("unknown content layout %s", strconv.Quote(s))
	}
	return l, nil
}

// Encode writes the encoded form of the content read from r.
func (l Layout) Encode(w io.Writer, r io.Reader) error {
	switch l.kind {
	case layoutIdentity:
		_, err := io.Copy(w, r)
		return err
	case layoutBase64:
		if err := l.encodeBase64(w, r); err != nil {
			return err
		}
		_, err := io.WriteString(w, l.trailer)
		return err
	}
	return fmt.Errorf("content layout is irregular: the encoded bytes must be kept")
}

func (l Layout) encodeBase64(w io.Writer, r io.Reader) error {
	const block = 3 << 13 // decoded bytes a round; a multiple of 3, so that padding comes last
	in := make([]byte, block)
	chars := make([]byte, base64.StdEncoding.EncodedLen(block))
	var out strings.Builder
	col := 0
	for {
		n, err := io.ReadFull(r, in)
		if n > 0 {
			c := chars[:base64.StdEncoding.EncodedLen(n)]
			base64.StdEncoding.Encode(c, in[:n])
			out.Reset()
			for len(c) > 0 {
				if l.width > 0 && col == l.width {
					out.WriteString(l.eol)
					col = 0
				}
				take := len(c)
				if l.width > 0 {
					take = min(take, l.width-col)
				}
				out.Write(c[:take])
				c = c[take:]
				col += take
			}
			if _, werr := io.WriteString(w, out.String()); werr != nil {
				return werr
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
