package config

// Names and networks as admins write them, and the one form the program uses.

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// NormalizeDomain gives the form in which domains are compared: lower case,
// internationalised labels as A-labels (RFC 5891), no trailing dot.
func NormalizeDomain(text string) (string, error) {
	switch {
	case strings.Contains(text, "@"):
		return "", fmt.Errorf("%q is not a domain; write what follows the @", text)
	case strings.HasPrefix(text, "*") || strings.HasPrefix(text, "."):
		return "", fmt.Errorf("%q is not a domain; there are no wildcards, list each domain", text)
	}
	profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))
	ascii, err := profile.ToASCII(strings.TrimSuffix(text, "."))
	if err != nil {
		return "", fmt.Errorf("%q is not a domain name: %s", text, strings.TrimPrefix(err.Error(), "idna: "))
	}
	if _, err := netip.ParseAddr(ascii); err == nil {
		return "", fmt.Errorf("%q is an address, not a domain name", text)
	}
	return ascii, nil
}

// parseNetwork reads 192.0.2.0/24, or a lone address for a network of one.
// Bits behind the prefix length are an error: they are mostly a slip.
func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network; write 192.0.2.0/24, 2001:db8::/32 or one address", text)
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("write an IPv4 network in its own form, such as 192.0.2.0/24")
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, fmt.Errorf("%q has bits behind its prefix length; write %s for the network or %s for the one host",
			text, masked, prefix.Addr())
	}
	return prefix, nil
}
