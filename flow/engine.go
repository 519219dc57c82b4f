// Package flow is the story of one message: who it is from and for, what
// policy wants, what must be durable before the answer, and what changes.
//
// Read Finish in finish.go first: it is the straight line of the whole program.
package flow

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/internal/spool"
	"cloakroom/ledger/tally"
	"cloakroom/message"
	"cloakroom/policy"
	"cloakroom/policy/directory"
	"cloakroom/policy/forward"
	"cloakroom/sisa/blob"
	"cloakroom/vault"
)

// MaxMessage is the largest body taken apart, in bytes. What is larger passes
// as it is. MTAs stop far below (Postfix's message_size_limit is 10 MB by
// default, Google's 50 MB).
const MaxMessage = 2 << 30

// Settings is the configuration of the flow. One snapshot serves a message
// from its first step to its last.
type Settings struct {
	Domains []string       // whose addresses are ours, in lower-case A-labels
	Trusted []netip.Prefix // clients that submit for us without authentication
	Observe bool           // decide and log, change nothing
	// Paused tells that nobody's attachments are looked at: Policy has rules about
	// forwarding only, and what else fails does not stop a mail.
	Paused bool
	// AcceptOnError lets a mail pass unchanged when it cannot be handled, where
	// nothing but links is at stake; otherwise the answer is 4xx.
	AcceptOnError bool
	Policy        *policy.Set
	// Routes lead to the other mail systems of shared domains; nil without.
	Routes *forward.Routes
	// DeferWhenLow puts off what would have to be stored while the disk is nearly
	// full; otherwise such mail passes unchanged, where nothing but links is at
	// stake.
	DeferWhenLow bool
	// Splits tells that recipients can leave a transaction and get a copy of
	// their own: mail can be sent, and Engine.Jobs is there to see to it.
	Splits bool
	// Vault has the targets that rules may name.
	Vault map[string]*vault.Plan
	// Verifiers are the authserv-ids whose Authentication-Results count (RFC 8601).
	Verifiers []string
	// Wording has the texts of the notice; nil is English.
	Wording *message.Wording
	// LinkPasswords are the hashes of passwords that link rules ask for, by the
	// files that these name.
	LinkPasswords map[string]string
	// PageURL makes the address of a link's page from its token.
	PageURL func(token string) string
}

// Directory tells who a user is.
type Directory interface {
	// Lookup finds the users of addresses at once, keyed by the address as
	// asked; who is absent is not a user. An error means that nothing is known.
	Lookup(ctx context.Context, addresses []string) (map[string]*directory.User, error)
}

// Engine processes messages. All fields are set before first use.
type Engine struct {
	Settings func() *Settings
	Spool    *spool.Dir
	Blobs    blob.Store
	DB       *db.DB
	Jobs     *jobs.Store // nil where Settings.Splits is false
	LinkKey  []byte      // secret behind the tokens
	// Directory is nil when nobody is known.
	Directory Directory
	Now       func() time.Time
	Log       *slog.Logger

	// LowSpace says why nothing more should be stored, "" while there is room. It
	// is asked for each message that may need the store; nil: there always is.
	LowSpace func() string

	// Loops counts recipients that were refused because their mail came back.
	Loops atomic.Int64

	// Observe, if not nil, is told of each message when it is answered. It runs
	// in the way of the answer: it counts, and nothing else.
	Observe func(Event)
	// Tally, if not nil, is told what rules did to each message, or would have
	// done in mode: observe. It runs in the way of the answer, too.
	Tally func(tally.Mail)
}

// Open begins a message at the end of its header. It returns nil when nothing
// can touch the message: its body need not be sent at all. An error means a
// temporary failure: answer 4xx.
func (e *Engine) Open(ctx context.Context, env *Envelope, h message.Header) (*Mail, error) {
	m, err := e.begin(ctx, env, h)
	if err == nil {
		err = m.onward(true)
	}
	if err == nil {
		err = m.early()
	}
	if err != nil {
		return nil, m.pardon(ctx, err)
	}
	if m.refused = m.loop(); m.refused != nil {
		m.needsBody = false
		return m, nil
	}
	if !m.plan.Acts() && !m.travels() && len(m.arrival.Strip) == 0 && !m.needsBody {
		e.Log.Log(ctx, env.level(), "mail passes", "queue_id", env.QueueID, "from", env.Sender, "recipients", len(env.Recipients), "reason", m.passes,
			"total_ms", e.Now().Sub(m.start).Milliseconds())
		m.observe(ctx, &Outcome{}, nil)
		return nil, nil
	}
	m.receive()
	return m, nil
}

// OpenAny begins a message whatever its header says, to explain it.
func (e *Engine) OpenAny(ctx context.Context, env *Envelope, h message.Header) (*Mail, error) {
	m, err := e.begin(ctx, env, h)
	if err == nil {
		err = m.onward(true)
	}
	if err != nil {
		return nil, err
	}
	m.passes, m.needsBody = m.untouchable(), true
	m.receive()
	return m, nil
}

