package coexist

// Rows about DKIM keys (RFC 6376 section 3.6.1, RFC 8301, RFC 8463).

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	dkimMinBits  = 1024 // RFC 8301 section 3.2: shorter ones do not verify
	dkimGoodBits = 2048 // RFC 8301 section 3.2: signers should use as many
)

// usualSelectors are those that common systems make: Google's, those of
// signers beside an MTA, and Microsoft's.
var usualSelectors = [...]string{"google", "default", "mail", "s1", "s2", "selector1", "selector2"}

// dkimKey is a key record.
type dkimKey struct {
	kind    string // rsa or ed25519
	bits    int
	revoked bool
	testing bool
}

func (k dkimKey) String() string {
	if k.kind == "rsa" {
		return fmt.Sprintf("rsa, %d bits", k.bits)
	}
	return k.kind
}

var errNoKey = errors.New("is no DKIM key")

// parseKey reads a key record. errNoKey is returned for a text that does not
// even claim to be one.
func parseKey(text string) (dkimKey, error) {
	tags := make(map[string]string)
	for pair := range strings.SplitSeq(text, ";") {
		name, value, ok := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); ok && name != "" {
			tags[name] = strings.TrimSpace(value)
		}
	}
	p, ok := tags["p"]
	if v, has := tags["v"]; !ok || has && v != "DKIM1" {
		return dkimKey{}, errNoKey
	}
	k := dkimKey{kind: "rsa", testing: slices.Contains(strings.Split(strings.ReplaceAll(tags["t"], " ", ""), ":"), "y")}
	if kind := tags["k"]; kind != "" {
		k.kind = strings.ToLower(kind)
	}
	if p == "" {
		k.revoked = true
		return k, nil
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(p), ""))
	if err != nil {
		return k, fmt.Errorf("p= is not base64: %w", err)
	}
	switch k.kind {
	case "rsa":
		key, err := rsaKey(der)
		if err != nil {
			return k, err
		}
		k.bits = key.N.BitLen()
	case "ed25519":
		if len(der) != ed25519.PublicKeySize {
			return k, fmt.Errorf("p= has %d octets, an ed25519 key has %d", len(der), ed25519.PublicKeySize)
		}
	default:
		return k, fmt.Errorf("k=%s is no type of key that verifiers know", k.kind)
	}
	return k, nil
}

// rsaKey reads a SubjectPublicKeyInfo, or the bare key that RFC 6376 names and
// few write.
func rsaKey(der []byte) (*rsa.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err == nil {
		if key, ok := parsed.(*rsa.PublicKey); ok {
			return key, nil
		}
		return nil, errors.New("p= is not an RSA key")
	}
	if key, bare := x509.ParsePKCS1PublicKey(der); bare == nil {
		return key, nil
	}
	return nil, fmt.Errorf("p= cannot be read as an RSA key: %w", err)
}

// checkDKIM looks for keys under the usual selectors, which need not be there,
// and those that are asked for, which must.
func (c *checker) checkDKIM() {
	selectors := slices.Clone(c.opt.Selectors)
	for _, s := range usualSelectors {
		if !slices.Contains(selectors, s) {
			selectors = append(selectors, s)
		}
	}
	for i, s := range selectors {
		c.selector(s, i < len(c.opt.Selectors))
	}
	what := "keys of both systems"
	switch looked := strings.Join(selectors, ", "); {
	case c.keys == 0 && c.keyless != nil:
		c.rows = append(c.rows, notAnswered(AreaDKIM, what, c.keyless))
	case c.keys == 0:
		c.add(AreaDKIM, what, Warning, fmt.Sprintf("name the selectors by --selector, or add: SELECTOR._domainkey.%s. TXT \"v=DKIM1; k=rsa; p=…\"%s", c.domain, c.providerKeys()),
			"no usable key under %s: mail that is forwarded on then fails DMARC", looked)
	case c.keys == 1:
		c.add(AreaDKIM, what, Warning, fmt.Sprintf("name the other one's selector by --selector, or add: SELECTOR._domainkey.%s. TXT \"v=DKIM1; k=rsa; p=…\"%s", c.domain, c.providerKeys()),
			"one usable key; each of the two systems signs with its own")
	default:
		c.add(AreaDKIM, what, OK, "", "%d usable keys", c.keys)
	}
}

func (c *checker) providerKeys() string {
	if p := c.provider(); p != nil {
		return fmt.Sprintf("; %s uses %s unless told otherwise", p.name, strings.Join(p.selectors, ", "))
	}
	return ""
}

// selector looks at one selector. asked tells that it must be there.
func (c *checker) selector(selector string, asked bool) {
	name := selector + "._domainkey." + c.domain
	what, bad := "selector "+selector, Warning
	if asked {
		bad = Wrong
	}
	texts, err := c.dns.txt(c.ctx, name)
	if err != nil {
		switch {
		case !err.Answered():
			c.keyless = err
			c.rows = append(c.rows, notAnswered(AreaDKIM, what, err))
		case asked:
			c.add(AreaDKIM, what, Wrong, fmt.Sprintf("add: %s. TXT \"v=DKIM1; k=rsa; p=…\" (the signer gives it)", name), "%v", err)
		}
		return
	}
	record := fmt.Sprintf("%s. TXT \"v=DKIM1; k=rsa; p=…\"", name)
	if len(texts) > 1 {
		c.add(AreaDKIM, what, bad, "keep one: "+record, "%d records; verifiers take any of them (RFC 6376 section 3.6.2.2)", len(texts))
		return
	}
	key, failed := parseKey(texts[0])
	switch {
	case errors.Is(failed, errNoKey) && !asked:
		// A wildcard answers for every selector.
	case failed != nil:
		c.add(AreaDKIM, what, bad, "replace by: "+record, "%v", failed)
	case key.revoked:
		c.add(AreaDKIM, what, bad, "if a system still signs with it, replace by: "+record+"; otherwise take the record out", "the key is revoked (empty p=): signatures with it fail")
	case key.kind == "rsa" && key.bits < dkimMinBits:
		c.add(AreaDKIM, what, bad, "replace by a key of 2048 bits: "+record, "%v: verifiers ignore keys below %d bits (RFC 8301)", key, dkimMinBits)
	case key.testing:
		c.keys++
		c.add(AreaDKIM, what, Warning, "take t=y out of the TXT record of "+name, "%v, in test mode (t=y): verifiers may treat its mail as unsigned", key)
	case key.kind == "rsa" && key.bits < dkimGoodBits:
		c.keys++
		c.add(AreaDKIM, what, Warning, "replace by a key of 2048 bits: "+record, "%v: %d are recommended (RFC 8301)", key, dkimGoodBits)
	default:
		c.keys++
		c.add(AreaDKIM, what, OK, "", "%v", key)
	}
}
