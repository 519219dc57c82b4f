package testserver

// A DKIM signer that is not ours: dkimpy, installed or unpacked by
// deploy/setup/dkimpy.sh.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// signProgram signs what comes in, with the key in a file.
const signProgram = `
import sys, dkim
selector, domain, header, body, key = (a.encode() for a in sys.argv[1:])
message = sys.stdin.buffer.read()
with open(key, 'rb') as f: pem = f.read()
sys.stdout.buffer.write(dkim.sign(message, selector, domain, pem, canonicalize=(header, body)) + message)
`

// DKIMSignature says how a message is signed (RFC 6376).
type DKIMSignature struct {
	Selector, Domain string
	Header, Body     string // canonicalization: "simple" or "relaxed"
	KeyFile          string // RSA key, PKCS #1, PEM
}

// SignDKIM gives msg, whose lines end in CRLF, with a signature in front.
func SignDKIM(ctx context.Context, s DKIMSignature, msg []byte) ([]byte, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "python3", "-c", signProgram, s.Selector, s.Domain, s.Header, s.Body, s.KeyFile)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(cache, "dkimpy", "usr/lib/python3/dist-packages"))
	cmd.Stdin = bytes.NewReader(msg)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("sign with dkimpy (deploy/setup/dkimpy.sh makes sure that it is there): %w\n%s", err, problem.Bytes())
	}
	return out.Bytes(), nil
}

// verifyProgram verifies the first signature of what comes in, with the key that
// a TXT record gives.
const verifyProgram = `
import sys, dkim
txt = sys.argv[1].encode()
message = sys.stdin.buffer.read()
sys.exit(0 if dkim.verify(message, dnsfunc=lambda name, timeout=5: txt) else 1)
`

// VerifyDKIM verifies the first signature of msg, whose lines end in CRLF, with
// the key that is published as txt.
func VerifyDKIM(ctx context.Context, txt string, msg []byte) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "python3", "-c", verifyProgram, txt)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(cache, "dkimpy", "usr/lib/python3/dist-packages"))
	cmd.Stdin = bytes.NewReader(msg)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("dkimpy does not verify the signature: %w\n%s", err, out)
	}
	return nil
}
