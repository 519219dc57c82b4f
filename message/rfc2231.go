package message

// Parameter values in parts and in any charset (RFC 2231), put together the
// way readers do, and the other ways readers do.

import (
	"cmp"
	"slices"
	"strings"
)

// combineParams decodes parameters and joins segments. Defects go to v.
func combineParams(written []writtenParam, v *Value) []Param {
	var extended, plain []Param
	var joined []string
	segments := make(map[string][]writtenParam)
	for _, w := range written {
		switch {
		case w.segment >= 0:
			if len(segments[w.name]) == 0 {
				joined = append(joined, w.name)
			}
			segments[w.name] = append(segments[w.name], w)
		case w.star:
			extended = append(extended, decodeExtended(w, v))
		default:
			plain = append(plain, decodePlain(w))
		}
	}
	for _, name := range joined {
		extended = append(extended, joinSegments(segments[name], v))
	}
	params := append(extended, plain...)
	noteContradictions(params, v)
	return params
}

// noteContradictions tells parameters that are there twice and differ.
func noteContradictions(params []Param, v *Value) {
	first := make(map[string]string, len(params))
	for _, p := range params {
		if value, ok := first[p.Name]; ok && value != p.Value {
			v.note(defectDuplicate)
		} else if !ok {
			first[p.Name] = p.Value
		}
	}
}

func newParam(name, raw, value string, also *stringSet) Param {
	p := Param{Name: name, Value: value, Raw: raw}
	if namesFile(name) {
		// Careless readers show a file name as it is written. Nobody takes
		// RFC 2231 syntax for a boundary.
		also.add(guessText(raw))
	}
	for _, s := range also.list {
		if s != value {
			p.also = append(p.also, s)
		}
	}
	return p
}

// decodePlain decodes a parameter without RFC 2231 markers. RFC 2047 section 5
// forbids encoded words there; half the world writes them.
func decodePlain(w writtenParam) Param {
	var also stringSet
	for _, text := range append([]string{w.text}, w.also...) {
		addWordReadings(&also, text)
	}
	also.add(guessText(w.raw))
	return newParam(w.name, w.raw, decodeWords(w.text, false), &also)
}

// addWordReadings adds text with its encoded words decoded: those of known
// charsets only, and all.
func addWordReadings(also *stringSet, text string) {
	also.add(decodeWords(text, false))
	if strings.Contains(text, "=?") {
		also.add(decodeWords(text, true))
	}
}

// decodeExtended decodes name*=charset'language'text.
func decodeExtended(w writtenParam, v *Value) Param {
	label, text, marked := splitExtended(w.text)
	noteCharset(label, marked, v)
	var also stringSet
	for _, t := range append([]string{w.text}, w.also...) {
		label, text, _ := splitExtended(t)
		addWordReadings(&also, decodeIn(label, percentDecode(text)))
		if _, known := LookupCharset(label); !known || label == "" {
			// The apostrophes may belong to the name.
			also.add(guessText(string(percentDecode(t))))
		}
	}
	value := decodeIn(label, percentDecode(text))
	also.add(value)
	// Some senders put encoded words into values that are encoded already.
	return newParam(w.name, w.raw, decodeWords(value, false), &also)
}

// noteCharset tells what is wrong with the charset of an extended value.
func noteCharset(label string, marked bool, v *Value) {
	if !marked {
		v.note(defectExtended)
	} else if _, ok := LookupCharset(label); !ok {
		v.note(defectCharset)
	}
}

// splitExtended splits charset'language'text. marked is false when the two
// apostrophes are not there.
func splitExtended(s string) (charset, text string, marked bool) {
	charset, rest, ok := strings.Cut(s, "'")
	if !ok {
		return "", s, false
	}
	if _, text, ok = strings.Cut(rest, "'"); !ok {
		return "", s, false
	}
	return charset, text, true
}

// decodeIn decodes bytes in a charset, or guesses when it is absent or unknown.
func decodeIn(label string, b []byte) string {
	if c, ok := LookupCharset(label); ok && label != "" {
		return c.Decode(b)
	}
	return guessText(string(b))
}

// percentDecode undoes %XX; a "%" without two hex digits stands for itself.
func percentDecode(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if b, ok := hexByte(s[i+1:]); ok {
				out = append(out, b)
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return out
}

// joinSegments puts the segments of one parameter together.
func joinSegments(parts []writtenParam, v *Value) Param {
	byNumber := func(a, b writtenParam) int { return cmp.Compare(a.segment, b.segment) }
	sameNumber := func(a, b writtenParam) bool { return a.segment == b.segment }
	sorted := slices.Clone(parts)
	slices.SortStableFunc(sorted, byNumber)
	first := slices.CompactFunc(slices.Clone(sorted), sameNumber)
	untilGap := first
	for i, p := range first {
		if p.segment != i {
			untilGap = first[:i]
			break
		}
	}

	value, label, marked, star := decodeSegments(first, false)
	if star {
		noteCharset(label, marked, v)
	}
	var also stringSet
	also.add(guessText(value))
	add := func(parts []writtenParam, percentAll bool) {
		text, _, _, _ := decodeSegments(parts, percentAll)
		addWordReadings(&also, text)
	}
	add(first, false)
	add(first, true)
	if !slices.IsSortedFunc(parts, byNumber) || len(untilGap) < len(parts) {
		v.note(defectSegments)
		last := slices.Clone(sorted)
		slices.Reverse(last)
		last = slices.CompactFunc(last, sameNumber)
		slices.Reverse(last)
		for _, other := range [][]writtenParam{untilGap, last, sorted, parts} {
			add(other, false)
		}
	}
	for _, other := range otherTexts(first) {
		add(other, false)
	}
	var raw strings.Builder
	for _, p := range first {
		raw.WriteString(p.raw)
	}
	return newParam(parts[0].name, raw.String(), decodeWords(value, false), &also)
}

// otherTexts gives the segments with the other readings of their quoting: the
// first such reading of each, the second of each, and so on.
func otherTexts(parts []writtenParam) [][]writtenParam {
	var all [][]writtenParam
	for k := 0; ; k++ {
		changed := slices.Clone(parts)
		more := false
		for i, p := range parts {
			if k < len(p.also) {
				changed[i].text = p.also[k]
				more = true
			}
		}
		if !more {
			return all
		}
		all = append(all, changed)
	}
}

// decodeSegments joins the bytes of all segments, then decodes them: segments
// may end inside a character. With percentAll also the segments without "*"
// are percent-decoded. Without any "*" (star is false) the text is raw.
func decodeSegments(parts []writtenParam, percentAll bool) (text, label string, marked, star bool) {
	var joined []byte
	for _, p := range parts {
		text := p.text
		if p.star && !star {
			star = true
			label, text, marked = splitExtended(text)
		}
		if p.star || percentAll {
			joined = append(joined, percentDecode(text)...)
		} else {
			joined = append(joined, text...)
		}
	}
	if !star {
		return string(joined), "", false, false
	}
	return decodeIn(label, joined), label, marked, true
}
