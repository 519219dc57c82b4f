package web

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/sisa"
)

func TestAllFilesComeAsOneArchiveAndAreRecordedOnce(t *testing.T) {
	s := newStage(t, func(s *stage, _ *Config) {
		s.addFile(7, "report.pdf", "application/pdf", []byte("another"))
		s.addFile(8, "REPORT.pdf", "application/pdf", []byte("and another"))
		s.addFile(9, "empty", "", nil)
		s.addFile(10, "../../etc/passwd", "", []byte("x"))
	})
	address := s.press("all")
	if !strings.HasSuffix(address, "/Plans%20for%20the%20new%20building.zip") {
		t.Errorf("leads to %s", address)
	}
	r := s.get(address, "Range", "bytes=5-")
	s.wantStatus(r, http.StatusOK)
	if r.ContentLength != int64(len(r.body)) || r.Header.Get("Content-Type") != "application/zip" || r.Header.Get("Accept-Ranges") != "none" {
		t.Errorf("%d bytes, headers %v", len(r.body), r.Header)
	}
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
	if err != nil || params["filename"] != "Plans for the new building.zip" {
		t.Errorf("%v: %q", err, params)
	}
	archive, err := zip.NewReader(bytes.NewReader(r.body), int64(len(r.body)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range archive.File {
		content, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(content) // verifies the checksum
		if err != nil {
			t.Fatal(err)
		}
		got[f.Name] = string(text)
		if f.Method != zip.Store || !f.Modified.Equal(testStart.Add(-time.Hour)) {
			t.Errorf("%s: method %d, time %v", f.Name, f.Method, f.Modified)
		}
		if isASCII := f.Name != "Übersicht 2026.txt"; (f.Flags&0x800 == 0) != isASCII {
			t.Errorf("%s: flags %#x", f.Name, f.Flags)
		}
	}
	want := map[string]string{
		"report.pdf": string(s.files[2]), "Übersicht 2026.txt": "0123456789", "report (2).pdf": "another",
		"REPORT (3).pdf": "and another", "empty": "", ".._.._etc_passwd": "x",
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %d bytes, want %d", name, len(got[name]), len(want[name]))
		}
	}
	d := s.links.recorded()
	if len(d) != 1 || d[0].Part != AllParts || d[0].LinkID != sisa.TokenID(s.token) {
		t.Errorf("recorded %+v", d)
	}
	head := s.do("HEAD", address)
	if head.Header.Get("Content-Length") != strconv.Itoa(len(r.body)) || len(head.body) != 0 {
		t.Errorf("HEAD: Content-Length %s, want %d", head.Header.Get("Content-Length"), len(r.body))
	}
}

func TestArchiveFollowsTheLink(t *testing.T) {
	s := newStage(t)
	address := s.press("all")
	s.links.set(func() { s.links.errs[s.token] = sisa.ErrNotFound })
	s.wantStatus(s.get(address), http.StatusNotFound)
	s.links.set(func() { delete(s.links.errs, s.token) })
	s.advance(10 * time.Minute)
	s.wantStatus(s.get(address), http.StatusGone)
	forged := strings.Replace(address, "/all/", "/2/", 1)
	s.wantStatus(s.get(forged), http.StatusNotFound)
}

func TestFileMissingBeforeTheFirstByteIsAnErrorPage(t *testing.T) {
	s := newStage(t)
	if err := os.Remove(s.blobs.path(s.links.links[s.token].Files[1].SHA256)); err != nil {
		t.Fatal(err)
	}
	r := s.get(s.press("all"))
	s.wantStatus(r, http.StatusInternalServerError)
	s.wantText(r, `class="reference">`)
	if r.Header.Get("Content-Disposition") != "" || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("headers %v", r.Header)
	}
}

// vanishing is a folder whose n-th opening and all later ones fail.
type vanishing struct {
	folder
	left *int
}

func (v vanishing) Open(ctx context.Context, sum [32]byte) (io.ReadSeekCloser, error) {
	if *v.left--; *v.left < 0 {
		return nil, os.ErrNotExist
	}
	return v.folder.Open(ctx, sum)
}

