package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"
)

// scan takes a whole message apart, its body pushed in chunks of n bytes (0:
// at once).
func scan(t testing.TB, raw string, n int) *Tree {
	t.Helper()
	h, body := split(raw)
	tree := scanBody(h, body, func(int) int {
		if n == 0 {
			return len(body)
		}
		return n
	})
	return tree
}

func split(raw string) (Header, []byte) {
	for _, sep := range []string{"\r\n\r\n", "\n\n"} {
		if head, body, ok := strings.Cut(raw, sep); ok {
			h, _ := ParseHeader([]byte(head + sep[:len(sep)/2]))
			return h, []byte(body)
		}
	}
	h, _ := ParseHeader([]byte(raw))
	return h, nil
}

func scanBody(h Header, body []byte, next func(left int) int) *Tree {
	in := NewInspector()
	s := NewScanner(h, in)
	var lent []byte // as milter's: another chunk is in it afterwards
	for rest := body; len(rest) > 0; {
		n := max(1, min(len(rest), next(len(rest))))
		lent = append(lent[:0], rest[:n]...)
		s.Write(lent)
		for i := range lent {
			lent[i] = '\n'
		}
		rest = rest[n:]
	}
	tree := s.Close()
	tree.Digest = in.Digest()
	return tree
}

// dump writes a tree so that two can be compared.
func dump(t *Tree) string {
	var b strings.Builder
	fmt.Fprintf(&b, "size %d opaque %q digest %x\n", t.Size, t.Opaque, t.Digest)
	t.Root.Walk(func(p *Part) {
		fmt.Fprintf(&b, "%s%d %s head %v body %v entity %v closed %v name %q", strings.Repeat(" ", p.Depth), p.Index, p.Type.Text,
			p.HeaderSpan, p.Body, p.Entity, p.Closed, p.Name)
		if c := p.Content; c != nil {
			fmt.Fprintf(&b, " size %d sha %x %s %s defect %q", c.Size, c.SHA256, c.Sniffed, c.Layout, c.Defect)
		}
		b.WriteByte('\n')
	})
	return b.String()
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

const nested = `From: a@ext.test
To: b@acmecorp.test
Subject: plans
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: multipart/alternative; boundary=outer-in

--outer-in
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe,
siehe Anhang=
--outer-in
Content-Type: text/html

<p>see attachment</p>
--outer-in--

--outer
Content-Type: application/pdf; name="plan.pdf"
Content-Disposition: attachment; filename="plan.pdf"
Content-Transfer-Encoding: base64

JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoKPDwvTGVuZ3RoIDMgMCBSL0ZpbHRlci9GbGF0ZURl
Y29kZT4+CnN0cmVhbQp4nD2OywoCMQxF9/mKuxYsSR8zLZR+gLhwXRh1oYLgwo2/b2bqowsaknty
EA==
--outer
Content-Type: text/csv; name=list.csv
Content-Disposition: attachment

a;b
1;2

--outer--
epilogue
`

func TestTreeOfNestedMessage(t *testing.T) {
	raw := crlf(nested)
	tree := scan(t, raw, 0)
	if tree.Opaque != "" {
		t.Fatalf("opaque: %s", tree.Opaque)
	}
	_, body := split(raw)
	var got []string
	tree.Root.Walk(func(p *Part) { got = append(got, p.Type.Text) })
	want := "multipart/mixed multipart/alternative text/plain text/html application/pdf text/csv"
	if strings.Join(got, " ") != want {
		t.Fatalf("parts %v, want %s", got, want)
	}
	csv := tree.Root.Children[2]
	if s := string(body[csv.Body.Start:csv.Body.End]); s != "a;b\r\n1;2\r\n" {
		t.Errorf("csv body %q: the line break before the delimiter is not part of it", s)
	}
	if s := string(body[csv.Entity.Start:csv.Entity.End]); !strings.HasPrefix(s, "--outer\r\nContent-Type: text/csv") || !strings.HasSuffix(s, "1;2\r\n\r\n") {
		t.Errorf("csv entity %q", s)
	}
	pdf := tree.Root.Children[1]
	if pdf.Content.Layout.String() != `base64 76 "\r\n" ""` || pdf.Name != "plan.pdf" || pdf.Content.Sniffed != "application/pdf" {
		t.Errorf("pdf: layout %s name %q sniffed %s", pdf.Content.Layout, pdf.Name, pdf.Content.Sniffed)
	}
	if tree.Root.Body.End != int64(len(body)) {
		t.Errorf("root ends at %d of %d", tree.Root.Body.End, len(body))
	}
}

func TestChunksOfAnySizeGiveTheSameTree(t *testing.T) {
	for _, raw := range samples() {
		want := dump(scan(t, raw, 0))
		for _, n := range []int{1, 2, 3, 5, 7, 64, 77, 78, 79, 511, 512, 513, 65535} {
			if got := dump(scan(t, raw, n)); got != want {
				t.Fatalf("chunks of %d give another tree:\n%s\nat once:\n%s\nmessage:\n%.2000s", n, got, want, raw)
			}
		}
	}
}

// samples are messages around what is hard: line ends, layouts, delimiters.
func samples() []string {
	long := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("attachment "), 9000))
	wrap := func(s string, width int, eol string) string {
		var out []string
		for len(s) > width {
			out = append(out, s[:width])
			s = s[width:]
		}
		return strings.Join(append(out, s), eol)
	}
	part := func(encoding, content string) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: " +
			encoding + "\r\n\r\n" + content + "\r\n--b--\r\n"
	}
	out := []string{
		crlf(nested), strings.ReplaceAll(nested, "\r", ""),
		"Subject: x\r\n\r\n", "Subject: x\r\n\r\nbody\r\n--no\r\n",
		part("base64", wrap(long, 76, "\r\n")),
		part("base64", wrap(long, 76, "\n")),
		part("base64", wrap(long, 60, "\r\n")+"\r\n\r\n"),
		part("base64", long),
		part("base64", wrap(long, 76, "\r\n")[:50000]+" "+wrap(long, 76, "\r\n")[50000:]),
		part("base64", wrap(long, 76, "\r\n")[:50000]+"*"+wrap(long, 76, "\r\n")[50000:]),
		part("base64", wrap(long, 76, "\r\n")[:50000]+"=="+wrap(long, 76, "\r\n")[50000:]),
		part("base64", wrap(long, 76, "\r\n")[:3900]+"\r\n"+wrap(long, 76, "\r\n")[3900:]),
		part("base64", wrap(wrap(long, 38, "\r\n"), 76+2, "\r\n")),
		part("base64", wrap(long, 36, "\r\n")[:3800]+wrap(long, 76, "\r\n")),
		part("base64", "QQ==\r\nQQ=="), part("base64", "QR=="), part("base64", "QQ"), part("base64", ""), part("base64", "\r\nQQ=="),
		part("base64", "QUJD\rQUJD"), part("base64", "QUJD\r"), part("base64", "QUJDQUJD\r\nQUJD\r\n\r\n\r\n"),
		part("quoted-printable", "a=\r\nb=3D=C3=A4 \r\n=zz"), part("8bit", "\xff\x00\r\r\n\n"),
		part("x-uuencode", "begin"), part("BINARY", "x"),
		part("8bit", "--"), part("8bit", "--\r\n--c\r\n-"), part("8bit", "--b x"), part("8bit", "--bb"),
		part("8bit", "--b"+strings.Repeat(" ", 600)), part("8bit", strings.Repeat("-", 2000)),
		strings.ReplaceAll(part("8bit", "x"), "--b--\r\n", ""),
		strings.ReplaceAll(part("8bit", "x"), "--b--\r\n", "--b--"),
		strings.ReplaceAll(part("8bit", "x"), "\r\n\r\nx", "\r\nx"),
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: " + strings.Repeat("y", MaxPartHeader) + "\r\n\r\n",
	}
	return out
}

