package sisa

import (
	"errors"
	"time"
)

// What a lookup says when there is nothing to serve. Unknown and revoked
// links are the same error on purpose: the answer must not tell them apart.
var (
	ErrNotFound = errors.New("no such link")
	ErrExpired  = errors.New("link expired")
)

// Link is what its holder may fetch: the files of one mail.
type Link struct {
	ID      string // public identity: hex of the SHA-256 of the token; not a secret, opens nothing by itself
	Sender  string // MAIL FROM of the mail
	Subject string // decoded; may be ""
	Created time.Time
	Expires time.Time // zero: never
	Files   []File
	Guard   Guard
}

// Limited tells whether each file can be fetched File.Left times more only.
func (l *Link) Limited() bool { return l.Guard.Downloads > 0 }

// File is one attachment behind a link.
type File struct {
	Part   int // the part's index in the mail; names the file in URLs
	Name   string
	Type   string // declared media type
	Size   int64
	SHA256 [32]byte
	Left   int64 // downloads, where the link is limited
}
