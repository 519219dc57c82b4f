// Package flow is the story of one message: who it is from and for, what
// policy wants, what must be durable before the answer, and what changes.
//
// Read Finish in finish.go first: it is the straight line of the whole program.
package flow

import (
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/spool"
	"cloakroom/message"
	"cloakroom/policy"
	"cloakroom/sisa/blob"
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
	// AcceptOnError lets a mail pass unchanged when it cannot be handled, where
	// nothing but links is at stake; otherwise the answer is 4xx.
	AcceptOnError bool
	Policy        *policy.Set
	// PageURL makes the address of a link's page from its token.
	PageURL func(token string) string
}

// Engine processes messages. All fields are set before first use.
type Engine struct {
	Settings func() *Settings
	Spool    *spool.Dir
	Blobs    blob.Store
	DB       *db.DB
	LinkKey  []byte // secret behind the tokens
	Now      func() time.Time
	Log      *slog.Logger
}

// Open begins a message at the end of its header. It returns nil when nothing
// can touch the message: its body need not be sent at all.
func (e *Engine) Open(env *Envelope, h message.Header) *Mail {
	m := e.begin(env, h)
	if reason := m.untouchable(); reason != "" {
		e.Log.Info("mail passes", "queue_id", env.QueueID, "from", env.Sender, "recipients", len(env.Recipients), "reason", reason)
		return nil
	}
	m.receive()
	return m
}

// OpenAny begins a message whatever its header says, to explain it.
func (e *Engine) OpenAny(env *Envelope, h message.Header) *Mail {
	m := e.begin(env, h)
	m.receive()
	return m
}

func (e *Engine) begin(env *Envelope, h message.Header) *Mail {
	m := &Mail{engine: e, settings: e.Settings(), env: env, header: h, start: e.Now()}
	m.directions()
	return m
}

// receive makes ready for the body.
func (m *Mail) receive() {
	m.spool = m.engine.Spool.New(MaxMessage)
	m.inspector = message.NewInspector()
	m.scanner = message.NewScanner(m.header, m.inspector)
}

// untouchable says, from envelope and header alone, why nothing in this mail
// will be changed.
func (m *Mail) untouchable() string {
	switch {
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
	case !m.settings.Policy.CouldMatch(m.facts(nil)):
		return "no rule can apply"
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
