package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fileOf makes a database of some pages and gives its file, closed.
func fileOf(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	d, err := Open(t.Context(), Options{Path: path, Log: slog.New(slog.DiscardHandler)}, testSchema...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		name := fmt.Sprint(i, strings.Repeat("x", 500))
		if err := d.Commit(t.Context(), nil, insertFile(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestADamagedPageIsFoundAtTheStartWhereverItIs(t *testing.T) {
	path := fileOf(t)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	open := func(frozen bool) error {
		d, err := Open(t.Context(), Options{Path: path, Frozen: frozen, Log: slog.New(slog.DiscardHandler)}, testSchema...)
		if err == nil {
			d.Close()
		}
		return err
	}
	const page = 4096
	for n := range len(sound) / page {
		broken := bytes.Clone(sound)
		for i := range page {
			broken[n*page+i] ^= byte(i*7 + 1)
		}
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		err := open(false)
		if err == nil {
			t.Fatalf("page %d of %d is damaged, and the database opens", n+1, len(sound)/page)
		}
		if !strings.Contains(err.Error(), path+" is damaged") || !strings.Contains(err.Error(), "restore the database from the backup") || strings.Contains(err.Error(), "\n") {
			t.Errorf("page %d: %v", n+1, err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, broken) {
			t.Errorf("page %d: the damaged file was changed (%v)", n+1, err)
		}
	}
	if err := os.WriteFile(path, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(false); err != nil {
		t.Error(err)
	}
}

func TestDamageFoundLaterIsNamedToo(t *testing.T) {
	path := fileOf(t)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(file[len(file)/2:], bytes.Repeat([]byte{0xff}, len(file)))
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	// Frozen: as a command beside a daemon, which does not look at every page.
	d, err := Open(t.Context(), Options{Path: path, Frozen: true, Log: slog.New(slog.DiscardHandler)}, testSchema...)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i := range 50 {
		name := fmt.Sprint(i, strings.Repeat("x", 500))
		if err = d.Commit(t.Context(), nil, insertFile(name)); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "restore the database from the backup") {
		t.Errorf("got %v", err)
	}
}

func TestTheCheckEndsWithItsCaller(t *testing.T) {
	path := fileOf(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Options{Path: path, Log: slog.New(slog.DiscardHandler)}, testSchema...); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
