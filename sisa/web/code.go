package web

// Codes, cookies and passwords. Codes and cookies are MACs, not stored state:
// any host of a fleet knows those of the others.

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/mail"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	codeDigits   = 8
	codeModulus  = 100_000_000
	codeSlot     = 2 * time.Minute // a code is of the slot in which it was asked for
	codeSlots    = 6               // slots whose codes are taken: 10 to 12 minutes
	maxCodeInput = 40              // bytes that are looked at, with spaces

	sessionCookie = "cloakroom"
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

// code is what is mailed to an address that asks at a time.
func (s signer) code(linkID, address string, at time.Time) string {
	return s.slotCode(linkID, address, at.Unix()/int64(codeSlot.Seconds()))
}

func (s signer) slotCode(linkID, address string, slot int64) string {
	// 64 bits modulo 10^8: the bias is below 10^-11.
	n := binary.BigEndian.Uint64(s.sum("code", linkID, address, strconv.FormatInt(slot, 10))) % codeModulus
	return fmt.Sprintf("%0*d", codeDigits, n)
}

// checkCode tells whether code was mailed to the address within the last minutes.
func (s signer) checkCode(linkID, address, code string, now time.Time) bool {
	code = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '-' {
			return -1
		}
		return r
	}, cutText(code, maxCodeInput))
	right := false
	slot := now.Unix() / int64(codeSlot.Seconds())
	for back := range int64(codeSlots) {
		if hmac.Equal([]byte(s.slotCode(linkID, address, slot-back)), []byte(code)) {
			right = true
		}
	}
	return right
}

// session is the value of a cookie: until when, and a MAC that binds it to the
// link and to what the visitor proved.
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

// normalAddress gives an address as it is compared and mailed to: in lower case,
// as no mail system in use tells "Bob" from "bob". It refuses what is no address.
func normalAddress(text string) (string, bool) {
	text = strings.TrimSpace(text)
	parsed, err := mail.ParseAddress(text)
	if err != nil || len(text) > maxSenderBytes || parsed.Address != text {
		return "", false // also "Bob <bob@…>" and anything with a line break
	}
	return strings.ToLower(text), true
}
