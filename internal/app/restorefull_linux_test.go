package app

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/internal/spool/smalldisk"
	"cloakroom/ledger"
)

// A disk that gets full ends a restore, and leaves whole mails only.
func TestARestoreToAFullDiskLeavesWholeMails(t *testing.T) {
	disk := smalldisk.Dir(t)
	if disk == "" {
		return
	}
	_, s, engine := newShop(t, "")
	for i := range 6 {
		take(t, engine, sample(fmt.Sprint(i))) // 280 KB each, on 1 MB
	}
	keys, err := s.SelectMails(t.Context(), nil, ledger.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(disk, "box"))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := NewEMLFolder(filepath.Join(disk, "folder"))
	if err != nil {
		t.Fatal(err)
	}
	restore := func(sink Sink) {
		t.Helper()
		count, err := s.Restore(t.Context(), Restoring{Keys: keys, Sink: sink, Tell: func(Restored) {}})
		var stop *StopError
		if !errors.As(err, &stop) || !strings.Contains(err.Error(), "no space left") || count != (RestoreCount{Restored: 3, NotTried: 3}) {
			t.Errorf("%v, %v", count, err)
		}
	}
	restore(NewMbox(file, "box"))
	text, err := os.ReadFile(file.Name())
	if err != nil || bytes.Count(text, []byte("\n\nFrom alice@ext.test ")) != 2 || !bytes.HasSuffix(text, []byte("--b--\nepilogue\n\n\n\n")) {
		t.Errorf("the mbox has %d bytes and ends in %.40q, %v", len(text), text[max(0, len(text)-40):], err)
	}
	if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
		t.Fatal(err)
	}
	restore(folder)
	left, err := os.ReadDir(filepath.Join(disk, "folder"))
	if err != nil || len(left) != 3 {
		t.Errorf("the folder has %v, %v", left, err)
	}
}
