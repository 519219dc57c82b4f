package flow_test

// What a copy for the vault costs the mail path, without the noise of a clock: the
// pages that SQLite writes.

import (
	"encoding/binary"
	"os"
	"sync/atomic"
	"testing"
)

const (
	walHead, walFrameHead, walPage = 32, 24, 4096 // bytes, see sqlite.org/walformat.html
	// copyPages bounds what a copy adds to a mail: a page for its row, one for each
	// of three indexes, and now and then others where one is full.
	copyPages = 6.5
)

// walFrames counts the pages in the write-ahead log since it was begun anew, which
// its salt tells.
func walFrames(t *testing.T, path string) (n int, salt uint64) {
	t.Helper()
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	salt = binary.BigEndian.Uint64(log[16:])
	for at := walHead; at+walFrameHead+walPage <= len(log) && binary.BigEndian.Uint64(log[at+8:]) == salt; at += walFrameHead + walPage {
		n++
	}
	return n, salt
}

// pagesOf passes mails one after the other and tells how many pages each wrote.
func pagesOf(t *testing.T, w *world) float64 {
	t.Helper()
	var path string
	if err := w.db.Read().QueryRow(`SELECT file || '-wal' FROM pragma_database_list WHERE name = 'main'`).Scan(&path); err != nil {
		t.Fatal(err)
	}
	const mails = 300
	var next atomic.Uint32
	total := 0
	before, salt := walFrames(t, path)
	for i := range uint32(mails) {
		enqueueUntil(t, w, &next, i+1)
		next.Store(i + 1)
		now, s := walFrames(t, path)
		if s != salt {
			before, salt = 0, s
		}
		total += now - before
		before = now
	}
	return float64(total) / mails
}

func TestACopyForTheVaultWritesFewPages(t *testing.T) {
	link, both := pagesOf(t, newVaultWorld(t, linkAll)), pagesOf(t, newVaultWorld(t, linkAll, keepAll))
	t.Logf("a mail with a link writes %.1f pages, one with a copy too %.1f", link, both)
	if both-link > copyPages {
		t.Errorf("a copy adds %.1f pages to the %.1f of a mail, at most %.1f were expected", both-link, link, copyPages)
	}
}
