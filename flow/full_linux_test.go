package flow_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"cloakroom/internal/spool/smalldisk"
	"cloakroom/sisa/blob"
)

func TestAFullDiskBelowTheBlobs(t *testing.T) {
	disk := smalldisk.Dir(t)
	if disk == "" {
		return
	}
	w := newWorld(t, linkAll)
	full, err := blob.OpenLocal(filepath.Join(disk, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	w.blobs, w.engine.Blobs = full, full
	l := letter{id: "full", files: []file{{"small.bin", noise(1, 1000)}, {"large.bin", noise(2, 2*smalldisk.Size)}}}
	if _, err := w.deliver(t.Context(), outbound("q"), l.raw(), 65535); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if n := w.rows(t, "mails") + w.rows(t, "links") + w.rows(t, "blobs"); n != 0 {
		t.Errorf("%d rows were stored for a mail that was not accepted", n)
	}
	w.settings.AcceptOnError = true
	d := w.mustDeliver(t, outbound("q"), l.raw())
	if d.changed || string(d.raw()) != string(l.raw()) {
		t.Error("on_error: accept changed the mail")
	}
	if d := w.mustDeliver(t, outbound("q"), plans("small").raw()); !d.changed {
		t.Error("what fits is not linked after what did not")
	}
}
