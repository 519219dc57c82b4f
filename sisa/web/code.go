package web

// Codes and cookies. Both are MACs, not stored state: any host of a fleet knows
// those of the others.

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	codeDigits   = 8
	codeModulus  = 100_000_000
	codeTime     = 10 * time.Minute
	maxCodeInput = 40 // bytes that are looked at, with spaces
)

// sum is a MAC over fields, under a label of its own. Lengths keep the fields apart.
func (s signer) sum(label string, fields ...string) []byte {
	mac := hmac.New(sha256.New, s.key)
	for _, f := range append([]string{label}, fields...) {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(f))))
		mac.Write([]byte(f))
	}
	return mac.Sum(nil)
}

// askedFor is one request for a code. The browser that made it keeps it in a
// cookie: the code is of no use to another.
type askedFor struct {
	nonce   string
	address string
}

func newAsked(address string) askedFor { return askedFor{rand.Text(), address} }

func (a askedFor) text() string { return a.nonce + " " + a.address }

// code is what is mailed to the address.
func (s signer) code(linkID string, asked askedFor) string {
	// 64 bits modulo 10^8: the bias is below 10^-11.
	n := binary.BigEndian.Uint64(s.sum("code", linkID, asked.nonce, asked.address)) % codeModulus
	return fmt.Sprintf("%0*d", codeDigits, n)
}

// checkCode tells whether code is the one that was mailed. That it is young is
// for the cookie to tell.
func (s signer) checkCode(linkID string, asked askedFor, code string) bool {
	code = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '-' {
			return -1
		}
		return r
	}, cutText(code, maxCodeInput))
	return hmac.Equal([]byte(s.code(linkID, asked)), []byte(code))
}

// seal is a text in a cookie: until when it holds, and a MAC that binds it to
// the link and to what it is for.
func (s signer) seal(label, linkID, text string, until time.Time) string {
	expiry := strconv.FormatInt(until.Unix(), 10)
	b64 := base64.RawURLEncoding
	return expiry + "." + b64.EncodeToString([]byte(text)) + "." + b64.EncodeToString(s.sum(label, linkID, text, expiry))
}

// open gives the text of a cookie of ours that still holds.
func (s signer) open(label, linkID, value string, now time.Time) (text string, ok bool) {
	f := strings.Split(value, ".")
	if len(f) != 3 {
		return "", false
	}
	seconds, err := strconv.ParseInt(f[0], 10, 64)
	raw, err2 := base64.RawURLEncoding.DecodeString(f[1])
	if err != nil || err2 != nil || !now.Before(time.Unix(seconds, 0)) {
		return "", false
	}
	return string(raw), hmac.Equal([]byte(s.seal(label, linkID, string(raw), time.Unix(seconds, 0))), []byte(value))
}

// session is the value of a cookie: until when, and a MAC that binds it to the
// link and to what the visitor proved, which it does not tell.
func (s signer) session(linkID, who string, until time.Time) string {
	expiry := strconv.FormatInt(until.Unix(), 10)
	return expiry + "." + base64.RawURLEncoding.EncodeToString(s.sum("session", linkID, who, expiry))
}

func (s signer) checkSession(value, linkID, who string, now time.Time) bool {
	expiry, _, _ := strings.Cut(value, ".")
	seconds, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || !now.Before(time.Unix(seconds, 0)) {
		return false
	}
	return hmac.Equal([]byte(s.session(linkID, who, time.Unix(seconds, 0))), []byte(value))
}

// normalAddress gives an address as it is compared: in lower case, as no mail
// system in use tells "Bob" from "bob", and its domain as the DNS has it, however
// people write it. It refuses what is no address, but is not strict: mail goes to
// addresses that no standard allows (foo..bar@), and what is entered is only
// compared with those.
func normalAddress(text string) (string, bool) {
	text = strings.TrimSpace(text)
	at := strings.LastIndexByte(text, '@')
	if at < 1 || at == len(text)-1 || len(text) > maxSenderBytes || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "", false
	}
	local, domain := text[:at], text[at+1:]
	quoted := len(local) > 2 && local[0] == '"' && local[len(local)-1] == '"'
	if !quoted && strings.ContainsAny(local, " @<>(),;:\"") || strings.ContainsAny(domain, " <>(),;\"") {
		return "", false // such as "Bob <bob@…>"
	}
	text = strings.ToLower(text)
	at = strings.LastIndexByte(text, '@')
	if domain, err := idna.Lookup.ToASCII(text[at+1:]); err == nil {
		text = text[:at+1] + domain
	}
	return text, true
}