// CheckRecipient tells whether a recipient is refused as soon as it is named;
// nil when not. An error means a temporary failure: answer 4xx.
func (e *Engine) CheckRecipient(ctx context.Context, env *Envelope, r Recipient) (*Reply, error) {
	one := *env
	one.Recipients = []Recipient{r}
	m, err := e.beginRecipient(ctx, &one)
	if err != nil {
		return nil, m.forgive(ctx, err)
	}
	refused, err := m.checkOnward()
	if err != nil || refused != nil {
		m.countLoop(refused)
		return refused, err
	}
	f := m.facts(nil)
	f.To = append(env.RecipientAddresses(), r.Address)
	reject, err := m.settings.Policy.DecideRecipient(f, 0)
	if m.settings.Observe && err != nil {
		return nil, nil
	}
	if err != nil || reject == nil {
		return nil, err
	}
	if env.Probe {
		return &Reply{Code: reject.Code, Enhanced: reject.Enhanced, Text: reject.Text}, nil
	}
	m.countRecipient(reject.Rule)
	if m.settings.Observe {
		e.Log.Info("recipient would be refused (mode: observe)", "queue_id", env.QueueID, "from", env.Sender, "recipient", r.Address, "rule", reject.Rule)
		return nil, nil
	}
	if e.Observe != nil {
		e.Observe(Event{Recipient: true})
	}
	e.Log.Info("recipient refused", "queue_id", env.QueueID, "from", env.Sender, "recipient", r.Address, "rule", reject.Rule)
	return &Reply{Code: reject.Code, Enhanced: reject.Enhanced, Text: reject.Text}, nil
}

func (e *Engine) begin(ctx context.Context, env *Envelope, h message.Header) (*Mail, error) {
	m := &Mail{engine: e, settings: e.Settings(), env: env, header: h, start: e.Now()}
	m.arrive(true)
	m.directions()
	return m, m.lookUp(ctx)
}

// beginRecipient begins with the envelope up to one recipient.
func (e *Engine) beginRecipient(ctx context.Context, env *Envelope) (*Mail, error) {
	m := &Mail{engine: e, settings: e.Settings(), env: env, start: e.Now()}
	m.arrive(false)
	m.directions()
	return m, m.lookUp(ctx)
}

// early decides what envelope and header decide alone.
func (m *Mail) early() error {
	f := m.facts(nil)
	m.plan = m.settings.Policy.DecideHeaders(f)
	m.logRuleErrors()
	if m.plan.Failed {
		return errRuleFailed
	}
	m.passes = m.untouchable()
	m.needsBody = m.plan.NeedsBody
	if m.passes == "" && m.needsBody && m.lowSpace() != "" && !m.settings.DeferWhenLow {
		m.passes, m.starved = passesLow, true
	}
	switch {
	case m.passes != "":
		m.needsBody = m.settings.Policy.MailNeedsBody(f)
	case !m.needsBody:
		m.passes = "no rule can apply"
	}
	// A copy of its own is made of the whole mail.
	m.needsBody = m.needsBody || m.mayVault() || m.settings.Splits && m.sendersDiffer()
	return nil
}

// errRuleFailed says that a rule which decides about the mail as a whole
// could not be evaluated; the log has the rule.
var errRuleFailed = errors.New("a rule about the mail failed")

// forgive turns an error into none where the mail may pass unchanged instead:
// where nothing but links is at stake.
func (m *Mail) forgive(ctx context.Context, err error) error {
	s := m.settings
	if _, low := errors.AsType[*lowSpaceError](err); low {
		return err // when_low has decided
	}
	stays := !m.copied && (s.Routes.Len() == 0 || m.ways != nil && !m.travels() && len(m.arrival.Strip) == 0)
	if s.Observe || (s.Paused || s.AcceptOnError && s.Policy.OnlyLinks()) && stays && ctx.Err() == nil {
		m.engine.Log.Error("mail passes unchanged after an error, as mode, on_error or a pause says", "queue_id", m.env.QueueID,
			"from", m.env.Sender, "recipients", len(m.env.Recipients), "total_ms", m.engine.Now().Sub(m.start).Milliseconds(), "err", err)
		return nil
	}
	return err
}

// pardon is forgive at the end of a message, which is told of either way.
func (m *Mail) pardon(ctx context.Context, cause error) error {
	err := m.forgive(ctx, cause)
	if err != nil {
		m.observe(ctx, nil, cause)
	} else {
		m.observe(ctx, &Outcome{}, cause)
	}
	return err
}

// receive makes ready for the body, if it is to be looked at.
func (m *Mail) receive() {
	if !m.needsBody {
		return
	}
	m.spool = m.engine.Spool.New(MaxMessage)
	m.inspector = message.NewInspector()
	m.draft()
	m.scanner = message.NewScanner(m.header, m.inspector)
}

// untouchable says, from envelope and header alone, why no attachment of this
// mail becomes a link.
func (m *Mail) untouchable() string {
	switch {
	case m.settings.Paused:
		return "paused"
	case m.env.Sender == "":
		return "null sender"
	case m.header.Err != nil:
		return "malformed message header"
	case !message.CanCarryAttachments(m.header):
		return "no attachments"
	case m.ours && m.signedByUs():
		m.engine.Log.Warn("mail carries our own DKIM signature already: the signer must stand behind Cloakroom",
			"queue_id", m.env.QueueID, "from", m.env.Sender)
		return "signed with our own DKIM key"
	}
	return ""
}

// signedByUs looks for a DKIM signature (RFC 6376 section 3.5) of a domain of
// ours: changing the body would break it.
func (m *Mail) signedByUs() bool {
	for _, v := range m.header.Values("Dkim-Signature") {
		for tag := range strings.SplitSeq(v, ";") {
			name, value, _ := strings.Cut(tag, "=")
			if strings.TrimSpace(name) == "d" && m.settings.isOurs(policy.Domain("@"+strings.TrimSpace(value))) {
				return true
			}
		}
	}
	return false
}

// site is the host name of the download pages, as people know it.
func site(page string) string {
	u, err := url.Parse(page)
	if err != nil || u.Host == "" {
		return page
	}
	return u.Hostname()
}
