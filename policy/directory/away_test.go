package directory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// clock is a time that a test sets.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// awayTimeout is short, so that tests are; with some patience for a busy machine.
const (
	awayTimeout  = 500 * time.Millisecond
	awayPatience = 400 * time.Millisecond
)

// TestLDAPAway: last answers serve while the server hangs or is dead, then it
// is an error; no lookup takes longer than the timeout.
func TestLDAPAway(t *testing.T) {
	for name, test := range map[string]struct {
		leave func(*testserver.Slapd) error
		back  func(*testserver.Slapd) error // nil: never
		tls   bool
	}{
		"hung":          {(*testserver.Slapd).Pause, (*testserver.Slapd).Resume, true},
		"hung StartTLS": {(*testserver.Slapd).Pause, (*testserver.Slapd).Resume, false},
		"killed":        {(*testserver.Slapd).Kill, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSlapd(t)
			cfg := ldapConfig(s)
			cfg.Timeout, cfg.Connections = awayTimeout, 2
			if !test.tls {
				cfg.URLs = []string{s.URL()}
			}
			l := openLDAP(t, cfg)
			cached := NewCached(l, CacheConfig{TTL: time.Minute, NegativeTTL: time.Second, Stale: time.Hour, Size: 100}, testLog(t))
			var time clock
			cached.now = time.now
			a := awayTest{t: t, cached: cached, clock: &time}

			a.want("bob@acmecorp.test", true)
			a.want("nobody@acmecorp.test", false)
			if err := test.leave(s); err != nil {
				t.Fatal(err)
			}
			a.waitAway(l)
			a.want("bob@acmecorp.test", true) // fresh
			a.pass(2 * 60)                    // older than the time limit
			a.want("bob@acmecorp.test", true)
			a.want("nobody@acmecorp.test", false)
			a.fails("boss@acmecorp.test") // never asked before
			a.pass(10)                    // asked again
			a.fails("bob@acmecorp.test", "boss@acmecorp.test")
			a.want("bob@acmecorp.test", true)
			a.pass(60 * 60) // the second limit
			a.fails("bob@acmecorp.test")
			a.fails("nobody@acmecorp.test")
			a.quick(l)
			if test.back == nil {
				return
			}
			if err := test.back(s); err != nil {
				t.Fatal(err)
			}
			a.pass(10)
			a.want("bob@acmecorp.test", true)
			a.want("boss@acmecorp.test", true)
			a.want("nobody@acmecorp.test", false)
		})
	}
}

type awayTest struct {
	t      *testing.T
	cached *Cached
	clock  *clock
}

func (a awayTest) pass(seconds int) { a.clock.advance(time.Duration(seconds) * time.Second) }

func (a awayTest) lookup(addresses ...string) (map[string]*User, error) {
	a.t.Helper()
	began := time.Now()
	found, err := a.cached.Lookup(context.Background(), addresses)
	if took := time.Since(began); took > awayTimeout+awayPatience {
		a.t.Errorf("looking up %v took %v", addresses, took)
	}
	return found, err
}

func (a awayTest) want(address string, user bool) {
	a.t.Helper()
	found, err := a.lookup(address)
	if err != nil || (found[address] != nil) != user {
		a.t.Errorf("%s: found %v, %v; want a user: %v", address, found, err, user)
	}
}

func (a awayTest) fails(addresses ...string) {
	a.t.Helper()
	if found, err := a.lookup(addresses...); err == nil {
		a.t.Errorf("%v: found %v without an error", addresses, found)
	}
}