func TestLayoutMakesTheEncodedBytesAgain(t *testing.T) {
	regular := 0
	for _, raw := range samples() {
		_, body := split(raw)
		src := bytes.NewReader(body)
		scan(t, raw, 0).Root.Walk(func(p *Part) {
			if p.IsMultipart() || p.Content.Defect != "" || !p.Content.Layout.Regular() {
				return
			}
			var content, again bytes.Buffer
			if err := p.DecodeTo(&content, src); err != nil {
				t.Fatal(err)
			}
			layout, err := ParseLayout(p.Content.Layout.String())
			if err != nil {
				t.Fatal(err)
			}
			if err := layout.Encode(&again, bytes.NewReader(content.Bytes())); err != nil {
				t.Fatal(err)
			}
			if want := body[p.Body.Start:p.Body.End]; !bytes.Equal(again.Bytes(), want) {
				t.Errorf("layout %s made\n%.300q of\n%.300q", p.Content.Layout, again.Bytes(), want)
			}
			regular++
		})
	}
	if regular < 20 {
		t.Errorf("only %d regular parts in the samples", regular)
	}
}

func TestBase64DefectsAndLayouts(t *testing.T) {
	head := "Content-Transfer-Encoding: base64\r\nContent-Type: application/pdf\r\n\r\n"
	for _, c := range []struct{ body, layout, defect string }{
		{"QUJD", `base64 0 "" ""`, ""},
		{"QUJDRA==\r\nQQ==", "", "does not decode"},
		{"QUJD\r\nRA==\r\n", `base64 4 "\r\n" "\r\n"`, ""},
		{"QUJD\nRA==\n\n", `base64 4 "\n" "\n\n"`, ""},
		{"QUJDQUJD\r\nQUJD\r\nQUJD\r\n", "irregular", ""},
		{"QUJD\r\n RA==", "irregular", ""},
		{"QUJD-", "", "outside its alphabet"},
		{"QUJDR", "", "does not decode"},
		{"QR==", "irregular", ""},
		{"", `base64 0 "" ""`, ""},
	} {
		p := scan(t, head+c.body, 0).Root
		if c.defect != "" {
			if !strings.Contains(p.Content.Defect, c.defect) {
				t.Errorf("%q: defect %q, want %q", c.body, p.Content.Defect, c.defect)
			}
			continue
		}
		if p.Content.Layout.String() != c.layout || p.Content.Defect != "" {
			t.Errorf("%q: layout %s defect %q, want %s", c.body, p.Content.Layout, p.Content.Defect, c.layout)
		}
	}
}

