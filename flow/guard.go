package flow

// Who may open a mail's link, as its rules say.

import (
	"fmt"
	"slices"

	"cloakroom/policy"
	"cloakroom/sisa"
)

// guard is what the link to all that is taken asks of whoever opens it. A code
// goes to those who get the link: who left the transaction has the files.
func (m *Mail) guard(all policy.Linked) sisa.Guard {
	o := all.Options
	g := sisa.Guard{ByMail: o.AsksRecipients(), Downloads: all.Downloads(), Notify: o.Notify && m.ours && m.env.Sender != ""}
	if o.AsksPassword() {
		g.Password = m.settings.LinkPasswords[o.PasswordFile]
	}
	if g.ByMail {
		for i, address := range m.env.RecipientAddresses() {
			if m.split.stays(i) {
				g.Recipients = append(g.Recipients, address)
			}
		}
		slices.Sort(g.Recipients)
		g.Recipients = slices.Compact(g.Recipients)
	}
	return g
}

// canGuard fails where a password is asked for that nobody read: the link would
// be open to all.
func (m *Mail) canGuard() error {
	if len(m.taken) == 0 {
		return nil
	}
	o := m.links.Together(m.linked()).Options
	if o.AsksPassword() && m.settings.LinkPasswords[o.PasswordFile] == "" {
		return fmt.Errorf("the password of links in %s is not known", o.PasswordFile)
	}
	return nil
}
