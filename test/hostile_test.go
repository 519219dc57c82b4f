package test

// Names that somebody chose to do harm with: in the mail, on the page, in
// headers, in the archive and on the disk they are names and nothing else.

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

var hostileNames = []string{
	"../../etc/passwd", "..\\..\\windows\\system.ini", "/etc/shadow", "..", ".", "a\r\nX-Injected: y", "a\nb.pdf", "invoice\u202efdp.exe",
	strings.Repeat("n", 1000) + ".pdf", strings.Repeat("ä", 1000), "nul\x00byte.pdf", "CON", "com1.txt", "NUL.tar.gz", "LPT9:", "aux.",
	"<script>alert(1)</script>.html", "\"><img src=x onerror=alert(1)>", "'; DROP TABLE mails; --", "{{.Secret}}", "%2e%2e%2fx", "$(reboot).sh", "`id`",
	"-rf", "~root", ".htaccess", "trailing. . ", "\u200b\ufeff", "\x1b[31mred\x07", "same.pdf", "SAME.pdf", "\xff\xfe.bin",
}

// percent writes a name as RFC 2231 lets any byte be written.
func percent(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// hostileMail has one attachment for each name.
func hostileMail() []byte {
	var b bytes.Buffer
	b.WriteString("From: " + dave + "\r\nTo: " + bob + "\r\nSubject: names\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <names@ext.test>\r\nMIME-Version: 1.0\r\n")
	b.WriteString("Content-Type: multipart/mixed; boundary=\"=_n\"\r\n\r\n--=_n\r\nContent-Type: text/plain\r\n\r\nplain\r\n--=_n\r\nContent-Type: text/html\r\n\r\n<html><body>html</body></html>\r\n")
	for i, name := range hostileNames {
		b.WriteString("--=_n\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment")
		coded := percent(name)
		for k := 0; coded != ""; k++ { // lines that an MTA does not break
			n := min(len(coded), 300)
			if k == 0 {
				fmt.Fprintf(&b, ";\r\n filename*0*=utf-8''%s", coded[:n])
			} else {
				fmt.Fprintf(&b, ";\r\n filename*%d*=%s", k, coded[:n])
			}
			coded = coded[n:]
		}
		fmt.Fprintf(&b, "\r\n\r\ncontent %d\r\n", i)
	}
	b.WriteString("--=_n--\r\n")
	return b.Bytes()
}

// harmless says what is wrong with the name of a file.
func harmless(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is no file", name)
	case len(name) > 255:
		return fmt.Errorf("a name of %d bytes", len(name))
	case !utf8.ValidString(name):
		return fmt.Errorf("%q is no UTF-8", name)
	case strings.ContainsAny(name, "/\\"):
		return fmt.Errorf("%q leads somewhere", name)
	}
	for _, c := range name {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || unicode.Is(unicode.Cf, c) {
			return fmt.Errorf("%q has the character %U", name, c)
		}
	}
	return nil
}

