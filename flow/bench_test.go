package flow_test

// The speed of the whole way of an attachment: spool, scan, decode, hash,
// rules, store, commit, new body.

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/asm/base64"
)

const (
	benchContent = 10 << 20 // decoded bytes of the attachment
	milterChunk  = 65535    // bytes of a body chunk, as MTAs send it
)

// benchRaw is a mail with one attachment, and where its base64 begins.
func benchRaw() (raw []byte, encoded []byte) {
	l := letter{id: "bench", files: []file{{"large.bin", noise(1, benchContent)}}}
	raw = l.raw()
	start := bytes.Index(raw, []byte("base64\r\n\r\n")) + len("base64\r\n\r\n")
	return raw, raw[start:bytes.LastIndex(raw, []byte("--outer--"))]
}

// BenchmarkPipeline passes a mail of one large attachment through the flow.
// The bare loop does what cannot be avoided: it takes the line ends out,
// decodes and hashes, in the chunks of an MTA. MB/s are of decoded bytes.
func BenchmarkPipeline(b *testing.B) {
	raw, encoded := benchRaw()
	b.Run("bare loop", func(b *testing.B) { benchBare(b, encoded) })
	b.Run("repeated attachment", func(b *testing.B) { benchFlow(b, raw, encoded, false) })
	b.Run("unique attachment", func(b *testing.B) { benchFlow(b, raw, encoded, true) })
	b.Run("no rule matches", func(b *testing.B) {
		never := linkAll
		never.If = `attachment.name == "no file has this name"`
		w := newWorld(b, never)
		start(b)
		for b.Loop() {
			benchOne(b, w, raw, false)
		}
	})
}

// BenchmarkEndOfMessage passes mails with an attachment of 25 MB, a new one each
// time, and tells how long an MTA waits at the end of the message: until what was
// taken out is durable and the new body is written.
func BenchmarkEndOfMessage(b *testing.B) {
	raw := (&letter{id: "large", files: []file{{"large.bin", noise(1, 25<<20)}}}).raw()
	encoded := raw[bytes.Index(raw, []byte("base64\r\n\r\n"))+len("base64\r\n\r\n"):]
	w := newWorld(b, linkAll)
	var waited []time.Duration
	for i := 0; b.Loop(); i++ {
		copy(encoded, fmt.Sprintf("%08d", i))
		h, body := split(raw)
		m, err := w.engine.Open(b.Context(), outbound("bench"), h)
		if err != nil {
			b.Fatal(err)
		}
		feed(m, body, milterChunk)
		began := time.Now()
		out, err := m.Finish(b.Context())
		if err != nil || !out.Changed() {
			b.Fatalf("%+v, %v", out, err)
		}
		if _, err := out.Body.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
		waited = append(waited, time.Since(began))
		m.Close()
	}
	slices.Sort(waited)
	b.ReportMetric(float64(waited[len(waited)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(waited[len(waited)*9/10].Microseconds())/1000, "p90-ms")
}

func start(b *testing.B) {
	b.SetBytes(benchContent)
	b.ReportAllocs()
	b.ResetTimer()
}

func benchFlow(b *testing.B, raw, encoded []byte, unique bool) {
	w := newWorld(b, linkAll)
	start(b)
	for i := 0; b.Loop(); i++ {
		if unique { // another content, in the canonical form still
			copy(encoded, fmt.Sprintf("%08d", i))
		}
		benchOne(b, w, raw, true)
	}
}

func benchOne(b *testing.B, w *world, raw []byte, changed bool) {
	h, body := split(raw)
	m, err := w.engine.Open(b.Context(), outbound("bench"), h)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	feed(m, body, milterChunk)
	out, err := m.Finish(b.Context())
	if err != nil || out.Changed() != changed {
		b.Fatalf("changed %v, %v", out != nil && out.Changed(), err)
	}
	if changed {
		if _, err := out.Body.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func benchBare(b *testing.B, encoded []byte) {
	lines := make([]byte, 0, milterChunk+4)
	decoded := make([]byte, milterChunk)
	hash := sha256.New()
	start(b)
	for b.Loop() {
		hash.Reset()
		size := 0
		lines = lines[:0]
		for rest := encoded; len(rest) > 0; {
			chunk := rest[:min(milterChunk, len(rest))]
			rest = rest[len(chunk):]
			for len(chunk) > 0 {
				line, after, _ := bytes.Cut(chunk, []byte("\n"))
				lines = append(lines, bytes.TrimSuffix(line, []byte("\r"))...)
				chunk = after
			}
			whole := len(lines) / 4 * 4
			n, err := base64.StdEncoding.Decode(decoded, lines[:whole])
			if err != nil {
				b.Fatal(err)
			}
			hash.Write(decoded[:n])
			size += n
			lines = lines[:copy(lines, lines[whole:])]
		}
		if size != benchContent {
			b.Fatalf("%d bytes decoded, want %d", size, benchContent)
		}
		hash.Sum(nil)
	}
}
