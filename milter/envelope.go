package milter

// Changes of the envelope as modification packets.

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"cloakroom/flow"
)

// edit is a modification packet.
type edit struct {
	code    byte
	payload []byte
}

// envelopeEdits gives the packets that change the envelope, and the actions that
// the MTA has to allow for them. Deletions go first: they match what is added.
func (x *transaction) envelopeEdits(out *flow.Outcome) (edits []edit, need gomilter.OptAction, err error) {
	if out.Sender != nil {
		if *out.Sender != "" { // "" is the null sender
			if err := checkAddress(*out.Sender); err != nil {
				return nil, 0, fmt.Errorf("new sender %q: %w", *out.Sender, err)
			}
		}
		need |= gomilter.OptChangeFrom
		edits = append(edits, edit{respChangeFrom, inBrackets(*out.Sender)})
	}
	if err := x.checkRecipients(out); err != nil {
		return nil, 0, err
	}
	for _, path := range x.deletedPaths(out.DeleteRecipients) {
		need |= gomilter.OptRemoveRcpt
		edits = append(edits, edit{respDelRcpt, append([]byte(path), 0)})
	}
	for i, r := range out.AddRecipients {
		if x.stays(r, out.DeleteRecipients) || contains(out.AddRecipients[:i], r.Address) {
			continue // Postfix would deliver twice
		}
		if len(r.Args) == 0 {
			need |= gomilter.OptAddRcpt
			edits = append(edits, edit{respAddRcpt, inBrackets(r.Address)})
			continue
		}
		need |= gomilter.OptAddRcptWithArgs
		payload := append(inBrackets(r.Address), strings.Join(r.Args, " ")...)
		edits = append(edits, edit{respAddRcptArgs, append(payload, 0)})
	}
	return edits, need, nil
}

func inBrackets(address string) []byte { return []byte("<" + address + ">\x00") }

// deletedPaths gives the paths that addresses came with, each once: an MTA
// takes all recipients off that match one.
func (x *transaction) deletedPaths(addresses []string) (paths []string) {
	for i, r := range x.env.Recipients {
		if slices.Contains(addresses, r.Address) && !slices.Contains(paths, x.paths[i]) {
			paths = append(paths, x.paths[i])
		}
	}
	return paths
}

// checkRecipients refuses what would lose mail, or send it to others than meant.
func (x *transaction) checkRecipients(out *flow.Outcome) error {
	for _, address := range out.DeleteRecipients {
		if !contains(x.env.Recipients, address) {
			return fmt.Errorf("recipient %q to delete: the message has no such recipient", address)
		}
	}
	for _, r := range out.AddRecipients {
		if err := checkAddress(r.Address); err != nil {
			return fmt.Errorf("recipient %q to add: %w", r.Address, err)
		}
		if err := checkArgs(r.Args); err != nil {
			return fmt.Errorf("recipient %q to add: %w", r.Address, err)
		}
		// Postfix 3.7 does it, but not every MTA forgets the deleted one when it
		// looks for duplicates of the added one.
		if slices.ContainsFunc(out.DeleteRecipients, func(d string) bool { return strings.EqualFold(d, r.Address) }) {
			return fmt.Errorf("recipient %q is to be deleted and added: an MTA may lose it", r.Address)
		}
	}
	left := func(r flow.Recipient) bool { return x.stays(r, out.DeleteRecipients) }
	if len(out.DeleteRecipients) > 0 && len(out.AddRecipients) == 0 && !slices.ContainsFunc(x.env.Recipients, left) {
		// MTAs accept such a message, and forget it.
		return errors.New("no recipient would be left, and the message would be gone")
	}
	return nil
}

// stays tells whether the message has the recipient, before and after.
func (x *transaction) stays(r flow.Recipient, deleted []string) bool {
	return contains(x.env.Recipients, r.Address) && !slices.Contains(deleted, r.Address)
}

func contains(recipients []flow.Recipient, address string) bool {
	return slices.ContainsFunc(recipients, func(r flow.Recipient) bool { return r.Address == address })
}

// checkAddress refuses what an MTA would read as another address, or as several.
// An address belongs to nobody but its domain, so the rest is left to the MTA.
func checkAddress(address string) error {
	if address == "" {
		return errors.New("empty address")
	}
	if len(address) > maxAddress {
		return fmt.Errorf("%d bytes are more than an address may have (%d)", len(address), maxAddress)
	}
	quoted, escaped := false, false
	for _, c := range []byte(address) {
		switch {
		case c < ' ' || c == 0x7f || c == '<' || c == '>':
			return fmt.Errorf("byte %#x in an address", c)
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(` ,;()\`, c) >= 0:
			return fmt.Errorf("byte %#x outside quotes in an address", c)
		}
	}
	if quoted {
		return errors.New("unbalanced quotes in an address")
	}
	return nil
}

// checkArgs takes what both MTAs do for an added recipient: NOTIFY and ORCPT
// (RFC 3461 section 4), each once.
func checkArgs(args []string) error {
	seen := map[string]bool{}
	size := 0
	for _, a := range args {
		keyword, value, _ := strings.Cut(a, "=")
		keyword = strings.ToUpper(keyword)
		if keyword != "NOTIFY" && keyword != "ORCPT" || value == "" || seen[keyword] {
			return fmt.Errorf("ESMTP argument %q: only NOTIFY=… and ORCPT=… can be given, once", a)
		}
		seen[keyword] = true
		size += len(a)
		for _, c := range []byte(value) {
			if c <= ' ' || c > '~' {
				return fmt.Errorf("byte %#x in the ESMTP argument %s", c, keyword)
			}
		}
	}
	if size > maxArgs {
		return fmt.Errorf("%d bytes of ESMTP arguments are more than %d", size, maxArgs)
	}
	return nil
}
