package message

// The words of the notice: one YAML file per language, the built-in ones
// embedded, others read from bytes that the caller has.

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/goccy/go-yaml"
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

//go:embed texts/*.yaml
var textFiles embed.FS

const (
	// baseLanguage is complete: what other files lack is taken from it.
	baseLanguage = "en"
	// MaxTexts bounds one file of texts, in bytes; ours have 1 KB.
	MaxTexts     = 64 << 10
	monthsInYear = 12
)

// Texts are the words of the notice in one language.
type Texts struct {
	Code string // BCP 47, for the lang attribute
	RTL  bool   // written from right to left

	tag      language.Tag
	months   []string
	messages map[string]forms
	letters  map[string]string // how its letters are written in ASCII
	// ascii are the same texts in ASCII; nil when they are anyhow, or when
	// letters does not name them all.
	ascii *Texts
}

// forms is one text, in the forms that a number asks for; most have Other only.
type forms map[plural.Form]string

// pluralForms are the names that CLDR gives to the forms.
func pluralForm(name string) (plural.Form, bool) {
	f, ok := map[string]plural.Form{"zero": plural.Zero, "one": plural.One, "two": plural.Two,
		"few": plural.Few, "many": plural.Many, "other": plural.Other}[name]
	return f, ok
}

// builtinTexts are the embedded languages by their code. That they can be read
// is proven by a test.
var builtinTexts = sync.OnceValue(func() map[string]*Texts {
	all := map[string]*Texts{}
	for _, code := range []string{baseLanguage, "de"} {
		content, err := textFiles.ReadFile("texts/" + code + ".yaml")
		if err == nil {
			all[code], err = parseTexts(code, content, nil, all[baseLanguage])
		}
		if err != nil {
			panic("embedded texts: " + err.Error())
		}
	}
	return all
})

// ParseTexts reads the YAML of a language; code is BCP 47, such as fr or pt-BR.
// The keys are those of message/texts/en.yaml. What content lacks is taken from
// the built-in texts of the language, else of English.
func ParseTexts(code string, content []byte) (*Texts, error) {
	if len(content) > MaxTexts {
		return nil, fmt.Errorf("the texts have %d bytes, more than %d", len(content), MaxTexts)
	}
	tag, err := language.Parse(code)
	if err != nil {
		return nil, fmt.Errorf("%q is not the name of a language (such as fr or pt-BR)", code)
	}
	builtin := builtinTexts()
	return parseTexts(tag.String(), content, builtin[tag.String()], builtin[baseLanguage])
}

// parseTexts lays content over start, else over base, which says what keys and
// placeholders there are; both may be nil.
func parseTexts(code string, content []byte, start, base *Texts) (*Texts, error) {
	var raw map[string]any
	if err := yaml.Unmarshal(content, &raw); err != nil {
		return nil, err
	}
	t := &Texts{Code: code, tag: language.Make(code), messages: map[string]forms{}}
	switch {
	case start != nil:
		t.RTL, t.letters, t.months, t.messages = start.RTL, start.letters, start.months, maps.Clone(start.messages)
	case base != nil:
		t.months, t.messages = base.months, maps.Clone(base.messages)
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if err := t.set(key, raw[key], base); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	t.ascii = t.inASCII()
	return t, nil
}

func (t *Texts) set(key string, value any, base *Texts) error {
	switch key {
	case "direction":
		if value != "ltr" && value != "rtl" {
			return errors.New("must be ltr or rtl")
		}
		t.RTL = value == "rtl"
		return nil
	case "months":
		list, _ := value.([]any)
		if len(list) != monthsInYear {
			return errors.New("must be a list of 12 names")
		}
		t.months = nil
		for _, m := range list {
			t.months = append(t.months, oneLine(fmt.Sprint(m)))
		}
		return nil
	case "ascii":
		return t.setLetters(value)
	}
	f, err := parseForms(value)
	if err != nil {
		return err
	}
	if base != nil {
		known, ok := base.messages[key]
		if !ok {
			return errors.New("there is no such text")
		}
		if err := fitPlaceholders(f, known); err != nil {
			return err
		}
	}
	t.messages[key] = f
	return nil
}

func (t *Texts) setLetters(value any) error {
	letters, _ := value.(map[string]any)
	if letters == nil && value != nil {
		return errors.New("must name letters and what stands for them, such as {é: e}")
	}
	t.letters = make(map[string]string, len(letters))
	for letter, v := range letters {
		s, ok := v.(string)
		if !ok || !isASCII(s) || isASCII(letter) {
			return fmt.Errorf("%s: write a letter beyond ASCII, and the ASCII for it in quotation marks", letter)
		}
		t.letters[letter] = s
	}
	return nil
}

func parseForms(value any) (forms, error) {
	switch v := value.(type) {
	case string:
		return forms{plural.Other: oneLine(v)}, nil
	case map[string]any:
		f := forms{}
		for name, text := range v {
			form, ok := pluralForm(name)
			s, isText := text.(string)
			if !ok || !isText {
				return nil, fmt.Errorf("%s: write zero, one, two, few, many or other, each with a text", name)
			}
			f[form] = oneLine(s)
		}
		if f[plural.Other] == "" {
			return nil, errors.New("the form other is missing")
		}
		return f, nil
	}
	return nil, errors.New("write a text, in quotation marks where YAML would read something else")
}

// oneLine brings s into one line without blanks at its ends: texts stand in
// lines of plain text (RFC 3676 gives a trailing blank a meaning).
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}

