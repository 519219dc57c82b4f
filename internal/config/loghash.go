package config

// Logs without addresses: whatever names a person or a file of a mail is replaced,
// in one place that every line passes, by a hash under a key of our own.

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"cloakroom/policy"
)

// AddressLabel derives the key of the hashes from the secret. With another label
// the hashes in older logs could not be told any more.
const AddressLabel = "log addresses v1"

const (
	// hashLength is the length of a hash in characters: 60 bits, so that a million
	// addresses have one only by a chance of 1 in 2,000,000.
	hashLength = 12
	// hashMark begins a hash, so that it can be told from an address.
	hashMark = "~"
	// unknown stands for what is logged before the key is there.
	unknown = hashMark + "?"
)

// addressKeys are the keys whose value is an address, whatever it looks like.
var addressKeys = []string{"from", "to", "sender", "recipient", "owner", "user"}

// placeKey is the key of a file's place. An absolute one is on this machine; any
// other is in a vault, and has the name of its owner and the file's own.
const placeKey = "path"

// addressPattern finds addresses in texts of others: errors, SMTP replies. What
// SRS made of an address has that in its local part.
var addressPattern = regexp.MustCompile(`(?:SRS[01][=+-][^\s<>()"',;:]*|"[^"\n]*"|[^\s<>()"',;:=/{}\[\]]+)@(?:\[[^\]\s]+\]|[\p{L}\p{N}](?:[\p{L}\p{N}._-]*[\p{L}\p{N}])?)`)

// quotedPattern finds what errors quote: the text of somebody else.
var quotedPattern = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|` + "`[^`]*`")

// HashAddress is how an address stands in a log with hashed addresses. Upper and
// lower case are the same.
func HashAddress(key []byte, address string) string {
	address = strings.ToLower(strings.Trim(strings.TrimSpace(address), "<>"))
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		address = address[:at+1] + policy.Domain(address)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(address))
	return hashMark + strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil))[:hashLength])
}

// hashing is a slog.Handler that replaces before it hands on.
type hashing struct {
	to  slog.Handler
	key *atomic.Pointer[[]byte] // nil as long as the secret was not read
}

// GiveLogKey gives a logger that hashes addresses its key, which HashAddress was
// given too; it does nothing to other loggers. Until then addresses are left out.
func GiveLogKey(log *slog.Logger, key []byte) {
	if h, ok := log.Handler().(*hashing); ok {
		h.key.Store(&key)
	}
}

func (h *hashing) Enabled(ctx context.Context, l slog.Level) bool { return h.to.Enabled(ctx, l) }

func (h *hashing) WithGroup(name string) slog.Handler { return &hashing{h.to.WithGroup(name), h.key} }

func (h *hashing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &hashing{h.to.WithAttrs(h.all(attrs)), h.key}
}

func (h *hashing) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, h.text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.attr(a))
		return true
	})
	return h.to.Handle(ctx, out)
}

func (h *hashing) all(attrs []slog.Attr) []slog.Attr {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = h.attr(a)
	}
	return out
}

// attr replaces in one attribute. Numbers, times and the like name nobody.
func (h *hashing) attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(h.all(v.Group())...)}
	case slog.KindString:
		return slog.String(a.Key, h.named(a.Key, v.String()))
	case slog.KindAny:
		switch what := v.Any().(type) {
		case error:
			return slog.String(a.Key, h.failure(what))
		case []string:
			out := make([]string, len(what))
			for i, s := range what {
				out[i] = h.named(a.Key, s)
			}
			return slog.Any(a.Key, out)
		}
		if text := fmt.Sprint(v.Any()); h.text(text) != text {
			return slog.String(a.Key, h.text(text))
		}
	}
	return slog.Attr{Key: a.Key, Value: v}
}

// named replaces a value as its key says.
func (h *hashing) named(key, value string) string {
	switch {
	case value == "":
		return "" // the null sender
	case slices.Contains(addressKeys, key), key == placeKey && !strings.HasPrefix(value, "/"):
		return h.hash(value)
	}
	return h.text(value)
}

// failure is an error without what it quotes, and without the names that it says
// to be somebody's by a method Private.
func (h *hashing) failure(err error) string {
	text := err.Error()
	var private interface{ Private() []string }
	if errors.As(err, &private) {
		for _, name := range private.Private() {
			text = strings.ReplaceAll(text, name, h.hash(name))
		}
	}
	return quotedPattern.ReplaceAllString(h.text(text), `"…"`)
}

// text replaces the addresses in a text.
func (h *hashing) text(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	return addressPattern.ReplaceAllStringFunc(s, h.hash)
}

func (h *hashing) hash(s string) string {
	key := h.key.Load()
	if key == nil {
		return unknown
	}
	return HashAddress(*key, s)
}
