package forward

// How loops are seen, and what the sender is told of them.
//
// A mail that we forward and that comes back has at least three Received fields
// more: ours, the other system's, and the one of the hop back, which Postfix
// does not show to milters as it is its own. The gateway and the marks stop it
// at its first return; the count stops what those two miss.

import (
	"fmt"
	"strings"
)

// Reply is an SMTP reply that refuses (RFC 5321 section 4.2, RFC 3463).
type Reply struct {
	Code     int    // 4xx or 5xx
	Enhanced string // such as "5.4.6"; its class is that of Code
	Text     string // one line for people
}

// maxReplyAddress is how many octets of an address a reply quotes: with the
// longest text it stays below the 512 of RFC 5321 section 4.5.3.1.5.
const maxReplyAddress = 120

// loopOf tells why forwarding would only continue a loop; why is "" when it
// would not.
func loopOf(r *route, recipient, local string, f *Facts) (why string, reply Reply) {
	switch {
	case f.Arrival.from(r.Alternate):
		return fmt.Sprintf("it came from the system behind %s, where its mailbox should be", r.Alternate),
			loopReply(r, "mail loop: both mail systems believe that the mailbox %s is in the other one; create it behind %s, or list it as a mailbox of this one", recipient, r.Alternate)
	case f.Marks.has(r, local):
		return fmt.Sprintf("it was forwarded to %s before, and came back", r.Alternate),
			loopReply(r, "mail loop: mail for %s was forwarded to %s and came back; the mail system there must deliver it or refuse it", recipient, r.Alternate)
	case TooManyHops(f.Received, r.MaxReceived):
		return fmt.Sprintf("it has %d Received fields, max_received is %d", f.Received, r.MaxReceived),
			loopReply(r, "mail loop: too many hops on the way to %s, it is not sent on to %s", recipient, r.Alternate)
	}
	return "", Reply{}
}

// TooManyHops tells whether a mail with so many Received fields, this MTA's own
// not counted, has no hop left: max_received is the first number refused.
func TooManyHops(received, maxReceived int) bool { return received >= maxReceived }

// loopReply is X.4.6, "routing loop detected" (RFC 3463 section 3.5). format
// takes the recipient and a domain.
func loopReply(r *route, format, recipient, domain string) Reply {
	reply := Reply{Code: r.LoopReply, Enhanced: "5.4.6", Text: fmt.Sprintf(format, printable(recipient), domain)}
	if reply.Code < 500 {
		reply.Enhanced = "4.4.6"
	}
	return reply
}

// printable is an address as a reply can show it: in ASCII, as the client may
// not have asked for more (RFC 6531 section 3.4), and not too long.
func printable(address string) string {
	var b strings.Builder
	for i, r := range address {
		if i >= maxReplyAddress {
			b.WriteString("...")
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
