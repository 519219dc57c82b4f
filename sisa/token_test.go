package sisa

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

func TestTokenIsTheTruncatedMACOfMailKeyAndGeneration(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	mailKey := sha256.Sum256([]byte("a mail"))
	mac := hmac.New(sha256.New, key)
	mac.Write(append(mailKey[:], 0x00, 0x01, 0x02, 0x03))
	want := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])

	if got := Token(key, mailKey, 0x00010203); got != want {
		t.Errorf("Token = %q, want %q", got, want)
	}
}

func TestTokenChangesWithEachInput(t *testing.T) {
	key, mailKey := []byte("key one"), sha256.Sum256([]byte("a mail"))
	base := Token(key, mailKey, 0)
	if Token(key, mailKey, 0) != base {
		t.Error("the same mail gives two tokens")
	}
	for name, other := range map[string]string{
		"key":        Token([]byte("key two"), mailKey, 0),
		"mail key":   Token(key, sha256.Sum256([]byte("another mail")), 0),
		"generation": Token(key, mailKey, 1),
	} {
		if other == base {
			t.Errorf("another %s gives the same token", name)
		}
		if !ValidToken(other) {
			t.Errorf("another %s gives an invalid token %q", name, other)
		}
	}
}

func TestValidTokenAcceptsWhatTokenGivesAndNothingElse(t *testing.T) {
	good := Token([]byte("k"), [32]byte{1}, 0)
	if !ValidToken(good) {
		t.Fatalf("own token %q is refused", good)
	}
	if !ValidToken("AAAAAAAAAAAAAAAAAAAAA" + "Q") {
		t.Error("a canonical token is refused")
	}
	for _, bad := range []string{
		"",
		good[:21],
		good + "A",
		good + "==",
		strings.Repeat("A", 1000),
		"AAAAAAAAAAAAAAAAAAAAAB", // bits that no token has
		"AAAAAAAAAAAAAAAAAAAA+A", // base64 of the other alphabet
		"AAAAAAAAAAAAAAAAAAAA/A",
		"AAAAAAAAAAAAAAAAAAAA=A",
		"AAAAAAAAAAAAAAAAAAAAA\n",
		"\r\nAAAAAAAAAAAAAAAAAAAA",
		"AAAAAAAAAAAAAAAAAAAA A",
		"AAAAAAAAAAAAAAAAAAAAA\x00",
		"AAAAAAAAAAAAAAAAAAAAéA"[:22],
	} {
		if ValidToken(bad) {
			t.Errorf("ValidToken(%q) = true", bad)
		}
	}
}

func TestTokenIDIsTheHashOfTheText(t *testing.T) {
	sum := sha256.Sum256([]byte("AAAAAAAAAAAAAAAAAAAAAA"))
	if got, want := TokenID("AAAAAAAAAAAAAAAAAAAAAA"), hex.EncodeToString(sum[:]); got != want {
		t.Errorf("TokenID = %s, want %s", got, want)
	}
}
