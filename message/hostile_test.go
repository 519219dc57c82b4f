package message

// What somebody writes who wants a mail system to stand still: each input with
// the time it takes and the memory it needs, which must grow with its size at
// most, and for memory not even with that.

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// maxGrowth is how many times as long twice the input may take: 2 is
	// linear, 4 is quadratic.
	maxGrowth = 3
	// noticeable is a time too short to be compared with another.
	noticeable = 40 * time.Millisecond
	// maxScanAlloc bounds what the scan of one message allocates in all, in
	// bytes: a tree of MaxParts with MaxHeaders of header fields and what is
	// read from them.
	maxScanAlloc = 64 << 20
	// maxHeaderAlloc is what may be allocated for each byte of a header: both doors
	// bound headers to 1 MB, and the shortest field has six bytes.
	maxHeaderAlloc = 96
)

// cost is what something took.
type cost struct {
	time  time.Duration
	alloc uint64 // bytes allocated in all; what was held at a time is less
}

func (c cost) String() string {
	return fmt.Sprintf("%8.1f ms, %7.2f MB allocated", float64(c.time.Microseconds())/1000, float64(c.alloc)/(1<<20))
}

// cpuTime is what this process has computed so far: a busy machine does not
// make it longer.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func measure(f func()) cost {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := cpuTime()
	f()
	took := cpuTime() - start
	runtime.ReadMemStats(&after)
	return cost{took, after.TotalAlloc - before.TotalAlloc}
}

// growth measures f for n and 2n, the best of a few tries: the machine may be
// busy, but it is never faster than the work.
func growth(f func(n int), n int) (once, twice cost, ratio float64) {
	ratio = math.Inf(1)
	for range 5 {
		a, b := measure(func() { f(n) }), measure(func() { f(2 * n) })
		if r := float64(b.time) / float64(max(a.time, noticeable)); r < ratio {
			once, twice, ratio = a, b, r
		}
		if ratio <= maxGrowth {
			break
		}
	}
	return once, twice, ratio
}

// attack is a body of about n units that is written and never held.
type attack struct {
	name   string
	header string // of the message, without MIME-Version
	write  func(w func(string), n int)
	n      int
	opaque string // why the message is left alone; "" when it is taken apart
}

const (
	mixedHeader = "Content-Type: multipart/mixed; boundary=b\r\n"
	base64Head  = "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
	// hundredBytes is a part.
	hundredBytes = "--b\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJDRA==\r\n"
	qpHead       = "Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n"
)

// repeat writes n bytes of s in large pieces.
func repeat(w func(string), s string, n int) {
	block := strings.Repeat(s, max(1, min(n, 64<<10)/len(s)))
	for ; n >= len(block); n -= len(block) {
		w(block)
	}
	w(strings.Repeat(s, n/len(s)))
}

func within(head, s, tail string) func(w func(string), n int) {
	return func(w func(string), n int) { w(head); repeat(w, s, n); w(tail) }
}

func onePart(fields string) string { return "--b\r\n" + fields + "\r\n" }

// prefixes opens n multiparts, each boundary the beginning of the next.
func prefixes(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: multipart/mixed; boundary=%s\r\n\r\n", strings.Repeat("a", i), strings.Repeat("a", i+1))
	}
	return b.String() + "--" + strings.Repeat("a", n+1) + "\r\n\r\n"
}

