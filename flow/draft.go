package flow

// Drafts: large parts are written into the store while they come in, so that at
// the end of the mail little is left to do.

import (
	"context"
	"io"
	"sync"

	"cloakroom/message"
	"cloakroom/policy"
	"cloakroom/sisa/blob"
)

// draftFrom is the size of decoded content from which a part is drafted. What
// is smaller is decoded again where it is needed, which costs less than a file
// that may not be wanted.
const draftFrom = 256 << 10

// heldBuffers keep what came before a draft began.
var heldBuffers = sync.Pool{New: func() any { return new([draftFrom]byte) }}

// Drafter is a store that takes content before its hash is known.
type Drafter interface {
	Draft() (*blob.Draft, error)
}

// drafts are those of one mail. Parts come one after the other.
type drafts struct {
	begin   func() (*blob.Draft, error) // nil: none are made
	wanted  func(p *message.Part) bool  // whether a rule may take the part
	current *drafting
	kept    map[int]*blob.Draft // by part
}

// drafting is the content of the part that comes in: in memory, then in a file.
type drafting struct {
	all   *drafts
	part  *message.Part
	held  *[draftFrom]byte
	n     int // bytes in held
	draft *blob.Draft
	off   bool // it could not be begun or written: the part is decoded again
}

// draft begins to draft what may become links or copies, where that is likely
// to be wanted.
func (m *Mail) draft() {
	d, ok := m.engine.Blobs.(Drafter)
	if !ok || m.settings.Observe || m.lowSpace() != "" || m.passes != "" && !m.settings.Policy.Vaults() {
		return
	}
	m.drafts = drafts{begin: d.Draft, wanted: m.mayTake, kept: make(map[int]*blob.Draft)}
	m.inspector.CopyTo(m.drafts.next)
}

// mayTake asks the rules about a part of which only the header has come.
func (m *Mail) mayTake(p *message.Part) bool {
	return m.settings.Policy.MayTake(m.facts(nil), &policy.Attachment{
		Part: p.Index, Name: p.Name, Names: p.Names, Extension: message.Extension(p.Name),
		Type: p.Type.Text, Disposition: p.Disposition.Text, ContentID: p.ContentID,
	})
}

// next is where the content of the next part goes.
func (d *drafts) next(p *message.Part) io.Writer {
	d.current.release()
	d.current = nil
	if p.Encoding != "base64" || d.begin == nil { // what is not in base64 is text, or small
		return nil
	}
	d.current = &drafting{all: d, part: p}
	return d.current
}

// Write takes decoded content. It never fails: a part whose draft does is decoded
// again at the end.
func (c *drafting) Write(b []byte) (int, error) {
	switch {
	case c.off:
	case c.draft == nil && c.n+len(b) < draftFrom:
		if c.held == nil {
			c.held = heldBuffers.Get().(*[draftFrom]byte)
		}
		c.n += copy(c.held[c.n:], b)
	case c.draft == nil:
		c.start(b)
	default:
		if _, err := c.draft.Write(b); err != nil {
			c.stop()
		}
	}
	return len(b), nil
}

func (c *drafting) start(b []byte) {
	if !c.all.wanted(c.part) {
		c.off = true
		c.release()
		return
	}
	d, err := c.all.begin()
	if err != nil {
		c.off = true
		return
	}
	c.draft, c.all.kept[c.part.Index] = d, d
	if c.held != nil {
		_, err = d.Write(c.held[:c.n])
	}
	if err == nil {
		_, err = d.Write(b)
	}
	c.release()
	if err != nil {
		c.stop()
	}
}

// release gives the buffer back.
func (c *drafting) release() {
	if c != nil && c.held != nil {
		heldBuffers.Put(c.held)
		c.held, c.n = nil, 0
	}
}

func (c *drafting) stop() {
	c.off = true
	c.draft.Discard()
	delete(c.all.kept, c.part.Index)
}

// put makes content durable: by its draft if the part has one, else by writing
// it anew.
func (d *drafts) put(ctx context.Context, s blob.Store, part int, ref blob.Ref, content func(io.Writer) error) (existed bool, err error) {
	draft := d.kept[part]
	if draft == nil {
		return s.Put(ctx, ref, content)
	}
	delete(d.kept, part)
	if existed, err = draft.Keep(ctx, ref); err == nil {
		return existed, nil
	}
	// Content does not lie: where the draft failed the disk may be full, and
	// the second try says so.
	return s.Put(ctx, ref, content)
}

// close ends what was not wanted.
func (d *drafts) close() {
	d.current.release()
	d.current = nil
	for _, draft := range d.kept {
		draft.Discard()
	}
	d.kept = nil
}
