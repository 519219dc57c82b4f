package coexist

// Questions to DNS servers: retries, TCP where UDP is not enough, and answers
// that tell "there is none" from "nobody answered".

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// queryTimeout bounds one question to one server by one transport.
	queryTimeout = 2 * time.Second
	// queryRounds is how often every server is asked; resolv.conf(5) has 2 too.
	queryRounds = 2
	// udpSize is the answer in bytes that we take by UDP: what passes every path
	// unfragmented (the DNS flag day of 2020).
	udpSize = 1232
	// maxAliases is how many CNAMEs are followed; resolvers commonly stop at 8
	// to 16.
	maxAliases = 8
	// maxSilent is after how many questions without any answer at all the
	// servers are taken for dead, so that a check ends in good time.
	maxSilent = 3
)

// Failure is why a question has no answer.
type Failure int

// Why a question has no answer. The first three are what DNS says; after the
// others nothing is known.
const (
	NXDomain Failure = iota + 1 // the name does not exist
	NoData                      // the name exists, without records of this type
	Loop                        // its CNAMEs lead in circles, or are too many
	ServFail                    // every server failed or refused
	Timeout                     // no server answered
)

func (f Failure) String() string {
	switch f {
	case NXDomain:
		return "no such name"
	case NoData:
		return "no such record"
	case Loop:
		return "its CNAMEs lead nowhere"
	case ServFail:
		return "SERVFAIL"
	case Timeout:
		return "no answer in time"
	}
	return fmt.Sprintf("failure %d", int(f))
}

// LookupError is a question without an answer.
type LookupError struct {
	Name    string // as asked, without the final dot
	Type    string // such as MX
	Failure Failure
	Detail  string // what the servers said; "" for nothing
}

func (e *LookupError) Error() string {
	text := fmt.Sprintf("%s %s: %s", e.Name, e.Type, e.Failure)
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

// Answered tells that DNS did answer: there is no such record.
func (e *LookupError) Answered() bool {
	return e.Failure == NXDomain || e.Failure == NoData || e.Failure == Loop
}

// Resolver asks DNS servers, and each question once: one check sees one state
// of DNS. It may be used by any number of goroutines.
type Resolver struct {
	servers []string
	timeout time.Duration // of one question to one server by one transport

	mu      sync.Mutex
	known   map[question]answer
	silent  int  // questions without any answer
	reached bool // some server has answered something
}

type question struct {
	name  string // fully qualified, lower case
	qtype uint16
}

type answer struct {
	rrs   []dns.RR
	alias bool // a CNAME was followed
	err   *LookupError
}

// NewResolver asks the servers given, as HOST or HOST:PORT, in their order.
func NewResolver(servers ...string) (*Resolver, error) {
	r := &Resolver{timeout: queryTimeout, known: make(map[question]answer)}
	for _, s := range servers {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			host, port = strings.Trim(s, "[]"), "53"
		}
		if host == "" || port == "" {
			return nil, fmt.Errorf("%q is not a DNS server; write HOST:PORT", s)
		}
		r.servers = append(r.servers, net.JoinHostPort(host, port))
	}
	if len(r.servers) == 0 {
		return nil, errors.New("no DNS server is named")
	}
	return r, nil
}

// SystemResolver asks the servers of a resolv.conf(5).
func SystemResolver(path string) (*Resolver, error) {
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("DNS servers: %w", err)
	}
	var servers []string
	for _, s := range conf.Servers {
		servers = append(servers, net.JoinHostPort(s, conf.Port))
	}
	if len(servers) == 0 {
		servers = []string{net.JoinHostPort("127.0.0.1", conf.Port)} // what resolv.conf(5) says of none
	}
	return NewResolver(servers...)
}

// lookup gives the records of a type, CNAMEs followed; alias tells that there
// were some. Without records the error is never nil.
func (r *Resolver) lookup(ctx context.Context, name string, qtype uint16) (rrs []dns.RR, alias bool, err *LookupError) {
	fail := func(f Failure, detail string) answer {
		return answer{alias: alias, err: &LookupError{Name: strings.TrimSuffix(name, "."), Type: dns.TypeToString[qtype], Failure: f, Detail: detail}}
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, false, fail(NXDomain, "not a domain name").err
	}
	q := question{strings.ToLower(dns.Fqdn(name)), qtype}
	r.mu.Lock()
	a, ok := r.known[q]
	r.mu.Unlock()
	if ok {
		return a.rrs, a.alias, a.err
	}
	owner, seen := q.name, map[string]bool{q.name: true}
	for a.rrs == nil && a.err == nil {
		msg, failed := r.ask(ctx, owner, qtype)
		if failed != nil {
			a = fail(failed.Failure, failed.Detail)
			break
		}
		target, circle := follow(msg, owner, seen)
		alias = alias || circle || target != owner
		found := recordsOf(msg, target, qtype)
		switch {
		case circle || len(seen) > maxAliases:
			a = fail(Loop, "CNAME of "+strings.TrimSuffix(owner, "."))
		case len(found) > 0:
			a = answer{rrs: found, alias: alias}
		case msg.Rcode == dns.RcodeNameError:
			a = fail(NXDomain, "")
		case target != owner:
			owner = target // the server left the rest of the chain to us
		default:
			a = fail(NoData, "")
		}
	}
	r.mu.Lock()
	r.known[q] = a
	r.mu.Unlock()
	return a.rrs, a.alias, a.err
}

