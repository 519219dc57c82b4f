package forward

// Whether a mail came from the other system: its network, and with it either a
// listener that is told to nobody else or a header field with a secret.

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const (
	// minGatewaySecret is what makes guessing the field's value hopeless: 16
	// octets, 64 bits even if they are only hexadecimal digits.
	minGatewaySecret = 16
	// maxGatewayValues bounds how many fields of the gateway's name are looked
	// at. One is expected; a sender may have written some to make us work.
	maxGatewayValues = 16
)

// Proof tells whether a mail came from a route's gateway.
type Proof struct {
	OK bool
	// By is what proved it, in words for logs and explanations; "" without proof.
	By string
	// Strip is the name of a header field that must be taken off the mail, every
	// time it occurs and whether it proved anything or not: it may hold the
	// secret. "" when there is nothing to take off.
	Strip string
}

// FromGateway tells whether a mail came from the gateway of a route. client is
// the SMTP client's address, daemon the macro {daemon_name}, values are the
// mail's fields of the name Gateways.Header.Name, secret is the content of its
// secret_file without surrounding space.
//
// The client must be in one of the networks, and either the listener or the
// field must fit. Networks alone prove nothing.
func FromGateway(r *Route, client netip.Addr, daemon string, values []string, secret []byte) Proof {
	g := &r.Gateways
	var p Proof
	if g.Header.Name != "" && len(values) > 0 {
		p.Strip = g.Header.Name
	}
	client = client.Unmap().WithZone("")
	if !client.IsValid() || !slices.ContainsFunc(g.Networks, func(n netip.Prefix) bool { return n.Contains(client) }) {
		return p
	}
	switch {
	case g.Daemon != "" && daemon == g.Daemon:
		p.OK, p.By = true, "listener "+g.Daemon
	case g.Header.Name != "" && hasSecret(values, secret):
		p.OK, p.By = true, "header field "+g.Header.Name
	}
	return p
}

// hasSecret takes the same time whatever the values have in common with the
// secret, its length included.
func hasSecret(values []string, secret []byte) bool {
	if CheckGatewaySecret(secret) != nil {
		return false
	}
	want := sha256.Sum256(secret)
	found := 0
	for _, v := range values[:min(len(values), maxGatewayValues)] {
		got := sha256.Sum256([]byte(strings.Trim(v, " \t\r\n")))
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return found == 1
}

// CheckGatewaySecret tells why the content of a secret_file cannot serve as the
// value of a header field. The error does not quote it.
func CheckGatewaySecret(secret []byte) error {
	if len(secret) < minGatewaySecret {
		return fmt.Errorf("the secret has %d characters, want at least %d; make one with 'openssl rand -hex 32'", len(secret), minGatewaySecret)
	}
	for _, c := range secret {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("the secret has characters other than ASCII letters, digits and punctuation, which header fields do not keep as they are")
		}
	}
	return nil
}

// Arrival tells which of the other systems a mail came from.
type Arrival struct {
	// By says what proved it, by the alternate domain of the system.
	By map[string]string
	// Strip lists the header fields to take off, see Proof.
	Strip []string
}

// Proven tells whether the mail came from any of the other systems.
func (a Arrival) Proven() bool { return len(a.By) > 0 }

// from tells whether the mail came from the system behind an alternate domain.
func (a Arrival) from(alternate string) bool { return a.By[alternate] != "" }

// Pending tells whether a mail from this client may yet turn out to come from
// another system, by a field of its header.
func (t *Routes) Pending(client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	for i := range t.Len() {
		g := &t.routes[i].Gateways
		if g.Header.Name != "" && client.IsValid() && slices.ContainsFunc(g.Networks, func(n netip.Prefix) bool { return n.Contains(client) }) {
			return true
		}
	}
	return false
}

// GatewayHeaders lists the fields by which gateways prove themselves: where the
// header of a mail goes anywhere else than into that mail, they stay behind.
func (t *Routes) GatewayHeaders() []string {
	var out []string
	for i := range t.Len() {
		name := t.routes[i].Gateways.Header.Name
		if name != "" && !slices.ContainsFunc(out, func(s string) bool { return strings.EqualFold(s, name) }) {
			out = append(out, name)
		}
	}
	return out
}

// Arrival asks the gateways of every route. header gives the values of all
// fields of a name; nil stands for a header that is not known yet, where only
// listeners can prove something.
func (t *Routes) Arrival(client netip.Addr, daemon string, header func(name string) []string) Arrival {
	var a Arrival
	for i := range t.Len() {
		r := &t.routes[i]
		var values []string
		if name := r.Gateways.Header.Name; name != "" && header != nil {
			values = header(name)
		}
		p := FromGateway(&r.Route, client, daemon, values, r.secret)
		if p.OK {
			if a.By == nil {
				a.By = make(map[string]string)
			}
			a.By[r.Alternate] = p.By
		}
		if p.Strip != "" && !slices.ContainsFunc(a.Strip, func(s string) bool { return strings.EqualFold(s, p.Strip) }) {
			a.Strip = append(a.Strip, p.Strip)
		}
	}
	return a
}
