package flow

// Backfill: copies for the vault of mail that came before somebody was to have
// them.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/policy"
	"cloakroom/sisa"
	"cloakroom/sisa/blob"
	"cloakroom/vault"
	vaultname "cloakroom/vault/name"
)

// Backfill says whose copies are made, and of what.
type Backfill struct {
	Of func(owner *policy.Recipient) bool
	// Target and Space are where everything goes that the store has; with no
	// Target the rules in force decide, as if the mail came now.
	Target, Space string
	Rule          string // what uploads to Target name as their rule
	Dry           bool   // nothing is written
}

// Backfilled is what came of one mail.
type Backfilled struct {
	Uploads []vault.Upload
	There   int // uploads that the mail had already
	Gone    int // attachments whose content is not in the store
	// Unread is why rules could not be asked: the original is not kept.
	Unread error
}

// Backfill makes the uploads of a mail that is on record. Facts that are not are
// as if the MTA had not told them: HELO, host name, service and TLS.
func (e *Engine) Backfill(ctx context.Context, record *ledger.Mail, b Backfill) (*Backfilled, error) {
	env := &Envelope{QueueID: record.QueueID, Sender: record.Sender, AuthUser: record.User, Received: record.Received}
	if ip, err := netip.ParseAddr(record.Client); err == nil {
		env.Client = ip
	}
	for _, r := range record.Recipients {
		if r != "" { // one who was struck from the record
			env.Recipients = append(env.Recipients, Recipient{Address: r})
		}
	}
	m, err := e.begin(ctx, env, message.Header{})
	if err != nil {
		return nil, err
	}
	out := new(Backfilled)
	switch owners := slices.DeleteFunc(m.owners(), func(o policy.Recipient) bool { return !b.Of(&o) }); {
	case len(owners) == 0:
		return out, nil
	case b.Target != "":
		err = m.fromRecord(ctx, record, owners, b, out)
	default:
		m, err = e.fromOriginal(ctx, env, record, b, out)
	}
	if m != nil {
		defer m.Close()
	}
	if err != nil || m == nil {
		return out, err
	}
	if err := m.forgetKnown(ctx, out); err != nil || b.Dry || len(m.vaulted) == 0 {
		return out, err
	}
	return out, m.commitBackfill(ctx)
}

// fromOriginal builds the mail again and asks the rules; nil where it cannot be
// built.
func (e *Engine) fromOriginal(ctx context.Context, env *Envelope, record *ledger.Mail, b Backfill, out *Backfilled) (*Mail, error) {
	original := e.Spool.New(MaxMessage)
	defer original.Close()
	err := ledger.Rebuild(ctx, original, record, func(ctx context.Context, sum [32]byte) (io.ReadCloser, error) { return e.Blobs.Open(ctx, sum) })
	if errors.Is(err, ledger.ErrRetired) || errors.Is(err, ledger.ErrNoOriginal) || errors.Is(err, blob.ErrNotExist) {
		out.Unread = err
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := original.Reader()
	head := make([]byte, record.Skeleton.Header)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("header of mail %s: %w", record.Key, err)
	}
	h, blank := splitHeader(head)
	h.Blank = blank
	m, err := e.begin(ctx, env, h)
	if err != nil {
		return nil, err
	}
	m.needsBody = true
	m.receive()
	if _, err := io.Copy(m, r); err != nil {
		return m, err
	}
	if err := m.understand(); err != nil {
		return m, err
	}
	if err := m.chooseCopies(); err != nil {
		return m, err
	}
	m.vaulted = slices.DeleteFunc(m.vaulted, func(k spaceCopy) bool { return !b.Of(k.owner) })
	for i := range m.vaulted {
		m.vaulted[i].upload.About.Mail = record.Key
	}
	return m, nil
}

// splitHeader takes a header block apart: the fields, and the line that ends
// them.
func splitHeader(block []byte) (message.Header, []byte) {
	for _, blank := range []string{"\r\n", "\n"} {
		if fields, found := bytes.CutSuffix(block, []byte(blank)); found && (len(fields) == 0 || fields[len(fields)-1] == '\n') {
			h, _ := message.ParseHeader(fields)
			return h, []byte(blank)
		}
	}
	h, _ := message.ParseHeader(block)
	return h, []byte{}
}

