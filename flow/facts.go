package flow

import (
	"context"
	"encoding/hex"
	"fmt"
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

// directions settles whether the sender is ours (authenticated, from a trusted
// network or from a verified gateway of a co-existing system, with a domain of
// ours: MAIL FROM alone proves nothing), and where the mail goes for each
// recipient.
func (m *Mail) directions() {
	s := m.settings
	proven := m.env.AuthUser != "" || m.arrival.Proven() || m.env.Client.IsValid() && s.trusts(m.env.Client)
	m.ours = proven && s.isOurs(policy.Domain(m.env.Sender))
	for _, r := range m.env.Recipients {
		domain := policy.Domain(r.Address)
		local, _, _ := cutLast(unrouted(r.Address))
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

// unrouted is an address without source route, which MTAs take and ignore (RFC
// 5321 appendix C).
func unrouted(address string) string {
	if _, mailbox, ok := strings.Cut(address, ":"); ok && strings.HasPrefix(address, "@") {
		return mailbox
	}
	return address
}

// lookUp asks the directory about the sender, if he is ours, and about the
// recipients that are.
func (m *Mail) lookUp(ctx context.Context) error {
	if m.engine.Directory == nil || m.settings.Paused && m.settings.Routes.Len() == 0 {
		return nil // nobody asks who they are
	}
	var addresses []string
	if m.ours {
		addresses = append(addresses, m.env.Sender)
	}
	for _, r := range m.recipients {
		if m.settings.isOurs(r.Domain) {
			addresses = append(addresses, unrouted(r.Address))
		}
	}
	if len(addresses) == 0 {
		return nil
	}
	users, err := m.engine.Directory.Lookup(ctx, addresses)
	if err != nil {
		return about(TroubleUsers, fmt.Errorf("look up users: %w", err))
	}
	m.users, m.groups = users, make(map[string][]string)
	for i := range m.recipients {
		r := &m.recipients[i]
		if u := users[unrouted(r.Address)]; u != nil {
			m.groups[r.Local+"@"+r.Domain] = u.Groups
			r.Groups, r.Department, r.System = u.Groups, u.Department, u.System
		}
	}
	if u := users[m.env.Sender]; u != nil && m.ours {
		local, _, _ := cutLast(m.env.Sender)
		m.sender = &policy.User{Address: m.env.Sender, Local: local, Domain: policy.Domain(m.env.Sender),
			Groups: u.Groups, Department: u.Department, System: u.System}
	}
	return nil
}

// facts tells policy what is known; tree is nil while the body is not.
func (m *Mail) facts(tree *message.Tree) *policy.Facts {
	f := &policy.Facts{
		From: m.env.Sender, To: m.env.RecipientAddresses(),
		User: m.env.AuthUser, Client: m.env.Client, Helo: m.env.Helo, Host: m.env.Host,
		Daemon: m.env.Daemon, TLS: m.env.TLS, Time: m.env.Received,
		Subject: message.DecodeWords(m.header.Get("Subject")),
		Header:  m.fields, RawHeader: m.header.Values,
		AuthResults: policy.ParseAuthResults(m.header.Values("Authentication-Results"), m.settings.Verifiers),
		FromGateway: m.arrival.Proven(), SenderPending: m.pending,
		Size: -1, Sender: m.sender, Recipients: m.recipients,
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
			SHA256: hex.EncodeToString(p.Content.SHA256[:]), Inside: m.inside(p),
		})
	})
	return f
}

// allFacts are those of a mail whose body was read.
func (m *Mail) allFacts() *policy.Facts {
	if m.factsRead == nil {
		m.factsRead = m.facts(m.tree)
	}
	return m.factsRead
}

func (m *Mail) fields(name string) []string {
	values := m.header.Values(name)
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = message.DecodeWords(v)
	}
	return out
}
