package test

// The data of older versions: opened and served by this one.

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// oldContent is the SHA-256 of the attachment behind the link of each old data
// directory.
const oldContent = "ff197b20616436ce93f0bf3d0005f4d9bbfb41e48431a77e46807e4da87f59cc"

// oldData lists the data directories of older versions, one mail with a link in
// each: data/, and the mail as it was delivered in delivered.eml. Such a version's
// own program made them; each release adds one:
//
//	1  the first, made by "cloakroom filter"
//	2  before pauses, reports and links with a password: beside the link it has a
//	   download, a hold, uploads of a held target and a copy that waits for an MTA
func oldData(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/old-data-*.tar.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no old data (%v)", err)
	}
	return files
}

// extract unpacks a .tar.gz into dir.
func extract(t *testing.T, file, dir string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil || !filepath.IsLocal(h.Name) {
			t.Fatalf("%s: %q: %v", file, h.Name, err)
		}
		path := filepath.Join(dir, h.Name)
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(path, 0o700)
		} else if content, readErr := io.ReadAll(r); readErr != nil {
			err = readErr
		} else {
			err = os.WriteFile(path, content, h.FileInfo().Mode().Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// oldLink is the path of the link in an old delivered mail.
func oldLink(t *testing.T, dir string) string {
	t.Helper()
	found := links([]byte(mustRead(t, filepath.Join(dir, "delivered.eml"))))
	if len(found) != 1 {
		t.Fatalf("links %v", found)
	}
	return found[0][strings.Index(found[0], "/d/"):]
}

func TestDataOfOlderVersionsIsServed(t *testing.T) {
	t.Parallel()
	for _, file := range oldData(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			d := newDaemon(t, linkAll)
			extract(t, file, d.Folder)
			link := oldLink(t, d.Folder)
			d.start()
			sums := download(t, d.running.WebURL()+link)
			if len(sums) != 1 || hex.EncodeToString(sums[0][:]) != oldContent {
				t.Errorf("downloaded %x", sums)
			}
			stdout, stderr, code := d.run(nil, "links", "list")
			if code != 0 || !strings.Contains(stdout, "the plans") {
				t.Errorf("links list: %d %s%s", code, stdout, stderr)
			}
			stdout, stderr, code = d.run(nil, "links", "show", "http://127.0.0.1"+link)
			if code != 0 || !strings.Contains(stdout, "plans.txt") || !strings.Contains(stdout, bob) {
				t.Errorf("links show: %d %s%s", code, stdout, stderr)
			}
			if stdout, stderr, code = d.run(nil, "report"); code != 0 || !strings.Contains(stdout, "no mail was counted") {
				t.Errorf("report: %d %s%s", code, stdout, stderr)
			}
			d.stop()
			d.start()
			if stdout, _, _ := d.run(nil, "links", "list", "--json"); strings.Count(stdout, `"mail"`) != 1 {
				t.Errorf("links after another start: %s", stdout)
			}
		})
	}
}

// TestWorkOfAnOlderVersionIsFinished takes over what it had left to do: uploads to
// a held target, and the copy of a mail for the other system.
func TestWorkOfAnOlderVersionIsFinished(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sink, err := testserver.StartSink(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Stop()
	d := newDaemon(t, "vault:\n  targets:\n    assets: {dir: {base: "+base+"}, delay: 0s, path: \"{space}/{name}\"}\n"+
		"submit: {smtp: \""+sink.Addr()+"\"}\n"+linkAll+"  - {name: keep, vault: {target: assets}}\n")
	extract(t, "testdata/old-data-2.tar.gz", d.Folder)
	d.start()

	const moved = "carol@gapps.acmecorp.test"
	mails, err := sink.Wait(ctx, moved, 1)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(mails[0].Data); mails[0].From != alice || !strings.Contains(text, "filename=\"plans.txt\"") || strings.Contains(text, "/d/") {
		t.Errorf("the copy is from %s:\n%s", mails[0].From, text)
	}
	if left := queued(t, d, "--state", "waiting"); len(left) != 3 {
		t.Errorf("%d jobs of the held target wait, want 3: %+v", len(left), left)
	}
	command(t, d, "target assets is released: 3 waiting jobs", "queue", "release", "--target", "assets")
	waitQueue(t, d, 0, "--state", "waiting,running")
	for _, space := range []string{alice, bob, carol} {
		sum := sha256.Sum256([]byte(mustRead(t, filepath.Join(base, space, "plans.txt"))))
		if hex.EncodeToString(sum[:]) != oldContent {
			t.Errorf("%s has another plans.txt", space)
		}
	}
	command(t, d, "plans.txt", "links", "downloads")
	command(t, d, "case 7", "links", "holds")
	command(t, d, "hold mails", "audit")
	command(t, d, "missing            0", "store", "verify")
}
