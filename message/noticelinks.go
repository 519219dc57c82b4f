package message

// Our own links in what a mail quotes.

import (
	"bytes"
	"io"
	"net/url"
	"slices"
)

// maxQuotedLinks bounds how many links are read out of one mail: long threads
// quote a few dozen.
const maxQuotedLinks = 100

// QuotedLinks finds the links to page in the texts that a reader sees first:
// what follows page (such as "https://files.acmecorp.com/d/") and is length
// characters of base64url. Gateways that rewrite links quote the old one in the
// new; it is found there too. Anybody can write such a text: whether a token was
// given out is known by looking up its hash, which nobody can make for one that
// was not. Texts that cannot be read, or only in part, yield what can be found.
func (b Bodies) QuotedLinks(src io.ReaderAt, page string, length int) []string {
	var tokens []string
	for _, p := range []*Part{b.Text, b.HTML} {
		if p == nil {
			continue
		}
		text, err := p.decode(src, maxBodyText)
		if err != nil {
			continue
		}
		if cs, ok := LookupCharset(p.Type.Get("charset")); ok && !cs.ASCIICompatible() {
			text = []byte(cs.Decode(text))
		}
		for _, prefix := range []string{page, url.QueryEscape(page)} {
			tokens = tokensAfter(tokens, text, []byte(prefix), length)
		}
	}
	return tokens
}

// tokensAfter appends to tokens those behind prefix that are not there yet.
func tokensAfter(tokens []string, text, prefix []byte, length int) []string {
	for len(tokens) < maxQuotedLinks {
		i := bytes.Index(text, prefix)
		if i < 0 {
			break
		}
		text = text[i+len(prefix):]
		n := 0
		for n < len(text) && isBase64URL(text[n]) {
			n++
		}
		if token := string(text[:min(n, length)]); n == length && !slices.Contains(tokens, token) {
			tokens = append(tokens, token)
		}
		text = text[n:]
	}
	return tokens
}

func isBase64URL(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
