// Package submit sends mail of our own by SMTP (RFC 5321): copies that are
// re-injected, codes, notices. It speaks to one configured MTA, which takes it
// from there.
//
// What is sent arrives byte for byte: with CHUNKING (RFC 3030) the message
// goes as it is, whatever line ends it has; without, dots are stuffed (RFC
// 5321, 4.5.2), and a message that does not end in CRLF gets one.
//
// Libraries were considered: the writers of net/textproto and of go-smtp,
// which uses it, turn every bare LF into CRLF, and neither sends BDAT.
//
// Limits: one connection for each message, no pipelining; no delivery status
// notification is made for an MTA that lacks DSN (RFC 3461).
package submit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
)

// Envelope is what MAIL and RCPT say.
type Envelope struct {
	From     string   // without angle brackets; "" is the null sender
	To       []Rcpt   // at least one
	Args     []string // ESMTP parameters of MAIL; RET= and ENVID= are passed on, others are ours
	SMTPUTF8 bool     // the header needs it (RFC 6531); addresses that do are noticed
	EightBit bool     // the body has bytes above 127 (RFC 6152)
	Size     int64    // of the message in bytes; 0: not known
}

// Rcpt is one recipient.
type Rcpt struct {
	Address string   // without angle brackets
	Args    []string // ESMTP parameters; NOTIFY= and ORCPT= are passed on if the MTA knows DSN
}

// Outcome is what became of the message for one recipient.
type Outcome int

// The outcomes. Temporary is the zero value: what is not known to be sent has
// to be sent again.
const (
	Temporary Outcome = iota // send again later
	Accepted                 // the MTA is responsible now
	Permanent                // sending again will not help
)

func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Permanent:
		return "permanent failure"
	default:
		return "temporary failure"
	}
}

// Reply is an SMTP reply (RFC 5321, 4.2).
type Reply struct {
	Code     int    // 0: there was none
	Enhanced string // RFC 3463: "5.1.1"; "" if the MTA gave none
	Text     string // without the codes; lines are joined by "\n"
}

func (r Reply) String() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)), " ")
}

// outcome classifies a reply to a command: 4yz may be repeated, and so may
// what is no sensible reply at all (RFC 5321, 4.2.1).
func (r Reply) outcome() Outcome {
	switch r.Code / 100 {
	case 2:
		return Accepted
	case 5:
		return Permanent
	default:
		return Temporary
	}
}

// RcptResult is the result for one recipient.
type RcptResult struct {
	Address string
	Outcome Outcome
	Reply   Reply // what decided; Code 0 when it was not a reply
	// Err is nil only when the message was accepted. Its text names the phase.
	Err error
	// MayDuplicate says that the message was sent to its end and no answer
	// came: the MTA may have it, and sending it again may deliver it twice.
	// The outcome is Temporary: twice is better than never.
	MayDuplicate bool
}

// Result has one entry for each recipient of the envelope, in its order.
type Result struct {
	Recipients []RcptResult
	Reply      Reply // to the message itself; Postfix names its queue file here
}

// All tells whether every recipient has this outcome.
func (r Result) All(o Outcome) bool {
	for i := range r.Recipients {
		if r.Recipients[i].Outcome != o {
			return false
		}
	}
	return true
}

var (
	// ErrUnavailable marks failures that concern the MTA and not the message:
	// it cannot be reached, speaks no SMTP, or refuses our credentials.
	ErrUnavailable = errors.New("the MTA for our own mail is not available")
	// ErrUnknown marks a connection that was lost after the end of the message
	// and before the answer.
	ErrUnknown = errors.New("the MTA did not answer whether it took the message")
	// ErrBody marks a message that could not be read to its end; it was not sent.
	ErrBody = errors.New("the message to send cannot be read")
)

// Sender sends mail to one MTA. It is safe for concurrent use.
type Sender struct {
	cfg  Config
	helo string
	log  *slog.Logger
}

// New returns a sender. hostname is how we introduce ourselves; log may be nil.
func New(cfg Config, hostname string, log *slog.Logger) (*Sender, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	if cfg.SMTP == "" {
		return nil, errors.New("submit: smtp: no address of an MTA is given")
	}
	if err := checkWord(hostname); err != nil {
		return nil, fmt.Errorf("submit: hostname %q: %w", hostname, err)
	}
	if log == nil {
		log = slog.Default()
	}
	return &Sender{cfg: cfg, helo: hostname, log: log}, nil
}

