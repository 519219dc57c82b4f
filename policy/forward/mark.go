package forward

// Loop marks: a header field by which a mail that comes back is known, and from
// which its readers learn nothing.
//
// A field like Delivered-To would name Bcc recipients to everyone who gets the
// same body. A mark is an HMAC over recipient and route instead, with a salt of
// the mail, for otherwise whoever knows somebody's mark from one mail would find
// the same one in another. The number of marks would still tell how many were
// forwarded, so they are filled up to whole rows with ones that fit nobody.
//
// What remains: who has a copy can send it again to an address and sees from our
// refusal that this address was among the forwarded ones. No mark that survives
// an honest loop can prevent that.

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MarkHeader is the name of the header field that holds loop marks.
const MarkHeader = "X-Cloakroom-Hop"

const (
	markVersion   = "v1"
	markKeyIDSize = 4  // octets; tells keys apart, proves nothing
	markSaltSize  = 12 // octets; mails with equal salts are not to be expected
	markSize      = 16 // octets: HMAC-SHA-256 truncated to 128 bits
	marksPerField = 8  // a field of 212 octets, far below the 998 of RFC 5322 section 2.1.1

	// maxMarkFields is how many of our fields are looked at, from the top: those
	// of a mail to 1,024 forwarded recipients. More are a sender's who wants us
	// to calculate; the number of Received fields still ends his loop.
	maxMarkFields = 128
	// maxMarkValues bounds the fields that are parsed, other sites' included.
	maxMarkValues = 1024
)

type mark [markSize]byte

type markKey struct {
	id  string
	key []byte
}

type marker struct{ keys []markKey }

func newMarker(keys [][]byte) (*marker, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("no key")
	}
	m := &marker{}
	for _, k := range keys {
		if len(k) < minKey {
			return nil, fmt.Errorf("a key has %d octets, want at least %d", len(k), minKey)
		}
		id := mac(k, "mark key id")[:markKeyIDSize]
		m.keys = append(m.keys, markKey{id: hex.EncodeToString(id), key: bytes.Clone(k)})
	}
	return m, nil
}

// mac is HMAC-SHA-256 over fields, each with its length before it, so that no
// two lists of fields are the same input.
func mac(key []byte, fields ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, f := range fields {
		h.Write([]byte(strconv.Itoa(len(f)) + ":" + f))
	}
	return h.Sum(nil)
}

func (k markKey) mark(salt []byte, r *route, local string) mark {
	return mark(mac(k.key, "mark", string(salt), r.Domain, r.Alternate, foldKey(local, r.Domain))[:markSize])
}

// Stamp gives the values of the MarkHeader fields for a mail that is forwarded
// as decided; none when nothing is. mail is the mail key: the same mail gets
// the same marks, so that a repetition changes nothing.
func (t *Routes) Stamp(decisions []Decision, mail []byte) []string {
	if t.Len() == 0 {
		return nil
	}
	k := t.marker.keys[0]
	salt := mac(k.key, "mark salt", string(mail))[:markSaltSize]
	var marks []mark
	for _, d := range decisions {
		if d.Kind != Forward {
			continue
		}
		local, _, _ := split(d.Recipient)
		if m := k.mark(salt, &t.routes[d.Route], local); !slices.Contains(marks, m) {
			marks = append(marks, m)
		}
	}
	if len(marks) == 0 {
		return nil
	}
	for i := 0; len(marks)%marksPerField != 0; i++ {
		marks = append(marks, mark(mac(k.key, "mark filler", string(salt), strconv.Itoa(i))[:markSize]))
	}
	slices.SortFunc(marks, func(a, b mark) int { return bytes.Compare(a[:], b[:]) })
	var out []string
	for row := range slices.Chunk(marks, marksPerField) {
		words := []string{markVersion, k.id, base64.RawURLEncoding.EncodeToString(salt)}
		for _, m := range row {
			words = append(words, base64.RawURLEncoding.EncodeToString(m[:]))
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// Marks are the loop marks of ours that a mail carries.
type Marks struct{ sets []markSet }

// markSet is the marks with one key and salt.
type markSet struct {
	key   markKey
	salt  []byte
	marks []mark
}

// ReadMarks reads the values of a mail's MarkHeader fields, top down. What
// others wrote is ignored, and so is what is malformed.
func (t *Routes) ReadMarks(values []string) Marks {
	var out Marks
	if t.Len() == 0 {
		return out
	}
	ours := 0
	for _, v := range values[:min(len(values), maxMarkValues)] {
		set, ok := t.marker.parse(v)
		if !ok {
			continue
		}
		if ours++; ours > maxMarkFields {
			break
		}
		same := slices.IndexFunc(out.sets, func(s markSet) bool {
			return s.key.id == set.key.id && bytes.Equal(s.salt, set.salt)
		})
		if same >= 0 {
			out.sets[same].marks = append(out.sets[same].marks, set.marks...)
			continue
		}
		out.sets = append(out.sets, set)
	}
	return out
}

func (m *marker) parse(value string) (markSet, bool) {
	words := strings.Fields(value)
	if len(words) < 4 || len(words) > 3+marksPerField || words[0] != markVersion {
		return markSet{}, false
	}
	i := slices.IndexFunc(m.keys, func(k markKey) bool { return k.id == words[1] })
	salt, err := base64.RawURLEncoding.DecodeString(words[2])
	if i < 0 || err != nil || len(salt) != markSaltSize {
		return markSet{}, false
	}
	set := markSet{key: m.keys[i], salt: salt}
	for _, w := range words[3:] {
		b, err := base64.RawURLEncoding.DecodeString(w)
		if err != nil || len(b) != markSize {
			return markSet{}, false
		}
		set.marks = append(set.marks, mark(b))
	}
	return set, true
}

// has tells whether the mail was forwarded for this local part by this route.
func (m Marks) has(r *route, local string) bool {
	for _, set := range m.sets {
		want, found := set.key.mark(set.salt, r, local), 0
		for i := range set.marks {
			found |= subtle.ConstantTimeCompare(set.marks[i][:], want[:])
		}
		if found == 1 {
			return true
		}
	}
	return false
}