// fitPlaceholders finds a placeholder that nothing would fill, and one that
// must not be missing: those of the longest form.
func fitPlaceholders(f, known forms) error {
	names := placeholders(known[plural.Other])
	for _, text := range f {
		for _, p := range placeholders(text) {
			if !slices.Contains(names, p) {
				return fmt.Errorf("{%s} is not filled in here", p)
			}
		}
	}
	for _, p := range names {
		if !slices.Contains(placeholders(f[plural.Other]), p) {
			return fmt.Errorf("{%s} is missing", p)
		}
	}
	return nil
}

func placeholders(text string) (names []string) {
	for {
		_, rest, ok := strings.Cut(text, "{")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return names
		}
		names, text = append(names, name), after
	}
}

// inASCII is t with its letters replaced; nil when nothing changes or letters
// beyond ASCII are left.
func (t *Texts) inASCII() *Texts {
	pairs := make([]string, 0, 2*len(t.letters))
	for letter, s := range t.letters {
		pairs = append(pairs, letter, s)
	}
	r := strings.NewReplacer(pairs...)
	plain := &Texts{Code: t.Code, RTL: t.RTL, tag: t.tag, messages: make(map[string]forms, len(t.messages))}
	changed, ascii := false, true
	replace := func(s string) string {
		out := r.Replace(s)
		changed, ascii = changed || out != s, ascii && isASCII(out)
		return out
	}
	for _, m := range t.months {
		plain.months = append(plain.months, replace(m))
	}
	for key, f := range t.messages {
		g := make(forms, len(f))
		for form, s := range f {
			g[form] = replace(s)
		}
		plain.messages[key] = g
	}
	if !changed || !ascii {
		return nil
	}
	return plain
}

// say gives a text with its placeholders filled: pairs are name, value.
func (t *Texts) say(key string, pairs ...string) string {
	return fill(t.messages[key][plural.Other], pairs)
}

// count gives the form of a text that n asks for, with {n} filled.
func (t *Texts) count(key string, n int, pairs ...string) string {
	f := t.messages[key]
	text, ok := f[plural.Cardinal.MatchPlural(t.tag, n, 0, 0, 0, 0)]
	if !ok {
		text = f[plural.Other]
	}
	return fill(text, append(pairs, "n", strconv.Itoa(n)))
}

// fill replaces in one pass, so that a value is never taken for a placeholder.
func fill(text string, pairs []string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			if b.Len() == 0 {
				return text
			}
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(before)
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				b.WriteString(pairs[i+1])
			}
		}
		text = after
	}
}

// size writes a number of bytes; KB, MB and GB are powers of 1,024.
func (t *Texts) size(n int64) string {
	const unit = 1024
	if n < unit {
		return t.count("bytes", int(n))
	}
	v := float64(n) / unit
	key := "unit_gb"
	for _, k := range []string{"unit_kb", "unit_mb"} {
		if v < unit-0.05 { // where one decimal does not round up to 1024.0
			key = k
			break
		}
		v /= unit
	}
	number := strconv.FormatFloat(v, 'f', 1, 64)
	if point := t.say("decimal"); point != "." {
		number = strings.Replace(number, ".", point, 1)
	}
	return t.say(key, "n", number)
}

// date writes a point in time, to the minute, with the name of its zone.
func (t *Texts) date(at time.Time) string {
	return t.say("date", "day", strconv.Itoa(at.Day()), "month", t.months[at.Month()-1], "year", strconv.Itoa(at.Year()),
		"hour", at.Format("15"), "minute", at.Format("04"), "zone", at.Format("MST"))
}
