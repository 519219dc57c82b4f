package app

// DKIM signatures (RFC 6376) of restored mails, as a witness that is not ours.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

const (
	// maxSignatures are checked of one mail (RFC 6376 section 6.1 allows a limit).
	maxSignatures = 8
	// keyPatience is how long DNS may take to give a key.
	keyPatience = 5 * time.Second
)

// Signature is what a DKIM signature of a restored mail says.
type Signature struct {
	Domain string `json:"domain,omitempty"`
	// Result is pass, fail, or "not checked" where the key could not be had. A
	// mail that failed and yet is what came in was broken before, or its key was
	// withdrawn since.
	Result string `json:"result"`
	Reason string `json:"reason,omitempty"`
}

func (s Signature) String() string {
	text := s.Domain + " " + s.Result
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	return text
}

// SignatureCheck verifies the signatures of restored mails.
type SignatureCheck struct {
	// LookupTXT finds keys; nil asks DNS.
	LookupTXT func(domain string) ([]string, error)

	down error // DNS did not answer: it is not asked again for every mail
}

// Check verifies the signatures of a mail.
func (c *SignatureCheck) Check(ctx context.Context, o *Original) []Signature {
	lookup := c.LookupTXT
	if lookup == nil {
		lookup = func(domain string) ([]string, error) { return c.ask(ctx, domain) }
	}
	found, err := dkim.VerifyWithOptions(canonicalLines(o.Reader()), &dkim.VerifyOptions{LookupTXT: lookup, MaxVerifications: maxSignatures})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return []Signature{{Result: "not checked", Reason: err.Error()}}
	}
	var out []Signature
	for _, v := range found {
		s := Signature{Domain: v.Domain, Result: "pass"}
		switch {
		case v.Err == nil:
		case dkim.IsTempFail(v.Err):
			s.Result, s.Reason = "not checked", v.Err.Error()
		default:
			s.Result, s.Reason = "fail", v.Err.Error()
		}
		out = append(out, s)
	}
	return out
}

func (c *SignatureCheck) ask(ctx context.Context, domain string) ([]string, error) {
	if c.down != nil {
		return nil, c.down
	}
	ctx, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	txt, err := net.DefaultResolver.LookupTXT(ctx, domain)
	var dns *net.DNSError
	if err != nil && !(errors.As(err, &dns) && dns.IsNotFound) {
		c.down = &temporaryLookup{fmt.Errorf("DNS is not reachable: %w", err)}
		return nil, c.down
	}
	return txt, err
}

// temporaryLookup is an error that the verifier takes for one of DNS, and not of
// the key.
type temporaryLookup struct{ error }

func (temporaryLookup) Temporary() bool { return true }
func (temporaryLookup) Timeout() bool   { return true }
func (e temporaryLookup) Unwrap() error { return e.error }

// canonicalLines gives lines that end in CRLF, as mail was signed, where it is
// kept with LF alone.
func canonicalLines(r io.Reader) io.Reader {
	in := bufio.NewReaderSize(r, 64<<10)
	first, _ := in.Peek(64 << 10)
	if i := bytes.IndexByte(first, '\n'); i < 0 || i > 0 && first[i-1] == '\r' {
		return in
	}
	return &lineEnds{in: in}
}

// lineEnds puts a CR before each LF.
type lineEnds struct {
	in   *bufio.Reader
	line []byte // what of it is still to be read
	buf  []byte
}

func (l *lineEnds) Read(p []byte) (int, error) {
	if len(l.line) == 0 {
		line, err := l.in.ReadSlice('\n')
		if len(line) == 0 && err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return 0, err
		}
		l.buf = append(l.buf[:0], line...)
		if k := len(line); k > 0 && line[k-1] == '\n' {
			l.buf = append(l.buf[:k-1], '\r', '\n')
		}
		l.line = l.buf
	}
	n := copy(p, l.line)
	l.line = l.line[n:]
	return n, nil
}
