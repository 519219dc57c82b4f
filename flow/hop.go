package flow

// The trace field of a copy. The MTA writes it into the message that it took,
// but does not show it to milters: without one of ours the host that brought
// the mail would be missing in copies, and who looks for a sender's address
// there, such as a mail system behind an inbound gateway, would find another.

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Hop is where a mail came from.
type Hop struct {
	Helo   string    `json:"helo,omitempty"`
	Host   string    `json:"host,omitempty"`
	Client string    `json:"client,omitempty"` // "" for mail that was submitted on the MTA's own host
	With   string    `json:"with,omitempty"`   // RFC 3848
	At     time.Time `json:"at"`
}

// maxHopName bounds a name in the field, in bytes (RFC 1035 section 2.3.4).
const maxHopName = 255

func (m *Mail) hop() Hop {
	if !m.env.Client.IsValid() {
		return Hop{At: m.env.Received}
	}
	with := "ESMTP"
	if m.env.TLS != "" {
		with += "S"
	}
	if m.env.AuthUser != "" {
		with += "A"
	}
	return Hop{Helo: m.env.Helo, Host: m.env.Host, Client: m.env.Client.Unmap().WithZone("").String(), With: with, At: m.env.Received}
}

// received is the value of the trace field (RFC 5321 section 4.4).
func (h *Hop) received(by, queueID string) string {
	var b strings.Builder
	if client, err := netip.ParseAddr(h.Client); err == nil {
		literal := client.String()
		if client.Is6() {
			literal = "IPv6:" + literal
		}
		fmt.Fprintf(&b, "from %s (%s [%s])\r\n\t", hopName(h.Helo), hopName(h.Host), literal)
	}
	fmt.Fprintf(&b, "by %s (Cloakroom)", by)
	if h.With != "" {
		b.WriteString(" with " + h.With)
	}
	if queueID != "" {
		b.WriteString(" id " + hopName(queueID))
	}
	return b.String() + ";\r\n\t" + h.At.Format(time.RFC1123Z)
}

// hopName is a name that a client told, without what would end the field, the
// comment or the word.
func hopName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune(`()\";<>,`, r) {
			return '?'
		}
		return r
	}, s[:min(len(s), maxHopName)])
	if s == "" {
		return "unknown"
	}
	return s
}
