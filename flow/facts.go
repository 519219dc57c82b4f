package flow

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"cloakroom/message"
	"cloakroom/policy"
)

// isOurs tells whether a domain, as policy.Domain gives it, is one of ours.
func (s *Settings) isOurs(domain string) bool { return slices.Contains(s.Domains, domain) }

// trusts tells whether a client submits for our users without authentication.
func (s *Settings) trusts(client netip.Addr) bool {
	client = client.Unmap()
	return slices.ContainsFunc(s.Trusted, func(p netip.Prefix) bool { return p.Contains(client) })
}

// directions settles whether the sender is ours (authenticated or from a
// trusted network, with a domain of ours: MAIL FROM alone proves nothing), and
// where the mail goes for each recipient.
func (m *Mail) directions() {
	s := m.settings
	proven := m.env.AuthUser != "" || m.env.Client.IsValid() && s.trusts(m.env.Client)
	m.ours = proven && s.isOurs(policy.Domain(m.env.Sender))
	for _, r := range m.env.Recipients {
		domain := policy.Domain(r.Address)
		local, _, _ := cutLast(r.Address)
		m.recipients = append(m.recipients, policy.Recipient{
			Address: r.Address, Local: local, Domain: domain, Direction: direction(m.ours, s.isOurs(domain)),
		})
	}
}

func direction(from, to bool) policy.Direction {
	switch {
	case from && to:
		return policy.Local
	case from:
		return policy.Outbound
	case to:
		return policy.Inbound
	}
	return policy.Relay
}

func cutLast(address string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, "", false
	}
	return address[:i], address[i+1:], true
}

// facts tells policy what is known; tree is nil while the body is not.
func (m *Mail) facts(tree *message.Tree) *policy.Facts {
	f := &policy.Facts{
		From: m.env.Sender, To: m.env.RecipientAddresses(),
		User: m.env.AuthUser, Client: m.env.Client, Helo: m.env.Helo, Host: m.env.Host,
		Daemon: m.env.Daemon, TLS: m.env.TLS, Time: m.env.Received,
		Subject: message.DecodeWords(m.header.Get("Subject")),
		Header:  m.fields,
		Size:    -1, Recipients: m.recipients,
	}
	if tree == nil {
		return f
	}
	f.Size = int64(len(m.header.Block())) + tree.Size
	tree.Root.Walk(func(p *message.Part) {
		if p.Role != message.RoleAttachment && p.Role != message.RoleInline {
			return
		}
		f.Attachments = append(f.Attachments, policy.Attachment{
			Part: p.Index, Name: p.Name, Names: p.Names, Extension: message.Extension(p.Name),
			Type: p.Type.Text, Sniffed: p.Content.Sniffed, Size: p.Content.Size,
			Inline: p.Role == message.RoleInline, Disposition: p.Disposition.Text, ContentID: p.ContentID,
			SHA256: hex.EncodeToString(p.Content.SHA256[:]),
		})
	})
	return f
}

func (m *Mail) fields(name string) []string {
	values := m.header.Values(name)
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = message.DecodeWords(v)
	}
	return out
}
