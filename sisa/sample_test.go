package sisa

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestASampleFindsWhatIsMissingOrDamaged(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		sample := func(blobs, bytes int64) *Sampled {
			t.Helper()
			s, err := y.keeper.Sample(t.Context(), blobs, bytes)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if s := sample(10, 1000); s.Blobs != 0 {
			t.Errorf("of nothing: %+v", s)
		}
		var contents []string
		for i := range 20 {
			contents = append(contents, fmt.Sprintf("content %02d", i))
		}
		y.deliver(1, 0, contents...)
		all := int64(len(contents)) + 1
		if s := sample(100, 10_000); s.Blobs < all/2 || s.Blobs > all || s.Bytes < s.Blobs*10 || len(s.Missing)+len(s.Damaged) > 0 {
			t.Errorf("of all: %+v", s)
		}
		if s := sample(5, 10_000); s.Blobs != 5 {
			t.Errorf("of five: %+v", s)
		}
		if s := sample(5, 15); s.Blobs != 5 || s.Bytes > 15 {
			t.Errorf("of fifteen bytes: %+v", s)
		}
		file := func(content string) string {
			name := fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
			return filepath.Join(y.dir, name[:2], name)
		}
		for _, c := range contents {
			if err := os.WriteFile(file(c), []byte("something"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if s := sample(100, 10_000); len(s.Damaged) < 10 || len(s.Missing) > 0 {
			t.Errorf("damaged: %+v", s)
		}
		for _, c := range contents {
			if err := os.Remove(file(c)); err != nil {
				t.Fatal(err)
			}
		}
		if s := sample(100, 10_000); len(s.Missing) < 10 || len(s.Damaged) > 0 {
			t.Errorf("missing: %+v", s)
		}
	})
}

func TestTheEndsOfTheLinksTellAnotherSecret(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		if ends, err := y.links.Ends(t.Context()); err != nil || len(ends) != 0 {
			t.Errorf("of no links: %+v, %v", ends, err)
		}
		var ids []string
		for n := range byte(3) {
			ids = append(ids, y.deliver(n+1, 0, "x").ID.String())
			y.now = y.now.Add(day)
		}
		ends, err := y.links.Ends(t.Context())
		if err != nil || len(ends) != 2 || ends[0].ID != ids[0] || ends[1].ID != ids[2] {
			t.Fatalf("%+v, %v; want the ends of %v", ends, err, ids)
		}
		for i := range ends {
			if _, err := ends[i].Token(linkKey); err != nil {
				t.Errorf("our own secret: %v", err)
			}
			if _, err := ends[i].Token(append([]byte{1}, linkKey...)); err == nil {
				t.Error("another secret passes")
			}
		}
	})
}
