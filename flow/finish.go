package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/policy"
	"cloakroom/sisa"
)

// finish is the straight line: structure, plan, blobs, commit, edits. Up to
// the commit nothing was promised; after it everything is durable.
func (m *Mail) finish(ctx context.Context) (*Outcome, error) {
	if m.refused != nil {
		return &Outcome{Reject: m.refused}, nil
	}
	m.split = m.divide(nobody)
	if !m.needsBody {
		return m.envelope(m.marked()), nil
	}
	if m.tooLarge {
		m.alone = "message over the limit"
		if !m.settings.Policy.MailNeedsBody(m.facts(nil)) && !m.mayVault() {
			return m.envelope(m.marked()), nil
		}
		return nil, about(TroubleLimit, errors.New("message over the limit: rules about its attachments cannot be decided"))
	}
	if err := m.understand(); err != nil {
		return nil, err
	}
	if m.decide(); m.plan.Failed {
		return nil, errRuleFailed
	}
	out := m.marked()
	if out.Reject != nil {
		return out, nil
	}
	if err := m.chooseCopies(); err != nil {
		return nil, err
	}
	if m.settings.Observe || m.env.Probe {
		_, err := m.tryRewrite(m.offer()) // a mail without a place for the notice would stay as it is
		return out, err
	}
	if err := m.room(); err != nil {
		return nil, err
	}
	if err := m.canGuard(); err != nil {
		return nil, err
	}
	grant := m.offer()
	rewrite, err := m.tryRewrite(grant)
	if err != nil {
		return nil, err
	}
	if len(m.taken) == 0 && len(m.split.copies) == 0 && len(m.vaulted) == 0 {
		return m.envelope(out), nil
	}
	issued, err := m.keep(ctx, out.Header)
	if err != nil {
		return nil, err
	}
	if len(m.taken) == 0 {
		return m.envelope(out), nil
	}
	if issued.Token != grant.Token || !issued.Expires.Equal(grant.Expires) {
		if rewrite, err = m.rewrite(issued); err != nil {
			return nil, err
		}
	}
	out.Header = append(out.Header, rewrite.Header...)
	out.Body = rewrite.Body
	return m.envelope(out), nil
}

// tryRewrite describes the new message, or leaves the mail as it is where that
// cannot be done.
func (m *Mail) tryRewrite(g sisa.Grant) (*message.Rewrite, error) {
	if len(m.taken) == 0 {
		return nil, nil
	}
	rewrite, err := m.rewrite(g)
	if refused, ok := err.(*message.CannotRewriteError); ok {
		m.leave(refused.Reason)
		return nil, nil
	}
	return rewrite, err
}

// keep makes durable what the outcome relies on. header are the edits that the
// rules make, for copies too.
func (m *Mail) keep(ctx context.Context, header []message.HeaderEdit) (sisa.Grant, error) {
	copies, err := m.copies(ctx, header)
	if err != nil {
		return sisa.Grant{}, err
	}
	uploads, err := m.uploads()
	if err != nil {
		return sisa.Grant{}, err
	}
	if err := m.makeRecord(); err != nil {
		return sisa.Grant{}, err
	}
	if err := m.put(ctx); err != nil {
		return sisa.Grant{}, about(TroubleStore, err)
	}
	m.copied = len(copies) > 0
	issued, err := m.commit(ctx, append(copies, uploads...))
	if err != nil {
		return sisa.Grant{}, err
	}
	// A collector may have taken an old blob just before our commit used it.
	return issued, about(TroubleStore, m.put(ctx))
}

func nobody(int) bool { return false }

// understand ends the scan and tells bodies from attachments.
func (m *Mail) understand() error {
	if m.failed != nil {
		return about(TroubleSpool, fmt.Errorf("spool the message: %w", m.failed))
	}
	m.tree = m.scanner.Close()
	m.tree.Digest = m.inspector.Digest()
	m.bodies, m.alone = message.Assess(m.tree, m.spool)
	m.report.scanned = m.engine.Now()
	return nil
}

