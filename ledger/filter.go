package ledger

// Which mails an administrator means: by id, address, file, age.

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// NullSender is how the empty MAIL FROM is written in a filter.
const NullSender = "<>"

// Filter selects mails; zero fields select all. Addresses and file names are
// compared without regard to case; on SQLite that holds for ASCII letters only.
type Filter struct {
	Mail      string    // queue id, Message-ID with or without its angle brackets, or key
	Sender    string    // MAIL FROM, or @domain; NullSender is the empty one
	Recipient string    // RCPT TO, or @domain
	Address   string    // sender or recipient, or @domain
	File      string    // name of a linked file; * and ? are wildcards
	Before    time.Time // it came earlier than this
	Since     time.Time // it came then or later
}

// IsZero tells a filter that selects all.
func (f Filter) IsZero() bool { return f == Filter{} }

// Conditions collects the conditions of a query with their arguments.
type Conditions struct {
	text []string
	Args []any
}

// Arg adds an argument and gives the text that stands for it.
func (c *Conditions) Arg(v any) string {
	c.Args = append(c.Args, v)
	return "$" + strconv.Itoa(len(c.Args))
}

// And adds a condition.
func (c *Conditions) And(format string, args ...any) {
	c.text = append(c.text, "("+fmt.Sprintf(format, args...)+")")
}

// String is the text for WHERE.
func (c *Conditions) String() string {
	if len(c.text) == 0 {
		return "1 = 1"
	}
	return strings.Join(c.text, " AND ")
}

// Where adds the filter's conditions on the row m of mails. when is the column
// that its times are about.
func (f Filter) Where(c *Conditions, when string) {
	if f.Mail != "" {
		c.And("%s", mailIs(c, f.Mail))
	}
	if f.Sender != "" {
		c.And("%s", senderIs(c, f.Sender))
	}
	if f.Recipient != "" {
		c.And("%s", recipientIs(c, f.Recipient))
	}
	if f.Address != "" {
		c.And("%s OR %s", senderIs(c, f.Address), recipientIs(c, f.Address))
	}
	if f.File != "" {
		c.And(`EXISTS (SELECT 1 FROM parts fp WHERE fp.mail = m.key AND fp.linked = 1 AND %s)`, fileIs(c, f.File))
	}
	if !f.Before.IsZero() {
		c.And("%s < %s", when, c.Arg(f.Before.UnixMilli()))
	}
	if !f.Since.IsZero() {
		c.And("%s >= %s", when, c.Arg(f.Since.UnixMilli()))
	}
}

// globPattern writes a file pattern as one of LIKE, plainPattern a text that
// stands for itself.
var (
	globPattern  = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`, `?`, `_`)
	plainPattern = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
)

// mailIs takes a queue id, a Message-ID or a key.
func mailIs(c *Conditions, mail string) string {
	bare := strings.TrimSuffix(strings.TrimPrefix(mail, "<"), ">")
	text := fmt.Sprintf("m.queue_id = %s OR m.message_id = %s", c.Arg(mail), c.Arg("<"+bare+">"))
	if raw, err := hex.DecodeString(mail); err == nil && len(raw) == len(Key{}) {
		text += " OR m.key = " + c.Arg(raw)
	}
	return text
}

// fileIs is about the name of the part fp.
func fileIs(c *Conditions, name string) string {
	if !strings.ContainsAny(name, "*?") {
		return "LOWER(fp.name) = LOWER(" + c.Arg(name) + ")"
	}
	return "LOWER(fp.name) LIKE LOWER(" + c.Arg(globPattern.Replace(name)) + `) ESCAPE '\'`
}

func senderIs(c *Conditions, address string) string {
	switch {
	case address == NullSender:
		return "m.sender = '' AND m.forgotten IS NULL"
	case strings.HasPrefix(address, "@"):
		return fmt.Sprintf(`LOWER(m.sender) LIKE LOWER(%s) ESCAPE '\'`, c.Arg("%"+plainPattern.Replace(address)))
	}
	return fmt.Sprintf("LOWER(m.sender) = LOWER(%s)", c.Arg(address))
}

// recipientIs looks into the JSON text of the recipients, in which an address
// stands between quotes.
func recipientIs(c *Conditions, address string) string {
	quoted, err := json.Marshal(address)
	if err != nil { // a string always has its JSON
		quoted = []byte(`""`)
	}
	text := string(quoted)
	if strings.HasPrefix(address, "@") {
		text = text[1:]
	}
	return fmt.Sprintf(`LOWER(m.recipients) LIKE LOWER(%s) ESCAPE '\'`, c.Arg("%"+plainPattern.Replace(text)+"%"))
}
