package policy

// Link rules that meet signed or encrypted mail. Such mail is left alone
// whatever a rule says, so a rule that happens to match it needs no care; told
// are the rules that ask for it, and those that change what others signed
// before it goes on.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sealedTypes are the media types of parts that stay in the mail because they
// sign, encrypt or report (RFC 8551, RFC 3156, RFC 6522), or cannot be judged alone.
var sealedTypes = []string{
	"application/pkcs7-mime", "application/x-pkcs7-mime", "application/pkcs7-signature", "application/x-pkcs7-signature",
	"application/pgp-encrypted", "application/pgp-signature", "application/pgp-keys",
	"message/partial", "message/external-body", "message/delivery-status", "message/disposition-notification", "message/feedback-report",
}

// sealedExtensions are those of S/MIME (RFC 8551 section 3.9 and older).
var sealedExtensions = []string{"p7m", "p7s", "p7c", "p7z"}

// sealedWords in a Content-Type tell mail whose body is left alone.
var sealedWords = []string{"multipart/signed", "multipart/encrypted", "pkcs7-mime", "pgp-encrypted"}

// idleLinks tells what a link rule asks for in vain; k is what holds where its
// condition does.
func (r *rule) idleLinks(k *knowledge) []string {
	if r.link == nil || r.link.Keep {
		return nil
	}
	var out []string
	for _, fact := range []struct {
		name   string
		sealed []string
	}{{attachmentName + ".type", sealedTypes}, {attachmentName + ".extension", sealedExtensions}} {
		if among, all := sealedAmong(k.claims[fact.name], fact.sealed); all {
			out = append(out, "never links: what is signed or encrypted stays in the mail, and so does every attachment with "+fact.name+" "+among)
		} else if among != "" {
			out = append(out, "does not link all it asks for: what is signed or encrypted stays in the mail, and so does every attachment with "+fact.name+" "+among)
		}
	}
	for _, o := range r.operands {
		if o.asksForSealed() {
			out = append(out, "never links: "+o.text+" asks for signed or encrypted mail, which is left alone whatever a rule says")
		}
	}
	if c := k.claims["from"]; c.only(func(from string) bool { return from == "" }) {
		out = append(out, "never links: mail of the null sender (bounces and reports) is left alone")
	}
	if r.link.Options.Forwarded && breaksSignatures(k) {
		out = append(out, "changes mail that its senders signed (DKIM) before it goes on to the other mail system: there the signature fails, "+
			"and DMARC with it, unless that system takes this host as its inbound gateway; `auth.dkim != 'pass'` in the condition leaves signed mail as it is")
	}
	return out
}

// sealedAmong lists the values that a claim allows and that are sealed; all
// tells that there are no others.
func sealedAmong(c *claim, sealed []string) (among string, all bool) {
	if c == nil || c.number || c.except || len(c.texts) == 0 {
		return "", false
	}
	var found []string
	for _, t := range slices.Sorted(maps.Keys(c.texts)) {
		if slices.Contains(sealed, t) {
			found = append(found, fmt.Sprintf("%q", t))
		}
	}
	return strings.Join(found, ", "), len(found) == len(c.texts)
}

// asksForSealed tells a term that can only hold for a mail whose Content-Type
// says that it is signed or encrypted.
func (o *operand) asksForSealed() bool {
	c := o.formula.claim
	const field = `header("Content-Type")`
	if c != nil && c.number && c.low == 1 && endsSealed(c.subject) {
		return true
	}
	if c == nil || !strings.HasPrefix(canonicalField(c.subject), field) {
		return false
	}
	names := func(text string) bool {
		text = strings.ToLower(text)
		return slices.ContainsFunc(sealedWords, func(word string) bool { return strings.Contains(text, word) })
	}
	if !c.number {
		return canonicalField(c.subject) == field && c.only(names)
	}
	call := strings.TrimPrefix(canonicalField(c.subject), field)
	literal, found := strings.CutPrefix(call, ".startsWith(")
	if !found {
		literal, found = strings.CutPrefix(call, ".contains(")
	}
	literal = strings.TrimSuffix(literal, ")")
	return found && c.low == 1 && isQuoted(literal) && names(literal)
}

// endsSealed tells a term about the end of the name, such as glob(…, "*.p7m").
func endsSealed(term string) bool {
	for _, form := range []string{"attachment.name.endsWith(\"", "glob(attachment.name, \"*"} {
		if end, found := strings.CutPrefix(term, form); found {
			end, closed := strings.CutSuffix(strings.ToLower(end), "\")")
			return closed && strings.HasPrefix(end, ".") && slices.Contains(sealedExtensions, end[1:])
		}
	}
	return false
}

// canonicalField writes the name of a Content-Type field as most people do.
func canonicalField(subject string) string {
	const field = `header("content-type")`
	if len(subject) >= len(field) && strings.EqualFold(subject[:len(field)], field) {
		return `header("Content-Type")` + subject[len(field):]
	}
	return subject
}

// breaksSignatures tells that the rule may meet mail from outside with a good
// signature: not where its condition speaks of the DKIM result.
func breaksSignatures(k *knowledge) bool {
	inbound := isAmong(directionName, string(Inbound))
	unsigned := isText(authName+".dkim", "pass").opposite()
	return !k.claims[directionName].and(inbound).empty() && !k.shows(&formula{claim: unsigned})
}
