package test

// The mail of the torture test: a stream of attachments that is known before,
// and what each space must hold in the end.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/internal/testserver"
	"cloakroom/vault/name"
)

// content is what a file holds, made anew whenever it is needed.
type content struct {
	size int
	seed uint64
	sum  [32]byte
}

func newContent(size int, seed uint64) content {
	c := content{size: size, seed: seed}
	c.sum = sha256.Sum256(c.bytes())
	return c
}

func (c content) bytes() []byte {
	var seed [32]byte
	copy(seed[:], fmt.Sprint("content ", c.seed))
	b := make([]byte, c.size)
	rand.NewChaCha8(seed).Read(b)
	return b
}

// attachment is a file in a mail.
type attachment struct {
	name string
	content
}

// post is one mail.
type post struct {
	to    []string
	files []attachment
}

// scale is how large a torture is.
type scale struct {
	attachments, users, departments int
	largest                         int // bytes of a file
	kills                           int // of the daemon
}

// ledger is what the spaces must hold: for each space and content, its names.
type ledger map[string]map[[32]byte]map[string]bool

func (l ledger) add(space string, a attachment) {
	if l[space] == nil {
		l[space] = make(map[[32]byte]map[string]bool)
	}
	if l[space][a.sum] == nil {
		l[space][a.sum] = make(map[string]bool)
	}
	l[space][a.sum][a.name] = true
}

// files is how many there must be.
func (l ledger) files() int {
	n := 0
	for _, contents := range l {
		for _, names := range contents {
			n += len(names)
		}
	}
	return n
}

// allows tells whether a file may have that name: one that was asked for, or a
// variant of it.
func (l ledger) allows(space, file string, sum [32]byte) bool {
	for wanted := range l[space][sum] {
		for n := 1; n <= 10; n++ {
			if name.Variant(wanted, n, sum) == file {
				return true
			}
		}
	}
	return false
}

// user is one that has a space of his own, colleague one of a department.
func user(i int) string         { return fmt.Sprintf("user%02d@acmecorp.test", i) }
func department(i int) string   { return fmt.Sprintf("department %d", i) }
func colleague(i, j int) string { return fmt.Sprintf("dep%d-%d@acmecorp.test", i, j) }
func isColleague(a string) bool { return strings.HasPrefix(a, "dep") }
func spaceOf(address string) string {
	var i, j int
	if !isColleague(address) {
		return address
	}
	if _, err := fmt.Sscanf(address, "dep%d-%d@", &i, &j); err != nil {
		panic(err)
	}
	return department(i)
}

// addresses lists all recipients.
func (s scale) addresses() []string {
	var out []string
	for i := range s.users {
		out = append(out, user(i))
	}
	for i := range s.departments {
		out = append(out, colleague(i, 0), colleague(i, 1))
	}
	return out
}

// directory is the users file.
func (s scale) directory() string {
	var b strings.Builder
	b.WriteString("users:\n")
	for _, a := range s.addresses() {
		fmt.Fprintf(&b, "  - {address: %s", a)
		if isColleague(a) {
			fmt.Fprintf(&b, ", department: %s", spaceOf(a))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// sizeOf draws the size of a file: most are small, few are large, some empty.
func (s scale) sizeOf(r *rand.Rand) int {
	logUniform := func(low, high float64) int { return int(low * math.Pow(high/low, r.Float64())) }
	largest := float64(s.largest)
	switch p := r.Float64(); {
	case p < 0.03:
		return 0
	case p < 0.65:
		return logUniform(1, 64<<10)
	case p < 0.95:
		return logUniform(1<<10, largest/20)
	}
	return logUniform(largest/20, largest)
}

// stream draws all mail, in as many batches as there are rounds. Each batch
// begins with a file of the largest size, so that there is something to
// interrupt. Half of the attachments come again, half of these by another name.
func (s scale) stream(rounds int) ([][]post, ledger) {
	r := rand.New(rand.NewPCG(20261124, uint64(s.attachments)))
	addresses, books := s.addresses(), make(ledger)
	var seen []attachment
	names := func() string { return fmt.Sprintf("file %d.pdf", r.IntN(s.attachments/4)) }
	draw := func(size int) attachment {
		if size < 0 && len(seen) > 0 && r.IntN(2) == 0 {
			again := seen[r.IntN(len(seen))]
			if r.IntN(2) == 0 {
				again.name = names()
			}
			return again
		}
		if size < 0 {
			size = s.sizeOf(r)
		}
		a := attachment{names(), newContent(size, uint64(len(seen)))}
		seen = append(seen, a)
		return a
	}
	batches := make([][]post, rounds)
	left := s.attachments
	for i := range batches {
		quota := left / (rounds - i)
		left -= quota
		for first := true; quota > 0; first = false {
			p := post{to: []string{addresses[r.IntN(len(addresses))]}}
			if r.IntN(4) == 0 {
				p.to = append(p.to, addresses[r.IntN(len(addresses))])
			}
			for range min(quota, 1+r.IntN(3)) {
				size := -1
				if first && len(p.files) == 0 {
					size = s.largest
				}
				p.files = append(p.files, draw(size))
				quota--
			}
			for _, to := range p.to {
				for _, a := range p.files {
					books.add(spaceOf(to), a)
				}
			}
			batches[i] = append(batches[i], p)
		}
	}
	return batches, books
}

// postman submits mail to a Postfix, and submits it again until it is taken.
type postman struct {
	mta                   *testserver.Postfix
	inbox                 chan post
	senders               sync.WaitGroup
	pending               atomic.Int64 // given and not yet taken by the MTA
	bytes                 atomic.Int64 // of attachments
	sent, twice, repeated atomic.Int64 // mails; of which two times; tries that were not answered by 250
}

// senders is how many mails are submitted at the same time.
const senders = 4

// startPostman begins to send what comes into its inbox; close ends it.
func startPostman(ctx context.Context, mta *testserver.Postfix, mails int) *postman {
	m := &postman{mta: mta, inbox: make(chan post, mails)}
	for range senders {
		m.senders.Go(func() {
			for p := range m.inbox {
				m.submit(ctx, p)
			}
		})
	}
	return m
}

func (m *postman) submit(ctx context.Context, p post) {
	var files []file
	for _, a := range p.files {
		files = append(files, file{a.name, "application/pdf", a.bytes()})
		m.bytes.Add(int64(a.size))
	}
	raw := toCRLF(compose(dave, p.to, "torture", files...))
	times := 1
	if m.sent.Add(1)%10 == 0 {
		times = 2 // as from an MTA that missed the answer
		m.twice.Add(1)
	}
	for times > 0 && ctx.Err() == nil {
		_, err := testserver.SendSMTP(ctx, m.mta.SMTPAddr(), dave, p.to, bytes.NewReader(raw))
		if err == nil {
			times--
			continue
		}
		m.repeated.Add(1)
		time.Sleep(100 * time.Millisecond)
	}
	m.pending.Add(-1)
}

// close waits until everything is sent.
func (m *postman) close() {
	close(m.inbox)
	m.senders.Wait()
}