func attacks() []attack {
	const mb = 1 << 20
	long := strings.Repeat("x", MaxBoundary-1)
	return []attack{
		{"100,000 parts", mixedHeader, within("", hundredBytes, "--b--\r\n"), 50_000 * len(hundredBytes), "number of parts over the limit"},
		{"as many parts as there may be", mixedHeader, func(w func(string), n int) {
			for range MaxParts - 1 {
				w("--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
				repeat(w, strings.Repeat("A", 76)+"\r\n", n/MaxParts)
			}
			w("--b--\r\n")
		}, 5 * mb, ""},
		{"parts with headers as long as they may be", mixedHeader, func(w func(string), n int) {
			for range 15 {
				fmt.Fprintf(writerFunc(w), "--b\r\nContent-Disposition: attachment")
				for k := range 15 {
					fmt.Fprintf(writerFunc(w), "; filename*%d*=", k)
					repeat(w, "%41=?utf-8?q?A?=", 4<<10)
					w("\r\n ")
				}
				w("x\r\n\r\n")
				repeat(w, "x\r\n", n/16)
			}
			w("--b--\r\n")
		}, 5 * mb, ""},
		{"1,000 levels", mixedHeader, func(w func(string), n int) {
			for i := range n {
				fmt.Fprintf(writerFunc(w), "--%s\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", map[bool]string{true: "b", false: fmt.Sprint("b", i-1)}[i == 0], i)
			}
		}, 1000, "nesting over the limit"},
		{"the same boundary at every level", mixedHeader, within("", "--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", ""), 5 * mb, "boundary of a nested multipart repeats its parent's"},
		{"50 MB header line of a part", mixedHeader, within("--b\r\nX-Long: ", "x", "\r\n\r\nbody\r\n--b--\r\n"), 25 * mb, "part header over the limit"},
		{"50 MB of header fields of a part", mixedHeader, within("--b\r\n", "X: y\r\n", "\r\nbody\r\n--b--\r\n"), 25 * mb, "part header over the limit"},
		{"10 MB without a line end", mixedHeader, within(onePart(""), "x", ""), 5 * mb, ""},
		{"10 MB of base64 without a line end", mixedHeader, within(onePart(base64Head), "QUJD", "\r\n--b--\r\n"), 5 * mb, ""},
		{"10 MB of base64 in lines of odd lengths", mixedHeader, within(onePart(base64Head), "Q\r\nUJ\r\nD\r\n", "\r\n--b--\r\n"), 5 * mb, ""},
		{"10 MB of line ends as base64", mixedHeader, within(onePart(base64Head), "\r\n", "--b--\r\n"), 5 * mb, ""},
		{"10 MB of spaces as base64", mixedHeader, within(onePart(base64Head), " ", "\r\n--b--\r\n"), 5 * mb, ""},
		{"10 MB of padding", mixedHeader, within(onePart(base64Head), "=", "\r\n--b--\r\n"), 5 * mb, ""},
		{"10 MB of bare CR", mixedHeader, within(onePart(base64Head), "\r", "\r\n--b--\r\n"), 5 * mb, ""},
		{"10 MB of quoted-printable without a line end", mixedHeader, within(onePart(qpHead), "=41", "\r\n--b--\r\n"), 5 * mb, ""},
		{"10 MB of spaces as quoted-printable", mixedHeader, within(onePart(qpHead), " ", "\r\n--b--\r\n"), 5 * mb, ""},
		{"10 MB of soft line breaks", mixedHeader, within(onePart(qpHead), "=\r\n", "\r\n--b--\r\n"), 5 * mb, ""},
		{"10 MB of dashes", mixedHeader, within(onePart(""), "-", "\r\n--b--\r\n"), 5 * mb, ""},
		{"10 MB of lines with two dashes", mixedHeader, within(onePart(""), "--\r\n", "--b--\r\n"), 5 * mb, ""},
		{"a preamble of 10 MB", mixedHeader, within("", "-- \r\n", onePart("")+"\r\n--b--\r\n"), 5 * mb, ""},
		{"an epilogue of 10 MB", mixedHeader, within(onePart("")+"\r\n--b--\r\n", "--\r\n", ""), 5 * mb, ""},
		{"boundaries that begin like each other", "Content-Type: multipart/mixed; boundary=a\r\n",
			within(prefixes(MaxDepth-1), "--aa\ra\r\n", ""), 5 * mb, "boundary line with trailing text"},
		{"lines that almost are boundaries", "Content-Type: multipart/mixed; boundary=" + long + "y\r\n",
			within("--"+long+"y\r\n\r\n", "--"+long+"z\r\n", "--"+long+"y--\r\n"), 5 * mb, ""},
		{"delimiters of every level at once", "Content-Type: multipart/mixed; boundary=a\r\n",
			within(prefixes(MaxDepth-1), "--"+strings.Repeat("a", MaxDepth)+"\r\n\r\n", ""), 5 * mb, "number of parts over the limit"},
		{"a multipart inside base64", mixedHeader + "Content-Transfer-Encoding: base64\r\n", within("", "LS1iDQoNCg==\r\n", ""), 5 * mb, "encoded multipart"},
		{"a multipart part inside base64", mixedHeader, within("--b\r\nContent-Type: multipart/mixed; boundary=c\r\nContent-Transfer-Encoding: base64\r\n\r\n", "LS1iDQoNCg==\r\n", "--b--\r\n"), 5 * mb, "encoded multipart"},
		{"NUL", mixedHeader, within(onePart(""), "\x00", "\r\n--b--\r\n"), 5 * mb, ""},
	}
}

type writerFunc func(string)

func (f writerFunc) Write(b []byte) (int, error) { f(string(b)); return len(b), nil }

func TestHostileBodiesTakeLinearTimeAndConstantMemory(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			h, err := ParseHeader([]byte("MIME-Version: 1.0\r\n" + a.header))
			if err != nil {
				t.Fatal(err)
			}
			var tree *Tree
			var wrote int64
			run := func(n int) {
				in := NewInspector()
				s := NewScanner(h, in)
				wrote = 0
				chunk := make([]byte, 0, 64<<10)
				a.write(func(p string) {
					wrote += int64(len(p))
					for len(p) > 0 {
						k := min(len(p), cap(chunk)-len(chunk))
						chunk = append(chunk, p[:k]...)
						p = p[k:]
						if len(chunk) == cap(chunk) {
							s.Write(chunk)
							chunk = chunk[:0]
						}
					}
				}, n)
				s.Write(chunk)
				tree = s.Close()
				in.Digest()
			}
			_, twice, ratio := growth(run, a.n)
			t.Logf("%6.2f MB: %v, %.1f times as long as half of it", float64(wrote)/(1<<20), twice, ratio)
			if ratio > maxGrowth {
				t.Errorf("twice the input takes %.1f times as long", ratio)
			}
			if twice.alloc > maxScanAlloc {
				t.Errorf("%d bytes allocated, more than %d", twice.alloc, maxScanAlloc)
			}
			if tree.Opaque != a.opaque {
				t.Errorf("opaque %q, want %q", tree.Opaque, a.opaque)
			}
			if tree.Size != wrote || tree.Root.Body.Len() != wrote {
				t.Errorf("size %d, body %v, of %d bytes", tree.Size, tree.Root.Body, wrote)
			}
		})
	}
}

