// Package tally keeps sums of what rules do to mail, and of what they would do
// in `mode: observe`: by day, rule and action, and by whose mail it was.
//
// Counting is a few additions in memory; what was counted is written down in
// batches, apart from the mail path. A crash loses what was counted since the
// last batch, and nothing waits for it, or fails because of it.
//
// Limits: people outside are counted by their domain; per day there is room for
// maxPeople of a role, and whoever comes later is counted as one. Contents are
// compared by 64 bits of their SHA-256, and maxContents of them are remembered.
package tally

import (
	"encoding/binary"
	"sync"
	"time"

	"cloakroom/internal/db"
)

// Migrations make the tables of this package. A day is its begin, in UTC, in
// milliseconds.
var Migrations = []db.Migration{{Name: "tally-1", SQL: `
CREATE TABLE tally (
	day BIGINT NOT NULL,
	observed INTEGER NOT NULL,
	action TEXT NOT NULL,
	rule TEXT NOT NULL,
	detail TEXT NOT NULL,
	direction TEXT NOT NULL,
	mails BIGINT NOT NULL,
	parts BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	PRIMARY KEY (day, observed, action, rule, detail, direction)
);
CREATE TABLE tally_people (
	day BIGINT NOT NULL,
	observed INTEGER NOT NULL,
	role TEXT NOT NULL,
	who TEXT NOT NULL,
	mails BIGINT NOT NULL,
	parts BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	PRIMARY KEY (day, observed, role, who)
);
CREATE TABLE tally_contents (
	sum BIGINT PRIMARY KEY,
	day BIGINT NOT NULL
);
CREATE INDEX tally_contents_day ON tally_contents (day);
`}}

const (
	// maxPeople have rows of their own, for a day, a mode and a role.
	maxPeople = 5000
	// maxContents are remembered to tell files that come again: some 30 MB of
	// database, and more than a company of ten thousand sends in a month.
	maxContents = 500_000
	// maxPending are the keys that are counted between two batches; what else
	// comes is summed up.
	maxPending = 20_000
	// keep is how long days are kept: a quarter, to compare.
	keep = 92 * 24 * time.Hour
)

// Actions, as they are counted. Those of rules have the names of their slots.
const (
	Seen       = "mail"   // every mail that was answered; the detail is its verdict
	Linked     = "linked" // mails with links, by whatever rules
	Link       = "link"
	Vault      = "vault"            // the detail is target and space
	Forward    = "forward"          // parts are recipients; the detail is the other system's domain
	Loop       = "loop"             // refused, as it goes in circles; parts are recipients
	Reject     = "reject"           // the whole mail
	Recipient  = "reject recipient" // at RCPT; parts are recipients
	Quarantine = "quarantine"
	Header     = "header"
	Tag        = "tag"
	Stays      = "stays"      // a rule links it, and it stays in the mail; the detail says why
	Repeated   = "repeated"   // of the links' files: those that had come before
	Uncompared = "uncompared" // of the links' files: those of which that is not known
	Stored     = "stored"     // bytes that were new to the store
)

// Roles of people.
const (
	From = "from"
	To   = "to"
)

// Act is something that was done to a mail, or would have been.
type Act struct {
	Action, Rule, Detail string
	Parts                int
	Bytes                int64
}

// Add adds an act to those that the mail has.
func (m *Mail) Add(a Act) {
	for i := range m.Acts {
		if have := &m.Acts[i]; have.Action == a.Action && have.Rule == a.Rule && have.Detail == a.Detail {
			have.Parts += a.Parts
			have.Bytes += a.Bytes
			return
		}
	}
	m.Acts = append(m.Acts, a)
}

// Content is a file that would have become a link.
type Content struct {
	SHA256 [32]byte
	Size   int64
}

// Mail is what is counted of one mail. It has no two acts that differ in parts
// and bytes alone.
type Mail struct {
	At       time.Time
	Observed bool // what rules would have done
	// Direction is that of all recipients, or "mixed".
	Direction string
	Acts      []Act
	// Files are compared with those that came before; nil: not.
	Files []Content
	// From and To are who sent and who got what becomes a link: an address of
	// ours, or a domain behind an @.
	From string
	To   []string
}

// key is what rows are counted by.
type key struct {
	day                             int64
	observed                        bool
	action, rule, detail, direction string
}

// personKey is what people are counted by.
type personKey struct {
	day       int64
	observed  bool
	role, who string
}

// sums are what is counted.
type sums struct{ mails, parts, bytes int64 }

func (s sums) plus(t sums) sums { return sums{s.mails + t.mails, s.parts + t.parts, s.bytes + t.bytes} }

// contentKey is a file that was seen on a day.
type contentKey struct {
	sum int64
	day int64
}

// pending is what was counted since the last batch.
type pending struct {
	rows     map[key]sums
	people   map[personKey]sums
	contents map[contentKey]sums // times it was seen are mails
}

func newPending() *pending {
	return &pending{rows: make(map[key]sums), people: make(map[personKey]sums), contents: make(map[contentKey]sums)}
}

// Counter counts. It is safe for concurrent use.
type Counter struct {
	mu  sync.Mutex
	now *pending

	// Of the last flush, which alone uses them.
	people   map[personKey]int64 // people with rows of their own, by all but who
	contents int64               // how many are remembered
	loaded   bool
	purged   int64 // the day of the last purge
}

// NewCounter makes a counter.
func NewCounter() *Counter { return &Counter{now: newPending(), people: make(map[personKey]int64)} }

func dayOf(t time.Time) int64 { return t.UTC().Truncate(24 * time.Hour).UnixMilli() }

// Add counts a mail.
func (c *Counter) Add(m Mail) {
	day := dayOf(m.At)
	var linked sums
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range m.Acts {
		n := sums{1, int64(a.Parts), a.Bytes}
		c.now.add(key{day, m.Observed, a.Action, a.Rule, a.Detail, m.Direction}, n)
		if a.Action == Linked {
			linked = n
		}
	}
	for _, f := range m.Files {
		c.now.see(contentKey{int64(binary.BigEndian.Uint64(f.SHA256[:8])), day}, m.Direction, f.Size)
	}
	if linked.mails == 0 {
		return
	}
	c.now.person(personKey{day, m.Observed, From, m.From}, linked)
	for _, to := range m.To {
		c.now.person(personKey{day, m.Observed, To, to}, linked)
	}
}

func (p *pending) add(k key, n sums) {
	if _, known := p.rows[k]; !known && len(p.rows) >= maxPending {
		k.rule, k.detail, k.direction = "", "", ""
	}
	p.rows[k] = p.rows[k].plus(n)
}

func (p *pending) person(k personKey, n sums) {
	if _, known := p.people[k]; !known && len(p.people) >= maxPending {
		k.who = ""
	}
	p.people[k] = p.people[k].plus(n)
}

func (p *pending) see(k contentKey, direction string, size int64) {
	if _, known := p.contents[k]; !known && len(p.contents) >= maxPending {
		p.add(key{k.day, true, Uncompared, "", "", direction}, sums{0, 1, size})
		return
	}
	p.contents[k] = p.contents[k].plus(sums{1, 1, size})
}

// take gives what was counted, and begins anew.
func (c *Counter) take() *pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.now
	c.now = newPending()
	return p
}

// giveBack adds what could not be written down.
func (c *Counter) giveBack(p *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	late := c.now
	c.now = p
	for k, n := range late.rows {
		p.add(k, n)
	}
	for k, n := range late.people {
		p.person(k, n)
	}
	for k, n := range late.contents {
		p.contents[k] = p.contents[k].plus(n)
	}
}
