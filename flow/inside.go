package flow

// What rules may ask about the inside of an attachment, read from the spool
// when the first of them asks.

import (
	"fmt"
	"sync"

	"cloakroom/message"
	"cloakroom/message/archive"
	"cloakroom/policy"
)

// inside looks into part p when it is called, once. It costs one more decoding
// of the part, two for a zip, and is free for mail whose rules do not ask.
func (m *Mail) inside(p *message.Part) func() (policy.Inside, error) {
	return sync.OnceValues(func() (policy.Inside, error) {
		r := p.OpenContent(m.spool)
		defer r.Close()
		c, err := archive.Read(r, p.Content.Size)
		if err != nil {
			return policy.Inside{}, fmt.Errorf("look into part %d: %w", p.Index, err)
		}
		// Where readers may decode other bytes than we did, there may be another
		// archive in them.
		return policy.Inside{Encrypted: c.Encrypted, Names: c.Names, Complete: c.Complete && p.Content.Defect == ""}, nil
	})
}
