package flow

// Copies for the vault: whose, of what, and where they go. They are jobs in the
// same commit as everything else, and their content is durable before it.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/jobs"
	"cloakroom/message"
	"cloakroom/message/tnef"
	"cloakroom/policy"
	"cloakroom/sisa/blob"
	"cloakroom/vault"
	vaultname "cloakroom/vault/name"
)

// tnefType is what Outlook calls winmail.dat.
const tnefType = "application/ms-tnef"

// find is something in the mail that may be kept: an attachment, a file inside
// one, or the mail as a whole.
type find struct {
	fact  policy.Attachment
	inner int // from 1: the file inside winmail.dat
	ref   blob.Ref
	write func(io.Writer) error
}

// spaceCopy is one copy for one space.
type spaceCopy struct {
	of     *find
	owner  *policy.Recipient
	upload vault.Upload
}

// owners are those for whom copies can be kept: the recipients who are ours, and
// the sender if he demonstrably is. A user with several addresses is one owner.
func (m *Mail) owners() []policy.Recipient {
	var out []policy.Recipient
	add := func(address string, direction policy.Direction) {
		o := policy.Recipient{Address: strings.ToLower(address), Direction: direction}
		if u := m.users[address]; u != nil {
			o.Address, o.Groups, o.Department, o.System = u.Address, u.Groups, u.Department, u.System
		}
		o.Local, _, _ = cutLast(o.Address)
		o.Domain = policy.Domain(o.Address)
		if !slices.ContainsFunc(out, func(other policy.Recipient) bool { return other.Address == o.Address }) {
			out = append(out, o)
		}
	}
	for _, r := range m.recipients {
		if m.settings.isOurs(r.Domain) {
			add(r.Address, r.Direction)
		}
	}
	if m.ours {
		direction := policy.Local
		for _, r := range m.recipients {
			if r.Direction.Outside() {
				direction = policy.Outbound
			}
		}
		add(m.env.Sender, direction)
	}
	return out
}

// mayVault tells whether rules may want copies, whatever the body holds.
func (m *Mail) mayVault() bool {
	p := m.settings.Policy
	return p.Vaults() && (m.header.Err != nil || message.CanCarryAttachments(m.header)) && p.MayVault(m.facts(nil), m.owners())
}

// chooseCopies asks the rules about everything in the mail. Where what is in it
// cannot be told, or not be read, the whole mail is kept.
func (m *Mail) chooseCopies() error {
	if !m.settings.Policy.Vaults() {
		return nil
	}
	owners, f := m.owners(), new(*m.allFacts())
	finds, unreadable, err := m.finds(f.Attachments)
	if err != nil {
		return err
	}
	f.Attachments = nil
	for _, found := range finds {
		f.Attachments = append(f.Attachments, found.fact)
	}
	choices, err := m.settings.Policy.DecideVault(f, owners)
	if err != nil {
		return err
	}
	if unreadable {
		whole, err := m.settings.Policy.VaultWhole(f, owners)
		if err != nil {
			return err
		}
		choices = append(choices, whole...)
	}
	for _, c := range choices {
		found := m.wholeMail
		if c.Attachment >= 0 {
			found = func() (*find, error) { return finds[c.Attachment], nil }
		}
		of, err := found()
		if err != nil {
			return err
		}
		k, err := m.keptAs(of, &owners[c.Owner], c)
		if err != nil {
			return err
		}
		m.vaulted = append(m.vaulted, k)
	}
	return nil
}

// finds lists what can be kept, and tells whether something in the mail cannot
// be read: its structure is ambiguous, it is encrypted, or a part's encoding is
// broken.
func (m *Mail) finds(attachments []policy.Attachment) (out []*find, unreadable bool, err error) {
	unreadable = m.header.Err != nil || m.tree.Opaque != "" || m.tree.Root.Type.Text == "multipart/encrypted"
	parts := m.leaves()
	for _, a := range attachments {
		p := parts[a.Part]
		unreadable = unreadable || p.Content.Defect != ""
		out = append(out, &find{fact: a, ref: blob.Ref{SHA256: p.Content.SHA256, Size: p.Content.Size},
			write: func(w io.Writer) error { return p.DecodeTo(w, m.spool) }})
		if p.Type.Text != tnefType && !strings.EqualFold(p.Name, "winmail.dat") {
			continue
		}
		inner, err := m.insideTNEF(p)
		if err != nil {
			return nil, false, err
		}
		out = append(out, inner...)
	}
	return out, unreadable, nil
}

// insideTNEF lists the files in winmail.dat.
func (m *Mail) insideTNEF(p *message.Part) ([]*find, error) {
	r := p.OpenContent(m.spool)
	defer r.Close()
	contents, err := tnef.Decode(r, p.Content.Size, "")
	if errors.Is(err, tnef.ErrNotTNEF) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into part %d: %w", p.Index, err)
	}
	var out []*find
	for i, file := range contents.Files {
		write := func(w io.Writer) error {
			r := p.OpenContent(m.spool)
			defer r.Close()
			_, err := io.Copy(w, io.NewSectionReader(r, file.Offset, file.Size))
			return err
		}
		sum := sha256.New()
		first := new(firstBytes)
		if err := write(io.MultiWriter(sum, first)); err != nil {
			return nil, fmt.Errorf("file %d in part %d: %w", i+1, p.Index, err)
		}
		f := &find{inner: i + 1, ref: blob.Ref{Size: file.Size}, write: write, fact: policy.Attachment{
			Part: p.Index, Name: file.Name, Names: file.Names, Extension: message.Extension(file.Name), Type: file.Type,
			Sniffed: message.Sniff(first.Bytes()), Size: file.Size, Disposition: "attachment", ContentID: file.ContentID,
		}}
		sum.Sum(f.ref.SHA256[:0])
		f.fact.SHA256 = hex.EncodeToString(f.ref.SHA256[:])
		out = append(out, f)
	}
	return out, nil
}

