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
	"slices"
	"strings"
	"time"

	gomilter "github.com/emersion/go-milter"

	"cloakroom/flow"
)

var (
	errTimeLimit = errors.New("the message took longer than message_timeout")
	errGone      = errors.New("the MTA closed the connection")
)

// transaction is the state of a message in flight.
type transaction struct {
	env   *flow.Envelope
	paths []string // of env.Recipients, as they came
	// envelope is the bytes of the recipients so far.
	envelope int
	ref      string // names the message in its 451 answer and in the log
	log      *slog.Logger
	header   headerBlock
	mail     Mail  // nil before the end of the header, and after a failed Write
	err      error // first failure, answered at the next occasion

	emulated bool        // no RCPT may be refused, see RecipientChecker
	refusal  *flow.Reply // of a recipient, to be given at the end of the header

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

// logDeferral logs what a later stands for.
func (x *transaction) logDeferral(msg string, err error, about ...any) {
	log := x.logger().With(about...)
	if cause := context.Cause(x.ctx); cause != nil {
		log = log.With("cause", cause)
	}
	logFailure(log, msg, err)
}

// later is the answer to a failure. The reference leads from the client's bounce
// or log to our log line.
func (x *transaction) later(err error) gomilter.Response {
	enhanced, what := "4.3.0", "temporary failure" // RFC 3463 section 3.4: other mail system status
	if full, ok := errors.AsType[interface {
		error
		SystemFull() bool
	}](err); ok && full.SystemFull() {
		enhanced, what = "4.3.1", "mail system full"
	}
	return gomilter.NewResponseStr(respReply,
		"451 "+enhanced+" Cloakroom: "+what+", please try again later (ref "+x.ref+")")
}

// replyText is a reply as the MTA takes it.
func (x *transaction) replyText(r *flow.Reply) (string, error) {
	lines := maxReplyLines
	if x.emulated {
		lines = 1 // it goes into a bounce, where Postfix shows line ends as they are
	}
	return formatReply(r, lines, x.utf8())
}

// utf8 tells whether replies may have other characters than ASCII (RFC 6531
// section 3.7.4).
func (x *transaction) utf8() bool {
	return slices.ContainsFunc(x.env.SenderArgs, func(a string) bool { return strings.EqualFold(a, "SMTPUTF8") })
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
