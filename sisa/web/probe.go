package web

// A question that only this Cloakroom can ask and answer: whether what stands
// behind the public URL is ours. Who does not have the key sees an address that
// does not exist.

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// probeUse is the first part of a probe's path.
const probeUse = "w"

// Probe is one question. Path goes below the public URL, and Answer is what our
// own pages say there; neither tells anything about a link.
type Probe struct{ Path, Answer string }

// NewProbe makes a question that nobody has asked before. key is that of Parts.
func NewProbe(key []byte) Probe {
	nonce := strings.ToLower(rand.Text())
	s := signer{key}
	return Probe{Path: "/" + probeUse + "/" + nonce + "/" + s.probe("ask", nonce), Answer: s.probe("answer", nonce)}
}

// probe authenticates one side of a probe. No ticket begins so.
func (s signer) probe(side, nonce string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte("probe " + side + "/" + nonce))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:ticketMACBytes])
}

// probeTicket is a question as it came, unverified.
type probeTicket struct{ nonce, mac string }

func parseProbe(path string) (probeTicket, bool) {
	rest, ok := strings.CutPrefix(path, "/"+probeUse+"/")
	nonce, mac, both := strings.Cut(rest, "/")
	return probeTicket{nonce, mac}, ok && both
}

func (s *Site) answerProbe(x *exchange, p probeTicket) {
	x.text(s.signer.probe("answer", p.nonce))
}

// asks tells whether the question is one of ours.
func (s signer) asks(p probeTicket) bool {
	return hmac.Equal([]byte(s.probe("ask", p.nonce)), []byte(p.mac))
}
