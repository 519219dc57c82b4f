package flow_test

// Copies for the vault as the mail path makes them: once for each mail, and
// what they cost.

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/policy"
	"cloakroom/sisa"
	"cloakroom/vault"
)

var keepAll = policy.Rule{Name: "all to assets", Vault: &policy.VaultAction{Options: policy.VaultOptions{Target: "assets"}}}

// newVaultWorld is a world with a target named assets.
func newVaultWorld(t testing.TB, rules ...policy.Rule) *world {
	t.Helper()
	w := newWorld(t, rules...)
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	o := db.Options{Path: filepath.Join(w.dir, "vault.db"), Journal: filepath.Join(w.dir, "vault-journal"), Log: log}
	d, err := db.Open(context.WithoutCancel(t.Context()), o, slices.Concat(ledger.Migrations, sisa.Migrations, jobs.Migrations, vault.Migrations)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	w.db, w.engine.DB = d, d
	if w.engine.Jobs, err = jobs.New(t.Context(), d, jobs.Options{Node: "test", Log: log}); err != nil {
		t.Fatal(err)
	}
	plan, err := vault.DefaultTarget().Plan()
	if err != nil {
		t.Fatal(err)
	}
	w.settings.Vault = map[string]*vault.Plan{"assets": plan}
	return w
}

// TestAMailThatComesAgainInAnotherMonthIsKeptOnce: its path has the month of
// first sight.
func TestAMailThatComesAgainInAnotherMonthIsKeptOnce(t *testing.T) {
	w := newVaultWorld(t, keepAll)
	for _, after := range []time.Duration{0, time.Hour, 31 * 24 * time.Hour, -62 * 24 * time.Hour} {
		w.now = received.Add(after)
		env := outbound("q", "bob@acmecorp.test")
		env.Received = w.now
		w.mustDeliver(t, env, plans("again").raw())
	}
	if n := w.rows(t, "jobs"); n != 2 { // Alice's and Bob's
		t.Errorf("%d jobs, want 2", n)
	}
	rows, err := w.db.Read().Query(`SELECT label FROM jobs`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var path string
		if err := rows.Scan(&path); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains([]string{"alice@acmecorp.test/2026/03/plan.pdf", "bob@acmecorp.test/2026/03/plan.pdf"}, path) {
			t.Errorf("a path is %s", path)
		}
	}
	w.mustDeliver(t, outbound("q", "bob@acmecorp.test"), plans("another mail").raw())
	if n := w.rows(t, "jobs"); n != 4 {
		t.Errorf("another mail with the same file: %d jobs, want 4", n)
	}
}

// cpu is what this process has used so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEnqueue passes mails with an attachment of 100 KB that becomes a
// link, without and with a rule that keeps a copy for its one recipient, by
// turns, so that a busy machine slows both: one mail after the other, and eight
// at a time, whose commits are grouped. What counts is the CPU that the copy
// adds; the rest of the time is the disk's.
func BenchmarkEnqueue(b *testing.B) {
	const turn = 32 // mails
	for _, sessions := range []int{1, 8} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			worlds := []*world{newVaultWorld(b, linkAll), newVaultWorld(b, linkAll, keepAll)}
			used := make([]time.Duration, len(worlds))
			next := make([]atomic.Uint32, len(worlds))
			mails := 0
			for b.Loop() {
				mails += turn
				for i, w := range worlds {
					before := cpu(b)
					var all sync.WaitGroup
					for range sessions {
						all.Go(func() { enqueueUntil(b, w, &next[i], uint32(mails)) })
					}
					all.Wait()
					next[i].Store(uint32(mails))
					used[i] += cpu(b) - before
				}
			}
			b.ReportMetric(float64(used[0].Microseconds())/float64(mails), "link-cpu-µs/mail")
			b.ReportMetric(float64(used[1].Microseconds())/float64(mails), "vault-cpu-µs/mail")
			b.ReportMetric(100*float64(used[1]-used[0])/float64(used[0]), "added-%")
			if jobs, links := worlds[1].rows(b, "jobs"), worlds[1].rows(b, "links"); jobs != mails || links != mails {
				b.Fatalf("%d jobs and %d links for %d mails", jobs, links, mails)
			}
		})
	}
}

// enqueueUntil passes mails until so many are done, another mail with another
// file each time.
func enqueueUntil(b testing.TB, w *world, next *atomic.Uint32, mails uint32) {
	const mark = "enqueue-00000000"
	raw := (&letter{id: mark, files: []file{{"plan.pdf", noise(1, 100<<10)}}}).raw()
	id := bytes.Index(raw, []byte(mark)) + len("enqueue-")
	start := bytes.Index(raw, []byte("base64\r\n\r\n")) + len("base64\r\n\r\n")
	for i := next.Add(1); i <= mails; i = next.Add(1) {
		var n [6]byte
		binary.BigEndian.PutUint32(n[2:], i)
		base64.StdEncoding.Encode(raw[start:], n[:])
		base64.RawURLEncoding.Encode(raw[id:], n[:])
		h, body := split(raw)
		m, err := w.engine.Open(b.Context(), inboundOne(), h)
		if err != nil {
			b.Error(err)
			return
		}
		feed(m, body, milterChunk)
		if _, err := m.Finish(b.Context()); err != nil {
			b.Error(err)
		}
		m.Close()
	}
}

// inboundOne is mail from outside to one user of ours.
func inboundOne() *flow.Envelope {
	e := outbound("q", "bob@acmecorp.test")
	e.Sender, e.Client = "dave@ext.test", stranger
	return e
}
