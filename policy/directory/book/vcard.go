package book

// vCard 4.0 (RFC 6350): one card for each user.

import (
	"crypto/sha1"
	"fmt"
	"strings"

	"cloakroom/policy/directory"
)

// maxCardLine is the length of a line in octets without its end (RFC 6350
// section 3.2).
const maxCardLine = 75

func (w *Writer) beginVCard(o Options) {
	w.put = func(u *directory.User) {
		full, given, family := names(u)
		if full == "" {
			full = u.Address // FN must be there (section 6.2.1)
		}
		w.cardLine("BEGIN:VCARD")
		w.cardLine("VERSION:4.0")
		w.cardLine("KIND:individual")
		w.cardLine("UID:" + cardUID(u.Address))
		w.cardLine("FN:" + cardText(full))
		if given != "" || family != "" {
			w.cardLine("N:" + cardText(family) + ";" + cardText(given) + ";;;")
		}
		for i, a := range addresses(u) {
			preference := ""
			if i == 0 {
				preference = ";PREF=1"
			}
			w.cardLine("EMAIL;TYPE=work" + preference + ":" + cardText(a))
		}
		department := clean(u.Department)
		switch {
		case department != "":
			w.cardLine("ORG:" + cardText(o.Organization) + ";" + cardText(department))
		case o.Organization != "":
			w.cardLine("ORG:" + cardText(o.Organization))
		}
		w.cardLine("END:VCARD")
		w.Users++
	}
}

// cardLine writes a content line, folded between characters.
func (w *Writer) cardLine(line string) {
	head, rest := cutRunes(line, maxCardLine)
	w.out.WriteString(head)
	for rest != "" {
		head, rest = cutRunes(rest, maxCardLine-1)
		w.out.WriteString("\r\n ")
		w.out.WriteString(head)
	}
	w.out.WriteString("\r\n")
}

// cardEscapes is RFC 6350 section 3.4.
var cardEscapes = strings.NewReplacer(`\`, `\\`, ",", `\,`, ";", `\;`, "\n", `\n`)

func cardText(s string) string { return cardEscapes.Replace(s) }

// urlNamespace is the name space of URLs (RFC 9562 section 6.6).
var urlNamespace = [16]byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}

// cardUID is the same for the same address each time, so that an import finds
// the card of the last one: a UUID of version 5 (RFC 9562 section 5.5).
func cardUID(address string) string {
	sum := sha1.Sum(append(urlNamespace[:], "mailto:"+address...))
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
