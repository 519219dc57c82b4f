package message

import (
	"bytes"
	"io"
	"math/rand"
	"mime/quotedprintable"
	"strings"
	"testing"
)

func decodeQP(b []byte) (string, string) {
	var out bytes.Buffer
	var d qpReader
	d.reset(&out)
	d.Write(b)
	d.close()
	return out.String(), d.defect
}

func TestQuotedPrintableIsRefusedWhereReadersDiffer(t *testing.T) {
	const blanks, malformed = "blanks before a line end", "malformed"
	for _, c := range []struct{ raw, want, defect string }{
		{"", "", ""}, {"a=3Db", "a=b", ""}, {"a=3db=c3=BC", "a=bü", ""},
		{"soft=\r\nbreak", "softbreak", ""}, {"soft=\nbreak", "softbreak", ""}, {"soft=", "soft", ""}, {"soft=\r\n", "soft", ""},
		{"hard\r\nbreak\n", "hard\r\nbreak\n", ""}, {"a b\tc", "a b\tc", ""}, {"a=20\r\n", "a \r\n", ""}, {"a =\r\nb", "a b", ""},
		{"8bit \xff", "8bit \xff", ""}, {"a\rb", "a\rb", ""},
		{"a \r\nb", "", blanks}, {"a\t\nb", "", blanks}, {"a ", "", blanks}, {"a=\r\n ", "", blanks}, {"a \rb", "", blanks},
		{"a=ZZ", "", malformed}, {"a=4", "", malformed}, {"a=4\r\n", "", malformed}, {"==", "", malformed}, {"a= \r\nb", "", malformed}, {"a=\rb", "", malformed},
		{"=4=41", "", malformed},
	} {
		got, defect := decodeQP([]byte(c.raw))
		if c.defect == "" && (got != c.want || defect != "") || !strings.Contains(defect, c.defect) {
			t.Errorf("%q: %q defect %q, want %q %q", c.raw, got, defect, c.want, c.defect)
		}
		for i := range c.raw { // in two chunks
			var out bytes.Buffer
			var d qpReader
			d.reset(&out)
			d.Write([]byte(c.raw[:i]))
			d.Write([]byte(c.raw[i:]))
			if d.close(); out.String() != got || d.defect != defect {
				t.Errorf("%q cut at %d: %q defect %q", c.raw, i, out.String(), d.defect)
			}
		}
		if defect != "" {
			continue
		}
		std, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(c.raw)))
		if err != nil || string(std) != got {
			t.Errorf("%q: the standard library reads %q, %v", c.raw, std, err)
		}
	}
}

func TestOffsetsOfQuotedPrintable(t *testing.T) {
	raw := "a=3Db=\r\nc=\nd\r\n=C3=BC"
	text := unquote([]byte(raw))
	if string(text) != "a=bcd\r\nü" {
		t.Fatalf("text %q", text)
	}
	if end := qpOffset([]byte(raw), len(text)); end != len(raw) {
		t.Errorf("the end is at %d, want %d", end, len(raw))
	}
	for i := range text {
		at := qpOffset([]byte(raw), i)
		rest, _ := decodeQP([]byte(raw[at:]))
		if rest != string(text[i:]) {
			t.Errorf("byte %d: from %d on it is %q, want %q", i, at, rest, text[i:])
		}
	}
}

func checkEncodedQP(t *testing.T, text, eol string) {
	t.Helper()
	raw := encodeQP(text, eol)
	if got, defect := decodeQP([]byte(raw)); strings.ReplaceAll(got, eol, "\r\n") != text || defect != "" {
		t.Fatalf("%q became %q, read as %q (%s)", text, raw, got, defect)
	}
	std, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(raw)))
	if err != nil || strings.ReplaceAll(string(std), eol, "\r\n") != text {
		t.Fatalf("the standard library reads %q, %v of %q", std, err, raw)
	}
	checkQPLines(t, raw, eol)
	for line := range strings.SplitSeq(raw, eol) {
		if strings.HasPrefix(line, "-") || strings.HasPrefix(line, ".") || strings.HasPrefix(line, "From ") || !isASCII(line) {
			t.Fatalf("%q has the line %q", text, line)
		}
	}
}

func TestEncodeQP(t *testing.T) {
	for _, text := range []string{"", "a", "a\r\n", "\r\n\r\n", " \r\n\t\r\n ", "=", "--boundary\r\n-", ".\r\n..", "From x\r\nFrom", "\x00\x7f",
		strings.Repeat("x", 74), strings.Repeat("x", 75), strings.Repeat("x", 76), strings.Repeat("x", 77),
		strings.Repeat("x", 75) + "--b", strings.Repeat("x", 75) + "From me", strings.Repeat("x", 74) + " \r\n", strings.Repeat("x", 75) + " \r\n",
		strings.Repeat("ü", 100), strings.Repeat(" ", 200), strings.Repeat("x", 73) + "=", strings.Repeat("x", 72) + "=="} {
		checkEncodedQP(t, text, "\r\n")
		checkEncodedQP(t, text, "\n")
	}
	checkEncodedQP(t, strings.Repeat("ü lorem =\r\n", 3000), "\r\n")
	r := rand.New(rand.NewSource(1))
	alphabet := []string{"a", " ", "\t", "=", "-", ".", "ü", "\r\n", "From ", "x", "xxxxxxxx", "\xff"}
	for range 3000 {
		var b strings.Builder
		for range r.Intn(120) {
			b.WriteString(alphabet[r.Intn(len(alphabet))])
		}
		checkEncodedQP(t, b.String(), []string{"\r\n", "\n"}[r.Intn(2)])
	}
}

// The name of a file must not be able to write a delimiter into the message,
// wherever the lines break.
func TestNamesCannotWriteADelimiter(t *testing.T) {
	for pad := range 80 {
		name := "ü" + strings.Repeat("x", pad) + "--b--.pdf"
		raw := letter("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nHi\n--b\n" +
			named(name) + "\n--b\n" + file("b.pdf") + "\n--b--\n")
		m := open(t, raw)
		if next := m.remove(m.part("application/pdf")); outline(next.tree.Root) != "mixed(plain octet-stream)" {
			t.Fatalf("%d: structure %s", pad, outline(next.tree.Root))
		}
	}
}
