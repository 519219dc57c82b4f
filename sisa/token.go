package sisa

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
)

const (
	tokenBytes = 16 // 128 bits: nobody finds a link by trying
	tokenChars = 22 // tokenBytes in base64url without padding (RFC 4648 section 5)
)

// Strict: the last character of a token carries two bits only, and a reader that
// ignored the other four would let 16 texts name one link.
var tokenEncoding = base64.RawURLEncoding.Strict()

// Token makes the secret part of a link's URL. The same mail yields the same
// token, so that a repeated delivery finds its link; a new generation of it is
// a new link to the same mail.
func Token(key []byte, mailKey [32]byte, generation uint32) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(mailKey[:])
	mac.Write(binary.BigEndian.AppendUint32(nil, generation))
	return tokenEncoding.EncodeToString(mac.Sum(nil)[:tokenBytes])
}

// TokenID is a link's public identity: hex of the SHA-256 of its token. It is
// what is stored, logged and shown to admins, and does not lead back to the token.
func TokenID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// ValidToken tells whether token is a text that Token can give. It says nothing
// about whether such a link exists.
func ValidToken(token string) bool {
	if len(token) != tokenChars {
		return false
	}
	for i := range len(token) { // the decoder would skip CR and LF
		if c := token[i]; c == '\r' || c == '\n' {
			return false
		}
	}
	var raw [tokenBytes]byte
	n, err := tokenEncoding.Decode(raw[:], []byte(token))
	return err == nil && n == tokenBytes
}
