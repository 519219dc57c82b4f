package archive

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// Archives of three files by 7-Zip 26.02, whose headers are packed: with a
// password (-mx0 -ppw) and without.
const (
	sevenZipLocked = "N3q8ryccAASbZiKY6QAAAAAAAAAiAAAAAAAAACFlV84HbZxOH7WNQZjSsl/4KFZd1l/pRYF4sLdEw4fwIe0M+Gvn8Kk2tiecw2bm08wZ6KwAAIEzB65Pn4b9B+deKDxRTX/Aa0udw7qzhGRn4v6E4SHILtu8KncJsOFdgGiouLmKJuEr2SNPoKO+hKPc1tOnEP4L14PWJFj0QOwiiSbvdxXj9h+I40By7f1HdWQFpR5nT3TSd5rNVCdzBDl3Cygz72rViiuU0VRl6GhgC6Zly8Hy273U5bNqQW+c18l948VLWIOJudKkH6SAOgl9riA50ZP4fv6Ax8xDVNNwWgDSfO9lx6GvELvAABcGMAEJgLkABwsBAAEjAwEBBV0AEAAADIFeCgHFtvZwAAA="
	sevenZipOpen   = "N3q8ryccAATOmqCNfAAAAAAAAAAhAAAAAAAAABTsJRsxCjIKMwoAAIEzB65Pnl300EV6Yv/Vu2HJWeFY58IId+whM9FX6sAokSvf1HTnP7zSRt9dDkv9GSAUHh/mRPLFwWk+8sOR4yvG0e2fjEGyvi2i2r/mvYS9AWWlMaX+XYF5WrWi1n7M8G7NEdxZEjAb4TQMBeZ9YJKIP15zFwYGAQl2AAcLAQABIwMBAQVdABAAAAyBDgoBcp0hHwAA"
)

func TestPackedHeaderOfSevenZip(t *testing.T) {
	for text, want := range map[string]bool{sevenZipLocked: true, sevenZipOpen: false} {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		header := b[32+le.Uint64(b[12:]):]
		p, ok := readPackedHeader(header)
		if !ok {
			t.Fatalf("the header is not packed: %x", header)
		}
		inner, ok := unpackLZMA(p.properties, b[32+p.offset:][:p.size], int(p.unpacked))
		if !ok || !bytes.Contains(inner, []byte("n\x00u\x00m\x00b\x00e\x00r\x00 \x003\x00")) {
			t.Errorf("unpacked: %q, %v", inner, ok)
		}
		if c := mustRead(t, b); c.Encrypted != want || c.Complete {
			t.Errorf("encrypted %v, complete %v; want %v", c.Encrypted, c.Complete, want)
		}
		for cut := range b {
			mustRead(t, b[:cut])
		}
	}
}

const pythonLZMA = `
import lzma, os, sys
for name in os.listdir(sys.argv[1]):
    data = open(sys.argv[1] + "/" + name, "rb").read()
    for lc, lp, pb in ((3, 0, 2), (0, 4, 0), (4, 0, 4), (1, 2, 3)):
        f = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": lc, "lp": lp, "pb": pb}]
        with open("%s/%s.%d" % (sys.argv[2], name, (pb * 5 + lp) * 9 + lc), "wb") as out:
            out.write(lzma.compress(data, format=lzma.FORMAT_RAW, filters=f))
`

// TestUnpackLZMA unpacks what liblzma packs.
func TestUnpackLZMA(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	from, to := t.TempDir(), t.TempDir()
	cmd, err := testserver.Python(ctx, "-c", pythonLZMA, from, to)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	noise := make([]byte, 70_000)
	rand.NewChaCha8([32]byte{7}).Read(noise)
	var text []byte
	for i := 0; len(text) < 200_000; i++ {
		text = append(text, noise[i%977:i%977+i%23]...)
		text = append(text, "report of the quarter\x00"...)
	}
	files := map[string][]byte{"noise": noise, "text": text, "zero": make([]byte, 300_000), "short": []byte("a"), "far": append(append(bytes.Clone(noise), text...), noise...)}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(from, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, content := range files {
		for _, property := range []byte{(2*5+0)*9 + 3, (0*5 + 4) * 9, (4*5+0)*9 + 4, (3*5+2)*9 + 1} {
			packed, err := os.ReadFile(filepath.Join(to, fmt.Sprintf("%s.%d", name, property)))
			if err != nil {
				t.Fatal(err)
			}
			properties := []byte{property, 0, 0, 16, 0}
			if got, ok := unpackLZMA(properties, packed, len(content)); !ok || !bytes.Equal(got, content) {
				t.Errorf("%s with %d: %d bytes of %d, %v", name, property, len(got), len(content), ok)
			}
			if _, ok := unpackLZMA(properties, packed, len(content)+1); ok {
				t.Errorf("%s with %d gives a byte more than it has", name, property)
			}
			if _, ok := unpackLZMA(properties, packed[:len(packed)/2], len(content)); ok && len(content) > 1 {
				t.Errorf("%s with %d: half of it is enough", name, property)
			}
		}
	}
}

func FuzzLZMA(f *testing.F) {
	b, err := base64.StdEncoding.DecodeString(sevenZipLocked)
	if err != nil {
		f.Fatal(err)
	}
	p, _ := readPackedHeader(b[32+le.Uint64(b[12:]):])
	f.Add(p.properties, b[32+p.offset:][:p.size], uint16(p.unpacked))
	f.Fuzz(func(t *testing.T, properties, in []byte, size uint16) {
		if out, ok := unpackLZMA(properties, in, int(size)); len(out) > int(size) || ok && len(out) != int(size) {
			t.Errorf("%d bytes of %d, %v", len(out), size, ok)
		}
	})
}
