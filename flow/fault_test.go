package flow_test

// What becomes of mail when something below the flow does not work.

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cloakroom/sisa/blob"
)

// breakBlobs puts a file where the blob store's directory was: nothing can be
// stored there any more, by root either.
func breakBlobs(t *testing.T, w *world) {
	t.Helper()
	dir := filepath.Join(w.dir, "blobs")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func repairBlobs(t *testing.T, w *world) {
	t.Helper()
	dir := filepath.Join(w.dir, "blobs")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
}

func TestABrokenBlobStoreIsATemporaryFailure(t *testing.T) {
	w := newWorld(t, linkAll)
	raw := plans("broken").raw()
	breakBlobs(t, w)
	if _, err := w.deliver(t.Context(), outbound("q"), raw, 4096); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("got %v, want ENOTDIR", err)
	}
	if n := w.rows(t, "mails") + w.rows(t, "links") + w.rows(t, "blobs"); n != 0 {
		t.Errorf("%d rows were stored for a mail that was not accepted", n)
	}
	repairBlobs(t, w)
	if d := w.mustDeliver(t, outbound("q"), raw); !d.changed || w.rows(t, "links") != 1 {
		t.Error("the mail was not linked when it came again")
	}
}

func TestOnErrorAcceptLetsTheMailPassAsItCame(t *testing.T) {
	w := newWorld(t, linkAll)
	w.settings.AcceptOnError = true
	raw := plans("accepted").raw()
	breakBlobs(t, w)
	d := w.mustDeliver(t, outbound("q79"), raw)
	repairBlobs(t, w)
	w.untouched(t, d, raw)
	if log := w.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "q79") {
		t.Errorf("the failure is not in the log: %s", log)
	}
}

func TestADatabaseThatDoesNotAnswer(t *testing.T) {
	for name, accept := range map[string]bool{"tempfail": false, "accept": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, linkAll)
			w.settings.AcceptOnError = accept
			if err := w.db.Close(); err != nil {
				t.Fatal(err)
			}
			raw := plans("no database").raw()
			d, err := w.deliver(t.Context(), outbound("q"), raw, 4096)
			if !accept {
				if err == nil {
					t.Error("a mail was accepted that nothing is recorded of")
				}
				return
			}
			if err != nil || d.changed || string(d.raw()) != string(raw) {
				t.Errorf("changed %v, error %v; want the mail as it came", d != nil && d.changed, err)
			}
		})
	}
}

func TestASessionThatEndedIsAnErrorEvenWithAccept(t *testing.T) {
	w := newWorld(t, linkAll)
	w.settings.AcceptOnError = true
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.deliver(ctx, outbound("q"), plans("gone").raw(), 4096); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// collecting is a blob store in which a garbage collector takes every blob
// right after its first Put, as it may with an old blob that nothing referred
// to until the commit.
type collecting struct {
	blob.Store
	seen map[[32]byte]bool
}

func (c *collecting) Put(ctx context.Context, ref blob.Ref, content func(io.Writer) error) (bool, error) {
	existed, err := c.Store.Put(ctx, ref, content)
	if err == nil && !c.seen[ref.SHA256] {
		c.seen[ref.SHA256] = true
		err = c.Store.Delete(ctx, ref.SHA256)
	}
	return existed, err
}

func TestABlobCollectedDuringTheCommitIsPutAgain(t *testing.T) {
	w := newWorld(t, linkAll)
	store := &collecting{w.blobs, map[[32]byte]bool{}}
	w.engine.Blobs = store
	// The text is long and random: the skeleton of this mail is a blob too.
	l := plans("collected")
	l.files = append(l.files, file{"large.bin", noise(9, 300<<10)})
	raw := []byte(strings.Replace(string(l.raw()), "See the plans.", hexLines(noise(5, 60<<10)), 1))
	d := w.mustDeliver(t, outbound("q"), raw)
	if !d.changed || len(store.seen) != 3 {
		t.Fatalf("changed %v, %d blobs; want two files and a skeleton", d.changed, len(store.seen))
	}
	record, err := w.recordOf(t.Context(), "q")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.checkBlobs(t.Context(), record); err != nil {
		t.Error(err)
	}
	if record.Skeleton.Blob.IsZero() {
		t.Error("the skeleton is in the record")
	}
	if err := w.checkRebuild(t.Context(), record, raw); err != nil {
		t.Error(err)
	}
}

// hexLines is b as text in short lines.
func hexLines(b []byte) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for i, c := range b {
		if i > 0 && i%32 == 0 {
			out.WriteString("\r\n")
		}
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}
