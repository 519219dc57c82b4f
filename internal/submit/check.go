package submit

// Nothing that comes from a mail may add a command of its own to the session.

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxCommandText bounds an address or parameter in bytes. RFC 5321 (4.5.3.1)
// allows 256 for a path, RFC 3461 500 for ORCPT; MTAs decide themselves.
const maxCommandText = 1000

// errInvalid marks an envelope that no MTA could be told.
var errInvalid = errors.New("the envelope cannot be sent")

// check refuses what cannot be sent. A recipient that is no address at all is
// refused alone.
func (d *delivery) check() error {
	if len(d.env.To) == 0 {
		return fmt.Errorf("%w: it has no recipients", errInvalid)
	}
	if err := checkAddress(d.env.From); err != nil {
		return fmt.Errorf("%w: sender %q: %w", errInvalid, d.env.From, err)
	}
	for _, arg := range d.env.Args {
		if err := checkWord(arg); err != nil {
			return fmt.Errorf("%w: parameter %q of MAIL: %w", errInvalid, arg, err)
		}
	}
	d.utf8 = d.env.SMTPUTF8 || !ascii(d.env.From)
	left := 0
	for i, to := range d.env.To {
		err := checkAddress(to.Address)
		if err == nil && to.Address == "" {
			err = errors.New("it is empty")
		}
		for _, arg := range to.Args {
			if err == nil {
				err = checkWord(arg)
			}
		}
		if err != nil {
			d.refuse(i, Permanent, Reply{}, fmt.Errorf("%w: recipient %q: %w", errInvalid, to.Address, err))
			continue
		}
		left++
		d.utf8 = d.utf8 || !ascii(to.Address)
	}
	if left == 0 {
		return fmt.Errorf("%w: it has no valid recipient", errInvalid)
	}
	return nil
}

// checkAddress refuses what would end the path or the line. Which addresses
// exist is the MTA's business.
func checkAddress(a string) error {
	if len(a) > maxCommandText {
		return fmt.Errorf("%d bytes are too many", len(a))
	}
	if !utf8.ValidString(a) {
		return errors.New("it is not UTF-8")
	}
	quoted := false
	for i := 0; i < len(a); i++ {
		switch b := a[i]; {
		case b < ' ' || b == 0x7f:
			return errors.New("it has control characters")
		case b == '\\' && quoted && i+1 < len(a) && a[i+1] >= ' ' && a[i+1] != 0x7f:
			i++
		case b == '"':
			quoted = !quoted
		case !quoted && (b == '<' || b == '>' || b == ' '):
			return fmt.Errorf("it has %q outside of quotes", b)
		}
	}
	if quoted {
		return errors.New("its quotes do not end")
	}
	return nil
}

// checkWord refuses what is not one word on a command line.
func checkWord(s string) error {
	if s == "" || len(s) > maxCommandText {
		return fmt.Errorf("%d bytes are too few or too many", len(s))
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) || !utf8.ValidString(s) {
		return errors.New("it has blanks or control characters")
	}
	return nil
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
