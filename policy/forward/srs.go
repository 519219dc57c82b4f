package forward

// The Sender Rewriting Scheme: a forwarded mail gets an envelope sender at a
// domain of ours that remembers the original one, so that SPF passes and
// bounces find their way back.
//
//	SRS0=HHHHHH=TT=domain=local@srs.domain         a sender rewritten by us
//	SRS1=HHHHHH=first.forwarder==…@srs.domain      one that another forwarder had rewritten:
//	                                               bounces go to that one, whatever lies between
//
// HHHHHH is a truncated HMAC in base32 over the rest in lower case, since some
// mail systems fold local parts: base64, which others use, would lose bits by
// the comparison without case that is then needed. TT is the day, modulo 1,024,
// in base32. SRS1 has no day: the first forwarder checks its own.

import (
	"bytes"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors of SRS, for errors.Is.
var (
	// ErrNotSRS is returned for an address that is no rewritten sender of ours.
	ErrNotSRS = errors.New("not an SRS address of ours")
	// ErrBadHash is returned for an address that none of our keys has signed.
	ErrBadHash = errors.New("SRS address has a wrong hash")
	// ErrExpired is returned for an address we made too long ago.
	ErrExpired = errors.New("SRS address has expired")
	// ErrMalformed is returned for a tag of SRS without what belongs behind it,
	// and for what is no address at all.
	ErrMalformed = errors.New("malformed address")
	// ErrTooLong is returned for a sender that would not fit in rewritten form.
	ErrTooLong = errors.New("sender is too long to be rewritten")
)

const (
	srsHashLength = 6 // characters of base32: 30 bits, 2^29 tries to send one mail through us
	srsStampDays  = 1 << 10
	srsFutureDays = 1 // a clock of the fleet, or a time zone's mistake, ahead of ours
	srsSeparators = "=-+"
)

// SRS rewrites senders at one domain. It is not changed after NewSRS.
type SRS struct {
	domain string
	keys   [][]byte
	maxAge int // days
	ours   func(domain string) bool
}

// NewSRS makes the rewriting at a domain. The first key signs, all verify. A
// rewritten sender is good for maxAge, in whole days. ours tells the domains
// that are never rewritten.
func NewSRS(domain string, keys [][]byte, maxAge time.Duration, ours func(domain string) bool) (*SRS, error) {
	s := &SRS{domain: normalDomain(domain), maxAge: int(maxAge / day), ours: ours}
	if s.domain == "" {
		return nil, fmt.Errorf("%q is not a domain name", domain)
	}
	if maxAge < day || maxAge > maxSRSMaxAge {
		return nil, fmt.Errorf("the age of %v is not between %dd and %dd", maxAge, 1, maxSRSMaxAge/day)
	}
	if len(keys) == 0 {
		return nil, errors.New("no key")
	}
	for _, k := range keys {
		if len(k) < minKey {
			return nil, fmt.Errorf("a key has %d octets, want at least %d", len(k), minKey)
		}
		s.keys = append(s.keys, bytes.Clone(k))
	}
	return s, nil
}

// Domain is the domain of the rewritten senders.
func (s *SRS) Domain() string { return s.domain }

// Encode gives the sender to forward a mail with. The null sender and senders
// of our own domains come back as they are.
//
// On an error too the sender comes back as it is, and the mail keeps it: it is
// forwarded all the same, and SPF may fail. ErrTooLong stands for a local part
// beyond 64 octets (RFC 5321 section 4.5.3.1.1) or an address beyond 254,
// ErrMalformed for a sender that has no domain name (an address literal among
// them) or no valid local part.
//
// What Decode makes of the result is sender again, with its domain as
// policy.Domain writes it.
func (s *SRS) Encode(sender string, now time.Time) (string, error) {
	if sender == "" {
		return "", nil
	}
	local, domain, ok := split(sender)
	if !ok {
		return sender, fmt.Errorf("%w: sender %q has no domain name", ErrMalformed, sender)
	}
	if domain == s.domain || s.ours(domain) {
		return sender, nil
	}
	content, quoted, ok := unquote(local)
	if !ok {
		return sender, fmt.Errorf("%w: local part of sender %q", ErrMalformed, sender)
	}
	rewritten := s.rewrite(content, domain, now)
	if quoted {
		rewritten = quote(rewritten)
	}
	if len(rewritten) > maxLocalPart {
		return sender, fmt.Errorf("%w: the local part would have %d octets, RFC 5321 allows %d", ErrTooLong, len(rewritten), maxLocalPart)
	}
	rewritten += "@" + s.domain
	if len(rewritten) > maxAddress {
		return sender, fmt.Errorf("%w: the address would have %d octets, RFC 5321 allows %d", ErrTooLong, len(rewritten), maxAddress)
	}
	return rewritten, nil
}

func (s *SRS) rewrite(content, domain string, now time.Time) string {
	// host is the first forwarder, tail what stood behind the tag there.
	host, tail, again := domain, "", false
	if rest, ok := cutTag(content, "SRS0"); ok {
		_, again = cutSRS0(rest[1:])
		tail = rest
	} else if rest, ok := cutTag(content, "SRS1"); ok {
		var one srs1
		if one, again = cutSRS1(rest[1:]); again {
			host, tail = one.host, one.tail
		}
	}
	if again {
		return "SRS1=" + s.hash(s.keys[0], "srs1", host, tail) + "=" + host + "=" + tail
	}
	// Whatever only looks like SRS is rewritten like any other sender.
	stamp := stampOf(now)
	return "SRS0=" + s.hash(s.keys[0], "srs0", stamp, domain, content) + "=" + stamp + "=" + domain + "=" + content
}

// Decode gives the address that bounces to a rewritten sender are for: the
// original sender (SRS0), or the rewritten one of the first forwarder (SRS1).
// It takes the separators =, - and + behind the tag, in any case.
//
// The errors are ErrNotSRS, ErrMalformed, ErrBadHash and ErrExpired.
func (s *SRS) Decode(address string, now time.Time) (string, error) {
	local, domain, ok := split(address)
	if !ok || domain != s.domain {
		return "", ErrNotSRS
	}
	content, quoted, ok := unquote(local)
	if !ok {
		return "", ErrNotSRS
	}
	original, host, err := s.decode(content, now)
	if err != nil {
		return "", err
	}
	if quoted {
		original = quote(original)
	}
	return original + "@" + host, nil
}

// decode takes the content of a local part of ours to the content and domain of
// the address within.
func (s *SRS) decode(content string, now time.Time) (original, host string, err error) {
	if rest, ok := cutTag(content, "SRS0"); ok {
		f, ok := cutSRS0(rest[1:])
		if !ok {
			return "", "", fmt.Errorf("%w: SRS0 without hash, day, domain and local part", ErrMalformed)
		}
		if !s.signed(f.hash, "srs0", f.stamp, f.domain, f.local) {
			return "", "", ErrBadHash
		}
		if err := s.fresh(f.stamp, now); err != nil {
			return "", "", err
		}
		if host = normalDomain(f.domain); host == "" {
			return "", "", fmt.Errorf("%w: %q is no domain name", ErrMalformed, f.domain)
		}
		return f.local, host, nil
	}
	rest, ok := cutTag(content, "SRS1")
	if !ok {
		return "", "", ErrNotSRS
	}
	f, ok := cutSRS1(rest[1:])
	if !ok {
		return "", "", fmt.Errorf("%w: SRS1 without hash, forwarder and its SRS0 address", ErrMalformed)
	}
	if !s.signed(f.hash, "srs1", f.host, f.tail) {
		return "", "", ErrBadHash
	}
	return "SRS0" + f.tail, f.host, nil
}

// srs0 is the fields behind the tag SRS0 and its separator.
type srs0 struct{ hash, stamp, domain, local string }

// cutSRS0 takes the fields apart. The last one may hold what it likes.
func cutSRS0(rest string) (srs0, bool) {
	f := strings.SplitN(rest, "=", 4)
	if len(f) < 4 || f[0] == "" || f[1] == "" || f[2] == "" || f[3] == "" {
		return srs0{}, false
	}
	return srs0{f[0], f[1], f[2], f[3]}, true
}

// srs1 is the fields behind the tag SRS1 and its separator; tail is what stood
// behind the tag at the first forwarder, separator included.
type srs1 struct{ hash, host, tail string }

func cutSRS1(rest string) (srs1, bool) {
	f := strings.SplitN(rest, "=", 3)
	if len(f) < 3 || f[0] == "" || f[1] == "" || f[2] == "" || !strings.Contains(srsSeparators, f[2][:1]) {
		return srs1{}, false
	}
	host := normalDomain(f[1])
	if _, ok := cutSRS0(f[2][1:]); !ok || host == "" {
		return srs1{}, false
	}
	return srs1{f[0], host, f[2]}, true
}

// cutTag takes the tag off a local part. What is left begins with the separator.
func cutTag(content, tag string) (rest string, ok bool) {
	if len(content) <= len(tag) || !strings.EqualFold(content[:len(tag)], tag) ||
		strings.IndexByte(srsSeparators, content[len(tag)]) < 0 {
		return "", false
	}
	return content[len(tag):], true
}

// hash is over the fields in lower case: they may come back folded.
func (s *SRS) hash(key []byte, kind string, fields ...string) string {
	in := []string{"srs", kind}
	for _, f := range fields {
		in = append(in, lowerASCII(f))
	}
	return base32.StdEncoding.EncodeToString(mac(key, in...))[:srsHashLength]
}

func (s *SRS) signed(hash, kind string, fields ...string) bool {
	got, found := []byte(lowerASCII(hash)), 0
	for _, k := range s.keys {
		found |= subtle.ConstantTimeCompare(got, []byte(lowerASCII(s.hash(k, kind, fields...))))
	}
	return found == 1
}

const base32Digits = "abcdefghijklmnopqrstuvwxyz234567" // RFC 4648 section 6, in lower case

func dayOf(now time.Time) int {
	days := now.Unix() / int64(day/time.Second) % srsStampDays
	return int(days+srsStampDays) % srsStampDays
}

func stampOf(now time.Time) string {
	d := dayOf(now)
	return strings.ToUpper(string([]byte{base32Digits[d>>5], base32Digits[d&31]}))
}

// fresh tells whether a stamp is no older than the age allowed. It is counted
// in whole days, modulo 1,024: a day more than that is not told from none.
func (s *SRS) fresh(stamp string, now time.Time) error {
	stamp = lowerASCII(stamp)
	if len(stamp) != 2 || strings.IndexByte(base32Digits, stamp[0]) < 0 || strings.IndexByte(base32Digits, stamp[1]) < 0 {
		return fmt.Errorf("%w: %q is no day", ErrMalformed, stamp)
	}
	made := strings.IndexByte(base32Digits, stamp[0])<<5 | strings.IndexByte(base32Digits, stamp[1])
	age := (dayOf(now) - made + srsStampDays) % srsStampDays
	if age > s.maxAge && age < srsStampDays-srsFutureDays {
		return fmt.Errorf("%w: it is %d days old, bounces are taken for %d", ErrExpired, age, s.maxAge)
	}
	return nil
}
