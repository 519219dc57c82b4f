package flow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/sisa"
	"cloakroom/sisa/blob"
)

// inlineSkeleton is up to how many compressed bytes the skeleton of a mail is
// kept in its record. Most are a few KB; larger ones become a blob, so that
// the database stays small.
const inlineSkeleton = 32 << 10

// put puts the parts that are taken, the copies and the record's skeleton into
// the blob store. It is harmless to repeat.
func (m *Mail) put(ctx context.Context) error {
	stored := make(map[[sha256.Size]byte]bool)
	for _, p := range m.taken {
		ref := blob.Ref{SHA256: p.Content.SHA256, Size: p.Content.Size}
		existed, err := m.drafts.put(ctx, m.engine.Blobs, p.Index, ref, func(w io.Writer) error { return p.DecodeTo(w, m.spool) })
		if err != nil {
			return fmt.Errorf("store part %d: %w", p.Index, err)
		}
		if !existed {
			m.report.stored += ref.Size
		}
		stored[ref.SHA256] = true
	}
	if err := m.storeCopies(ctx, stored); err != nil {
		return err
	}
	return m.storeSkeleton(ctx)
}

// makeRecord writes down what came and what was decided.
func (m *Mail) makeRecord() error {
	m.record = &ledger.Mail{
		Key: m.key(), QueueID: m.env.QueueID, MessageID: m.header.Get("Message-Id"),
		Subject: message.DecodeWords(m.header.Get("Subject")),
		Sender:  m.env.Sender, Recipients: m.env.RecipientAddresses(), User: m.env.AuthUser,
		Received: m.env.Received, Size: int64(len(m.header.Block())) + m.tree.Size, Digest: m.tree.Digest,
	}
	if m.env.Client.IsValid() {
		m.record.Client = m.env.Client.String()
	}
	rules := m.rules()
	m.tree.Root.Walk(func(p *message.Part) {
		if p.IsMultipart() {
			return
		}
		m.record.Parts = append(m.record.Parts, ledger.Part{
			Index: p.Index, Name: p.Name, Type: p.Type.Text, Sniffed: p.Content.Sniffed,
			Size: p.Content.Size, SHA256: p.Content.SHA256, Start: p.Body.Start, End: p.Body.End,
			Layout: p.Content.Layout.String(), Rule: rules[p.Index],
		})
	})
	for _, p := range m.taken {
		for i := range m.record.Parts {
			if r := &m.record.Parts[i]; r.Index == p.Index {
				r.Linked = true
				r.Cut = p.Content.Layout.Regular()
			}
		}
	}
	if len(m.taken) == 0 && len(m.split.copies) == 0 {
		return nil // delivered as it came: nothing to build again
	}
	return m.makeSkeleton()
}

// rules says for each leaf which rule, or what reason, decided.
func (m *Mail) rules() map[int]string {
	out := make(map[int]string)
	for i, p := range m.leaves() {
		out[i] = p.Keep
	}
	for i, reason := range m.kept {
		out[i] = reason
	}
	for _, l := range m.linked() {
		out[l.Part] = strings.Join(l.Rules, ", ")
	}
	return out
}

// makeSkeleton compresses the mail without what is cut out of it.
func (m *Mail) makeSkeleton() error {
	buf := m.engine.Spool.New(MaxMessage)
	sum := sha256.New()
	header := m.header.Block()
	if err := ledger.WriteSkeleton(io.MultiWriter(buf, sum), header, m.spool, m.tree.Size, m.record.Parts); err != nil {
		buf.Close()
		return fmt.Errorf("skeleton of the mail: %w", err)
	}
	s := &m.record.Skeleton
	s.Stored, s.Header, s.HeaderSum = buf.Size(), int64(len(header)), sha256.Sum256(header)
	if s.Stored > inlineSkeleton {
		sum.Sum(s.Blob[:0])
		m.skeleton = buf
		return nil
	}
	defer buf.Close()
	s.Inline = make([]byte, s.Stored)
	if _, err := io.ReadFull(buf.Reader(), s.Inline); err != nil {
		return fmt.Errorf("skeleton of the mail: %w", err)
	}
	return nil
}

func (m *Mail) storeSkeleton(ctx context.Context) error {
	if m.skeleton == nil {
		return nil
	}
	ref := blob.Ref{SHA256: m.record.Skeleton.Blob, Size: m.skeleton.Size()}
	_, err := m.engine.Blobs.Put(ctx, ref, func(w io.Writer) error {
		_, err := io.Copy(w, m.skeleton.Reader())
		return err
	})
	if err != nil {
		return fmt.Errorf("store the skeleton of the mail: %w", err)
	}
	return nil
}

// commit writes record, references and link in one transaction: the point of
// no return. A mail that has its record already gets its own link again.
func (m *Mail) commit(ctx context.Context, work []jobs.Job) (sisa.Grant, error) {
	record, key, wish := m.record, m.engine.LinkKey, m.wish()
	used, queue := m.references(), m.engine.Jobs
	link := new(sisa.Grant)
	entry := db.Entry{{Kind: "mail", Data: record}}
	if len(m.taken) > 0 {
		entry = append(entry, db.Fact{Kind: "link", Data: link})
	}
	for i := range work {
		entry = append(entry, db.Fact{Kind: "job", Data: &work[i]})
	}
	err := m.engine.DB.Commit(ctx, entry, func(ctx context.Context, tx db.Tx) error {
		existed, err := ledger.Put(ctx, tx, record)
		if err != nil {
			return err
		}
		wish := wish
		wish.Fresh = !existed
		for _, ref := range used {
			if err := sisa.Use(ctx, tx, ref.SHA256, ref.Size, wish.Now); err != nil {
				return err
			}
		}
		if err := enqueueAll(ctx, tx, queue, work); err != nil {
			return err
		}
		if len(wish.Parts) == 0 {
			return nil
		}
		g, err := sisa.Issue(ctx, tx, key, wish)
		*link = g
		return err
	})
	if err != nil {
		return sisa.Grant{}, about(TroubleDatabase, fmt.Errorf("record the mail: %w", err))
	}
	now := m.engine.Now()
	if slices.ContainsFunc(work, func(j jobs.Job) bool { return !j.NotBefore.After(now) }) {
		queue.Wake() // what is due later is found in time anyway
	}
	return *link, nil
}

// references lists the blobs that the record refers to, each once, by hash:
// two mails that share blobs lock the rows of these in the same order, and so
// never wait for each other in a circle.
func (m *Mail) references() []blob.Ref {
	var refs []blob.Ref
	for _, p := range m.taken {
		refs = append(refs, blob.Ref{SHA256: p.Content.SHA256, Size: p.Content.Size})
	}
	for _, k := range m.vaulted {
		refs = append(refs, k.of.ref)
	}
	if s := &m.record.Skeleton; !s.Blob.IsZero() {
		refs = append(refs, blob.Ref{SHA256: s.Blob, Size: s.Stored})
	}
	slices.SortFunc(refs, func(a, b blob.Ref) int { return bytes.Compare(a.SHA256[:], b.SHA256[:]) })
	return slices.Compact(refs)
}
