package policy

// Who may open a link, how often, and who hears of it: options of rules, and
// how those of several rules become one.

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// What LinkOptions.Access can be.
const (
	// AccessAnyone lets in whoever has the link's address; so does "".
	AccessAnyone = "anyone"
	// AccessRecipients lets in who can read mail at one of the recipients' addresses.
	AccessRecipients = "recipients"
	// AccessPassword lets in who knows a password.
	AccessPassword = "password"
)

// maxDownloads bounds `downloads`; more is no limit.
const maxDownloads = 1_000_000

const accessForms = "write anyone (with the link; the default), recipients (a code goes to a recipient's mailbox) or password (with `password_file`)"

func (o LinkOptions) check() []mistake {
	switch {
	case o.Expires < 0:
		return mistakef("link.expires", "must not be negative")
	case o.Access != "" && o.Access != AccessAnyone && o.Access != AccessRecipients && o.Access != AccessPassword:
		return mistakef("link.access", "%q is not known; %s", o.Access, accessForms)
	case o.Access == AccessPassword && o.PasswordFile == "":
		return mistakef("link.access", "password needs `password_file`: a file with the line that `cloakroom links password` prints")
	case o.Access != AccessPassword && o.PasswordFile != "":
		return mistakef("link.password_file", "has no effect without `access: password`")
	case o.Downloads < 0 || o.Downloads > maxDownloads:
		return mistakef("link.downloads", "must be between 1 and %d; leave it out for no limit", maxDownloads)
	}
	return nil
}

// count is a number of downloads that knows the place of its error.
type count int

func (c *count) UnmarshalYAML(node ast.Node) error {
	n, ok := node.(*ast.IntegerNode)
	if !ok {
		return yamlError(node, "link.downloads: expected a number such as 10")
	}
	var value uint64
	switch v := n.Value.(type) {
	case uint64:
		value = v
	case int64: // below zero
	}
	if value < 1 || value > maxDownloads {
		return yamlError(node, "link.downloads: must be between 1 and %d; leave it out for no limit", maxDownloads)
	}
	*c = count(value)
	return nil
}

// AsksRecipients tells whether a code by mail has to be entered.
func (o LinkOptions) AsksRecipients() bool { return o.Access == AccessRecipients }

// AsksPassword tells whether a password has to be entered. Options that were
// made of several rules may ask for both.
func (o LinkOptions) AsksPassword() bool { return o.PasswordFile != "" }

// strictest is the shorter of two lifetimes, accepts loss where both do, and
// asks for what either asks. That two passwords differ is for the caller to see
// before.
func strictest(a, b LinkOptions) LinkOptions {
	out := LinkOptions{
		Expires: a.Expires, AcceptLoss: a.AcceptLoss && b.AcceptLoss, Forwarded: a.Forwarded && b.Forwarded,
		Access: a.Access, PasswordFile: a.PasswordFile, Downloads: a.Downloads, Notify: a.Notify || b.Notify,
	}
	if b.Expires != 0 && (out.Expires == 0 || b.Expires < out.Expires) {
		out.Expires = b.Expires
	}
	if b.Downloads != 0 && (out.Downloads == 0 || b.Downloads < out.Downloads) {
		out.Downloads = b.Downloads
	}
	if out.PasswordFile == "" {
		out.PasswordFile = b.PasswordFile
	}
	switch {
	case a.AsksRecipients() || b.AsksRecipients():
		out.Access = AccessRecipients
	case out.AsksPassword():
		out.Access = AccessPassword
	}
	return out
}

// passwordsDiffer tells that two rules ask for different passwords: one link
// cannot have both.
func passwordsDiffer(a, b LinkOptions) bool {
	return a.AsksPassword() && b.AsksPassword() && a.PasswordFile != b.PasswordFile
}

// passwordOf gives the options with the password that the decisions about one
// attachment ask for, if any does; differ tells that they ask for several.
func passwordOf(decisions []Decision) (o LinkOptions, differ bool) {
	for _, d := range decisions {
		if passwordsDiffer(o, d.Options) {
			return o, true
		}
		if d.Options.AsksPassword() {
			o = d.Options
		}
	}
	return o, false
}

// Together is the one link to several attachments: the strictest of their
// options.
func (p *Plan) Together(links []Linked) Linked {
	if len(links) == 0 {
		return Linked{}
	}
	all := links[0]
	for _, l := range links[1:] {
		all.Options = strictest(all.Options, l.Options)
	}
	return all
}

// Downloads is how often each file may be fetched; 0 is without limit. Our own
// users can always fetch theirs, as the stored file is the only copy, unless the
// rules accept its loss.
func (l Linked) Downloads() int {
	if l.AllOutside || l.Options.AcceptLoss {
		return l.Options.Downloads
	}
	return 0
}

// verdictWords are the options for people.
func (o LinkOptions) verdictWords() string {
	text := ""
	if o.Expires != 0 {
		text += fmt.Sprintf(", expires %s", o.Expires)
	}
	if o.AcceptLoss {
		text += ", accept_loss"
	}
	if o.Access != "" && o.Access != AccessAnyone {
		text += ", access " + o.Access
	}
	if o.Downloads != 0 {
		text += fmt.Sprintf(", downloads %d", o.Downloads)
	}
	if o.Notify {
		text += ", notify"
	}
	return text
}
