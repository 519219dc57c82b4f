// Package ledger keeps what happened to each mail that Cloakroom touched: the
// envelope, every part, the decisions and the rules that made them, and what
// is needed to build the original again, byte for byte.
package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Key identifies a mail, so that the same mail coming again, as MTAs repeat
// what was not answered, finds its record.
type Key [32]byte

func (k Key) String() string { return hex.EncodeToString(k[:]) }

// ParseKey reads what String wrote.
func ParseKey(s string) (k Key, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(k) {
		return k, fmt.Errorf("mail key %q is not 64 hex digits", s)
	}
	return Key(b), nil
}

// MarshalText writes the key as hex, for the journal and --json.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Key) UnmarshalText(b []byte) (err error) {
	*k, err = ParseKey(string(b))
	return err
}

// KeyOf makes the key of a mail from its Message-ID and Date fields, its
// envelope, and the digest of its body.
func KeyOf(messageID, date, sender string, recipients []string, digest [32]byte) Key {
	sorted := slices.Clone(recipients)
	slices.Sort(sorted)
	h := sha256.New()
	// Every field is preceded by its length: no two mails run together alike.
	field := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	field(messageID)
	field(date)
	field(sender)
	for _, r := range slices.Compact(sorted) {
		field(r)
	}
	h.Write(digest[:])
	return Key(h.Sum(nil))
}

// Mail is the record of one mail.
type Mail struct {
	Key        Key       `json:"key"`
	QueueID    string    `json:"queue_id,omitempty"`
	MessageID  string    `json:"message_id,omitempty"`
	Subject    string    `json:"subject,omitempty"`
	Sender     string    `json:"sender"`
	Recipients []string  `json:"recipients"`
	User       string    `json:"user,omitempty"`
	Client     string    `json:"client,omitempty"`
	Received   time.Time `json:"received"`
	Size       int64     `json:"size"` // bytes of header and body as they came
	Digest     Hash      `json:"digest"`
	Skeleton   Skeleton  `json:"skeleton"`
	Parts      []Part    `json:"parts"`

	// Retired is when the original was given up, Forgotten when the record was
	// emptied; zero for most.
	Retired   time.Time `json:"retired,omitzero"`
	Forgotten time.Time `json:"forgotten,omitzero"`
}

// Part is what the record says of one leaf.
type Part struct {
	Index   int    `json:"index"`
	Name    string `json:"name,omitempty"`
	Type    string `json:"type"`
	Sniffed string `json:"sniffed,omitempty"`
	Size    int64  `json:"size"` // decoded bytes
	SHA256  Hash   `json:"sha256"`
	Start   int64  `json:"start"` // span of the encoded content in the body
	End     int64  `json:"end"`
	Layout  string `json:"layout"` // message.Layout, to encode it again
	Cut     bool   `json:"cut"`    // its encoded bytes are not in the skeleton
	Linked  bool   `json:"linked"`
	Rule    string `json:"rule,omitempty"` // the rule, or the reason, that decided
}

// Skeleton is the mail without the parts that were cut out, compressed: kept
// in the record itself, or as a blob when it is large.
type Skeleton struct {
	Inline []byte `json:"inline,omitempty"`
	Blob   Hash   `json:"blob,omitzero"`
	Stored int64  `json:"stored"` // bytes, compressed
	Header int64  `json:"header"` // bytes of the mail's header, with its blank line
	// HeaderSum is the SHA-256 of these bytes: with the mail's digest, which
	// covers the body, it identifies the whole message. Zero in old records.
	HeaderSum Hash `json:"header_sum,omitzero"`
}

// Hash is a SHA-256, written in hex.
type Hash [32]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero tells an absent hash.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText writes the hash as hex.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hash) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != len(h) {
		return fmt.Errorf("SHA-256 %q is not 64 hex digits", b)
	}
	*h = Hash(raw)
	return nil
}
