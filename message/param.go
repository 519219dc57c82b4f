package message

// Structured header field values as they are found in mail, not as they should
// be. Readers disagree on broken ones; every reading is kept, so that policy
// can look at all of them.

import (
	"slices"
	"strings"
)

// Limits of what ParseValue considers. Real fields have a handful of
// parameters and stay under 2 KB; names of 32 KB in 100 segments have been
// seen in attacks.
const (
	maxValueLen = 64 << 10 // bytes of a field value
	maxParams   = 100      // parameters in a field, each RFC 2231 segment counted
)

// What ParseValue notes in Defects.
const (
	defectTooLong      = "field value too long"
	defectTooMany      = "too many parameters"
	defectMain         = "no usable main value"
	defectNoSemicolon  = "missing semicolon"
	defectNoValue      = "parameter without a value"
	defectNoName       = "parameter without a name"
	defectJunk         = "stray text between parameters"
	defectUnterminated = "unterminated quote"
	defectAfterQuote   = "text after a quoted value"
	defectUnquoted     = "white space in an unquoted value"
	defectDuplicate    = "contradicting parameters"
	defectSegments     = "RFC 2231 segments are missing, repeated or out of order"
	defectExtended     = "RFC 2231 value without a charset"
	defectCharset      = "unknown charset"
)

// Value is the value of a structured header field such as Content-Type (RFC
// 2045 section 5.1) or Content-Disposition (RFC 2183).
type Value struct {
	Text    string   // main value in lower case, without white space and comments ("text/plain"); "" if absent or unusable
	Params  []Param  // RFC 2231 forms first, otherwise in the order they came
	Defects []string // what was wrong with the syntax, for logs; each kind once

	// hidden are parameters that only readers see who split the field at every
	// semicolon, in quotes and comments too.
	hidden []Param
}

// Param is one parameter of a Value.
type Param struct {
	Name  string // in lower case, RFC 2231 markers removed
	Value string // decoded, valid UTF-8; may hold control characters
	Raw   string // as written: not decoded, without quotes; segments joined

	also []string // what other readers make of it, decoded
}

// ParseValue reads a field value, folded or unfolded. It never fails: what is
// broken is read as most mail readers do, and noted in Defects.
func ParseValue(s string) Value {
	var v Value
	if len(s) > maxValueLen {
		s = s[:maxValueLen]
		v.note(defectTooLong)
	}
	sc := newValueScanner(unfold(s), &v)
	v.Text = sc.mainValue()
	var written []writtenParam
	for {
		p, ok := sc.next()
		if !ok {
			break
		}
		if len(written) == maxParams {
			v.note(defectTooMany)
			break
		}
		written = append(written, p)
	}
	v.Params = combineParams(written, &v)
	if sc.hidden {
		var ignored Value // the strict reading has told its defects
		v.hidden = combineParams(splitNaively(sc.s), &ignored)
	}
	return v
}

// Get is the parameter as ParseValue reads it, the first that is not empty;
// "" if there is none. It is one of All.
func (v Value) Get(name string) string {
	name = strings.ToLower(name)
	for _, p := range v.Params {
		if p.Name == name && p.Value != "" {
			return p.Value
		}
	}
	return ""
}

// All lists every distinct value that any reader might see in the parameter,
// the one Get gives first. More than one means that readers may disagree.
func (v Value) All(name string) []string {
	name = strings.ToLower(name)
	var all stringSet
	all.add(v.Get(name))
	for _, params := range [][]Param{v.Params, v.hidden} {
		for _, p := range params {
			if p.Name == name {
				all.add(p.Value)
				all.add(p.also...)
			}
		}
	}
	return all.list
}

// note records a defect once.
func (v *Value) note(defect string) {
	if !slices.Contains(v.Defects, defect) {
		v.Defects = append(v.Defects, defect)
	}
}

// stringSet keeps distinct strings, without "", in the order they came.
type stringSet struct {
	list []string
	seen map[string]struct{}
}

func (s *stringSet) add(items ...string) {
	for _, item := range items {
		if item == "" {
			continue
		}
		if _, ok := s.seen[item]; ok {
			continue
		}
		if s.seen == nil {
			s.seen = make(map[string]struct{})
		}
		s.seen[item] = struct{}{}
		s.list = append(s.list, item)
	}
}

// namesFile tells the parameters whose value is a file name. Nobody needs
// them to be exact, so broken ones are read generously.
func namesFile(param string) bool { return param == "filename" || param == "name" }

// splitNaively reads parameters as the simplest readers do: whatever stands
// between semicolons, up to the first "=" and from there on.
func splitNaively(s string) []writtenParam {
	var params []writtenParam
	for piece := range strings.SplitSeq(s, ";") {
		key, value, ok := strings.Cut(piece, "=")
		name := strings.ToLower(lastToken(key))
		if !ok || name == "" {
			continue
		}
		if len(params) == maxParams {
			break
		}
		raw := strings.Trim(strings.Trim(value, wsp), `"`)
		p := newWrittenParam(name, raw)
		p.addReading(strings.TrimRight(raw, ")"))
		params = append(params, p)
	}
	return params
}

// lastToken is the last run of token bytes in s.
func lastToken(s string) string {
	end := len(s)
	for end > 0 && !isTokenByte(s[end-1]) {
		end--
	}
	start := end
	for start > 0 && isTokenByte(s[start-1]) {
		start--
	}
	return s[start:end]
}
