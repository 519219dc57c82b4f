package web

// Who is at the other end: address and browser of a request.

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// clientAddr gives the address of the client: the peer, or, as long as the hop
// is a trusted proxy, the one before it that the proxy wrote at the end of
// X-Forwarded-For. What an untrusted hop claims is not looked at. "" when the
// peer has no address.
func clientAddr(peer string, forwarded []string, trusted []netip.Prefix) string {
	client, ok := parseHop(peer)
	if !ok {
		return ""
	}
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(client) }) {
			break
		}
		before, ok := parseHop(strings.TrimSpace(hop))
		if !ok {
			break
		}
		client = before
	}
	return client.String()
}

// parseHop reads an address with or without a port (some proxies add one).
func parseHop(text string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.Unmap().WithZone(""), err == nil
}

// cleanAgent makes a User-Agent fit for a database, a log and a terminal.
func cleanAgent(agent string) string {
	agent = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, agent)
	return cutText(agent, maxAgentBytes)
}

// overTLS tells whether the client's connection is encrypted: ours is, or the
// trusted proxy that is our peer says that its is.
func overTLS(encrypted bool, peer, forwardedProto string, trusted []netip.Prefix) bool {
	if encrypted {
		return true
	}
	addr, ok := parseHop(peer)
	if !ok || !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return false
	}
	// With several proxies the first entry is what the client spoke.
	first, _, _ := strings.Cut(forwardedProto, ",")
	return strings.EqualFold(strings.TrimSpace(first), "https")
}
