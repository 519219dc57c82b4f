package message

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
)

// Inspector is a Sink that learns what each leaf holds while the body goes
// by: size, SHA-256, sniffed type and layout of the decoded content. It also
// makes the digest of the body.
type Inspector struct {
	outside hash.Hash // bytes no leaf's content hash accounts for
	leaves  hash.Hash // one line a leaf

	// copyTo, if not nil, is asked for each leaf where its decoded content goes
	// to beside; nil is nowhere.
	copyTo func(p *Part) io.Writer
	copy   io.Writer

	content hash.Hash
	size    int64
	prefix  []byte // of the decoded content, for sniffing
	base64  base64Reader
	qp      qpReader
	to      io.Writer // decoder of the current leaf
	part    *Part
}

// NewInspector returns an Inspector for one message.
func NewInspector() *Inspector {
	return &Inspector{outside: sha256.New(), leaves: sha256.New(), content: sha256.New()}
}

// CopyTo has decoded content written as it goes by. to is asked when the first
// bytes of a leaf come, after its header is known, and may return nil. A writer
// that fails keeps that to itself.
func (in *Inspector) CopyTo(to func(p *Part) io.Writer) { in.copyTo = to }

// Outside implements Sink.
func (in *Inspector) Outside(b []byte) { in.outside.Write(b) }

// Content implements Sink.
func (in *Inspector) Content(p *Part, b []byte) {
	if in.part != p {
		in.begin(p)
	}
	in.to.Write(b)
}

// decoded counts, hashes and sniffs decoded bytes.
type decoded struct{ in *Inspector }

func (d decoded) Write(b []byte) (int, error) {
	d.in.size += int64(len(b))
	d.in.content.Write(b)
	if room := SniffLen - len(d.in.prefix); room > 0 {
		d.in.prefix = append(d.in.prefix, b[:min(room, len(b))]...)
	}
	if d.in.copy != nil {
		d.in.copy.Write(b)
	}
	return len(b), nil
}

func (in *Inspector) begin(p *Part) {
	in.part = p
	in.size, in.prefix = 0, in.prefix[:0]
	in.content.Reset()
	if in.copy = nil; in.copyTo != nil {
		in.copy = in.copyTo(p)
	}
	switch p.Encoding {
	case "base64":
		in.base64.reset(decoded{in}, in.outside)
		in.to = &in.base64
	case "quoted-printable":
		in.qp.reset(decoded{in})
		in.to = io.MultiWriter(&in.qp, in.outside)
	default:
		in.to = decoded{in}
	}
}

// End implements Sink.
func (in *Inspector) End(p *Part) {
	if in.part != p {
		in.begin(p) // empty content
	}
	c := p.Content
	note := ""
	switch p.Encoding {
	case "base64":
		in.base64.close()
		c.Layout, note = in.base64.layout, in.base64.prefix
		setDefect(c, in.base64.defect)
	case "quoted-printable":
		in.qp.close()
		setDefect(c, in.qp.defect)
	case "7bit", "8bit", "binary":
		c.Layout = Layout{kind: layoutIdentity}
	default:
		c.Layout = Layout{kind: layoutIdentity}
		setDefect(c, "unknown Content-Transfer-Encoding "+p.Encoding)
	}
	c.Size = in.size
	in.content.Sum(c.SHA256[:0])
	c.Sniffed = Sniff(in.prefix)
	in.part = nil

	var where [24]byte
	binary.BigEndian.PutUint64(where[0:], uint64(p.Body.Start))
	binary.BigEndian.PutUint64(where[8:], uint64(p.Body.End))
	binary.BigEndian.PutUint64(where[16:], uint64(c.Size))
	in.leaves.Write(where[:])
	in.leaves.Write(c.SHA256[:])
	io.WriteString(in.leaves, c.Layout.String()+"\x00"+note+"\x00")
}

func setDefect(c *Content, reason string) {
	if c.Defect == "" {
		c.Defect = reason
	}
}

// Digest returns the digest of the whole body. Two bodies with the same
// digest are the same bytes.
func (in *Inspector) Digest() (d [32]byte) {
	h := sha256.New()
	h.Write(in.outside.Sum(nil))
	h.Write(in.leaves.Sum(nil))
	h.Sum(d[:0])
	return d
}