func TestHostileMessageHeadersTakeLinearTime(t *testing.T) {
	const mb = 1 << 20
	for name, c := range map[string]struct {
		size  int
		field func(n int) string
	}{
		"50 MB header line": {50 * mb, func(n int) string { return "Subject: " + strings.Repeat("x", n) + "\r\n" }},
		"encoded words":     {8 * mb, func(n int) string { return "Subject: " + strings.Repeat("=?utf-8?q?=41?= ", n/16) + "\r\n" }},
		"folds":             {16 * mb, func(n int) string { return "Subject: x" + strings.Repeat("\r\n ", n/3) + "x\r\n" }},
		"a boundary": {16 * mb, func(n int) string {
			return "Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", n) + "\r\n"
		}},
		"comments":               {16 * mb, func(n int) string { return "Content-Type: text/plain" + strings.Repeat("(", n) + "\r\n" }},
		"parameters":             {16 * mb, func(n int) string { return "Content-Type: text/plain" + strings.Repeat("; a=b", n/5) + "\r\n" }},
		"a Content-ID":           {16 * mb, func(n int) string { return "Content-ID: " + strings.Repeat("<", n) + "\r\n" }},
		"a million short fields": {6 * mb, func(n int) string { return strings.Repeat("A: b\r\n", n/6) }},
		"fields of many names":   {4 * mb, func(n int) string { return manyNames(n / 12) }},
	} {
		t.Run(name, func(t *testing.T) {
			raws := map[int][]byte{}
			for _, n := range []int{c.size / 2, c.size} {
				raws[n] = []byte("MIME-Version: 1.0\r\n" + c.field(n))
			}
			_, twice, ratio := growth(func(n int) {
				h, err := ParseHeader(raws[n])
				if err != nil {
					t.Fatal(err)
				}
				DecodeWords(h.Get("Subject"))
				CanCarryAttachments(h)
				NewScanner(h, NewInspector()).Close()
			}, c.size/2)
			size := len(raws[c.size])
			t.Logf("%6.2f MB: %v, %.1f times as long as half of it", float64(size)/mb, twice, ratio)
			if ratio > maxGrowth {
				t.Errorf("twice the input takes %.1f times as long", ratio)
			}
			if twice.alloc > maxHeaderAlloc*uint64(size) {
				t.Errorf("%d bytes allocated for %d bytes", twice.alloc, size)
			}
		})
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-%d: y\r\n", i)
	}
	return b.String()
}

