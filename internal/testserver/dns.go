package testserver

// A DNS server in this process, for tests of what is asked and how failures
// are taken.

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/miekg/dns"
)

// DNSFault is how a server fails for one name.
type DNSFault int

// How a server fails.
const (
	DNSServFail DNSFault = iota + 1 // SERVFAIL
	DNSRefused                      // REFUSED, as a server that is not for this client
	DNSSilent                       // no answer at all
	DNSNeedTCP                      // by UDP an empty answer with the bit TC
	DNSNoEDNS                       // FORMERR for questions with EDNS, as before RFC 2671
)

// DNS is a DNS server on a loopback port, by UDP and TCP. It answers like a
// resolver: CNAMEs within its zone are followed.
type DNS struct {
	Addr string // host:port

	records map[string][]dns.RR // by name, lower case
	faults  map[string]DNSFault // by name, lower case; "*" is any
	servers []*dns.Server
}

// StartDNS serves a zone file (RFC 1035 section 5). faults are by fully
// qualified name; "*" stands for every name.
func StartDNS(zone string, faults map[string]DNSFault) (*DNS, error) {
	d := &DNS{records: make(map[string][]dns.RR), faults: faults}
	parser := dns.NewZoneParser(strings.NewReader(zone), ".", "zone")
	parser.SetDefaultTTL(60)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		name := strings.ToLower(rr.Header().Name)
		d.records[name] = append(d.records[name], rr)
	}
	if err := parser.Err(); err != nil {
		return nil, err
	}
	tcp, udp, err := listenDNS()
	if err != nil {
		return nil, fmt.Errorf("DNS server: %w", err)
	}
	d.Addr = udp.LocalAddr().String()
	d.servers = []*dns.Server{{PacketConn: udp, Handler: d}, {Listener: tcp, Handler: d}}
	for _, s := range d.servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }() // ends with Shutdown
		<-started
	}
	return d, nil
}

// dnsPortTries is how many ports are tried for one that is free for TCP and UDP.
const dnsPortTries = 20

func listenDNS() (tcp net.Listener, udp net.PacketConn, err error) {
	for range dnsPortTries {
		if tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return tcp, udp, nil
		}
		err = errors.Join(err, tcp.Close())
	}
	return nil, nil, err
}

// Stop ends the server.
func (d *DNS) Stop() {
	for _, s := range d.servers {
		_ = s.Shutdown()
	}
}

// ServeDNS implements dns.Handler.
func (d *DNS) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(q)
	reply.RecursionAvailable = true
	name := strings.ToLower(q.Question[0].Name)
	_, byTCP := w.RemoteAddr().(*net.TCPAddr)
	fault, ok := d.faults[name]
	if !ok {
		fault = d.faults["*"]
	}
	switch {
	case fault == DNSSilent:
		return
	case fault == DNSServFail:
		reply.Rcode = dns.RcodeServerFailure
	case fault == DNSRefused:
		reply.Rcode = dns.RcodeRefused
	case fault == DNSNoEDNS && q.IsEdns0() != nil:
		reply.Rcode = dns.RcodeFormatError
	case fault == DNSNeedTCP && !byTCP:
		reply.Truncated = true
	default:
		d.answer(reply, name, q.Question[0].Qtype)
	}
	size := dns.MinMsgSize
	if o := q.IsEdns0(); o != nil {
		size = int(o.UDPSize())
	}
	if byTCP {
		size = dns.MaxMsgSize
	}
	reply.Truncate(size)
	_ = w.WriteMsg(reply) // a client that is gone asks again
}

// maxDNSAliases bounds a chain of CNAMEs; a longer one is answered as it is.
const maxDNSAliases = 16

func (d *DNS) answer(reply *dns.Msg, name string, qtype uint16) {
	for range maxDNSAliases {
		var alias string
		for _, rr := range d.records[name] {
			switch rr := rr.(type) {
			case *dns.CNAME:
				reply.Answer = append(reply.Answer, rr)
				alias = strings.ToLower(rr.Target)
			default:
				if rr.Header().Rrtype == qtype {
					reply.Answer = append(reply.Answer, rr)
				}
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if !d.exists(name) {
		reply.Rcode = dns.RcodeNameError
	}
}

// exists tells whether a name has records, or names below it have (RFC 8020).
func (d *DNS) exists(name string) bool {
	for known := range d.records {
		if known == name || strings.HasSuffix(known, "."+name) {
			return true
		}
	}
	return false
}
