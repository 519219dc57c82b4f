package imapbox

// Where messages go.

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Place is a mailbox of a user of a server.
type Place struct {
	// TLS is from the first byte. Without it the connection changes to TLS before
	// it logs in, except to a loopback address.
	TLS     bool
	Host    string
	Port    string
	User    string
	Mailbox string // with / between its levels, whatever the server has there
}

// ParsePlace reads imaps://user@host[:port]/Mailbox, or imap://….
func ParsePlace(text string) (Place, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "imap" && u.Scheme != "imaps" || u.Hostname() == "" || u.User.Username() == "" {
		return Place{}, errors.New("write imaps://user@host/Mailbox; an @ in the user is %40")
	}
	if _, has := u.User.Password(); has {
		return Place{}, errors.New("a password on the command line is seen by everybody: give it in a file")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return Place{}, errors.New("a ? in the mailbox is written %3F, and a # is %23")
	}
	p := Place{TLS: u.Scheme == "imaps", Host: u.Hostname(), Port: u.Port(), User: u.User.Username(), Mailbox: strings.Trim(u.Path, "/")}
	if p.Mailbox == "" {
		p.Mailbox = "INBOX"
	}
	if !utf8.ValidString(p.Mailbox) || strings.ContainsFunc(p.Mailbox, unicode.IsControl) {
		return Place{}, errors.New("the mailbox has characters that no name can have")
	}
	if p.Port == "" {
		p.Port = map[bool]string{false: "143", true: "993"}[p.TLS]
	}
	return p, nil
}

// String is the place without what opens it.
func (p Place) String() string {
	scheme := "imap"
	if p.TLS {
		scheme = "imaps"
	}
	host := p.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return scheme + "://" + p.User + "@" + host + ":" + p.Port + "/" + p.Mailbox
}

func (p Place) loopback() bool {
	addr, err := netip.ParseAddr(p.Host)
	return p.Host == "localhost" || err == nil && addr.IsLoopback()
}
