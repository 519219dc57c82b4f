package flow

import (
	"log/slog"
	"net/netip"
	"time"
)

// Envelope is what the MTA told about one transaction before the message
// itself: RFC 5321's MAIL and RCPT and the connection they came over.
type Envelope struct {
	QueueID    string // the MTA's queue id; may be known only at end of message
	Sender     string // MAIL FROM without angle brackets; "" is the null sender
	SenderArgs []string
	Recipients []Recipient // RCPT TO, in order, duplicates as they came

	AuthUser string     // {auth_authen}: the SASL login; "" when not authenticated
	Client   netip.Addr // address of the SMTP client; invalid for local submission without one
	Host     string     // the client's name as the MTA knows it
	Helo     string
	Daemon   string // {daemon_name}
	TLS      string // {tls_version}; "" without TLS
	Received time.Time

	// Probe marks a message of `cloakroom doctor`, which never becomes mail: it is
	// decided and described like any other, and nothing of it is kept or counted.
	Probe bool
}

// level is that of the lines about a message that went well.
func (e *Envelope) level() slog.Level {
	if e.Probe {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// Recipient is one RCPT TO.
type Recipient struct {
	Address string   // without angle brackets, bytes as received
	Args    []string // ESMTP parameters such as NOTIFY=NEVER
}

// RecipientAddresses lists the addresses in the order they came.
func (e *Envelope) RecipientAddresses() []string {
	out := make([]string, len(e.Recipients))
	for i, r := range e.Recipients {
		out[i] = r.Address
	}
	return out
}
