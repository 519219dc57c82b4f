package policy

import (
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// Direction is where a mail goes, seen from us, for one recipient.
type Direction string

// A sender or recipient is "ours" as the configuration's domains, trusted
// networks and authentication say.
const (
	Inbound  Direction = "inbound"  // other to ours
	Outbound Direction = "outbound" // ours to other
	Local    Direction = "local"    // ours to ours
	Relay    Direction = "relay"    // other to other
)

// Directions lists every direction, in the order documents name them.
func Directions() []Direction { return []Direction{Inbound, Outbound, Local, Relay} }

// Outside tells whether a recipient of this direction is not ours.
func (d Direction) Outside() bool { return d == Outbound || d == Relay }

// Facts is what rules may know of one mail.
type Facts struct {
	From   string   // MAIL FROM without angle brackets; "" is the null sender
	To     []string // every RCPT TO, without angle brackets
	User   string   // the authenticated user; "" when not authenticated
	Client netip.Addr
	Helo   string
	Host   string // the client's name as the MTA knows it
	Daemon string // the MTA's name for the service
	TLS    string // TLS version; "" without TLS

	FromGateway bool // the mail came by a verified gateway of a co-existing system
	// SenderPending tells that FromGateway, Sender and with them the directions
	// may change when the header comes, as a gateway can prove itself in a
	// header field. Only DecideRecipient looks at it.
	SenderPending bool
	Sender        *User // who sends, when a user of ours; nil otherwise

	Subject   string                     // decoded
	Header    func(name string) []string // decoded values of the header fields of this name; nil means none
	RawHeader func(name string) []string // the same as they came, topmost first, for what reads addresses; nil means none
	// AuthResults is what the verifiers that are trusted found, as ParseAuthResults gives it.
	AuthResults AuthResults
	Size        int64     // bytes of the message; negative while not known
	Time        time.Time // when MAIL FROM came

	Recipients  []Recipient
	Attachments []Attachment // read by Decide and Explain; before the end of the mail they are not known
}

// User is a person as rules see them: what the envelope says and what the
// directory knows.
type User struct {
	Address    string
	Local      string // what stands before the last "@"
	Domain     string // as Domain gives it
	Groups     []string
	Department string
	System     string // the co-existing system that has the mailbox; "" when it is here
}

// Recipient is one RCPT TO as rules see it.
type Recipient struct {
	Address   string
	Local     string // what stands before the last "@"
	Domain    string // as Domain gives it
	Direction Direction

	Groups     []string // in the directory; none for strangers
	Department string
	System     string // the co-existing system that has the mailbox; "" when it is here

	// Leaves tells that the mail goes on to a co-existing system: its attachments
	// stay in it unless a rule says otherwise.
	Leaves bool
}

func (r *Recipient) user() User {
	return User{Address: r.Address, Local: r.Local, Domain: r.Domain, Groups: r.Groups, Department: r.Department, System: r.System}
}

// Attachment is one part of the mail that may become a link.
type Attachment struct {
	Part        int      // the part's index in the message tree
	Name        string   // the file name shown to people; "" when the part names none
	Names       []string // every name any mail reader might pick
	Extension   string   // of Name, without the dot
	Type        string   // declared media type
	Sniffed     string   // media type told by the first bytes
	Size        int64    // decoded bytes
	Inline      bool     // an image the HTML body shows in place
	Disposition string   // "attachment", "inline" or ""
	ContentID   string   // without angle brackets
	SHA256      string   // hex, of the decoded bytes
	// Inside looks into the content. It is called when a rule asks for what it
	// tells, more than once then; nil means that there is nothing inside.
	Inside func() (Inside, error)
}

// Inside is what a look into an attachment tells.
type Inside struct {
	Encrypted bool     // it needs a password
	Names     []string // of the files in it, where it is an archive
	Complete  bool     // Names has all of them
}

func (a *Attachment) inside() (Inside, error) {
	if a.Inside == nil {
		return Inside{Complete: true}, nil
	}
	return a.Inside()
}

// Domain is the domain of an address (bare, or at the end of "Name <address>")
// in lower case, without a trailing dot; internationalised labels come in
// their ASCII form (RFC 5890 A-labels). It is "" when there is no "@".
func Domain(address string) string {
	s := strings.TrimSpace(address)
	if strings.HasSuffix(s, ">") {
		s = s[strings.LastIndexByte(s, '<')+1 : len(s)-1]
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return ""
	}
	domain := strings.ToLower(strings.TrimSuffix(s[at+1:], "."))
	if isASCII(domain) {
		return domain
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return domain // not a name IDNA knows: compared as it is written
	}
	return ascii
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
