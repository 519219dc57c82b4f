package flow_test

// A flow beside another mail system, with a queue for copies.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/internal/spool"
	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/policy"
	"cloakroom/policy/directory"
	"cloakroom/policy/forward"
	"cloakroom/sisa"
	"cloakroom/sisa/blob"
)

const (
	boss    = "boss@acmecorp.test" // his mailbox is in the other system
	atGapps = "boss@gapps.acmecorp.test"
	gina    = "gina@acmecorp.test" // and hers
	carol   = "carol@acmecorp.test"
	dave    = "dave@ext.test"
	secret  = "0123456789abcdef0123456789abcdef"
)

var (
	otherHost = netip.MustParseAddr("192.0.2.25")
	stranger  = netip.MustParseAddr("203.0.113.7")
)

// people is a directory: groups by address.
type people map[string][]string

func (p people) Lookup(_ context.Context, addresses []string) (map[string]*directory.User, error) {
	out := make(map[string]*directory.User)
	for _, a := range addresses {
		n, err := directory.Normalize(a)
		if err != nil {
			continue
		}
		local, domain, _ := strings.Cut(n, "@")
		local, _, _ = strings.Cut(local, "+")
		if groups, ok := p[local+"@"+domain]; ok {
			out[a] = &directory.User{Address: local + "@" + domain, Groups: groups}
		}
	}
	return out, nil
}

// away is a directory that does not answer.
type away struct{}

func (away) Lookup(context.Context, []string) (map[string]*directory.User, error) {
	return nil, errors.New("directory is away")
}

// systems is a world with a route to another mail system.
type systems struct {
	*world
	jobs *jobs.Store
}

func gappsRoute() forward.Route {
	return forward.Route{Domain: "acmecorp.test", Alternate: "gapps.acmecorp.test", Group: "gapps",
		Members: []string{`"b o"@acmecorp.test`}, SRS: true, SRSDomain: "srs.acmecorp.test",
		Gateways: forward.Gateways{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Daemon: "gapps-in",
			Header: forward.GatewayHeader{Name: "X-Acme-Gateway", SecretFile: "/gw"}}}
}

// newSystems makes one. Copies can be made.
func newSystems(t *testing.T, routes forward.Config, rules ...policy.Rule) *systems {
	t.Helper()
	set, err := policy.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := &world{dir: dir, now: time.Now()}
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	if w.blobs, err = blob.OpenLocal(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	o := db.Options{Path: filepath.Join(dir, "cloakroom.db"), Journal: filepath.Join(dir, "journal"), Log: log}
	if w.db, err = db.Open(context.WithoutCancel(t.Context()), o, slices.Concat(ledger.Migrations, sisa.Migrations, jobs.Migrations)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	queue, err := jobs.New(t.Context(), w.db, jobs.Options{Node: "test", Log: log, Retry: map[string]jobs.Retry{flow.JobCopy: flow.CopyRetry()}})
	if err != nil {
		t.Fatal(err)
	}
	buffers, err := spool.OpenDir(filepath.Join(dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	key := bytes.Repeat([]byte{7}, 32)
	domains := []string{"acmecorp.test", "xn--bcher-kva.test"}
	ways, err := forward.New(routes, forward.Keys{Marks: [][]byte{key}, SRS: [][]byte{key}, Files: map[string][]byte{"/gw": []byte(secret)}},
		func(d string) bool { return slices.Contains(domains, d) })
	if err != nil {
		t.Fatal(err)
	}
	w.settings = flow.Settings{Domains: domains, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Policy: set,
		Routes: ways, Splits: true, PageURL: func(token string) string { return site + token }}
	w.engine = &flow.Engine{Settings: func() *flow.Settings { s := w.settings; return &s }, Spool: buffers, Blobs: w.blobs, DB: w.db, Jobs: queue,
		LinkKey: key, Now: func() time.Time { return w.now }, Log: log,
		Directory: people{boss: {"gapps"}, gina: {"gapps"}, "alice@acmecorp.test": nil, carol: {"pilot"}, "ü@xn--bcher-kva.test": {"gapps"}}}
	return &systems{w, queue}
}

// from is an envelope; a sender of ours speaks from a trusted host.
func from(sender string, to ...string) *flow.Envelope {
	e := outbound("Q1", to...)
	e.Sender, e.Received = sender, time.Now()
	if !strings.HasSuffix(sender, "@acmecorp.test") {
		e.Client, e.Helo, e.Host = stranger, "mail.ext.test", "unknown"
	}
	return e
}

// result is what came of a mail.
type result struct {
	*flow.Outcome
	head   string // the header as it is delivered
	body   string // "" for the body as it came
	copies []flow.Copy
}

// pass takes a mail through; both results are nil for one that passes unseen.
func (s *systems) pass(t *testing.T, env *flow.Envelope, raw []byte) (*result, error) {
	t.Helper()
	h, body := split(raw)
	m, err := s.engine.Open(t.Context(), env, h)
	if m == nil {
		return nil, err
	}
	defer m.Close()
	feed(m, body, 4096)
	out, err := m.Finish(t.Context())
	if err != nil {
		return nil, err
	}
	r := &result{Outcome: out, head: string(message.ApplyHeader(h, out.Header)), copies: s.queued(t)}
	if out.Body != nil {
		var b bytes.Buffer
		if _, err := out.Body.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		r.body = b.String()
	}
	return r, nil
}

func (s *systems) mustPass(t *testing.T, env *flow.Envelope, raw []byte) *result {
	t.Helper()
	r, err := s.pass(t, env, raw)
	if err != nil || r == nil {
		t.Fatalf("outcome %v, error %v", r, err)
	}
	return r
}

// queued reads all copies that were ever made, by sender.
func (s *systems) queued(t *testing.T) (out []flow.Copy) {
	t.Helper()
	all, err := s.jobs.List(t.Context(), jobs.Filter{Kind: flow.JobCopy}, jobs.Cursor{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range all {
		var c flow.Copy
		if err := json.Unmarshal(j.Payload, &c); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b flow.Copy) int { return strings.Compare(a.Sender, b.Sender) })
	return out
}

func addresses[R any](list []R, of func(R) string) string {
	var out []string
	for _, r := range list {
		out = append(out, of(r))
	}
	return strings.Join(out, " ")
}

func added(out *flow.Outcome) string {
	return addresses(out.AddRecipients, func(r flow.Recipient) string { return r.Address })
}

func copied(c flow.Copy) string {
	return addresses(c.Recipients, func(r flow.CopyRecipient) string { return r.Address })
}

// note is a mail without attachments.
func note(id, fields string) []byte {
	return []byte(fields + "From: x@ext.test\r\nSubject: note\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + id + "@x.test>\r\n\r\nhello\r\n")
}