// Bits set behind the last byte must not reach the bytes before it, and each
// encoded form has a digest of its own.
func TestIrregularBase64DecodesAsTheStandardLibraryDoes(t *testing.T) {
	head := "Content-Transfer-Encoding: base64\r\nContent-Type: application/pdf\r\n\r\n"
	digests := make(map[[32]byte]string)
	for _, body := range []string{"2WaXc3s/0Q+=", "2WaXc3s/0Q8=", "QUJD2R==", "QR==", "AAAAA\nAA\nA", "AAAAA\nA\nAA", "AAAA\nAAAA", "AAAA AAAA"} {
		tree := scan(t, head+body, 0)
		if old, ok := digests[tree.Digest]; ok {
			t.Errorf("%q and %q have one digest", old, body)
		}
		digests[tree.Digest] = body
		want, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := tree.Root.DecodeTo(&got, strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) || tree.Root.Content.SHA256 != sha256.Sum256(want) || tree.Root.Content.Defect != "" {
			t.Errorf("%q: decoded %x, want %x (defect %q)", body, got.Bytes(), want, tree.Root.Content.Defect)
		}
	}
}

func TestAmbiguousStructureIsOpaque(t *testing.T) {
	mixed := "Content-Type: multipart/mixed; boundary=b\r\n"
	for _, c := range []struct{ raw, reason string }{
		{mixed + mixed + "\r\n--b\r\n\r\nx\r\n--b--\r\n", "duplicate Content-Type"},
		{"Content-Type: multipart/mixed; boundary=b; boundary=c\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", "contradicting boundary"},
		{"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", "without a boundary"},
		{mixed + "Content-Transfer-Encoding: base64\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", "encoded multipart"},
		{mixed + "\r\n--b\r\n\r\nx\r\n--b trailing\r\n\r\ny\r\n--b--\r\n", "trailing text"},
		{mixed + "\r\n--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\ny\r\n--b--\r\n", "after the close"},
		{mixed + "\r\n--b\r\nContent-Type: text/plain\r\n--b\r\n\r\nx\r\n--b--\r\n", "inside a part header"},
		{mixed + "\r\n--b\r\nno header at all\r\n\r\nx\r\n--b--\r\n", "malformed part header"},
		{mixed + "\r\n--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n", "repeats its parent's"},
		{mixed + "\r\n--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--b--\r\n", "not closed"},
		{mixed + "\r\n--b\r\nX: y", "ends inside a part header"},
		{mixed + "\r\n--b--\r\n", "without parts"},
		{mixed + "\r\nx\r\n", "without a delimiter"},
		{"Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", 300) + "\r\n\r\nx", "over the limit"},
		{mixed + "\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", MaxParts+1) + "--b--\r\n", "number of parts"},
		{deep(MaxDepth + 1), "nesting"},
		{mixed + "no colon\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", "malformed message header"},
		{mixed + "\r\n--b\r\nX: y\rZ: a\r\n\r\nx\r\n--b--\r\n", "malformed part header"},
	} {
		tree := scan(t, c.raw, 0)
		if !strings.Contains(tree.Opaque, c.reason) {
			t.Errorf("%.80q: opaque %q, want %q", c.raw, tree.Opaque, c.reason)
		}
		if tree.Opaque != "" && (len(tree.Root.Children) != 0 || tree.Root.Content == nil) {
			t.Errorf("%.80q: an opaque message is one leaf", c.raw)
		}
	}
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d.\r\n\r\n--b%d.\r\n", i, i)
	}
	return b.String()
}

