package coexist

// SPF (RFC 7208): evaluation by a library over our resolver, what a record
// costs in DNS lookups, and the networks it stands for.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/miekg/dns"
)

const (
	spfLookupLimit = 10 // terms that ask DNS, RFC 7208 section 4.6.4
	spfVoidLimit   = 2  // of them without an answer, RFC 7208 section 4.6.4
	spfLookupWarn  = 8  // a provider that adds an include or two must not break the record

	// spfMost bounds the counting of a record that is far over the limits.
	spfMost = 40
	// spfDepth bounds includes within includes when networks are collected.
	spfDepth = 10
)

// spfNobody is an address nobody can send from (reserved, RFC 1112 section 4):
// its evaluation walks the whole record.
var spfNobody = netip.AddrFrom4([4]byte{240, 0, 0, 1})

// spfDNS is a Resolver as the SPF library asks it. The library looks at the
// type of errors itself, so they must be bare *net.DNSError.
type spfDNS struct{ r *Resolver }

var _ spf.DNSResolver = spfDNS{}

func netError(err *LookupError) error {
	if err == nil {
		return nil
	}
	return &net.DNSError{Err: err.Failure.String(), Name: err.Name, IsNotFound: err.Answered(),
		IsTemporary: !err.Answered(), IsTimeout: err.Failure == Timeout}
}

func (d spfDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	txt, err := d.r.txt(ctx, name)
	return txt, netError(err)
}

func (d spfDNS) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	rrs, _, err := d.r.lookup(ctx, name, dns.TypeMX)
	var out []*net.MX
	for _, rr := range rrs {
		mx := rr.(*dns.MX)
		out = append(out, &net.MX{Host: mx.Mx, Pref: mx.Preference})
	}
	return out, netError(err)
}

func (d spfDNS) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	addrs, _, err := d.r.addresses(ctx, host)
	var out []net.IPAddr
	for _, a := range addrs {
		out = append(out, net.IPAddr{IP: a.AsSlice()})
	}
	return out, netError(err)
}

func (d spfDNS) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	name, err := dns.ReverseAddr(addr)
	if err != nil {
		return nil, err
	}
	rrs, _, failed := d.r.lookup(ctx, name, dns.TypePTR)
	var out []string
	for _, rr := range rrs {
		out = append(out, rr.(*dns.PTR).Ptr)
	}
	return out, netError(failed)
}

// spfResult is SPF for one address and one domain, and why.
func (r *Resolver) spfResult(ctx context.Context, addr netip.Addr, domain string) (spf.Result, error) {
	return spf.CheckHostWithSender(addr.AsSlice(), domain, "postmaster@"+domain, spf.WithContext(ctx), spf.WithResolver(spfDNS{r}))
}

// spfCost counts the DNS lookups that the whole record of a domain costs, and
// those of them without an answer. The library does not tell: what it needs is
// the lowest limit that it does not stop at. The answers are known after the
// first time, so that repeating it asks nothing.
func (r *Resolver) spfCost(ctx context.Context, domain string) (lookups, void int) {
	stops := func(lookups, void int, limit error) bool {
		_, err := spf.CheckHostWithSender(spfNobody.AsSlice(), domain, "postmaster@"+domain, spf.WithContext(ctx),
			spf.WithResolver(spfDNS{r}), spf.OverrideLookupLimit(uint(lookups)), spf.OverrideVoidLookupLimit(uint(void)))
		return errors.Is(err, limit)
	}
	for lookups < spfMost && stops(lookups, spfMost, spf.ErrLookupLimitReached) {
		lookups++
	}
	for void < spfMost && stops(spfMost, void, spf.ErrVoidLookupLimitReached) {
		void++
	}
	return lookups, void
}

// spfRecords gives the SPF records of a domain. More than one is an error
// (RFC 7208 section 4.5).
func (r *Resolver) spfRecords(ctx context.Context, domain string) ([]string, *LookupError) {
	txt, err := r.txt(ctx, domain)
	if err != nil && !err.Answered() {
		return nil, err
	}
	return slices.DeleteFunc(txt, func(t string) bool {
		version, _, _ := strings.Cut(t, " ")
		return !strings.EqualFold(version, "v=spf1")
	}), nil
}

// spfNetworks is what a record stands for: the networks that pass, and what is
// wrong with it on the way.
type spfNetworks struct {
	networks []netip.Prefix
	problems []string
	unknown  *LookupError // a question on the way was not answered
}

// networksOf collects the networks of a domain's record, its includes and its
// redirect. Terms with macros, exists and ptr stand for no list of networks and
// are left out.
func (r *Resolver) networksOf(ctx context.Context, domain string) *spfNetworks {
	out := new(spfNetworks)
	r.collect(ctx, domain, out, map[string]bool{}, 0)
	return out
}

func (r *Resolver) collect(ctx context.Context, domain string, out *spfNetworks, seen map[string]bool, depth int) {
	if domain = strings.ToLower(strings.TrimSuffix(domain, ".")); seen[domain] || depth > spfDepth || len(seen) >= spfMost {
		return
	}
	seen[domain] = true
	records, err := r.spfRecords(ctx, domain)
	switch {
	case err != nil:
		out.unknown = err
		return
	case len(records) == 0:
		out.problems = append(out.problems, domain+" has no SPF record")
		return
	case len(records) > 1:
		out.problems = append(out.problems, fmt.Sprintf("%s has %d SPF records", domain, len(records)))
		return
	}
	for _, term := range strings.Fields(records[0])[1:] {
		name, value := cutTerm(term)
		if strings.Contains(value, "%") {
			continue
		}
		switch name {
		case "include", "redirect":
			r.collect(ctx, value, out, seen, depth+1)
		case "ip4", "ip6":
			if n, ok := parsePrefix(value); ok {
				out.networks = append(out.networks, n)
			} else {
				out.problems = append(out.problems, fmt.Sprintf("%s: %s is no network", domain, term))
			}
		case "a":
			r.collectHost(ctx, orDomain(value, domain), out)
		case "mx":
			name, _, _ := strings.Cut(orDomain(value, domain), "/")
			for _, h := range r.mailRoute(ctx, name).hosts {
				r.collectHost(ctx, h.name, out)
			}
		}
	}
}

func (r *Resolver) collectHost(ctx context.Context, host string, out *spfNetworks) {
	host, _, _ = strings.Cut(host, "/")
	addrs, _, err := r.addresses(ctx, host)
	if err != nil && !err.Answered() {
		out.unknown = err
	}
	for _, a := range addrs {
		out.networks = append(out.networks, netip.PrefixFrom(a, a.BitLen()))
	}
}

// cutTerm takes a term apart (RFC 7208 section 4.6.1). The name is "" for a
// mechanism that lets nobody pass.
func cutTerm(term string) (name, value string) {
	if term[0] == '-' || term[0] == '~' || term[0] == '?' {
		return "", ""
	}
	term = strings.TrimPrefix(term, "+")
	if i := strings.IndexAny(term, ":=/"); i >= 0 {
		name, value = term[:i], term[i:]
		if value[0] != '/' {
			value = value[1:]
		}
		return strings.ToLower(name), value
	}
	return strings.ToLower(term), ""
}

// orDomain is what a or mx asks about: the domain of the record where nothing
// else is named.
func orDomain(value, domain string) string {
	if value == "" || value[0] == '/' {
		return domain + value
	}
	return value
}

func parsePrefix(text string) (netip.Prefix, bool) {
	if n, err := netip.ParsePrefix(text); err == nil {
		return n.Masked(), true
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}