func TestArchiveThatCannotBeFinishedNeverLooksWhole(t *testing.T) {
	for name, blobs := range map[string]func(folder) Blobs{
		"second file vanishes":     func(f folder) Blobs { left := 3; return vanishing{f, &left} },
		"first file breaks inside": func(f folder) Blobs { return failingFolder{f} },
	} {
		s := newStage(t, func(s *stage, _ *Config) {
			s.tune = func(site *Site, _ *http.Server) { site.blobs = blobs(s.blobs) }
		})
		resp, err := s.client.Get(s.press("all"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil || int64(len(body)) >= resp.ContentLength {
			t.Errorf("%s: %d bytes of %d, %v: the client takes it for complete", name, len(body), resp.ContentLength, err)
		}
		if _, err := zip.NewReader(bytes.NewReader(body), int64(len(body))); err == nil {
			t.Errorf("%s: what arrived opens as an archive", name)
		}
		s.server.Close()
		if !strings.Contains(s.log.String(), "archive cut short") {
			t.Errorf("%s: log:\n%s", name, s.log)
		}
	}
}

// counting notes how much was read.
type counting struct {
	folder
	read *int64
}

type countingFile struct {
	io.ReadSeekCloser
	read *int64
}

func (c counting) Open(ctx context.Context, sum [32]byte) (io.ReadSeekCloser, error) {
	f, err := c.folder.Open(ctx, sum)
	return countingFile{f, c.read}, err
}

func (c countingFile) Read(p []byte) (int, error) {
	n, err := c.ReadSeekCloser.Read(p)
	*c.read += int64(n)
	return n, err
}

func TestClientThatGoesAwayStopsTheArchive(t *testing.T) {
	t.Parallel()
	var read int64
	s := newStage(t, func(s *stage, _ *Config) {
		s.addFile(6, "big", "", make([]byte, bigFile))
		s.tune = func(site *Site, _ *http.Server) { site.blobs = counting{s.blobs, &read} }
	})
	path := strings.TrimPrefix(s.press("all"), s.server.URL)
	conn, resp := rawGet(t, s.server.Listener.Addr().String(), path)
	if _, err := io.CopyN(io.Discard, resp.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	s.server.Close() // waits for the handler
	if read >= bigFile {
		t.Errorf("all of the %d bytes were read for nobody", read)
	}
	if strings.Contains(s.log.String(), "cut short") {
		t.Error("the client's leaving was taken for a failing store")
	}
}

// zeros is content of any size that costs nothing.
type zeros struct{ at, size int64 }

func (z *zeros) Read(p []byte) (int, error) {
	n := min(int64(len(p)), z.size-z.at)
	if n == 0 {
		return 0, io.EOF
	}
	z.at += n
	return int(n), nil
}

func (z *zeros) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		offset += z.size
	}
	z.at = offset
	return offset, nil
}

func (z *zeros) Close() error { return nil }

// sized is a store of zeros: the hash begins with the size in decimal.
type sized struct{}

func (sized) Open(_ context.Context, sum [32]byte) (io.ReadSeekCloser, error) {
	size, err := strconv.ParseInt(string(bytes.TrimRight(sum[:], "\x00")), 10, 64)
	return &zeros{size: size}, err
}

func TestLengthIsKnownBeforehandAlsoBeyond4GB(t *testing.T) {
	t.Parallel()
	site := &Site{blobs: sized{}}
	for name, sizes := range map[string][]int64{
		"empty":                 {0},
		"small":                 {1, 10, 100_000},
		"many":                  make([]int64, 3000),
		"65535 would be marked": make([]int64, 1<<16),
		"more than 4 GB":        {5, 1<<32 - 1, 7}, // a file, an offset and a directory that need zip64
	} {
		if testing.Short() && name != "small" && name != "many" {
			continue // gigabytes under the race detector: nothing concurrent is in them
		}
		link := sisa.Link{Created: testStart}
		for i, size := range sizes {
			f := sisa.File{Part: i, Name: fmt.Sprintf("файл%d.bin", i), Size: size}
			copy(f.SHA256[:], strconv.FormatInt(size, 10))
			link.Files = append(link.Files, f)
		}
		names := zipNames(link.Files)
		want, err := zipSize(link.Files, names, link.Created)
		if err != nil {
			t.Fatal(err)
		}
		var got lengthWriter
		if err := site.writeAll(t.Context(), &got, link, names); err != nil {
			t.Fatal(err)
		}
		if int64(got) != want {
			t.Errorf("%s: %d bytes, announced %d", name, got, want)
		}
	}
	if _, err := zipSize([]sisa.File{{Size: -1}}, []string{"a"}, testStart); err == nil {
		t.Error("a negative size is taken")
	}
}

func TestCancelledArchiveIsNotFinished(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := sisa.File{Size: 3}
	copy(f.SHA256[:], "3")
	err := (&Site{blobs: sized{}}).writeAll(ctx, io.Discard, sisa.Link{Files: []sisa.File{f, f}}, []string{"a", "b"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestNamesInArchivesAreUniqueAndPortable(t *testing.T) {
	long := strings.Repeat("ü", 200)
	for _, c := range []struct{ names, want []string }{
		{[]string{"a.txt", "a.txt", "A.TXT", "a (2).txt"}, []string{"a.txt", "a (2).txt", "A (3).TXT", "a (2) (2).txt"}},
		{[]string{"", "", "."}, []string{"attachment", "attachment (2)", "attachment (3)"}},
		{[]string{"CON", "con.txt", "Lpt1.pdf", "console.txt", "aux .x"}, []string{"_CON", "_con.txt", "_Lpt1.pdf", "console.txt", "_aux .x"}},
		{[]string{`a<b>:"c|d?e*.txt`}, []string{"a_b___c_d_e_.txt"}},
		{[]string{"/etc/passwd", `..\..\x`, "a/b/"}, []string{"_etc_passwd", ".._.._x", "a_b_"}},
		{[]string{"Z\u00fcrich", "Zu\u0308rich", "STRASSE", "straße"}, []string{"Zürich", "Zu\u0308rich (2)", "STRASSE", "straße (2)"}},
		{[]string{".profile", ".profile"}, []string{".profile", ".profile (2)"}},
		{[]string{"a.tar.gz", "a.tar.gz"}, []string{"a.tar.gz", "a.tar (2).gz"}},
		{[]string{"evil\u202egnp.exe"}, []string{"evilgnp.exe"}},
	} {
		var files []sisa.File
		for _, n := range c.names {
			files = append(files, sisa.File{Name: n})
		}
		if got := zipNames(files); strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%q:\ngot  %q,\nwant %q", c.names, got, c.want)
		}
	}
	many := make([]sisa.File, 500)
	for i := range many {
		many[i].Name = long + ".docx"
	}
	seen := map[string]bool{}
	for _, n := range zipNames(many) {
		if seen[n] || len(n) > maxNameBytes || !strings.HasSuffix(n, ".docx") {
			t.Fatalf("%d bytes, again %v: %q", len(n), seen[n], n)
		}
		seen[n] = true
	}
}

func TestArchiveIsNamedAfterTheMail(t *testing.T) {
	en, de := inLanguage(t, "en"), inLanguage(t, "de")
	for subject, want := range map[string]string{
		"":                       "attachments.zip",
		"Re: plans / new\r\n..":  "Re_ plans _ new.zip",
		"...":                    "attachments.zip",
		"con":                    "_con.zip",
		strings.Repeat("日", 300): strings.Repeat("日", (maxNameBytes-4)/3) + ".zip",
	} {
		if got := zipName(subject, en); got != want {
			t.Errorf("%.20q: %q, want %q", subject, got, want)
		}
	}
	if got := zipName("", de); got != "Anlagen.zip" {
		t.Errorf("in German: %q", got)
	}
}

func BenchmarkArchive(b *testing.B) {
	site := &Site{blobs: sized{}}
	f := sisa.File{Part: 1, Name: "a", Size: 256 << 20}
	copy(f.SHA256[:], strconv.FormatInt(f.Size, 10))
	link := sisa.Link{Created: testStart, Files: []sisa.File{f}}
	b.SetBytes(f.Size)
	for b.Loop() {
		if err := site.writeAll(b.Context(), io.Discard, link, []string{"a"}); err != nil {
			b.Fatal(err)
		}
	}
}
