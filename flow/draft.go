package flow

// Drafts: large parts are written into the store while they come in, so that at
// the end of the mail little is left to do.

import (
	"context"
	"hash/crc32"
	"io"
	"sync"

	"cloakroom/message"
	"cloakroom/policy"
	"cloakroom/sisa/blob"
)

// draftFrom is the size of decoded content from which a part is drafted. What
// is smaller stays in memory, as long as all of it together is smaller too; else
// it is decoded again where it is needed, which costs less than a file that may
// not be wanted.
const draftFrom = 256 << 10

// heldBuffers keep small parts, and what came before a draft began.
var heldBuffers = sync.Pool{New: func() any { return new([draftFrom]byte) }}

// Drafter is a store that takes content before its hash is known, and content
// whose hash it need not compute again.
type Drafter interface {
	Draft() (*blob.Draft, error)
	PutHashed(ctx context.Context, ref blob.Ref, content []byte) (existed bool, err error)
}

// drafts are those of one mail. Parts come one after the other.
type drafts struct {
	store   Drafter                    // nil: none are made
	wanted  func(p *message.Part) bool // whether a rule may take the part
	current *drafting
	kept    map[int]*blob.Draft // by part
	held    *[draftFrom]byte
	used    int          // bytes of held that small parts lie in
	small   map[int]held // of them, by part
}

// held is the content of a small part, with a checksum of what came: its SHA-256
// is of that, and bytes that lay around for a while are cheaply told to be the same.
type held struct {
	content []byte
	sum     uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// drafting is the content of the part that comes in: in memory, then in a file.
type drafting struct {
	all   *drafts
	part  *message.Part
	n     int    // bytes in memory, behind those of small parts
	sum   uint32 // their checksum
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
	m.drafts = drafts{store: d, wanted: m.mayTake, kept: make(map[int]*blob.Draft), small: make(map[int]held)}
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
	d.settle()
	if p.Encoding != "base64" || d.store == nil { // what is not in base64 is text, or small
		return nil
	}
	d.current = &drafting{all: d, part: p}
	return d.current
}

// settle ends the part that came in.
func (d *drafts) settle() {
	if c := d.current; c != nil && c.n > 0 {
		d.small[c.part.Index] = held{d.held[d.used : d.used+c.n], c.sum}
		d.used += c.n
	}
	d.current = nil
}

// Write takes decoded content. It never fails: a part whose draft does is decoded
// again at the end.
func (c *drafting) Write(b []byte) (int, error) {
	switch {
	case c.off:
	case c.draft == nil && c.n+len(b) < draftFrom:
		c.hold(b)
	case c.draft == nil:
		c.start(b)
	default:
		if _, err := c.draft.Write(b); err != nil {
			c.stop()
		}
	}
	return len(b), nil
}

// hold keeps content in memory. Where there is no room, the parts before give way.
func (c *drafting) hold(b []byte) {
	d := c.all
	if d.held == nil {
		d.held = heldBuffers.Get().(*[draftFrom]byte)
	}
	if d.used+c.n+len(b) > draftFrom {
		clear(d.small)
		copy(d.held[:], d.held[d.used:d.used+c.n])
		d.used = 0
	}
	c.n += copy(d.held[d.used+c.n:], b)
	c.sum = crc32.Update(c.sum, castagnoli, b)
}

func (c *drafting) start(b []byte) {
	before := c.n
	c.n = 0
	if !c.all.wanted(c.part) {
		c.off = true
		return
	}
	d, err := c.all.store.Draft()
	if err != nil {
		c.off = true
		return
	}
	c.draft, c.all.kept[c.part.Index] = d, d
	if before > 0 {
		_, err = d.Write(c.all.held[c.all.used : c.all.used+before])
	}
	if err == nil {
		_, err = d.Write(b)
	}
	if err != nil {
		c.stop()
	}
}

func (c *drafting) stop() {
	c.off = true
	c.draft.Discard()
	delete(c.all.kept, c.part.Index)
}

// put makes content durable: by the part's draft if it has one, else by writing it
// anew.
func (d *drafts) put(ctx context.Context, s blob.Store, part int, ref blob.Ref, content func(io.Writer) error) (existed bool, err error) {
	d.settle()
	if h := d.small[part]; int64(len(h.content)) == ref.Size && ref.Size > 0 && crc32.Checksum(h.content, castagnoli) == h.sum {
		return d.store.PutHashed(ctx, ref, h.content)
	}
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
	for _, draft := range d.kept {
		draft.Discard()
	}
	if d.held != nil {
		heldBuffers.Put(d.held)
	}
	*d = drafts{}
}