// follow goes along the CNAMEs of an answer. circle tells that a name came
// twice.
func follow(msg *dns.Msg, owner string, seen map[string]bool) (target string, circle bool) {
	for {
		i := slices.IndexFunc(msg.Answer, func(rr dns.RR) bool {
			return rr.Header().Rrtype == dns.TypeCNAME && strings.EqualFold(rr.Header().Name, owner)
		})
		if i < 0 {
			return owner, false
		}
		owner = strings.ToLower(msg.Answer[i].(*dns.CNAME).Target)
		if seen[owner] {
			return owner, true
		}
		seen[owner] = true
	}
}

func recordsOf(msg *dns.Msg, owner string, qtype uint16) []dns.RR {
	var out []dns.RR
	for _, rr := range msg.Answer {
		if rr.Header().Rrtype == qtype && strings.EqualFold(rr.Header().Name, owner) {
			out = append(out, rr)
		}
	}
	return out
}

// ask puts one question to the servers until one of them gives an answer that
// says something: records, or that there are none.
func (r *Resolver) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, *LookupError) {
	r.mu.Lock()
	dead := !r.reached && r.silent >= maxSilent
	r.mu.Unlock()
	failure, detail := Timeout, ""
	if dead {
		detail = "the servers have answered nothing so far"
	}
	for round := 0; round < queryRounds && !dead && ctx.Err() == nil; round++ {
		for _, server := range r.servers {
			msg, err := r.exchange(ctx, server, name, qtype)
			if err != nil {
				if failure == Timeout {
					detail = err.Error()
				}
				continue
			}
			r.mu.Lock()
			r.reached = true
			r.mu.Unlock()
			if msg.Rcode == dns.RcodeSuccess || msg.Rcode == dns.RcodeNameError {
				return msg, nil
			}
			failure, detail = ServFail, ""
			if msg.Rcode != dns.RcodeServerFailure {
				detail = dns.RcodeToString[msg.Rcode]
			}
		}
	}
	if failure == Timeout {
		r.mu.Lock()
		r.silent++
		r.mu.Unlock()
	}
	return nil, &LookupError{Name: strings.TrimSuffix(name, "."), Type: dns.TypeToString[qtype], Failure: failure, Detail: detail}
}

// exchange asks one server by UDP, and by TCP where the answer does not fit. A
// server that knows no EDNS (RFC 6891 section 7) is asked without.
func (r *Resolver) exchange(ctx context.Context, server, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.SetEdns0(udpSize, false)
	reply, err := r.transport(ctx, "udp", server, q)
	if err == nil && (reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented) {
		q.Extra = nil
		reply, err = r.transport(ctx, "udp", server, q)
	}
	if err == nil && reply.Truncated {
		reply, err = r.transport(ctx, "tcp", server, q)
	}
	return reply, err
}

func (r *Resolver) transport(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	client := dns.Client{Net: network, Timeout: r.timeout, UDPSize: udpSize}
	reply, _, err := client.ExchangeContext(ctx, q, server)
	if err != nil {
		return nil, fmt.Errorf("%s by %s: %w", server, network, err)
	}
	if len(reply.Question) != 1 || reply.Question[0].Qtype != q.Question[0].Qtype || !strings.EqualFold(reply.Question[0].Name, q.Question[0].Name) {
		return nil, fmt.Errorf("%s by %s: answers another question", server, network)
	}
	return reply, nil
}

// txt gives the TXT records of a name, each with its strings joined (RFC 7208
// section 3.3).
func (r *Resolver) txt(ctx context.Context, name string) ([]string, *LookupError) {
	rrs, _, err := r.lookup(ctx, name, dns.TypeTXT)
	var out []string
	for _, rr := range rrs {
		out = append(out, unescape(strings.Join(rr.(*dns.TXT).Txt, "")))
	}
	return out, err
}

// addresses gives the addresses of a host, IPv4 before IPv6; alias tells that
// its name is a CNAME. The error is nil when there is any address.
func (r *Resolver) addresses(ctx context.Context, host string) (out []netip.Addr, alias bool, err *LookupError) {
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		rrs, a, failed := r.lookup(ctx, host, qtype)
		alias = alias || a
		if failed != nil && (err == nil || err.Answered() && !failed.Answered()) {
			err = failed
		}
		for _, rr := range rrs {
			ip := []byte(nil)
			switch rr := rr.(type) {
			case *dns.A:
				ip = rr.A
			case *dns.AAAA:
				ip = rr.AAAA
			}
			if addr, ok := netip.AddrFromSlice(ip); ok {
				out = append(out, addr.Unmap())
			}
		}
	}
	if len(out) > 0 {
		return out, alias, nil
	}
	return nil, alias, err
}

// unescape takes off what the library puts before quotes, backslashes and
// unprintable octets of a TXT string (RFC 1035 section 5.1).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		if isDigit(s[i]) && i+2 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) {
			out = append(out, (s[i]-'0')*100+(s[i+1]-'0')*10+s[i+2]-'0')
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
