// Package secret keeps the one master key from which every token, signed URL,
// cookie and mark is derived.
//
// The key is a file with 64 hexadecimal digits. It is made once and never
// replaced: with another key every link in every mail ever sent is dead.
package secret

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// FileName is the key's name in the data directory.
	FileName = "secret"
	// KeySize is the size in bytes of the master key and of derived keys.
	KeySize = 32
	// maxFile bounds the bytes read of a file that claims to be a key.
	maxFile = 1024
)

var (
	// ErrMissing is returned when there is no key and none may be made.
	ErrMissing = errors.New("secret key is missing")
	// ErrPermissions is returned for a key that others may read.
	ErrPermissions = errors.New("secret key can be read by others")
)

// Secret is the master key. It prints as "[secret]" whatever the verb.
type Secret struct{ key [KeySize]byte }

// Open reads <dir>/secret. When it is missing it is made if allowCreate says
// so; pass true only as long as there is no database, whose links would
// otherwise silently stop to work.
func Open(dir string, allowCreate bool) (*Secret, error) {
	path := filepath.Join(dir, FileName)
	s, err := read(path, 0o077)
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		// Another process may have made it a moment ago and not have got to
		// syncing the directory.
		return s, syncDir(dir)
	}
	if !allowCreate {
		return nil, fmt.Errorf("%w: %s does not exist, but the database does; restore the file from the backup (a new key would make every link sent so far useless)", ErrMissing, path)
	}
	if err := create(dir, path); err != nil {
		return nil, fmt.Errorf("make secret key %s: %w", path, err)
	}
	return read(path, 0o077) // what another process made counts, if it was first
}

// OpenFile reads the key of a fleet, which must exist: the same file on every
// node. It may be readable by its group, as service managers hand it out.
func OpenFile(path string) (*Secret, error) {
	s, err := read(path, 0o037)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s does not exist; make it once with 'openssl rand -hex %d' and give the same file to every node", ErrMissing, path, KeySize)
	}
	return s, err
}

// Derive returns the key of KeySize bytes for one purpose (HKDF-SHA256, RFC
// 5869, the label as info). Different labels give unrelated keys; the same
// label always gives the same key.
func (s *Secret) Derive(label string) []byte {
	key, err := hkdf.Key(sha256.New, s.key[:], nil, "cloakroom "+label, KeySize)
	if err != nil {
		panic("secret: HKDF refused a constant key size: " + err.Error())
	}
	return key
}

// Format implements fmt.Formatter, so that no log line can hold the key.
func (s *Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "[secret]") }

// MarshalText implements encoding.TextMarshaler for the same reason.
func (s *Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// read reads a key file that must have none of the mode bits in forbidden.
func read(path string, forbidden fs.FileMode) (*Secret, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("secret key: %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	defer f.Close()
	if st, err = f.Stat(); err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	if st.Mode().Perm()&forbidden != 0 {
		return nil, fmt.Errorf("%w: %s has mode %#o; run: chmod 600 %s", ErrPermissions, path, st.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	var s Secret
	digits := strings.TrimSpace(string(text))
	if len(digits) != 2*KeySize {
		return nil, fmt.Errorf("secret key: %s holds %d characters, want %d hexadecimal digits; restore it from the backup", path, len(digits), 2*KeySize)
	}
	if _, err := hex.Decode(s.key[:], []byte(digits)); err != nil {
		// The error of hex would quote a character of the key.
		return nil, fmt.Errorf("secret key: %s does not hold %d hexadecimal digits; restore it from the backup", path, 2*KeySize)
	}
	if s.key == [KeySize]byte{} {
		return nil, fmt.Errorf("secret key: %s is all zeros; restore it from the backup", path)
	}
	return &s, nil
}

// create makes the key durable under its name, or leaves the one that is
// there: a hard link, unlike a rename, never takes another file's place.
func create(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+FileName+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var key [KeySize]byte
	rand.Read(key[:]) // never fails
	if _, err := fmt.Fprintf(f, "%x\n", key); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