// fromRecord chooses every attachment on record that the store has.
func (m *Mail) fromRecord(ctx context.Context, record *ledger.Mail, owners []policy.Recipient, b Backfill, out *Backfilled) error {
	plan := m.settings.Vault[b.Target]
	if plan == nil {
		return fmt.Errorf("there is no target %q", b.Target)
	}
	path, err := plan.PathIn(policy.VaultOptions{Space: b.Space}.SpaceTemplate())
	if err != nil {
		return err
	}
	for i := range record.Parts {
		p := &record.Parts[i]
		if !p.Linked && p.Name == "" {
			continue // a text
		}
		_, err := m.engine.Blobs.Stat(ctx, p.SHA256)
		if errors.Is(err, blob.ErrNotExist) {
			out.Gone++
			continue
		}
		if err != nil {
			return err
		}
		for o := range owners {
			m.vaulted = append(m.vaulted, recordedCopy(record, p, &owners[o], path, b, plan.Sidecar))
		}
	}
	return nil
}

func recordedCopy(record *ledger.Mail, p *ledger.Part, owner *policy.Recipient, path *vaultname.Template, b Backfill, sidecar bool) spaceCopy {
	facts := vaultname.Facts{Owner: owner.Address, Department: owner.Department, Direction: string(owner.Direction), Time: record.Received,
		Sender: record.Sender, Subject: record.Subject, Name: p.Name, SHA256: p.SHA256, Rule: b.Rule, ID: record.Key.String()[:16]}
	timeless := facts
	timeless.Time = time.Time{}
	return spaceCopy{owner: owner, of: &find{ref: blob.Ref{SHA256: p.SHA256, Size: p.Size}}, upload: vault.Upload{
		Target: b.Target, Path: path.Render(facts), Place: path.Render(timeless), SHA256: p.SHA256, Size: p.Size, Owner: owner.Address,
		// Of the recipients only the owner: the record cannot tell who was a Bcc.
		About: vault.About{Mail: record.Key, Part: p.Index, Name: p.Name, Type: p.Type, Sender: record.Sender, To: []string{owner.Address},
			Subject: record.Subject, MessageID: record.MessageID, QueueID: record.QueueID, Received: record.Received,
			Direction: string(owner.Direction), Rule: b.Rule, Sidecar: sidecar},
	}}
}

// forgetKnown leaves out the uploads that were made or are to be made.
func (m *Mail) forgetKnown(ctx context.Context, out *Backfilled) error {
	var left []spaceCopy
	for _, k := range m.vaulted {
		known, err := vault.Known(ctx, m.engine.DB.Read(), k.upload.Key())
		switch {
		case err != nil:
			return err
		case known:
			out.There++
		default:
			left = append(left, k)
			out.Uploads = append(out.Uploads, k.upload)
		}
	}
	m.vaulted = left
	return nil
}

// commitBackfill makes the uploads durable.
func (m *Mail) commitBackfill(ctx context.Context) error {
	if err := m.storeBackfill(ctx); err != nil {
		return err
	}
	uploads, err := m.uploads()
	if err != nil {
		return err
	}
	var entry db.Entry
	for _, j := range uploads {
		entry = append(entry, db.Fact{Kind: "job", Data: j})
	}
	used, queue, now := m.backfillRefs(), m.engine.Jobs, m.engine.Now()
	err = m.engine.DB.Commit(ctx, entry, func(ctx context.Context, tx db.Tx) error {
		for _, ref := range used {
			if err := sisa.Use(ctx, tx, ref.SHA256, ref.Size, now); err != nil {
				return err
			}
		}
		return enqueueAll(ctx, tx, queue, uploads)
	})
	if err != nil {
		return fmt.Errorf("record uploads: %w", err)
	}
	queue.Wake()
	// A collector may have taken an old blob just before the commit used it.
	return m.storeBackfill(ctx)
}

func enqueueAll(ctx context.Context, tx db.Tx, queue *jobs.Store, all []jobs.Job) error {
	for _, j := range all {
		if err := queue.Enqueue(ctx, tx, j); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mail) backfillRefs() []blob.Ref {
	var refs []blob.Ref
	for _, k := range m.vaulted {
		refs = append(refs, k.of.ref)
	}
	slices.SortFunc(refs, func(a, b blob.Ref) int { return bytes.Compare(a.SHA256[:], b.SHA256[:]) })
	return slices.Compact(refs)
}

// storeBackfill makes sure of the content: what only the record knows must be
// there.
func (m *Mail) storeBackfill(ctx context.Context) error {
	if m.tree != nil {
		return m.storeCopies(ctx, make(map[[sha256.Size]byte]bool))
	}
	for _, k := range m.vaulted {
		if _, err := m.engine.Blobs.Stat(ctx, k.of.ref.SHA256); err != nil {
			return fmt.Errorf("content of %q: %w", k.of.fact.Name, err)
		}
	}
	return nil
}