// waitAway returns when the signal has arrived.
func (a awayTest) waitAway(l *LDAP) {
	a.t.Helper()
	for range 100 {
		if _, err := l.Lookup(context.Background(), []string{"bob@acmecorp.test"}); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	a.t.Fatal("the server still answers")
}

// quick: with few connections and many callers at once, nobody waits longer
// than the timeout, nor longer than the caller's own context.
func (a awayTest) quick(l *LDAP) {
	a.t.Helper()
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			ctx, limit := context.Background(), awayTimeout
			if i%2 == 0 {
				limit = awayTimeout / 5
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			began := time.Now()
			_, err := l.Lookup(ctx, []string{"bob@acmecorp.test"})
			if took := time.Since(began); err == nil || took > limit+awayPatience {
				a.t.Errorf("with %v: took %v, error %v", limit, took, err)
			}
		})
	}
	all.Wait()
}

// TestLDAPAsksTheNextServer: one of two hangs.
func TestLDAPAsksTheNextServer(t *testing.T) {
	hung, good := startSlapd(t), startSlapd(t)
	if err := hung.Pause(); err != nil {
		t.Fatal(err)
	}
	cfg := ldapConfig(good)
	cfg.URLs = []string{hung.TLSURL(), good.TLSURL()}
	// Both certificates are their own authority.
	cfg.CAFile = writeFile(t, "ca.pem", string(mustRead(t, hung.CAFile()))+string(mustRead(t, good.CAFile())))
	cfg.Timeout = 2 * time.Second
	l := openLDAP(t, cfg)
	for i, limit := range []time.Duration{cfg.Timeout, awayPatience, awayPatience} {
		began := time.Now()
		found, err := l.Lookup(t.Context(), []string{"bob@acmecorp.test"})
		if took := time.Since(began); err != nil || len(found) != 1 || took > limit {
			t.Errorf("lookup %d: found %v, %v after %v", i, found, err, took)
		}
	}
}

// TestLDAPMakesNewConnections: idle connections that the server cut are no error.
func TestLDAPMakesNewConnections(t *testing.T) {
	s := startSlapd(t)
	l := openLDAP(t, ldapConfig(s))
	for range 3 {
		if _, err := l.Lookup(t.Context(), []string{"bob@acmecorp.test"}); err != nil {
			t.Fatal(err)
		}
		l.pool.mu.Lock()
		if len(l.pool.idle) != 1 {
			t.Errorf("%d idle connections, want the one used", len(l.pool.idle))
		}
		for _, c := range l.pool.idle {
			c.raw.Close()
		}
		l.pool.mu.Unlock()
	}
}

// counted counts what a source is asked, and can hold or fail it.
type counted struct {
	Source
	mu    sync.Mutex
	calls [][]string
	fail  error
	hold  chan struct{} // nil: at once
}

func (c *counted) Lookup(ctx context.Context, addresses []string) (map[string]*User, error) {
	c.mu.Lock()
	c.calls = append(c.calls, slices.Clone(addresses))
	fail, hold := c.fail, c.hold
	c.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if fail != nil {
		return nil, fail
	}
	return c.Source.Lookup(ctx, addresses)
}

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

func (c *counted) set(fail error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = fail
}

func newCounted(t *testing.T, cfg CacheConfig) (*Cached, *counted, *clock) {
	source := &counted{Source: openText(t, "flow.yaml", peopleFiles["flow.yaml"])}
	cached := NewCached(source, cfg, testLog(t))
	var c clock
	cached.now = c.now
	return cached, source, &c
}

func TestCachedAsksAgainAfterItsLimits(t *testing.T) {
	cached, source, clock := newCounted(t, CacheConfig{TTL: time.Hour, NegativeTTL: time.Minute, Stale: 2 * time.Hour, Size: 10})
	ask := func(wantCalls int, addresses ...string) {
		t.Helper()
		if _, err := cached.Lookup(t.Context(), addresses); err != nil {
			t.Fatal(err)
		}
		if source.count() != wantCalls {
			t.Errorf("%v: asked %d times, want %d: %v", addresses, source.count(), wantCalls, source.calls)
		}
	}
	ask(1, "bob@acmecorp.test", "nobody@acmecorp.test", "not an address")
	ask(1, "BOB@acmecorp.test", "nobody@acmecorp.test")
	ask(2, "bob@acmecorp.test", "boss@acmecorp.test")
	if got := source.calls[1]; !slices.Equal(got, []string{"boss@acmecorp.test"}) {
		t.Errorf("asked for %v, want only what is not known", got)
	}
	clock.advance(2 * time.Minute)
	ask(2, "bob@acmecorp.test")
	ask(3, "nobody@acmecorp.test")
	clock.advance(time.Hour)
	ask(4, "bob@acmecorp.test")
}

