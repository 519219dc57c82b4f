package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// contentPart is a mail of one part with content encoded, and its body.
func contentPart(t testing.TB, encoding string, content []byte) (*Part, []byte) {
	t.Helper()
	var body strings.Builder
	switch encoding {
	case "base64":
		text := base64.StdEncoding.EncodeToString(content)
		for ; len(text) > 76; text = text[76:] {
			body.WriteString(text[:76] + "\r\n")
		}
		body.WriteString(text + "\r\n")
	case "quoted-printable":
		for i, c := range content {
			const hex = "0123456789ABCDEF"
			body.WriteString("=" + string(hex[c>>4]) + string(hex[c&15]))
			if i%25 == 24 {
				body.WriteString("=\r\n")
			}
		}
	default:
		body.Write(content)
	}
	in := NewInspector()
	p := &Part{Encoding: encoding, Body: Span{0, int64(body.Len())}, Content: new(Content)}
	in.Content(p, []byte(body.String()))
	in.End(p)
	if p.Content.Size != int64(len(content)) {
		t.Fatalf("%s: %d bytes, want %d", encoding, p.Content.Size, len(content))
	}
	return p, []byte(body.String())
}

func TestContentIsReadAtAnyOffset(t *testing.T) {
	content := make([]byte, 400_000)
	rand.NewChaCha8([32]byte{1}).Read(content)
	for _, encoding := range []string{"base64", "quoted-printable", "binary"} {
		p, body := contentPart(t, encoding, content)
		r := p.OpenContent(bytes.NewReader(body))
		got, err := io.ReadAll(io.NewSectionReader(r, 0, p.Content.Size))
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%s: read %d bytes, %v", encoding, len(got), err)
		}
		for _, off := range []int{len(content) - contentWindow, 0, 399_999, 5, 200_000, 150_000} {
			b := make([]byte, 1000)
			n, err := r.ReadAt(b, int64(off))
			want := content[off:min(off+1000, len(content))]
			if !bytes.Equal(b[:n], want) || (err == io.EOF) != (len(want) < 1000) || err != nil && err != io.EOF {
				t.Errorf("%s: at %d: %d bytes, %v", encoding, off, n, err)
			}
		}
		for _, off := range []int64{400_000, 1 << 40} {
			if n, err := r.ReadAt(make([]byte, 1), off); n != 0 || err != io.EOF {
				t.Errorf("%s: at %d: %d bytes, %v", encoding, off, n, err)
			}
		}
		if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
			t.Errorf("%s: a negative offset is read", encoding)
		}
		r.Close()
		if n, err := r.ReadAt(make([]byte, 1), 0); encoding != "binary" && (n != 0 || err != io.EOF) {
			t.Errorf("%s: after Close: %d bytes, %v", encoding, n, err)
		}
	}
}

func TestContentIsNotDecodedAgainForEver(t *testing.T) {
	p, body := contentPart(t, "base64", make([]byte, 300_000))
	source := &countingReader{r: bytes.NewReader(body)}
	r := p.OpenContent(source)
	defer r.Close()
	var err error
	for range 100 {
		if _, err = r.ReadAt(make([]byte, 1), 299_000); err == nil {
			_, err = r.ReadAt(make([]byte, 1), 0)
		}
	}
	if !errors.Is(err, ErrTooManyRewinds) {
		t.Errorf("error %v", err)
	}
	if source.n > int64(MaxRewinds+1)*int64(len(body)) {
		t.Errorf("%d bytes were read of a body of %d", source.n, len(body))
	}
}

type countingReader struct {
	r io.ReaderAt
	n int64
}

func (c *countingReader) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(b, off)
	c.n += int64(n)
	return n, err
}

func TestContentTellsErrorsOfTheSource(t *testing.T) {
	for _, encoding := range []string{"base64", "quoted-printable", "8bit"} {
		p, body := contentPart(t, encoding, make([]byte, 3000))
		r := p.OpenContent(bytes.NewReader(body[:1000]))
		if _, err := r.ReadAt(make([]byte, 3000), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: error %v", encoding, err)
		}
		r.Close()
	}
}
