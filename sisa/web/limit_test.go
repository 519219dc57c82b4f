package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/sisa"
)

// forged gives the address of a link that does not exist.
func (s *stage) forged(n byte) string {
	return s.server.URL + "/d/" + sisa.Token([]byte("another key"), [32]byte{n}, 0)
}

func TestGuessingEndsAfterAFewMissesAndOnlyForTheGuesser(t *testing.T) {
	s := newStage(t, func(_ *stage, cfg *Config) { cfg.Limits.Misses, cfg.Limits.TotalMisses = 5, 1000 })
	guesser, other := []string{"X-Forwarded-For", "203.0.113.9"}, []string{"X-Forwarded-For", "198.51.100.7"}
	for n := range byte(5) {
		s.wantStatus(s.get(s.forged(n), guesser...), http.StatusNotFound)
	}
	lookups := s.links.lookups
	for _, address := range []string{s.forged(9), s.page(), s.server.URL + "/"} {
		r := s.get(address, guesser...)
		s.wantStatus(r, http.StatusTooManyRequests)
		if seconds, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 60 {
			t.Errorf("Retry-After %q", r.Header.Get("Retry-After"))
		}
		s.wantText(r, "Too many requests")
	}
	if s.links.lookups != lookups {
		t.Error("a refused request was looked up")
	}
	s.wantStatus(s.get(s.page(), other...), http.StatusOK)
	s.advance(12 * time.Second) // a fifth of a minute: one more
	s.wantStatus(s.get(s.page(), guesser...), http.StatusOK)
	s.wantStatus(s.get(s.forged(7), guesser...), http.StatusNotFound)
	s.wantStatus(s.get(s.page(), guesser...), http.StatusTooManyRequests)
	if !strings.Contains(s.log.String(), "too many requests") {
		t.Error("nothing is logged")
	}
	for range 50 {
		s.get(s.page(), guesser...)
	}
	if n := strings.Count(s.log.String(), "level=WARN"); n > busyLinesAtOnce+5 { // the clock moved on a little
		t.Errorf("a client that floods us caused %d warnings", n)
	}
}

func TestForgedSignaturesCountAsMissesAndMistypedAddressesDoNot(t *testing.T) {
	s := newStage(t, func(_ *stage, cfg *Config) { cfg.Limits.Misses, cfg.Limits.TotalMisses = 3, 1000 })
	file := s.press("5")
	for range 10 { // what browsers ask for by themselves, and broken lines
		s.wantStatus(s.get(s.server.URL+"/apple-touch-icon.png"), http.StatusNotFound)
		s.wantStatus(s.get(s.page()+"x"), http.StatusNotFound)
	}
	signed := strings.TrimSuffix(file, "/"+"%C3%9Cbersicht%202026.txt")
	for range 3 {
		s.wantStatus(s.get(signed+"A/x"), http.StatusNotFound)
	}
	s.wantStatus(s.get(file), http.StatusTooManyRequests)
}

func TestAllMissesTogetherStopWhoMissedAndNobodyElse(t *testing.T) {
	l := newLimiter(Limits{Misses: 5, TotalMisses: 20})
	now := testStart
	for n := range 20 { // each of them well below its own limit
		address := fmt.Sprintf("203.0.113.%d", n)
		if wait := l.allow(address, now); wait != 0 {
			t.Fatalf("client %d waits %v", n, wait)
		}
		l.miss(address, now)
	}
	if wait := l.allow("203.0.113.3", now); wait <= 0 {
		t.Error("a client that missed is served")
	}
	if wait := l.allow("198.51.100.7", now); wait != 0 {
		t.Errorf("a client that did not miss waits %v", wait)
	}
	if wait := l.allow("203.0.113.3", now.Add(time.Minute)); wait != 0 {
		t.Errorf("a minute later it waits %v", wait)
	}
}

