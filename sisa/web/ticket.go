package web

// Signed addresses of single files: short-lived, made by the button, good for
// any number of (range) requests.

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strconv"
	"time"
)

// ticketMACBytes is the length of the MAC in an address: 128 bits of HMAC-SHA-256.
const ticketMACBytes = 16

// What a signed address is good for; the first part of its path.
const (
	ticketFile    = "f" // the bytes of a file, or all files in an archive
	ticketPreview = "p" // a small version of an image
)

// fileTicket is the part of a download address that the MAC covers, and the MAC;
// all as text, as it stands in the path.
type fileTicket struct {
	use    string // ticketFile or ticketPreview
	linkID string
	part   string // a number, or allFiles
	expiry string // Unix time in seconds
	mac    string
}

type signer struct{ key []byte }

// ticket makes an address that is good for one file until expiry.
func (s signer) ticket(use, linkID, part string, expiry time.Time) fileTicket {
	t := fileTicket{use: use, linkID: linkID, part: part, expiry: strconv.FormatInt(expiry.Unix(), 10)}
	t.mac = s.mac(t)
	return t
}

// verify tells whether we made t. Only the very text we made passes.
func (s signer) verify(t fileTicket) bool {
	return hmac.Equal([]byte(s.mac(t)), []byte(t.mac))
}

func (s signer) mac(t fileTicket) string {
	mac := hmac.New(sha256.New, s.key)
	// No field holds a slash, so that no two tickets have one text.
	mac.Write([]byte(t.use + "/" + t.linkID + "/" + t.part + "/" + t.expiry))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:ticketMACBytes])
}

// location is the address as seen from a link's page. It is relative, and so
// right whatever scheme, host and path the proxy in front has.
func (t fileTicket) location(name string) string {
	return "../" + t.use + "/" + t.linkID + "/" + t.part + "/" + t.expiry + "/" + t.mac + "/" + url.PathEscape(cleanName(name))
}

// expired tells whether a verified ticket has run out.
func (t fileTicket) expired(now time.Time) bool {
	seconds, err := strconv.ParseInt(t.expiry, 10, 64)
	return err != nil || !now.Before(time.Unix(seconds, 0))
}
