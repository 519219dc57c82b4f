package sftp

// Who the server is: its host key must be known or pinned, whatever happens.

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// hostKeyError says that the server showed a key that we do not know.
type hostKeyError struct {
	changed bool // another key than the one known
	text    string
	hint    string
}

func (e *hostKeyError) Error() string { return e.text }

// hostKeys checks host keys for one connection.
type hostKeys struct {
	check ssh.HostKeyCallback
	// offers are the lists of algorithms to connect with, in turn, as long as the
	// server's key is not ours: a server has several keys and shows the one whose
	// algorithm we name first.
	offers [][]string
}

// keyFamilies are the algorithms of each kind of host key; SHA-1 is out.
var keyFamilies = [][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512},
}

// certificateAlgorithms are those of host certificates.
var certificateAlgorithms = []string{
	ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSASHA512v01,
}

// hostKeys reads known_hosts, or takes the pinned fingerprints. A file that does
// not know the server is an error.
func (c Config) hostKeys() (*hostKeys, error) {
	if c.KnownHosts == "" {
		return &hostKeys{check: c.checkPinned, offers: keyFamilies}, nil
	}
	address, err := splitAddress(c.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	check, err := knownhosts.New(c.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("known_hosts: %w", err)
	}
	known := knownAlgorithms(check, address)
	certified, err := hasAuthority(c.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("known_hosts: %w", err)
	}
	if certified {
		known = append(slices.Clone(certificateAlgorithms), known...)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("known_hosts: %s has no key of %s: compare what ssh-keyscan shows with what the server's administrator says, then add it",
			c.KnownHosts, knownhosts.Normalize(address))
	}
	return &hostKeys{check: c.checkKnown(check), offers: [][]string{known}}, nil
}

// knownAlgorithms are those of the keys that the file has for address. It asks
// for a key that nobody has, as the answer names those that would do.
func knownAlgorithms(check ssh.HostKeyCallback, address string) (algorithms []string) {
	stranger, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil
	}
	var unknown *knownhosts.KeyError
	if !errors.As(check(address, &net.TCPAddr{}, stranger), &unknown) {
		return nil
	}
	for _, known := range unknown.Want {
		kind := known.Key.Type()
		names := []string{kind}
		if kind == ssh.KeyAlgoRSA {
			names = keyFamilies[2]
		}
		for _, name := range names {
			if !slices.Contains(algorithms, name) {
				algorithms = append(algorithms, name)
			}
		}
	}
	return algorithms
}

// hasAuthority tells whether a file of known hosts trusts certificates.
func hasAuthority(path string) (bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if bytes.HasPrefix(bytes.TrimSpace(lines.Bytes()), []byte("@cert-authority")) {
			return true, nil
		}
	}
	return false, nil
}

// checkKnown is check with errors that say what to do.
func (c Config) checkKnown(check ssh.HostKeyCallback) ssh.HostKeyCallback {
	return func(address string, remote net.Addr, key ssh.PublicKey) error {
		err := check(address, remote, key)
		var unknown *knownhosts.KeyError
		var revoked *knownhosts.RevokedError
		shown := fmt.Sprintf("%s %s", key.Type(), ssh.FingerprintSHA256(key))
		switch {
		case err == nil:
			return nil
		case errors.As(err, &revoked):
			return &hostKeyError{changed: true,
				text: fmt.Sprintf("%s shows the host key %s, which is revoked (%s:%d)", address, shown, revoked.Revoked.Filename, revoked.Revoked.Line),
				hint: "somebody may be pretending to be the server with a stolen key"}
		case errors.As(err, &unknown) && len(unknown.Want) > 0:
			known := unknown.Want[0]
			return &hostKeyError{changed: true,
				text: fmt.Sprintf("%s shows the host key %s, not the one in %s:%d (%s)", address, shown,
					known.Filename, known.Line, ssh.FingerprintSHA256(known.Key)),
				hint: attackHint}
		}
		return &hostKeyError{
			text: fmt.Sprintf("%s shows the host key %s, which is not in %s: %v", address, shown, c.KnownHosts, err),
			hint: "ask the server's administrator for its fingerprint and compare, then add the key to the file"}
	}
}

// attackHint is about a host key that is not the one known.
const attackHint = "somebody may be pretending to be the server: ask its administrator; only if the key was changed on purpose, replace the old one here"

// checkPinned accepts a key with one of the fingerprints of the configuration.
func (c Config) checkPinned(address string, _ net.Addr, key ssh.PublicKey) error {
	shown := ssh.FingerprintSHA256(key)
	if slices.Contains(c.HostKey, shown) {
		return nil
	}
	return &hostKeyError{changed: true,
		text: fmt.Sprintf("%s shows the host key %s %s, which host_key does not list (%v)", address, key.Type(), shown, c.HostKey),
		hint: attackHint}
}