// Send sends one message, header and body with CRLF line ends, as body gives
// them. The result has an outcome for every recipient, also beside an error;
// the error tells why the message was accepted for nobody where that does not
// lie in the recipients: ErrUnavailable, ErrUnknown, ErrBody, the end of ctx,
// or the MTA's refusal of the sender or of the message.
//
// A message whose body cannot be read to its end, or whose context ends before
// its end was sent, is never delivered in part.
func (s *Sender) Send(ctx context.Context, env Envelope, body io.Reader) (Result, error) {
	d := &delivery{env: env, body: body}
	d.result.Recipients = make([]RcptResult, len(env.To))
	for i, to := range env.To {
		d.result.Recipients[i] = RcptResult{Address: to.Address}
	}
	err := d.check()
	if err == nil {
		err = s.deliver(ctx, d)
	}
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	d.finish(err)
	s.log.Debug("mail sent by ourselves", "from", env.From, "recipients", len(env.To), "reply", d.result.Reply.String(), "error", err)
	return d.result, err
}

// deliver holds one SMTP session.
func (s *Sender) deliver(ctx context.Context, d *delivery) error {
	c, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, s.cfg.SMTP, err)
	}
	defer c.close()
	if err := d.envelope(c); err != nil {
		return err
	}
	if len(d.open) == 0 {
		c.quit()
		return nil
	}
	if err := d.message(c); err != nil {
		return err
	}
	c.quit()
	return nil
}

// delivery is one message on its way.
type delivery struct {
	env    Envelope
	body   io.Reader
	utf8   bool
	open   []int // indexes of the recipients that the MTA takes
	result Result
}

// refuse notes why a recipient does not get the message.
func (d *delivery) refuse(i int, o Outcome, r Reply, err error) {
	to := &d.result.Recipients[i]
	to.Outcome, to.Reply, to.Err = o, r, err
}

// finish gives an outcome to the recipients that have none yet.
func (d *delivery) finish(err error) {
	if err == nil {
		return
	}
	var refused *replyError
	outcome, reply := Temporary, Reply{}
	if errors.As(err, &refused) && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUnknown) {
		outcome, reply = refused.Reply.outcome(), refused.Reply
		if outcome == Accepted {
			outcome = Temporary // a 2yz where it makes no sense
		}
	}
	if errors.Is(err, errInvalid) {
		outcome = Permanent
	}
	for i := range d.result.Recipients {
		if to := &d.result.Recipients[i]; to.Err == nil {
			d.refuse(i, outcome, reply, err)
			to.MayDuplicate = errors.Is(err, ErrUnknown)
		}
	}
}

// envelope sends MAIL and RCPT. Refused recipients are noted; others stay open.
func (d *delivery) envelope(c *client) error {
	mail, err := d.mailCommand(c)
	if err != nil {
		return err
	}
	if err := c.expect(2, "MAIL", mail); err != nil {
		return err
	}
	for i, to := range d.env.To {
		if d.result.Recipients[i].Err != nil {
			continue // no address at all
		}
		r, err := c.command(c.timeouts.command, "RCPT TO:<"+to.Address+">"+dsnArgs(c, to.Args, "NOTIFY", "ORCPT"))
		if err != nil {
			return fmt.Errorf("RCPT: %w", err)
		}
		if r.outcome() != Accepted {
			d.refuse(i, r.outcome(), r, &replyError{"RCPT", r})
			if r.Code == codeClosing {
				return &replyError{"RCPT", r}
			}
			continue
		}
		d.open = append(d.open, i)
	}
	return nil
}

// mailCommand is MAIL with the parameters that message and MTA ask for.
func (d *delivery) mailCommand(c *client) (string, error) {
	cmd := "MAIL FROM:<" + d.env.From + ">"
	if d.env.Size > 0 && c.has("SIZE") {
		cmd += " SIZE=" + strconv.FormatInt(d.env.Size, 10)
	}
	if d.env.EightBit || d.utf8 {
		// Temporary: the message was accepted once, so it is a setting.
		if !c.has("8BITMIME") {
			return "", errors.New("the MTA does not offer 8BITMIME, which the message needs")
		}
		cmd += " BODY=8BITMIME"
	}
	if d.utf8 {
		if !c.has("SMTPUTF8") {
			return "", errors.New("the MTA does not offer SMTPUTF8, which the message needs")
		}
		cmd += " SMTPUTF8"
	}
	return cmd + dsnArgs(c, d.env.Args, "RET", "ENVID"), nil
}

// dsnArgs are those of args that have one of the names.
func dsnArgs(c *client, args []string, names ...string) string {
	if !c.has("DSN") {
		return ""
	}
	var out strings.Builder
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		for _, allowed := range names {
			if strings.EqualFold(name, allowed) {
				out.WriteString(" " + arg)
			}
		}
	}
	return out.String()
}
