package milter

// One MTA connection: its life, the facts that outlive a message, the answers.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	gomilter "github.com/emersion/go-milter"

	"cloakroom/flow"
)

var errOrder = errors.New("protocol error: command out of order")

// session serves one connection. go-milter gets it as the Milter of every
// message. Everything runs on go-milter's goroutine, except kill.
type session struct {
	handler  Handler
	checker  RecipientChecker // the handler, if it is one
	cfg      Config
	progress time.Duration // interval of SMFIR_PROGRESS
	log      *slog.Logger
	tap      *tap
	ctx      context.Context
	cancel   context.CancelCauseFunc
	gone     func() // tells the server that the connection ended

	negotiated bool
	opts       options
	payload    []byte // of the command go-milter is about to report
	// macros that came for a command which has not come yet.
	macros map[gomilter.Code]map[string]string

	client      peer
	helo        string
	connMacros  map[string]string
	heloMacros  map[string]string
	tx          *transaction // nil between messages
	lastQueueID string       // of the message answered last
}

var _ gomilter.Milter = (*session)(nil)

func newSession(conn net.Conn, h Handler, cfg Config, progress time.Duration, log *slog.Logger) *session {
	s := &session{handler: h, cfg: cfg, progress: progress, log: log.With("mta", conn.RemoteAddr().String())}
	s.checker, _ = h.(RecipientChecker)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.tap = newTap(conn, cfg.IdleTimeout)
	s.tap.intercept, s.tap.body = s.intercept, s.body
	s.tap.closed = s.closed
	s.reset()
	return s
}

// reset forgets the SMTP session.
func (s *session) reset() {
	s.client, s.helo = peer{}, ""
	s.connMacros, s.heloMacros = nil, nil
	s.macros = make(map[gomilter.Code]map[string]string)
}

// kill ends the connection at once. It may be called from any goroutine.
func (s *session) kill() {
	s.cancel(errDrained)
	s.tap.Conn.Close()
}

// closed is called when the connection has ended.
func (s *session) closed(err error) {
	log, inFlight := s.log, s.tx != nil
	if inFlight {
		log = s.tx.logger()
	} else if s.lastQueueID != "" {
		log = log.With("last_queue_id", s.lastQueueID)
	}
	s.endMail()
	s.cancel(errGone)
	switch {
	case err == nil || errors.Is(err, errDrained) || s.tap.drained():
		log.Debug("connection ended")
	case errors.Is(err, os.ErrDeadlineExceeded):
		log.Warn("connection closed: the MTA was silent for too long", "in_message", inFlight, "err", err)
	case errors.Is(err, io.EOF) && !inFlight:
		log.Debug("connection closed by the MTA")
	default:
		log.Warn("connection lost", "in_message", inFlight, "err", err)
	}
	s.gone()
}

// attend calls f while the MTA waits, and cancels the message's context when
// the MTA goes away meanwhile.
func (s *session) attend(tellProgress bool, f func() error) error {
	if err := s.tap.flush(); err != nil {
		return err
	}
	lost := func(err error) { s.tx.cancel(fmt.Errorf("%w: %w", errGone, err)) }
	defer s.tap.watch(lost)()
	if tellProgress {
		defer s.tap.progress(s.progress, lost)()
	}
	return guard(f)
}

// accept ends the message with SMFIR_ACCEPT.
func (s *session) accept() gomilter.Response {
	s.tx.logger().Debug("message accepted")
	s.endMail()
	return gomilter.RespAccept
}

// tempFail ends the message with 451: the client tries again, nothing is lost.
func (s *session) tempFail(err error) gomilter.Response {
	x := s.tx
	x.logDeferral("message deferred", err, "from", x.env.Sender, "recipients", len(x.env.Recipients),
		"total_ms", time.Since(x.env.Received).Milliseconds())
	s.endMail()
	return x.later(err)
}

// refuse ends the message with a reply of the handler's.
func (s *session) refuse(r *flow.Reply) gomilter.Response {
	text, err := s.tx.replyText(r)
	if err != nil {
		return s.tempFail(err)
	}
	s.tx.logger().Debug("message refused", "code", r.Code, "enhanced", r.Enhanced, "text", r.Text)
	s.endMail()
	return gomilter.NewResponseStr(respReply, text)
}

func (s *session) endMail() {
	// Macros of commands that will not come any more.
	clear(s.macros)
	if s.tx == nil {
		return
	}
	if s.tx.env.QueueID != "" {
		s.lastQueueID = s.tx.env.QueueID
	}
	s.tx.end()
	s.tx = nil
	s.tap.end()
}
