package forward

// The file with the keys of SRS: one a line, the newest on top.

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
)

// minSRSKeyLine makes guessing a key hopeless: 16 characters, 64 bits even if
// they are only hexadecimal digits.
const minSRSKeyLine = 16

// checkSRSKeys tells why the content of an srs_key_file cannot serve. The error
// does not quote it.
func checkSRSKeys(content []byte) error {
	n := 0
	for i, line := range bytes.Split(content, []byte("\n")) {
		switch line = bytes.TrimSpace(line); {
		case len(line) == 0:
		case len(line) < minSRSKeyLine:
			return fmt.Errorf("line %d has %d characters, want at least %d; make a key with 'openssl rand -hex 32'", i+1, len(line), minSRSKeyLine)
		default:
			n++
		}
	}
	if n == 0 {
		return errors.New("has no key in it; make one with 'openssl rand -hex 32'")
	}
	return nil
}

// srsKeys gives the keys of a file that is good, in its order.
func srsKeys(content []byte) [][]byte {
	var keys [][]byte
	for line := range bytes.SplitSeq(content, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			key := sha256.Sum256(line)
			keys = append(keys, key[:])
		}
	}
	return keys
}