// firstBytes keeps as much of a file as its type is told by.
type firstBytes struct{ bytes.Buffer }

func (f *firstBytes) Write(b []byte) (int, error) {
	f.Buffer.Write(b[:min(len(b), max(0, message.SniffLen-f.Len()))])
	return len(b), nil
}

// wholeMail is the mail itself, as it came, to be kept as one file.
func (m *Mail) wholeMail() (*find, error) {
	if m.whole != nil {
		return m.whole, nil
	}
	write := func(w io.Writer) error {
		if _, err := w.Write(m.header.Block()); err != nil {
			return err
		}
		_, err := io.Copy(w, m.spool.Reader())
		return err
	}
	sum := sha256.New()
	if err := write(sum); err != nil {
		return nil, fmt.Errorf("read the mail: %w", err)
	}
	title := message.DecodeWords(m.header.Get("Subject"))
	if title == "" {
		title = "mail"
	}
	f := &find{ref: blob.Ref{Size: int64(len(m.header.Block())) + m.spool.Size()}, write: write,
		fact: policy.Attachment{Part: -1, Name: title + ".eml", Extension: "eml", Type: "message/rfc822"}}
	sum.Sum(f.ref.SHA256[:0])
	m.whole = f
	return f, nil
}

// keptAs is a copy as the queue and the target will know it. Its path is settled
// here, by the facts of first sight.
func (m *Mail) keptAs(of *find, owner *policy.Recipient, c policy.VaultChoice) (spaceCopy, error) {
	plan := m.settings.Vault[c.Target]
	if plan == nil {
		return spaceCopy{}, fmt.Errorf("rule %q: there is no target %q", c.Rule, c.Target)
	}
	path, err := plan.PathIn(c.Space)
	if err != nil {
		return spaceCopy{}, fmt.Errorf("rule %q: %w", c.Rule, err)
	}
	facts := vaultname.Facts{
		Owner: owner.Address, Department: owner.Department, Direction: string(owner.Direction), Time: m.env.Received,
		Sender: m.env.Sender, Subject: message.DecodeWords(m.header.Get("Subject")), Name: of.fact.Name,
		SHA256: of.ref.SHA256, Rule: c.Rule, ID: m.key().String()[:16],
	}
	timeless := facts
	timeless.Time = time.Time{}
	return spaceCopy{of: of, owner: owner, upload: vault.Upload{
		Target: c.Target, Path: path.Render(facts), Place: path.Render(timeless), SHA256: of.ref.SHA256, Size: of.ref.Size, Owner: owner.Address,
		About: vault.About{
			Mail: m.key(), Part: of.fact.Part, Inner: of.inner, Name: of.fact.Name, Type: of.fact.Type,
			Sender: m.env.Sender, To: m.visible(), Subject: facts.Subject,
			MessageID: m.header.Get("Message-Id"), QueueID: m.env.QueueID, Received: m.env.Received,
			Direction: string(owner.Direction), Rule: c.Rule, Sidecar: plan.Sidecar,
		},
	}}, nil
}

// visible are the recipients that the mail itself names. What the envelope has
// beyond them are Bcc recipients, whom a file that others read must not tell.
func (m *Mail) visible() []string {
	if m.named != nil {
		return m.named
	}
	out := []string{}
	for _, field := range []string{"To", "Cc"} {
		for _, a := range policy.Addresses(m.header.Values(field)) {
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	m.named = out
	return out
}

// storeCopies makes the content of all copies durable, but for what is in the
// store since a moment ago: attachments that became links.
func (m *Mail) storeCopies(ctx context.Context, stored map[[sha256.Size]byte]bool) error {
	for _, k := range m.vaulted {
		if stored[k.of.ref.SHA256] {
			continue
		}
		stored[k.of.ref.SHA256] = true
		part := k.of.fact.Part
		if k.of.inner > 0 {
			part = -1
		}
		existed, err := m.drafts.put(ctx, m.engine.Blobs, part, k.of.ref, k.of.write)
		if err != nil {
			return fmt.Errorf("store part %d for the vault: %w", k.of.fact.Part, err)
		}
		if !existed {
			m.report.stored += k.of.ref.Size
		}
	}
	return nil
}

// uploads are the jobs of all copies.
func (m *Mail) uploads() ([]jobs.Job, error) {
	var out []jobs.Job
	for i := range m.vaulted {
		u := &m.vaulted[i].upload
		j, err := u.Job(m.engine.Now().Add(m.settings.Vault[u.Target].Delay))
		if err != nil {
			return nil, err
		}
		out = append(out, j)
	}
	return out, nil
}
