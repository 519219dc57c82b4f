package message

// How notices are written: in which language, in which time zone, and by whose
// templates.

import (
	"fmt"
	htmltemplate "html/template"
	"maps"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"

	"golang.org/x/text/language"
)

// WordingOptions are what an admin may choose about notices. The zero value is
// the built-in form, in the language of each mail as far as there are texts.
type WordingOptions struct {
	// Language is that of every notice; "" takes that of the mail: its
	// Content-Language field, else what its HTML says.
	Language string
	// Fallback is the language for mail that tells none, or one without texts;
	// "" is English.
	Fallback string
	// Texts are languages beside the built-in ones, or in place of them.
	Texts []*Texts
	// Zone is that of the times; nil is UTC.
	Zone *time.Location
	// HTML and Text write the notice from a NoticeData in place of the built-in
	// forms; nil keeps these.
	HTML *htmltemplate.Template
	Text *texttemplate.Template
	// PlainURL shows the URL as text only: mail readers make a link of it
	// themselves, and filters that dislike links in HTML find none.
	PlainURL bool
}

// Wording is how notices are written. Its methods may be called on nil, which
// is the built-in form in English.
type Wording struct {
	languages []*Texts // the fallback first
	fixed     bool
	matcher   language.Matcher
	zone      *time.Location
	html      *htmltemplate.Template
	text      *texttemplate.Template
	plain     bool
}

// NewWording checks the options. Templates are tried with examples in every
// language: they must name each file, its hash and the URL.
func NewWording(o WordingOptions) (*Wording, error) {
	all := maps.Clone(builtinTexts())
	for _, t := range o.Texts {
		all[t.Code] = t
	}
	preferred := o.Fallback
	if o.Language != "" {
		preferred = o.Language
	}
	if preferred == "" {
		preferred = baseLanguage
	}
	tag, err := language.Parse(preferred)
	if err != nil {
		return nil, fmt.Errorf("%q is not the name of a language (such as fr or pt-BR)", preferred)
	}
	first, ok := all[tag.String()]
	if !ok {
		return nil, fmt.Errorf("there are no texts for %q, only for %s", preferred, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	w := &Wording{languages: []*Texts{first}, fixed: o.Language != "", zone: o.Zone, html: o.HTML, text: o.Text, plain: o.PlainURL}
	tags := []language.Tag{first.tag}
	for _, code := range slices.Sorted(maps.Keys(all)) {
		if t := all[code]; t != first {
			w.languages, tags = append(w.languages, t), append(tags, t.tag)
		}
	}
	w.matcher = language.NewMatcher(tags)
	return w, w.tryTemplates()
}

func (w *Wording) fallback() *Texts {
	if w == nil {
		return builtinTexts()[baseLanguage]
	}
	return w.languages[0]
}

func (w *Wording) location() *time.Location {
	if w == nil || w.zone == nil {
		return time.UTC
	}
	return w.zone
}

func (w *Wording) plainURL() bool { return w != nil && w.plain }

// maxLanguages is how much of a list of languages is looked at, in bytes.
const maxLanguages = 100

// match gives the texts for the first language of list, such as "de-AT, en",
// that there are texts for; nil when there are none, or when the language is
// fixed.
func (w *Wording) match(list string) *Texts {
	if w == nil || w.fixed {
		return nil
	}
	if len(list) > maxLanguages {
		list = list[:maxLanguages]
	}
	for label := range strings.SplitSeq(list, ",") {
		if t := w.exactly(strings.TrimSpace(label)); t != nil {
			return t
		}
	}
	return nil
}

// exactly gives the texts for a language that its readers take for theirs: none
// that they merely understand.
func (w *Wording) exactly(label string) *Texts {
	if label == "" {
		return nil
	}
	for _, t := range w.languages {
		if strings.EqualFold(t.Code, label) {
			return t
		}
	}
	tag, err := language.Parse(label)
	if err != nil || tag == language.Und {
		return nil
	}
	if _, i, confidence := w.matcher.Match(tag); confidence >= language.High {
		return w.languages[i]
	}
	return nil
}