func TestCachedAsksForAnAddressOnceAtATime(t *testing.T) {
	cached, source, _ := newCounted(t, DefaultConfig().Cache)
	source.hold = make(chan struct{})
	gone, leave := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := cached.Lookup(gone, []string{"bob@acmecorp.test"})
		first <- err
	}()
	for source.count() == 0 {
		time.Sleep(time.Millisecond)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			found, err := cached.Lookup(context.Background(), []string{"Bob@acmecorp.test"})
			if err != nil || found["Bob@acmecorp.test"] == nil {
				t.Errorf("found %v, %v", found, err)
			}
		})
	}
	leave() // the first asker gives up; the others shall not suffer
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled lookup gave %v", err)
	}
	close(source.hold)
	all.Wait()
	if source.count() != 1 {
		t.Errorf("asked %d times", source.count())
	}
}

func TestCachedIsBounded(t *testing.T) {
	cached, source, _ := newCounted(t, CacheConfig{TTL: time.Hour, NegativeTTL: time.Hour, Stale: time.Hour, Size: 2})
	for _, a := range []string{"bob@acmecorp.test", "boss@acmecorp.test", "x1@a.test", "x2@a.test", "x3@a.test"} {
		if _, err := cached.Lookup(t.Context(), []string{a}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(cached.users.at) + cached.users.order.Len() + len(cached.nobody.at) + cached.nobody.order.Len(); n != 8 {
		t.Errorf("%d entries, want 2 users and 2 others in map and list", n)
	}
	if _, err := cached.Lookup(t.Context(), []string{"bob@acmecorp.test", "boss@acmecorp.test"}); err != nil || source.count() != 5 {
		t.Errorf("unknown addresses drove out users: asked %v, %v", source.calls, err)
	}
	if len(cached.flights) != 0 {
		t.Errorf("flights remain: %v", slices.Collect(maps.Keys(cached.flights)))
	}
}

func TestCachedTriesAFailedSourceOnceInAWhile(t *testing.T) {
	cached, source, clock := newCounted(t, CacheConfig{TTL: time.Minute, NegativeTTL: time.Minute, Stale: time.Hour, Size: 10})
	bob := []string{"bob@acmecorp.test"}
	lookup := func(addresses []string) error {
		_, err := cached.Lookup(t.Context(), addresses)
		return err
	}
	if err := lookup(bob); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("no route")
	source.set(failure)
	clock.advance(2 * time.Minute)
	for range 5 {
		if err := lookup(bob); err != nil {
			t.Error(err)
		}
		if err := lookup([]string{"boss@acmecorp.test"}); !errors.Is(err, failure) {
			t.Errorf("error %v, want the source's", err)
		}
	}
	if source.count() != 2 {
		t.Errorf("a failed source was asked %d times", source.count()-1)
	}
	// After the pause one lookup tries; while it hangs the others do not wait.
	source.mu.Lock()
	source.hold = make(chan struct{})
	source.mu.Unlock()
	clock.advance(retryPause)
	probe := make(chan error)
	go func() { probe <- lookup(bob) }()
	for source.count() < 3 {
		time.Sleep(time.Millisecond)
	}
	if err := lookup(bob); err != nil {
		t.Error(err)
	}
	source.set(nil)
	close(source.hold)
	if err := <-probe; err != nil { // failed, but bob's old answer serves
		t.Error(err)
	}
	clock.advance(retryPause)
	if err := lookup([]string{"boss@acmecorp.test"}); err != nil {
		t.Error(err)
	}
}
