package message

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"
)

func TestSniff(t *testing.T) {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	if _, err := w.Create("a.txt"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	exe := append([]byte("MZ"), make([]byte, 200)...)

	tests := []struct {
		name   string
		prefix []byte
		want   string
	}{
		{"empty", nil, "application/octet-stream"},
		{"noise", []byte{0, 1, 2, 3, 0xff, 0xfe, 0x80, 0}, "application/octet-stream"},
		{"PDF", []byte("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), "application/pdf"},
		{"PNG", []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), "image/png"},
		{"zip", archive.Bytes(), "application/zip"},
		{"executable", exe, "application/vnd.microsoft.portable-executable"},
		{"text, without charset", []byte("just a few words\n"), "text/plain"},
		{"HTML", []byte("<!DOCTYPE html><html><body>x</body></html>"), "text/html"},
		{"start of a long JSON file", []byte(`{"a":[` + strings.Repeat(`"some text",`, 1000))[:SniffLen], "application/json"},
		{"more than needed", append([]byte("%PDF-1.7\n"), make([]byte, 1<<16)...), "application/pdf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Sniff(tt.prefix); got != tt.want {
				t.Errorf("Sniff = %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzSniff(f *testing.F) {
	for _, in := range []string{"", "%PDF-", "PK\x03\x04", "\x00\x00\x00\x18ftyp", "RIFF", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "{\"a\":", "<?xml"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got := Sniff(in)
		if got != strings.ToLower(got) || strings.Count(got, "/") != 1 || strings.ContainsAny(got, "; ") {
			t.Errorf("Sniff = %q", got)
		}
	})
}