func TestRequestsAreLimitedByClientAndZeroIsNoLimit(t *testing.T) {
	l := newLimiter(Limits{Requests: 3, Misses: 5, TotalMisses: 5})
	for range 3 {
		if wait := l.allow("198.51.100.7", testStart); wait != 0 {
			t.Fatalf("waits %v", wait)
		}
	}
	if wait := l.allow("198.51.100.7", testStart); wait != 20*time.Second {
		t.Errorf("waits %v, want 20s", wait)
	}
	if wait := l.allow("198.51.100.7", testStart.Add(20*time.Second)); wait != 0 {
		t.Errorf("waits %v after 20 s", wait)
	}
	open := newLimiter(Limits{Misses: 5, TotalMisses: 5})
	for range 10_000 {
		if wait := open.allow("198.51.100.7", testStart); wait != 0 {
			t.Fatalf("waits %v without a limit", wait)
		}
	}
}

func TestAClientIsAnIPv4AddressOrAnIPv6Network(t *testing.T) {
	if clientKey("2001:db8::1") != clientKey("2001:db8::ffff:1") || clientKey("2001:db8::1") == clientKey("2001:db8:0:1::1") {
		t.Error("an IPv6 client is not its /64")
	}
	if clientKey("198.51.100.7") == clientKey("198.51.100.8") || clientKey("") != clientKey("nonsense") {
		t.Error("an IPv4 client is not its address")
	}
}

func TestMemoryOfClientsIsBoundedAndTheRecentOnesAreKept(t *testing.T) {
	l := newLimiter(Limits{Misses: 1, TotalMisses: 1_000_000})
	for range 2 {
		l.miss("198.51.100.7", testStart)
	}
	for n := range 3 * maxClients {
		l.allow(fmt.Sprintf("2001:db8:%x:%x::1", n>>16, n&0xffff), testStart)
		if n%1000 == 0 && l.allow("198.51.100.7", testStart) == 0 {
			t.Fatalf("after %d clients the guesser is forgotten", n)
		}
	}
	if n := len(l.young) + len(l.old); n > maxClients {
		t.Errorf("%d clients are remembered, want at most %d", n, maxClients)
	}
}

func TestLimitsAreChecked(t *testing.T) {
	for name, l := range map[string]Limits{
		"requests": {Requests: -1, Misses: 1, TotalMisses: 1}, "misses": {TotalMisses: 1}, "total_misses": {Misses: 2, TotalMisses: 1},
	} {
		cfg := DefaultConfig()
		cfg.URL, cfg.Limits = "https://files.acmecorp.test", l
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), "limits."+name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The lookups here differ by far more than a database's: one that finds a
// revoked link reads a row more. The answers must not.
func TestUnknownAndRevokedTakeTheSameTime(t *testing.T) {
	t.Parallel()
	const (
		tries  = 25
		slower = 5 * time.Millisecond
	)
	revoked := sisa.Token(testKey, [32]byte{2}, 0)
	s := newStage(t, func(s *stage, _ *Config) { s.links.errs[revoked] = sisa.ErrNotFound })
	s.links.set(func() { s.links.delay = map[string]time.Duration{revoked: slower} })
	times := map[string][]time.Duration{}
	for range tries { // by turns, so that what else this machine does hits both
		for name, address := range map[string]string{"unknown": s.forged(3), "revoked": s.server.URL + "/d/" + revoked} {
			began := time.Now()
			s.wantStatus(s.get(address), http.StatusNotFound)
			times[name] = append(times[name], time.Since(began))
		}
	}
	median := func(name string) time.Duration {
		slices.Sort(times[name])
		return times[name][tries/2]
	}
	unknown, gone := median("unknown"), median("revoked")
	t.Logf("median of %d: unknown %v, revoked %v", tries, unknown, gone)
	if diff := (unknown - gone).Abs(); diff > slower/2 {
		t.Errorf("unknown takes %v, revoked %v", unknown, gone)
	}
	if unknown < missTime {
		t.Errorf("unknown takes %v, less than %v", unknown, missTime)
	}
}
