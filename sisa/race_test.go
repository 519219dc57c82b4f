package sisa_test

// The collector against traffic: mail that uses again what is just being
// collected, through the real flow.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/db"
	"cloakroom/internal/spool"
	"cloakroom/internal/testserver/pgtest"
	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/policy"
	"cloakroom/sisa"
	"cloakroom/sisa/blob"
)

const (
	senders       = 3 // at the same time
	keptLast      = 2 // links of each that are not revoked
	collectorsRun = 2
)

// traffic is a flow whose links are revoked as soon as they were looked at.
type traffic struct {
	engine *flow.Engine
	blobs  *blob.Local
	db     *db.DB
	links  *sisa.Links
	keeper *sisa.Keeper

	mailsEach int // by each sender

	mu   sync.Mutex
	kept []string // tokens of links that stay
}

func newTraffic(t *testing.T, o db.Options) *traffic {
	t.Helper()
	dir := t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	o.Log = quiet
	if o.URL == "" {
		o.Path = filepath.Join(dir, "cloakroom.db")
	}
	d, err := db.Open(context.WithoutCancel(t.Context()), o, slices.Concat(ledger.Migrations, sisa.Migrations)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	rules, err := policy.Compile([]policy.Rule{{Name: "all", Link: &policy.LinkAction{}}})
	if err != nil {
		t.Fatal(err)
	}
	w := &traffic{db: d, links: sisa.NewLinks(d, time.Now), mailsEach: 60}
	if testing.Short() { // under the race detector, which needs less of it
		w.mailsEach = 20
	}
	if w.blobs, err = blob.OpenLocal(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	buffers, err := spool.OpenDir(filepath.Join(dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	settings := &flow.Settings{Domains: []string{"acmecorp.test"}, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Policy: rules, PageURL: func(token string) string { return "https://files.acmecorp.test/d/" + token }}
	w.engine = &flow.Engine{Settings: func() *flow.Settings { return settings }, Spool: buffers, Blobs: w.blobs, DB: d,
		LinkKey: bytes.Repeat([]byte{7}, 32), Now: time.Now, Log: quiet}
	// A clock ahead of the flow's: nothing is too young to be collected.
	w.keeper = &sisa.Keeper{DB: d, Blobs: w.blobs, Now: func() time.Time { return time.Now().Add(time.Minute) }, Log: quiet}
	return w
}

var tokenInMail = regexp.MustCompile(`https://files\.acmecorp\.test/d/([A-Za-z0-9_-]{22})`)

// deliver passes one mail through and gives the token in its notice.
func (w *traffic) deliver(ctx context.Context, id string, files [][]byte) (string, error) {
	head := fmt.Sprintf("From: alice@acmecorp.test\r\nTo: bob@ext.test\r\nMessage-ID: <%s@acmecorp.test>\r\nDate: Sat, 14 Mar 2026 15:09:26 +0000\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n", id)
	h, err := message.ParseHeader([]byte(head))
	if err != nil {
		return "", err
	}
	h.Blank = []byte("\r\n")
	env := &flow.Envelope{QueueID: id, Sender: "alice@acmecorp.test", Client: netip.MustParseAddr("127.0.0.1"), Received: time.Now(),
		Recipients: []flow.Recipient{{Address: "bob@ext.test"}}}
	m, err := w.engine.Open(ctx, env, h)
	if err != nil {
		return "", err
	}
	defer m.Close()
	io.WriteString(m, "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n")
	for i, f := range files {
		fmt.Fprintf(m, "--b\r\nContent-Type: application/pdf; name=%d.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n", i, base64.StdEncoding.EncodeToString(f))
	}
	io.WriteString(m, "--b--\r\n")
	out, err := m.Finish(ctx)
	if err != nil {
		return "", err
	}
	if out.Body == nil {
		return "", errors.New("nothing was linked")
	}
	var body bytes.Buffer
	if _, err := out.Body.WriteTo(&body); err != nil {
		return "", err
	}
	found := tokenInMail.FindSubmatch(body.Bytes())
	if found == nil {
		return "", errors.New("the notice has no link")
	}
	return string(found[1]), nil
}

// check fetches all files of a link and rebuilds its mail.
func (w *traffic) check(ctx context.Context, token string) error {
	link, err := w.links.ByToken(ctx, token)
	if err != nil {
		return err
	}
	for _, f := range link.Files {
		b, err := w.blobs.Open(ctx, f.SHA256)
		if err != nil {
			return fmt.Errorf("file %x of a live link: %w", f.SHA256, err)
		}
		sum := sha256.New()
		_, err = io.Copy(sum, b)
		b.Close()
		if err != nil || [32]byte(sum.Sum(nil)) != f.SHA256 {
			return fmt.Errorf("file %x of a live link is damaged: %w", f.SHA256, err)
		}
	}
	rows, err := w.links.List(ctx, sisa.Filter{ID: link.ID})
	if err != nil || len(rows) != 1 {
		return fmt.Errorf("%d rows: %w", len(rows), err)
	}
	record, err := ledger.Get(ctx, w.db.Read(), rows[0].Mail)
	if err != nil {
		return err
	}
	return ledger.Rebuild(ctx, io.Discard, record, w.keeper.Open)
}

// send is one sender's mails: now a new one, now one that came before.
func (w *traffic) send(ctx context.Context, who int, pool [][]byte) error {
	for n := range w.mailsEach {
		id := fmt.Sprintf("m%d.%d", who, n)
		if n > 0 && rand.IntN(3) == 0 {
			id = fmt.Sprintf("m%d.%d", who, rand.IntN(n))
		}
		// The files of a mail follow from its name, so that it can come again.
		seed := sha256.Sum256([]byte(id))
		files := [][]byte{pool[int(seed[0])%len(pool)], []byte("%PDF-1.4 only of " + id[:2])}
		token, err := w.deliver(ctx, id, files)
		if err != nil {
			return fmt.Errorf("mail %s: %w", id, err)
		}
		if err := w.check(ctx, token); err != nil {
			return fmt.Errorf("mail %s: %w", id, err)
		}
		if n >= w.mailsEach-keptLast {
			w.mu.Lock()
			w.kept = append(w.kept, token)
			w.mu.Unlock()
			continue
		}
		w.mu.Lock()
		stays := slices.Contains(w.kept, token)
		w.mu.Unlock()
		if stays {
			continue
		}
		if _, err := w.links.Revoke(ctx, []string{sisa.TokenID(token)}, sisa.Act{By: "test"}); err != nil {
			return err
		}
	}
	return nil
}

func TestCollectionNeverTakesWhatTrafficUses(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { raceCollection(t, db.Options{}) })
	t.Run("postgres", func(t *testing.T) { raceCollection(t, db.Options{URL: pgtest.Database(t)}) })
}

func raceCollection(t *testing.T, o db.Options) {
	w := newTraffic(t, o)
	var pool [][]byte
	for i, size := range []int{1 << 10, 300 << 10, 20 << 10} { // the second is written while it comes in
		pool = append(pool, []byte("%PDF-1.4 "+strings.Repeat(fmt.Sprint(i), size)))
	}
	ctx, stop := context.WithCancel(t.Context())
	var collected, retired atomic.Int64
	var collectors, sending sync.WaitGroup
	for range collectorsRun {
		collectors.Go(func() {
			for ctx.Err() == nil {
				r, err := w.keeper.Collect(ctx, sisa.GCOptions{})
				if err != nil && ctx.Err() == nil {
					t.Error("collect: ", err)
					return
				}
				collected.Add(r.Blobs)
				retired.Add(r.Retired)
			}
		})
	}
	for i := range senders {
		sending.Go(func() {
			if err := w.send(ctx, i, pool); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	stop()
	collectors.Wait()
	if collected.Load() < senders || retired.Load() < senders {
		t.Errorf("%d files were collected and %d mails retired: there was no race", collected.Load(), retired.Load())
	}
	for _, token := range w.kept {
		if err := w.check(t.Context(), token); err != nil {
			t.Errorf("in the end: %v", err)
		}
	}
	v, err := w.keeper.Verify(t.Context(), sisa.VerifyOptions{})
	if err != nil || !v.OK() {
		t.Errorf("in the end: %+v, %v", v, err)
	}
	t.Logf("%d files collected, %d mails retired, %d links kept", collected.Load(), retired.Load(), len(w.kept))
}
