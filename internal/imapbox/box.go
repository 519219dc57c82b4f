package imapbox

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const (
	connectPatience = 30 * time.Second
	// defaultPatience is how long nothing may move: servers that look for viruses
	// or index a large message answer late.
	defaultPatience = 5 * time.Minute
	// attempts are made for one message over connections that break.
	attempts = 3
)

// defaultPauses are before each attempt to connect again: longer than a restart of the server.
var defaultPauses = []time.Duration{0, 2 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}

// Options say where to, and how.
type Options struct {
	Place    Place
	Password string
	CAs      *x509.CertPool // nil: the system's
	// Patience is how long nothing may move while an answer is awaited; 0 is 5
	// minutes.
	Patience time.Duration
	// Pauses are before each attempt to connect again after a connection broke;
	// nil: five within two minutes.
	Pauses []time.Duration
}

// StoppedError says that no message can be put into the mailbox any more.
type StoppedError struct{ Err error }

func (e *StoppedError) Error() string { return e.Err.Error() }
func (e *StoppedError) Unwrap() error { return e.Err }

// Box is an open mailbox. It is for one goroutine.
type Box struct {
	o      Options
	conn   *patientConn
	client *imapclient.Client
	name   string // as the server writes it
	limit  int64  // of a message, in bytes; below zero: none is known

	// there has the messages of the mailbox by their dates, in seconds since 1970.
	there map[int64][]imap.UID
	// ours counts messages that were put or recognised and are among there, added
	// those that were put since: two messages can be the same in all we compare.
	ours, added map[measured]int
	put         map[mark]int // all that were put

	first    imap.UID // that a message could get when the box was opened
	validity uint32   // of UIDs, then
	latest   uint32   // the validity now
	selected bool
}

// Open connects, logs in, makes the mailbox if it is missing, and looks what is there.
func Open(ctx context.Context, o Options) (*Box, error) {
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.Pauses == nil {
		o.Pauses = defaultPauses
	}
	b := &Box{o: o, ours: make(map[measured]int), added: make(map[measured]int), put: make(map[mark]int)}
	if err := b.connect(ctx); err != nil {
		return nil, err
	}
	if err := b.prepare(ctx); err != nil {
		b.drop()
		return nil, b.explain(err)
	}
	b.validity = b.latest
	return b, nil
}

// ready makes sure that there is a connection.
func (b *Box) ready(ctx context.Context) error {
	if b.client != nil {
		select {
		case <-b.client.Closed():
			b.drop()
		default:
			return nil
		}
	}
	var err error
	for _, pause := range b.o.Pauses {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err = b.connect(ctx); err != nil {
			continue
		}
		if err = b.prepare(ctx); err == nil {
			return nil
		}
		err = b.explain(err)
		b.drop()
	}
	return &StoppedError{fmt.Errorf("the connection broke, and there is no new one: %w", err)}
}

// Put adds a message to the mailbox, unless it is there: then was is true. After a
// StoppedError there is no sense in another one.
func (b *Box) Put(ctx context.Context, m Message) (was bool, err error) {
	seen, err := m.measure()
	if err != nil {
		return false, err
	}
	for try := range attempts {
		if try > 1 { // the first break says little: connections end for many reasons
			b.pause(ctx, try)
		}
		if err := b.ready(ctx); err != nil {
			return false, err
		}
		if b.limit >= 0 && seen.size > b.limit {
			return false, fmt.Errorf("it has %d bytes, and the server takes at most %d (APPENDLIMIT)", seen.size, b.limit)
		}
		if was, err = b.isThere(ctx, seen); err == nil && was {
			b.ours[seen]++
			return true, nil
		}
		if err == nil {
			err = b.append(ctx, m, seen)
		}
		if err == nil {
			b.added[seen]++
			b.put[seen.mark]++
			return false, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		b.drop() // the client does not survive the refusal of a literal either
		if no := refusal(err); no != nil && !mayPass(no.Code) {
			return false, refused(err, no)
		}
	}
	return false, fmt.Errorf("it was tried %d times: %w", attempts, err)
}

// pause waits before an attempt.
func (b *Box) pause(ctx context.Context, try int) {
	if len(b.o.Pauses) == 0 {
		return
	}
	select {
	case <-time.After(b.o.Pauses[min(try, len(b.o.Pauses)-1)]):
	case <-ctx.Done():
	}
}

// mayPass tells refusals that another attempt can end: by making the mailbox
// again (TRYCREATE), or because something is broken or busy at the moment.
func mayPass(code imap.ResponseCode) bool {
	switch code {
	case imap.ResponseCodeTryCreate, imap.ResponseCodeInUse, imap.ResponseCodeUnavailable, imap.ResponseCodeServerBug:
		return true
	}
	return false
}

// refused tells a refusal of one message from one of all.
func refused(err error, no *imap.Error) error {
	err = fmt.Errorf("the server refuses it: %w", err)
	switch no.Code {
	case imap.ResponseCodeOverQuota, imap.ResponseCodeNoPerm, imap.ResponseCodeNonExistent:
		return &StoppedError{err}
	}
	return err
}

func (b *Box) append(ctx context.Context, m Message, seen measured) error {
	if err := b.unselect(ctx); err != nil {
		return err
	}
	return b.do(ctx, func() error {
		cmd := b.client.Append(b.name, seen.size, &imap.AppendOptions{Time: m.Received})
		_, err := io.Copy(cmd, m.reader())
		err = errors.Join(err, cmd.Close())
		if _, answer := cmd.Wait(); answer != nil {
			return answer // it says why the rest failed
		}
		return err
	})
}

// Close logs out, after a look whether all is there as it was put: when the error
// is not nil, the server has changed what it stored, or somebody else did.
func (b *Box) Close(ctx context.Context) error {
	defer b.drop()
	err := b.look(ctx)
	if b.client != nil {
		_ = b.do(ctx, func() error { return b.client.Logout().Wait() }) // nothing depends on it
	}
	return err
}

func (b *Box) look(ctx context.Context) error {
	if len(b.put) == 0 {
		return nil
	}
	err := b.ready(ctx)
	var stored map[mark]int
	if err == nil {
		stored, err = b.stored(ctx)
	}
	if err != nil {
		return fmt.Errorf("look whether all was stored: %w", err)
	}
	put, missing := 0, 0
	for k, n := range b.put {
		put += n
		missing += max(0, n-stored[k])
	}
	if missing > 0 {
		return fmt.Errorf("%d messages, of %d that were put into %s now, are not there with the size and date they had: the server changes what it stores, or they were moved or deleted meanwhile; a repetition would put them there again",
			missing, put, b.o.Place.Mailbox)
	}
	return nil
}
