package sisa

// Passwords of links: what is kept of them.

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	passwordScheme     = "pbkdf2-sha256"
	passwordIterations = 600_000 // what OWASP's Password Storage Cheat Sheet asks of PBKDF2-HMAC-SHA256
	maxIterations      = 10_000_000
	passwordSalt       = 16   // bytes
	passwordHash       = 32   // bytes
	maxPassword        = 1000 // bytes
)

var errPasswordHash = errors.New("is not the hash of a link's password")

// HashPassword gives what is kept of a link's password.
func HashPassword(password string) (string, error) {
	if password == "" || len(password) > maxPassword {
		return "", fmt.Errorf("a password must have 1 to %d bytes", maxPassword)
	}
	salt := make([]byte, passwordSalt)
	rand.Read(salt)
	hash, err := pbkdf2.Key(sha256.New, password, salt, passwordIterations, passwordHash)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	b64 := base64.RawStdEncoding
	return strings.Join([]string{passwordScheme, strconv.Itoa(passwordIterations), b64.EncodeToString(salt), b64.EncodeToString(hash)}, "$"), nil
}

// CheckPasswordHash fails for what HashPassword cannot have made.
func CheckPasswordHash(hashed string) error {
	_, _, _, err := parsePassword(hashed)
	return err
}

func parsePassword(hashed string) (iterations int, salt, hash []byte, err error) {
	f := strings.Split(hashed, "$")
	if len(f) != 4 || f[0] != passwordScheme {
		return 0, nil, nil, errPasswordHash
	}
	iterations, err = strconv.Atoi(f[1])
	salt, err2 := base64.RawStdEncoding.DecodeString(f[2])
	hash, err3 := base64.RawStdEncoding.DecodeString(f[3])
	if errors.Join(err, err2, err3) != nil || iterations < 1 || iterations > maxIterations || len(hash) != passwordHash {
		return 0, nil, nil, errPasswordHash
	}
	return iterations, salt, hash, nil
}

// CheckPassword tells whether a password has a hash.
func CheckPassword(hashed, password string) (bool, error) {
	iterations, salt, want, err := parsePassword(hashed)
	if err != nil {
		return false, fmt.Errorf("what is kept of the password %w", err)
	}
	if len(password) > maxPassword {
		return false, nil
	}
	got, err := pbkdf2.Key(sha256.New, password, salt, iterations, passwordHash)
	if err != nil {
		return false, fmt.Errorf("check password: %w", err)
	}
	return hmac.Equal(got, want), nil
}
