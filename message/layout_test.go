package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestLayoutIsStoredAndReadBack(t *testing.T) {
	for _, l := range []Layout{
		{}, {kind: layoutIdentity}, {kind: layoutBase64}, {kind: layoutBase64, width: 76, eol: "\r\n"},
		{kind: layoutBase64, width: 1, eol: "\n", trailer: "\n\r\n\n"}, {kind: layoutBase64, trailer: strings.Repeat("\r\n", maxTrailer/2)},
	} {
		got, err := ParseLayout(l.String())
		if err != nil || got != l {
			t.Errorf("%s is read as %s, %v", l, got, err)
		}
	}
	for _, s := range []string{"", "base64", "base64 76", `base64 76 "\n"`, `base64 -1 "" ""`, `base64 x "" ""`, "Identity", "regular", `base64 76 "\n" "" x`} {
		if l, err := ParseLayout(s); err == nil {
			t.Errorf("%q is read as %s", s, l)
		}
	}
}

func TestLayoutEncodesContentOfAnyLength(t *testing.T) {
	const block = 3 << 13
	for _, width := range []int{0, 1, 4, 60, 64, 75, 76, 77, 1000} {
		for _, n := range []int{0, 1, 2, 3, 44, 45, 56, 57, 58, 114, block - 1, block, block + 1, 2*block + 57} {
			content := bytes.Repeat([]byte("attach\xff\x00"), n/8+1)[:n]
			l := Layout{kind: layoutBase64, width: width, eol: "\r\n", trailer: "\r\n"}
			var out bytes.Buffer
			if err := l.Encode(&out, bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			want := base64.StdEncoding.EncodeToString(content)
			var lines []string
			for width > 0 && len(want) > width {
				lines = append(lines, want[:width])
				want = want[width:]
			}
			if want = strings.Join(append(lines, want), "\r\n") + "\r\n"; out.String() != want {
				t.Fatalf("width %d, %d bytes:\n%.200q, want\n%.200q", width, n, out.String(), want)
			}
		}
	}
	if err := (Layout{}).Encode(new(bytes.Buffer), strings.NewReader("x")); err == nil {
		t.Error("an irregular layout encodes")
	}
}

// halfReader fails after its content.
type halfReader struct{ r *strings.Reader }

var errHalf = errors.New("half")

func (h halfReader) Read(b []byte) (int, error) {
	if h.r.Len() == 0 {
		return 0, errHalf
	}
	return h.r.Read(b)
}

func TestLayoutTellsErrorsOfReaderAndWriter(t *testing.T) {
	for _, l := range []Layout{{kind: layoutIdentity}, {kind: layoutBase64, width: 76, eol: "\n", trailer: "\n"}} {
		if err := l.Encode(new(bytes.Buffer), halfReader{strings.NewReader("abc")}); !errors.Is(err, errHalf) {
			t.Errorf("%s: reader: %v", l, err)
		}
		var whole bytes.Buffer
		if err := l.Encode(&whole, strings.NewReader(strings.Repeat("abc", 1000))); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, whole.Len() - 1} {
			if err := l.Encode(&shortWriter{n}, strings.NewReader(strings.Repeat("abc", 1000))); !errors.Is(err, errFull) {
				t.Errorf("%s: writer of %d bytes: %v", l, n, err)
			}
		}
	}
}

func TestDecodeToTellsWriteErrors(t *testing.T) {
	for _, encoding := range []string{"7bit", "base64", "quoted-printable"} {
		raw := fmt.Sprintf("Content-Transfer-Encoding: %s\r\nContent-Type: application/pdf\r\n\r\n%s", encoding, strings.Repeat("QUJD", 1000))
		tree := scan(t, raw, 0)
		_, body := split(raw)
		if err := tree.Root.DecodeTo(&shortWriter{10}, bytes.NewReader(body)); err != errFull {
			t.Errorf("%s: %v", encoding, err)
		}
		if err := tree.Root.DecodeTo(new(bytes.Buffer), bytes.NewReader(body[:100])); err == nil {
			t.Errorf("%s: a body that is too short", encoding)
		}
		if _, err := tree.Root.decode(bytes.NewReader(body), 100); err != ErrTooLarge {
			t.Errorf("%s: over the limit: %v", encoding, err)
		}
	}
}
