package policy

// Addresses as people write them into header fields (RFC 5322 section 3.4).

import "strings"

// Addresses lists the addresses in the values of an address field such as From
// or Cc, as they came: names, comments and encoded words are left out and never
// taken for an address. A malformed value gives what can be told apart in it.
func Addresses(values []string) []string {
	var out []string
	for _, value := range values {
		for _, mailbox := range mailboxes(value) {
			if mailbox != "" {
				out = append(out, mailbox)
			}
		}
	}
	return out
}

// mailboxes takes the value apart at the commas, colons and semicolons that
// stand outside quotes, comments and angle brackets. Colons and semicolons
// enclose a group (RFC 5322 section 3.4), whose name is no address.
func mailboxes(value string) []string {
	var out []string
	var text, angle strings.Builder
	inAngle, hasAngle := false, false
	comment := 0
	end := func() {
		address := text.String()
		if hasAngle {
			address = angle.String()
		}
		out = append(out, bare(address))
		text.Reset()
		angle.Reset()
		inAngle, hasAngle = false, false
	}
	write := func(s string) {
		if inAngle {
			angle.WriteString(s)
		} else {
			text.WriteString(s)
		}
	}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case comment > 0:
			switch c {
			case '\\':
				i++
			case '(':
				comment++
			case ')':
				comment--
			}
		case c == '(':
			comment++
		case c == '"':
			n, closed := quotedEnd(value[i:])
			if !closed {
				return out // nobody can tell what belongs to the name
			}
			write(value[i : i+n])
			i += n - 1
		case c == '<' && !inAngle:
			angle.Reset() // of several, the last is the one mail readers show
			inAngle, hasAngle = true, true
		case c == '>' && inAngle:
			inAngle = false
		case inAngle:
			write(value[i : i+1])
		case c == ':' && !hasAngle:
			text.Reset() // the group's name
		case c == ',' || c == ';':
			end()
		default:
			write(value[i : i+1])
		}
	}
	end()
	return out
}

// quotedEnd is the length of the quoted string at the beginning of s. Without a
// closing quote it ends with s.
func quotedEnd(s string) (n int, closed bool) {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1, true
		}
	}
	return len(s), false
}

// bare is the address without white space around and, outside quotes, in it
// (folding may have put some there). What has no "@" is no address.
func bare(address string) string {
	var b strings.Builder
	for i := 0; i < len(address); i++ {
		switch c := address[i]; c {
		case ' ', '\t', '\r', '\n':
		case '"':
			n, _ := quotedEnd(address[i:])
			b.WriteString(address[i : i+n])
			i += n - 1
		default:
			b.WriteByte(c)
		}
	}
	if !strings.Contains(b.String(), "@") {
		return ""
	}
	return b.String()
}
