package archive

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"testing"

	"cloakroom/message"
)

// BenchmarkRead looks into a part of 8 MB as mail carries it, in base64.
func BenchmarkRead(b *testing.B) {
	noise := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{3}).Read(noise)
	for name, content := range map[string][]byte{"picture": noise, "zip": zipped(b, entry{"a.bin", string(noise), func(h *zip.FileHeader) { h.Method = zip.Store }})} {
		b.Run(name, func(b *testing.B) {
			var body bytes.Buffer
			for text := base64.StdEncoding.EncodeToString(content); len(text) > 0; {
				n := min(76, len(text))
				body.WriteString(text[:n] + "\r\n")
				text = text[n:]
			}
			p := &message.Part{Encoding: "base64", Body: message.Span{End: int64(body.Len())}}
			source := bytes.NewReader(body.Bytes())
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				r := p.OpenContent(source)
				c, err := Read(r, int64(len(content)))
				if r.Close(); err != nil || !c.Complete {
					b.Fatal(c, err)
				}
			}
		})
	}
}