func TestMissingCloseDelimiterAtTheEndIsAccepted(t *testing.T) {
	tree := scan(t, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: text/csv\r\n\r\ny\r\n", 0)
	if tree.Opaque != "" || len(tree.Root.Children) != 2 || tree.Root.Closed {
		t.Fatalf("opaque %q, %d children", tree.Opaque, len(tree.Root.Children))
	}
}

func TestDigestTellsBodiesApart(t *testing.T) {
	seen := map[[32]byte]string{}
	for _, raw := range samples() {
		h, body := split(raw)
		for i := -1; i < len(body); i += 1 + len(body)/40 {
			changed := bytes.Clone(body)
			if i >= 0 {
				changed[i] ^= 1
			}
			d := scanBody(h, changed, func(n int) int { return n }).Digest
			key := string(h.Raw) + "\x00" + string(changed)
			if old, ok := seen[d]; ok && old != key {
				t.Fatalf("two bodies have one digest:\n%.500q\n%.500q", old, key)
			}
			seen[d] = key
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, s := range samples() {
		if len(s) < 8<<10 { // larger ones only slow the mutator down
			f.Add([]byte(s), uint64(len(s)))
		}
	}
	f.Add([]byte("Content-Type: multipart/mixed; \xd9\xd9\xd9\xd9\xd9\xd9boundary=b\r\n\r\n--b\r\n\r\nte"), uint64(55))
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		h, body := split(string(raw))
		whole := scanBody(h, body, func(n int) int { return n })
		r := rand.New(rand.NewSource(int64(seed)))
		pieces := scanBody(h, body, func(int) int { return 1 + r.Intn(90) })
		if a, b := dump(whole), dump(pieces); a != b {
			t.Fatalf("chunking matters:\n%s\n%s", a, b)
		}
		src := bytes.NewReader(body)
		Assess(whole, src)
		whole.Root.Walk(func(p *Part) {
			if p.Body.Start > p.Body.End || p.Body.End > whole.Size || p.Entity.End > whole.Size {
				t.Fatalf("span out of bounds: %s", dump(whole))
			}
			if p.IsMultipart() || p.Content.Defect != "" || !p.Content.Layout.Regular() {
				return
			}
			var content, again bytes.Buffer
			if err := p.DecodeTo(&content, src); err != nil {
				t.Fatal(err)
			}
			if err := p.Content.Layout.Encode(&again, &content); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again.Bytes(), body[p.Body.Start:p.Body.End]) {
				t.Fatalf("layout %s does not give the encoded bytes again", p.Content.Layout)
			}
		})
	})
}

type countSink struct{ n int64 }

func (c *countSink) Outside(b []byte)          { c.n += int64(len(b)) }
func (c *countSink) Content(_ *Part, b []byte) { c.n += int64(len(b)) }
func (c *countSink) End(*Part)                 {}

// bigBody is a message body with one base64 attachment of n decoded bytes.
func bigBody(n int) (Header, []byte) {
	content := make([]byte, n)
	rand.New(rand.NewSource(1)).Read(content)
	var b bytes.Buffer
	b.WriteString("--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	(Layout{kind: layoutBase64, width: 76, eol: "\r\n"}).Encode(&b, bytes.NewReader(content))
	b.WriteString("\r\n--b--\r\n")
	h, _ := ParseHeader([]byte("Content-Type: multipart/mixed; boundary=b\r\n"))
	return h, b.Bytes()
}

// feed pushes body in milter-sized chunks.
func feed(w io.Writer, body []byte) {
	for len(body) > 0 {
		n := min(len(body), 65535)
		w.Write(body[:n])
		body = body[n:]
	}
}

func BenchmarkScanner(b *testing.B) {
	h, body := bigBody(10 << 20)
	b.Run("lines", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			lines := 0
			for rest := body; ; lines++ {
				i := bytes.IndexByte(rest, '\n')
				if i < 0 {
					break
				}
				rest = rest[i+1:]
			}
			if lines == 0 {
				b.Fatal("no lines")
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			s := NewScanner(h, &countSink{})
			feed(s, body)
			if s.Close().Opaque != "" {
				b.Fatal("opaque")
			}
		}
	})
	b.Run("inspect", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			s := NewScanner(h, NewInspector())
			feed(s, body)
			if s.Close().Opaque != "" {
				b.Fatal("opaque")
			}
		}
	})
}
