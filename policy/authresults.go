package policy

// What verifiers before us found out about a mail (RFC 8601).

import (
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/authres"
)

// AuthResults are results of sender authentication in lower case, such as
// pass, fail, softfail, none, temperror; "" where no trusted verifier said one.
type AuthResults struct {
	SPF   string // of MAIL FROM; of HELO where only that was looked at
	DKIM  string // pass when any signature passes
	DMARC string
}

// maxAuthResults is how many header fields of trusted verifiers are read: each
// method has its own at most, and some sites verify twice.
const maxAuthResults = 20

// ParseAuthResults reads the values of the Authentication-Results fields of a
// message, topmost first. Only fields of the trusted authserv-ids count (in any
// case). For each method the topmost field that names it decides, so what a
// stranger wrote below says nothing about a method that our verifier reported,
// even where the verifier's words cannot be read. The verifier itself has to
// remove fields of its own id that come from outside (RFC 8601 section 5).
func ParseAuthResults(values []string, trusted []string) AuthResults {
	var out AuthResults
	said := map[string]bool{}
	read := 0
	for _, value := range values {
		id, parts, ok := authField(value)
		if !slices.ContainsFunc(trusted, func(t string) bool { return id != "" && strings.EqualFold(t, id) }) {
			continue
		}
		if read++; !ok || read > maxAuthResults {
			break // ours, but not as it should be: nothing below can be told from forged
		}
		found := fieldResults(id, parts)
		for method, result := range found {
			if said[method] {
				continue
			}
			said[method] = true
			switch method {
			case "spf":
				out.SPF = result
			case "dkim":
				out.DKIM = result
			case "dmarc":
				out.DMARC = result
			}
		}
	}
	return out
}

// authField splits a value into the authserv-id and the results. Comments are
// left out, and quoted strings made one harmless word each: both may hold what
// the sender wrote, such as a local part with "; dmarc=pass" in it.
// ok is false when a quote or comment does not end.
func authField(value string) (id string, parts []string, ok bool) {
	var b strings.Builder
	comment := 0
	ok = true
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && comment > 0:
			i++
		case c == '(':
			if comment++; comment == 1 {
				b.WriteByte(' ')
			}
		case c == ')' && comment > 0:
			comment--
		case comment > 0:
		case c == '"':
			n, closed := quotedEnd(value[i:])
			ok = ok && closed
			b.WriteString(word(strings.Trim(value[i:i+n], `"`)))
			i += n - 1
		default:
			b.WriteByte(c)
		}
	}
	parts = strings.Split(b.String(), ";")
	if fields := strings.Fields(parts[0]); len(fields) > 0 {
		id = fields[0]
		ok = ok && (len(fields) == 1 || len(fields) == 2 && fields[1] == "1") // authres-version
	}
	return id, parts[1:], ok && comment == 0
}

func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || strings.ContainsRune(`;=()"\`, r) {
			return '_'
		}
		return r
	}, s)
}

// fieldResults gives the results of one field by method. A method that is
// named but cannot be read has the result "".
func fieldResults(id string, parts []string) map[string]string {
	out := map[string]string{}
	helo := "" // counts where MAIL FROM was not looked at
	for _, part := range parts {
		_, results, err := authres.Parse(id + ";" + part)
		if method := namedMethod(part); err != nil && method != "" {
			out[method] = ""
		}
		for _, result := range results {
			switch r := result.(type) {
			case *authres.SPFResult:
				if r.From == "" && r.Helo != "" {
					helo = string(r.Value)
					continue
				}
				out["spf"] = stricter(out, "spf", string(r.Value))
			case *authres.DKIMResult:
				if out["dkim"] != authres.ResultPass {
					out["dkim"] = string(r.Value)
				}
			case *authres.DMARCResult:
				out["dmarc"] = stricter(out, "dmarc", string(r.Value))
			}
		}
	}
	if _, known := out["spf"]; !known && helo != "" {
		out["spf"] = helo
	}
	return out
}

// stricter keeps a result that is no pass where a field names a method twice.
func stricter(known map[string]string, method, result string) string {
	if before, twice := known[method]; twice && before != authres.ResultPass {
		return before
	}
	return result
}

func namedMethod(part string) string {
	part = strings.ToLower(strings.TrimSpace(part))
	for _, method := range []string{"spf", "dkim", "dmarc"} {
		if rest, found := strings.CutPrefix(part, method); found && strings.ContainsAny(rest[:min(1, len(rest))], "=/ \t\r\n") {
			return method
		}
	}
	return ""
}