// device are names that Windows takes for devices, whatever follows the dot.
var device = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|:|$)`)

func TestHostileNamesAreHarmlessEverywhere(t *testing.T) {
	t.Parallel()
	outer := t.TempDir()
	base := filepath.Join(outer, "deep", "vault")
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	d := newDaemon(t, "vault:\n  targets:\n    files:\n      dir: {base: "+base+"}\n      delay: 0s\n      path: \"{space}/{name}\"\nrules:\n  - name: keep\n    vault: {target: files}\n  - name: everything\n    link: {}\n")
	d.start()
	p := startPostfix(t, d.MilterAddr)
	send(t, p, dave, []string{bob}, hostileMail())
	msg := mailbox(t, p, bob, 1)[0]

	checkHostileMail(t, msg)
	l := links(msg)
	if len(l) != 1 {
		t.Fatalf("%d links in\n%s", len(l), msg)
	}
	status, page := get(t, l[0])
	if status != http.StatusOK {
		t.Fatalf("the page: %d", status)
	}
	checkHostilePage(t, page)
	checkHostileDownloads(t, l[0], page)
	checkHostileDisk(t, outer, base)
}

func checkHostileMail(t *testing.T, msg []byte) {
	t.Helper()
	head, _, _ := bytes.Cut(msg, []byte("\n\n"))
	if bytes.Contains(head, []byte("X-Injected")) {
		t.Errorf("a name became a header field:\n%s", head)
	}
	named := 0
	for kind, texts := range leaves(t, msg) {
		for _, text := range texts {
			for _, bad := range []string{"<script>", "<img src=x", "\u202e", "\x00", "\x1b", "\r\nX-Injected", "\nX-Injected"} {
				if strings.Contains(text, bad) && (kind == "text/html" || !strings.HasPrefix(bad, "<")) {
					t.Errorf("%s in the mail has %q", kind, bad)
				}
			}
			if strings.Contains(text, "passwd") {
				named++
			}
		}
	}
	if named != 2 {
		t.Errorf("%d texts name the files, want a plain one and an HTML one:\n%s", named, msg)
	}
}

func checkHostilePage(t *testing.T, page []byte) {
	t.Helper()
	for _, bad := range []string{"<script>alert", "<img src=x", "\u202e", "\x00", "\x1b", "../"} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page has %q", bad)
		}
	}
	if n := len(fileField.FindAll(page, -1)); n != len(hostileNames) {
		t.Errorf("%d files on the page, want %d", n, len(hostileNames))
	}
}

// checkHostileDownloads fetches every file, and all of them as an archive.
func checkHostileDownloads(t *testing.T, link string, page []byte) {
	t.Helper()
	values := []string{"all"}
	for _, m := range fileField.FindAllSubmatch(page, -1) {
		values = append(values, string(m[1]))
	}
	for _, value := range values {
		resp, err := http.PostForm(link, url.Values{"file": {value}})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("file %s: %s %v", value, resp.Status, err)
		}
		if len(resp.Header.Values("X-Injected")) > 0 {
			t.Errorf("file %s: a name became a header field", value)
		}
		kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
		if err != nil || kind != "attachment" {
			t.Errorf("file %s: Content-Disposition %q: %v", value, resp.Header.Get("Content-Disposition"), err)
		}
		if err := harmless(params["filename"]); err != nil {
			t.Errorf("file %s: %v", value, err)
		}
		if value != "all" {
			continue
		}
		archive, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, f := range archive.File {
			if err := harmless(f.Name); err != nil || device.MatchString(f.Name) {
				t.Errorf("archive: %q: %v", f.Name, err)
			}
			if folded := strings.ToLower(f.Name); seen[folded] {
				t.Errorf("archive: two files are named %q", folded)
			} else {
				seen[folded] = true
			}
		}
		if len(seen) != len(hostileNames) {
			t.Errorf("%d files in the archive, want %d", len(seen), len(hostileNames))
		}
	}
}

// checkHostileDisk waits for the vault's files: all are in bob's folder.
func checkHostileDisk(t *testing.T, outer, base string) {
	t.Helper()
	var files map[string][32]byte
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if files = filesIn(t, outer); len(files) >= len(hostileNames) {
			break
		}
	}
	rel, err := filepath.Rel(outer, base)
	if err != nil {
		t.Fatal(err)
	}
	contents := map[[32]byte]bool{}
	var names []string
	for file, sum := range files {
		contents[sum] = true
		dir, name := path.Split(file)
		names = append(names, name)
		if dir != rel+"/"+bob+"/" {
			t.Errorf("a file lies in %s", dir)
		}
		if err := harmless(name); err != nil || device.MatchString(name) || strings.HasPrefix(name, "-") || strings.TrimRight(name, " .") != name {
			t.Errorf("on the disk: %q: %v", name, err)
		}
	}
	if len(contents) != len(hostileNames) || len(files) != len(hostileNames) {
		t.Errorf("%d files of %d contents on the disk, want %d", len(files), len(contents), len(hostileNames))
	}
	slices.Sort(names)
	for _, name := range names {
		t.Logf("on the disk: %.60q", name)
	}
}
