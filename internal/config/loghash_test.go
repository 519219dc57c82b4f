package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

var testLogKey = []byte("a key of thirty-two bytes, or so")

// lines logs one line by f, with hashed addresses, in both formats.
func lines(t *testing.T, key []byte, f func(*slog.Logger)) string {
	t.Helper()
	var out strings.Builder
	for _, format := range []string{"text", "json"} {
		logger := Log{Level: "debug", Format: format, Addresses: AddressesHashed}.Logger(&out)
		if key != nil {
			GiveLogKey(logger, key)
		}
		f(logger)
	}
	return out.String()
}

func TestAHashIsStableShortAndBlindToCase(t *testing.T) {
	want := HashAddress(testLogKey, "bob@acmecorp.test")
	if !regexp.MustCompile(`^~[a-z2-7]{12}$`).MatchString(want) {
		t.Errorf("a hash is %q", want)
	}
	for _, same := range []string{"Bob@AcmeCorp.TEST", "<bob@acmecorp.test>", " bob@acmecorp.test "} {
		if got := HashAddress(testLogKey, same); got != want {
			t.Errorf("%q is %s, want %s", same, got, want)
		}
	}
	if HashAddress(testLogKey, "bob@bücher.test") != HashAddress(testLogKey, "bob@xn--bcher-kva.test") {
		t.Error("the two forms of a domain differ")
	}
	if HashAddress([]byte("another key"), "bob@acmecorp.test") == want || HashAddress(testLogKey, "carol@acmecorp.test") == want {
		t.Error("another key or person has the same hash")
	}
}

type namedFile struct{ error }

func (namedFile) Private() []string {
	return []string{"bob@acmecorp.test/the plan.pdf", "the plan.pdf", "the plan"}
}

func TestNoAddressAndNoNameIsLoggedWhereTheyAreHashed(t *testing.T) {
	const bob = "bob@acmecorp.test"
	hash := HashAddress(testLogKey, bob)
	for name, c := range map[string]struct {
		log    func(*slog.Logger)
		gone   []string
		hashes int
		stays  string
	}{
		"a sender":           {func(l *slog.Logger) { l.Info("m", "from", bob, "n", 3) }, nil, 1, "3"},
		"no sender":          {func(l *slog.Logger) { l.Info("m", "from", "") }, nil, 0, "from"},
		"a local name":       {func(l *slog.Logger) { l.Info("m", "recipient", "postmaster") }, []string{"postmaster"}, 0, ""},
		"several":            {func(l *slog.Logger) { l.Info("m", "to", []string{bob, "Bob@acmecorp.test"}) }, nil, 2, ""},
		"an address literal": {func(l *slog.Logger) { l.Info("m", "err", errors.New("no bob@[192.0.2.1] here")) }, []string{"bob", "192"}, 0, "here"},
		"before the line":    {func(l *slog.Logger) { l.With("owner", bob).Info("m") }, nil, 1, ""},
		"in a group":         {func(l *slog.Logger) { l.Info("m", slog.Group("kept", slog.String("1", "for "+bob))) }, nil, 1, "for "},
		"below a group":      {func(l *slog.Logger) { l.WithGroup("g").Info("m", "x", "<"+bob+">") }, nil, 1, "x"},
		"in the words":       {func(l *slog.Logger) { l.Info("mail for " + bob + " waits") }, nil, 1, "waits"},
		"in an error":        {func(l *slog.Logger) { l.Info("m", "err", fmt.Errorf("550 <%s>: unknown", bob)) }, nil, 1, "550"},
		"in a search":        {func(l *slog.Logger) { l.Info("m", "err", errors.New("search (mail="+bob+"): timeout")) }, nil, 1, "timeout"},
		"what SRS made":      {func(l *slog.Logger) { l.Info("m", "x", "SRS0=a=b=acmecorp.test=bob@acmecorp.test") }, []string{"bob", "acmecorp"}, 0, ""},
		"a place in a vault": {func(l *slog.Logger) { l.Info("m", "path", bob+"/2026/03/the plan.pdf") }, []string{"plan", "/03"}, 0, ""},
		"a place here":       {func(l *slog.Logger) { l.Info("m", "path", "/var/lib/cloakroom") }, nil, 0, "/var/lib/cloakroom"},
		"a file in an error": {func(l *slog.Logger) {
			l.Info("m", "error", fmt.Errorf("try 2: %w", namedFile{errors.New("rename to bob@acmecorp.test/the plan.pdf: the plan (2).pdf exists")}))
		}, []string{"plan", "pdf exists\" \""}, 0, "rename"},
		"a quotation":     {func(l *slog.Logger) { l.Info("m", "err", fmt.Errorf("parsing %q: no number", "the plan")) }, []string{"plan"}, 0, "no number"},
		"any other value": {func(l *slog.Logger) { l.Info("m", "x", struct{ To string }{bob}) }, nil, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			out := lines(t, testLogKey, c.log)
			for _, gone := range append(c.gone, bob, "Bob@") {
				if strings.Contains(out, gone) {
					t.Errorf("%q is in %s", gone, out)
				}
			}
			if c.hashes > 0 && strings.Count(out, hash) != 2*c.hashes || !strings.Contains(out, c.stays) {
				t.Errorf("want %d times %s, and %q: %s", c.hashes, hash, c.stays, out)
			}
			_, last, _ := strings.Cut(out, "\n")
			if err := json.Unmarshal([]byte(last), new(map[string]any)); err != nil {
				t.Errorf("not JSON any more: %v: %s", err, last)
			}
			if before := lines(t, nil, c.log); strings.Contains(before, "bob") || strings.Contains(before, hash) {
				t.Errorf("before the key is there: %s", before)
			}
		})
	}
}

func TestPlainLogsAreLeftAlone(t *testing.T) {
	var out strings.Builder
	logger := Log{Level: "info", Format: "text", Addresses: AddressesPlain}.Logger(&out)
	GiveLogKey(logger, testLogKey)
	logger.Info("m", "from", "bob@acmecorp.test")
	if !strings.Contains(out.String(), "from=bob@acmecorp.test") {
		t.Error(out.String())
	}
}
