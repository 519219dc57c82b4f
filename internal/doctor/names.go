package doctor

// The names by which we are known, in DNS.

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Lookup finds the addresses of a name; net.Resolver's LookupHost.
type Lookup func(ctx context.Context, host string) ([]string, error)

// Names looks up our host's name and that of the pages.
func Names(ctx context.Context, lookup Lookup, hostname, webURL string) []Line {
	names := []string{hostname}
	what := map[string]string{hostname: "hostname"}
	if u, err := url.Parse(webURL); err == nil && u.Hostname() != "" {
		if what[u.Hostname()] == "" {
			names = append(names, u.Hostname())
		}
		what[u.Hostname()] = "web.url"
	}
	var out []Line
	var good []string
	for _, name := range names {
		if _, err := netip.ParseAddr(name); err == nil {
			if what[name] == "web.url" && !loopback(name) {
				out = append(out, warn("give the host a name, and web.url this name", "web.url has the address %s: no certificate fits it for most authorities", name))
			} else {
				good = append(good, name+" is an address")
			}
			continue
		}
		found, err := lookup(ctx, name)
		var dns *net.DNSError
		switch {
		case err == nil:
			good = append(good, name+" is "+strings.Join(found, ", "))
		case errors.As(err, &dns) && dns.IsNotFound && what[name] == "web.url":
			out = append(out, wrong("add an A or AAAA record for "+name, "%s (web.url) is not in DNS: no link can be opened", name))
		case errors.As(err, &dns) && dns.IsNotFound:
			out = append(out, warn("add an A or AAAA record for "+name+", or correct hostname", "%s (%s) is not in DNS: others may not take mail that names it", name, what[name]))
		default:
			out = append(out, warn("look at /etc/resolv.conf and the DNS server", "%s: no answer: %v", name, err))
		}
	}
	if len(good) > 0 {
		out = append(out, ok("%s", strings.Join(good, "; ")))
	}
	return out
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
