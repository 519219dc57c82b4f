package web

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// serveBig serves a link with one file of 256 MB over loopback.
func serveBig(b *testing.B) (address func(part string) string, client *http.Client) {
	b.Helper()
	s := newStage(b, func(s *stage, _ *Config) {
		s.addFile(6, "big", "", make([]byte, 256<<20))
	})
	link := s.links.links[s.token]
	link.Files = link.Files[2:]
	s.links.links[s.token] = link
	return s.press, s.client
}

func benchmarkFetch(b *testing.B, part string) {
	press, client := serveBig(b)
	address := press(part)
	for b.Loop() {
		resp, err := client.Get(address)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || n < 256<<20 {
			b.Fatalf("%d bytes, %v", n, err)
		}
		b.SetBytes(n)
	}
}

func BenchmarkFileOverLoopback(b *testing.B)    { benchmarkFetch(b, "6") }
func BenchmarkArchiveOverLoopback(b *testing.B) { benchmarkFetch(b, "all") }

func BenchmarkPage(b *testing.B) {
	s := newStage(b, showcase, func(_ *stage, cfg *Config) { cfg.Limits.Requests = 0 })
	for b.Loop() {
		if r := s.get(s.page()); r.StatusCode != http.StatusOK || !strings.Contains(string(r.body), "Costs") {
			b.Fatal(r.Status)
		}
	}
}
