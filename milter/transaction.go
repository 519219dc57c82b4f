package milter

// One message from MAIL FROM to its answer.

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"cloakroom/flow"
)

var (
	errTimeLimit = errors.New("the message took longer than message_timeout")
	errGone      = errors.New("the MTA closed the connection")
)

// transaction is the state of a message in flight.
type transaction struct {
	env    *flow.Envelope
	ref    string // names the message in its 451 answer and in the log
	log    *slog.Logger
	header headerBlock
	mail   Mail  // nil before the end of the header, and after a failed Write
	err    error // first failure, answered at the next occasion

	ctx    context.Context
	cancel context.CancelCauseFunc
	stop   context.CancelFunc // frees the timer of ctx
}

func newTransaction(parent context.Context, limit time.Time, log *slog.Logger) *transaction {
	x := &transaction{ref: newRef()}
	x.log = log.With("ref", x.ref)
	ctx, cancel := context.WithCancelCause(parent)
	x.cancel = cancel
	x.ctx, x.stop = context.WithDeadlineCause(ctx, limit, errTimeLimit)
	return x
}

// newRef is short enough to be read out on the telephone.
func newRef() string {
	var b [4]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return strings.ToUpper(hex.EncodeToString(b[:]))
}

// logger names the message as the MTA's log does, once the MTA has told how.
func (x *transaction) logger() *slog.Logger {
	return x.log.With("queue_id", x.env.QueueID)
}

// learn takes from macros what the envelope wants to know.
func learn(env *flow.Envelope, macros map[string]string) {
	for name, field := range map[string]*string{
		macroQueueID: &env.QueueID,
		macroLogin:   &env.AuthUser,
		macroDaemon:  &env.Daemon,
		macroTLS:     &env.TLS,
	} {
		if v := macros[name]; v != "" {
			*field = v
		}
	}
}

// write hands body bytes on. A failure is kept: where the MTA awaits no reply to
// body chunks, the end of the message is the first chance to tell.
func (x *transaction) write(p []byte) {
	if x.err != nil || x.mail == nil {
		return
	}
	err := guard(func() error {
		n, err := x.mail.Write(p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		return err
	})
	if err != nil {
		x.err = fmt.Errorf("taking the body: %w", err)
		x.closeMail()
	}
}

// end frees everything the message holds; more calls do nothing.
func (x *transaction) end() {
	x.cancel(context.Canceled)
	x.stop()
	x.closeMail()
}

func (x *transaction) closeMail() {
	if x.mail == nil {
		return
	}
	m := x.mail
	x.mail = nil
	if err := guard(func() error { m.Close(); return nil }); err != nil {
		logFailure(x.logger(), "closing the message failed", err)
	}
}

// panicError is a panic of the handler, as an error.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// guard calls f and turns its panic into an error: one message must not take
// down the mail of all.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}

func logFailure(log *slog.Logger, msg string, err error) {
	var p *panicError
	if errors.As(err, &p) {
		log = log.With("stack", string(p.stack))
	}
	log.Error(msg, "err", err)
}