// What is looked at after the scan: texts, references, the place of the notice.
func TestHostileTextsTakeLinearTime(t *testing.T) {
	texts := map[string]string{
		"comments that do not end": "<!--", "ended comments": "<!---->", "scripts": "<script>", "ends of scripts": "</script", "escaped scripts": "<!--<script>",
		"CDATA": "<![CDATA[", "attributes": "<a b=c d='e' ", "tags in tags": "<a<", "quotes": "<a b=\"", "ends": "</body>", "entities": "&amp;&#x1;", "less-than": "<", "cid": "cid:", "cids": "<img src='cid:a@b'>",
		"titles": "<title></titl", "plaintext": "<plaintext>", "declarations": "<!", "instructions": "<?",
	}
	for name, s := range texts {
		for encoding, encode := range map[string]func(string) string{
			"8bit":             func(s string) string { return s },
			"quoted-printable": func(s string) string { return encodeQP(s, "\r\n") },
		} {
			t.Run(name+" "+encoding, func(t *testing.T) {
				trees := map[int]*Tree{}
				bodies := map[int][]byte{}
				for _, n := range []int{128 << 10, 256 << 10} {
					raw := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/related; boundary=r\r\n\r\n" +
						"--r\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: " + encoding + "\r\n\r\n" + encode(strings.Repeat(s, n/len(s))) + "\r\n" +
						"--r\r\nContent-Type: image/png\r\nContent-ID: <a@b>\r\n\r\nx\r\n--r--\r\n" +
						"--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nx\r\n--b--\r\n"
					h, body := split(raw)
					trees[n], bodies[n] = scanBody(h, body, func(n int) int { return n }), body
				}
				_, twice, ratio := growth(func(n int) {
					tree, src := trees[n], bytes.NewReader(bodies[n])
					b, alone := Assess(tree, src)
					if alone != "" {
						t.Fatal(alone)
					}
					pdf := tree.Root.Children[1]
					rw, err := Remove(tree, src, b, []*Part{pdf}, testNotice(pdf), "seed")
					if err != nil {
						t.Fatal(err)
					}
					if _, err := rw.Body.WriteTo(io.Discard); err != nil {
						t.Fatal(err)
					}
				}, 128<<10)
				if ratio > maxGrowth || twice.alloc > 64<<20 {
					t.Errorf("256 KB: %v, %.1f times as long as half of it", twice, ratio)
				}
			})
		}
	}
}

func testNotice(parts ...*Part) Notice {
	n := Notice{URL: "https://files.acmecorp.test/d/AAAAAAAAAAAAAAAAAAAAAA", Site: "files.acmecorp.test"}
	for _, p := range parts {
		n.Files = append(n.Files, NoticeFile{Name: p.Name, Size: p.Content.Size, SHA256: p.Content.SHA256})
	}
	return n
}

func TestAsManyAttachmentsAsThereMayBeAreTakenOut(t *testing.T) {
	build := func(n int) string {
		var b strings.Builder
		b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n")
		for i := range n {
			fmt.Fprintf(&b, "--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"%s%d.pdf\"\r\n\r\nx%d\r\n", strings.Repeat("n", 200), i, i)
		}
		return b.String() + "--b--\r\n"
	}
	_, twice, ratio := growth(func(n int) {
		h, body := split(build(n))
		tree := scanBody(h, body, func(n int) int { return n })
		src := bytes.NewReader(body)
		b, alone := Assess(tree, src)
		if tree.Opaque+alone != "" {
			t.Fatal(tree.Opaque, alone)
		}
		rw, err := Remove(tree, src, b, tree.Root.Children[1:], testNotice(tree.Root.Children[1:]...), "seed")
		if err != nil {
			t.Fatal(err)
		}
		rw.Body.WriteTo(io.Discard)
	}, (MaxParts-2)/2)
	t.Logf("%d attachments: %v, %.1f times as long as half of them", MaxParts-2, twice, ratio)
	if ratio > maxGrowth || twice.alloc > 256<<20 {
		t.Error("too long, or too much memory")
	}
}