// decide asks policy, and keeps what must stay in the mail whatever it says.
func (m *Mail) decide() {
	m.plan = m.settings.Policy.Decide(m.allFacts())
	m.kept = make(map[int]string)
	if m.passes != "" {
		defer m.leave(m.passes)
	}
	m.links = m.plan
	if m.passes == "" && m.alone == "" {
		m.split = m.divide(m.plan.LinksFor)
		m.links = m.plan.Among(m.split.stays)
	}
	parts := m.leaves()
	for _, k := range m.links.Kept() {
		m.kept[k.Part] = k.Reason
	}
	for _, d := range m.links.Decisions {
		switch {
		case m.kept[d.Part] != "" || d.Link || d.Rule == "":
		case d.Failed:
			m.kept[d.Part] = fmt.Sprintf("rule %q failed", d.Rule)
		case d.Leaves:
			m.kept[d.Part] = "goes on to the other mail system"
		default:
			m.kept[d.Part] = fmt.Sprintf("rule %q keeps it", d.Rule)
		}
	}
	for i := range m.kept {
		if parts[i].Keep != "" {
			m.kept[i] = parts[i].Keep
		}
	}
	for _, l := range m.links.Links() {
		p := parts[l.Part]
		switch {
		case m.alone != "":
			m.kept[l.Part] = m.alone
		case p.Keep != "":
			m.kept[l.Part] = p.Keep
		default:
			m.taken = append(m.taken, p)
		}
	}
	if len(m.taken) == 0 {
		m.split = m.divide(nobody)
	}
	m.report.decided = m.engine.Now()
	m.logRuleErrors()
}

// leave gives up on the parts that were to be taken.
func (m *Mail) leave(reason string) {
	if m.kept == nil {
		m.kept = make(map[int]string)
	}
	for _, p := range m.taken {
		m.kept[p.Index] = reason
	}
	m.taken, m.alone = nil, reason
	m.split = m.divide(nobody)
}

// leaves lists the leaf parts by their index.
func (m *Mail) leaves() map[int]*message.Part {
	parts := make(map[int]*message.Part)
	m.tree.Root.Walk(func(p *message.Part) {
		if !p.IsMultipart() {
			parts[p.Index] = p
		}
	})
	return parts
}

// linked are the decisions for the parts that are taken.
func (m *Mail) linked() []policy.Linked {
	if len(m.taken) == 0 {
		return nil
	}
	var out []policy.Linked
	for _, l := range m.links.Links() {
		for _, p := range m.taken {
			if p.Index == l.Part {
				out = append(out, l)
			}
		}
	}
	return out
}

// key identifies the mail, so that its repetition finds what was made. It is made
// once: the header is gone through for it.
func (m *Mail) key() ledger.Key {
	if m.itsKey == (ledger.Key{}) {
		m.itsKey = m.keyOf(m.tree.Digest)
	}
	return m.itsKey
}

// identity is the key of the mail by its header and envelope alone.
func (m *Mail) identity() ledger.Key { return m.keyOf([32]byte{}) }

func (m *Mail) keyOf(digest [32]byte) ledger.Key {
	id, date := m.header.Get("Message-Id"), m.header.Get("Date")
	if id == "" || date == "" {
		id += "\x00" + m.untraced()
	}
	// A mail that its reader sends again, as it is (RFC 5322 section 3.6.6), is
	// no repetition.
	for f := m.header.Fields(); f.Next(); {
		if strings.HasPrefix(f.Key(), "Resent-") {
			id += "\x00" + f.Key() + ":" + f.Value()
		}
	}
	return ledger.KeyOf(id, date, m.env.Sender, m.env.RecipientAddresses(), digest)
}

// untraced is the header without trace fields (RFC 5321 section 4.4), which
// differ each time a mail comes: what tells mails apart that have no identity.
func (m *Mail) untraced() string {
	var b strings.Builder
	for f := m.header.Fields(); f.Next(); {
		if f.Key() != "Received" && f.Key() != "Return-Path" {
			b.WriteString(f.Key() + ":" + f.Value() + "\n")
		}
	}
	return b.String()
}

// wish is the link that this mail wants, as of now: MAIL FROM may have come
// long before.
func (m *Mail) wish() sisa.Wish {
	all := m.links.Together(m.linked())
	w := sisa.Wish{Mail: m.key(), Life: all.Lifetime(), Now: m.report.decided, Guard: m.guard(all)}
	for _, p := range m.taken {
		w.Parts = append(w.Parts, p.Index)
	}
	slices.Sort(w.Parts)
	return w
}

// offer is the link this mail gets if it was never seen before.
func (m *Mail) offer() sisa.Grant { return sisa.Offer(m.engine.LinkKey, m.wish(), 0) }

// rewrite describes the new message; it changes nothing.
func (m *Mail) rewrite(g sisa.Grant) (*message.Rewrite, error) {
	page := m.settings.PageURL(g.Token)
	n := message.Notice{Wording: m.settings.Wording, URL: page, Site: site(page), Expires: g.Expires}
	for _, p := range m.taken {
		n.Files = append(n.Files, message.NoticeFile{Name: p.Name, Size: p.Content.Size, SHA256: p.Content.SHA256})
	}
	seed := g.ID.String()[:24]
	return message.Remove(m.tree, m.spool, m.bodies, m.taken, n, seed)
}
