package app

// Restored mails put into a mailbox, by IMAP.

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"cloakroom/internal/imapbox"
)

// imapSink appends to one mailbox.
type imapSink struct {
	box  *imapbox.Box
	name string
}

// NewIMAP logs in. The mailbox is made when it is missing.
func NewIMAP(ctx context.Context, o imapbox.Options) (Sink, error) {
	box, err := imapbox.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return &imapSink{box, "mailbox " + o.Place.Mailbox}, nil
}

// ReadIMAPOptions reads the files that flags name: the password is the first line
// of one, the certificates that sign the server's are in the other ("" for the
// system's).
func ReadIMAPOptions(address, password, ca string) (o imapbox.Options, err error) {
	if o.Place, err = imapbox.ParsePlace(address); err != nil {
		return o, fmt.Errorf("--imap: %w", err)
	}
	text, err := os.ReadFile(password)
	if err != nil {
		return o, fmt.Errorf("--imap-password-file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if o.Password = strings.TrimSuffix(line, "\r"); o.Password == "" {
		return o, fmt.Errorf("--imap-password-file: the first line of %s is empty", password)
	}
	if ca == "" {
		return o, nil
	}
	certificates, err := os.ReadFile(ca)
	if err != nil {
		return o, fmt.Errorf("--imap-ca-file: %w", err)
	}
	o.CAs = x509.NewCertPool()
	if !o.CAs.AppendCertsFromPEM(certificates) {
		return o, fmt.Errorf("--imap-ca-file: no certificate (PEM) in %s", ca)
	}
	return o, nil
}

// Put appends a mail as of when it came.
func (s *imapSink) Put(ctx context.Context, o *Original) (string, bool, error) {
	was, err := s.box.Put(ctx, imapbox.Message{Body: o.Body, Size: o.Size, Received: o.Mail.Received})
	var stopped *imapbox.StoppedError
	switch {
	case errors.As(err, &stopped):
		return "", false, &StopError{err}
	case errors.Is(err, imapbox.ErrNUL):
		return "", false, fmt.Errorf("%w: restore it by --eml", err)
	case err != nil:
		return "", false, err
	}
	return s.name, was, nil
}

func (s *imapSink) Close(ctx context.Context) error { return s.box.Close(ctx) }
