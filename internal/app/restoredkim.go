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

	"cloakroom/internal/imapbox"
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
	// Server is the DNS server to ask, host:port; "" is the system's.
	Server string

	down  error                // DNS did not answer: it is not asked again for every mail
	known map[string]txtAnswer // what it said
}

// txtAnswer is what DNS says about a name.
type txtAnswer struct {
	txt []string
	err error
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

// ask asks DNS once for each name.
func (c *SignatureCheck) ask(ctx context.Context, domain string) ([]string, error) {
	if answer, known := c.known[domain]; known {
		return answer.txt, answer.err
	}
	if c.down != nil {
		return nil, c.down
	}
	ctx, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	txt, err := c.resolver().LookupTXT(ctx, domain)
	var dns *net.DNSError
	if err != nil && !(errors.As(err, &dns) && dns.IsNotFound) {
		c.down = &temporaryLookup{fmt.Errorf("DNS is not reachable: %w", err)}
		return nil, c.down
	}
	if c.known == nil {
		c.known = make(map[string]txtAnswer)
	}
	c.known[domain] = txtAnswer{txt, err}
	return txt, err
}

func (c *SignatureCheck) resolver() *net.Resolver {
	if c.Server == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, c.Server)
	}}
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
	return &imapbox.CRLF{In: in}
}
