package flow_test

// A flow with a real store below it, and how the tests pass mail through it.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
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

var received = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

const site = "https://files.acmecorp.test/l/"

// world is an engine over a store of its own.
type world struct {
	engine   *flow.Engine
	settings flow.Settings
	blobs    *blob.Local
	db       *db.DB
	dir      string
	now      time.Time // what the engine takes for the time
	log      lockedBuffer
}

// newWorld makes a world on SQLite whose policy is rules.
func newWorld(t testing.TB, rules ...policy.Rule) *world {
	t.Helper()
	dir := t.TempDir()
	return openWorld(t, dir, db.Options{Path: filepath.Join(dir, "cloakroom.db"), Journal: filepath.Join(dir, "journal")}, rules)
}

func openWorld(t testing.TB, dir string, o db.Options, rules []policy.Rule) *world {
	t.Helper()
	set, err := policy.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{dir: dir, now: received}
	if w.blobs, err = blob.OpenLocal(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	o.Log = log
	if w.db, err = db.Open(context.WithoutCancel(t.Context()), o, slices.Concat(ledger.Migrations, sisa.Migrations)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	buffers, err := spool.OpenDir(filepath.Join(dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	w.settings = flow.Settings{
		Domains: []string{"acmecorp.test"},
		Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Policy:  set,
		PageURL: func(token string) string { return site + token },
	}
	w.engine = &flow.Engine{
		Settings: func() *flow.Settings { s := w.settings; return &s },
		Spool:    buffers, Blobs: w.blobs, DB: w.db,
		LinkKey: bytes.Repeat([]byte{7}, 32),
		Now:     func() time.Time { return w.now }, Log: log,
	}
	return w
}

// linkAll is the rule that links whatever may be linked.
var linkAll = policy.Rule{Name: "everything", Link: &policy.LinkAction{}}

// outbound is mail of a user of ours to somebody outside.
func outbound(queueID string, to ...string) *flow.Envelope {
	if len(to) == 0 {
		to = []string{"bob@ext.test"}
	}
	e := &flow.Envelope{
		QueueID: queueID, Sender: "alice@acmecorp.test", Client: netip.MustParseAddr("127.0.0.1"), Received: received,
	}
	for _, r := range to {
		e.Recipients = append(e.Recipients, flow.Recipient{Address: r})
	}
	return e
}

// split takes a message apart as the doors do: header, the line that ends it,
// and body.
func split(raw []byte) (message.Header, []byte) {
	for at := 0; ; {
		i := bytes.IndexByte(raw[at:], '\n')
		if i < 0 {
			h, _ := message.ParseHeader(raw)
			h.Blank = []byte{}
			return h, nil
		}
		line := raw[at : at+i+1]
		if len(line) == 1 || len(line) == 2 && line[0] == '\r' {
			h, _ := message.ParseHeader(raw[:at:at])
			h.Blank = line
			return h, raw[at+i+1:]
		}
		at += i + 1
	}
}

// delivery is what came of one message.
type delivery struct {
	opened  bool   // its body was looked at
	changed bool   // something was sent back
	head    []byte // the new header with the line that ends it
	body    []byte
	edits   []message.HeaderEdit
	splices []message.Splice
}

func (d *delivery) raw() []byte { return append(d.head[:len(d.head):len(d.head)], d.body...) }

// deliver passes a message through, its body in chunks of the given size.
func (w *world) deliver(ctx context.Context, env *flow.Envelope, raw []byte, chunk int) (*delivery, error) {
	h, body := split(raw)
	d := &delivery{head: h.Block(), body: body}
	m, err := w.engine.Open(ctx, env, h)
	if m == nil {
		return d, err
	}
	defer m.Close()
	m.KeepBody()
	d.opened = true
	feed(m, body, chunk)
	out, err := m.Finish(ctx)
	if err != nil {
		return nil, err
	}
	d.changed, d.edits = out.Changed(), out.Header
	if len(out.Header) > 0 {
		edited := h
		edited.Raw = message.ApplyHeader(h, out.Header)
		d.head = edited.Block()
	}
	original, err := m.Original()
	if err != nil {
		return nil, err
	}
	if d.body, err = io.ReadAll(original); err != nil {
		return nil, err
	}
	if out.Body != nil {
		d.splices = out.Body.(*message.Spliced).Splices()
		var b bytes.Buffer
		if _, err := out.Body.WriteTo(&b); err != nil {
			return nil, err
		}
		d.body = b.Bytes()
	}
	return d, nil
}

// explain tells what would come of a message.
func (w *world) explain(env *flow.Envelope, raw []byte, chunk int) (*flow.Explanation, error) {
	h, body := split(raw)
	m, err := w.engine.OpenAny(context.Background(), env, h)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	feed(m, body, chunk)
	return m.Explain()
}

func feed(w io.Writer, body []byte, chunk int) {
	for len(body) > 0 {
		n := min(chunk, len(body))
		w.Write(body[:n])
		body = body[n:]
	}
}

// mustDeliver is deliver for a mail that has to get through.
func (w *world) mustDeliver(t testing.TB, env *flow.Envelope, raw []byte) *delivery {
	t.Helper()
	d, err := w.deliver(t.Context(), env, raw, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// recordOf reads the record of the mail that came with a queue id; nil when
// there is none.
func (w *world) recordOf(ctx context.Context, queueID string) (*ledger.Mail, error) {
	rows, err := w.db.Read().QueryContext(ctx, `SELECT key FROM mails WHERE queue_id = $1`, queueID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	var key []byte
	if err := rows.Scan(&key); err != nil {
		return nil, err
	}
	if rows.Next() {
		return nil, fmt.Errorf("more than one record for queue id %s", queueID)
	}
	rows.Close()
	return ledger.Get(ctx, w.db.Read(), ledger.Key(key))
}

// rows counts the rows of a table.
func (w *world) rows(t testing.TB, table string) int {
	t.Helper()
	var n int
	if err := w.db.Read().QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// stored lists the hashes in the blob store.
func (w *world) stored(t testing.TB) (refs []blob.Ref) {
	t.Helper()
	err := w.blobs.Walk(t.Context(), func(r blob.Ref) error { refs = append(refs, r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

// untouched fails unless d is the message as it came and the store is empty.
func (w *world) untouched(t testing.TB, d *delivery, raw []byte) {
	t.Helper()
	if d.changed || len(d.edits) > 0 || d.splices != nil || !bytes.Equal(d.raw(), raw) {
		t.Errorf("the mail was changed: %d header edits, %d splices", len(d.edits), len(d.splices))
	}
	if n := w.rows(t, "mails") + w.rows(t, "links") + w.rows(t, "blobs") + len(w.stored(t)); n != 0 {
		t.Errorf("%d rows and blobs were stored, want none", n)
	}
}

// lockedBuffer is a log that a test can read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestMain(m *testing.M) { pgtest.Main(m) }

// newPostgresWorld is newWorld on PostgreSQL.
func newPostgresWorld(t testing.TB, rules ...policy.Rule) *world {
	t.Helper()
	return openWorld(t, t.TempDir(), db.Options{URL: pgtest.Database(t)}, rules)
}

// unavailable ends a test that lacks what it needs: quietly on a laptop, with
// a failure where everything has to run.
func unavailable(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
