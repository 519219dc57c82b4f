package web

// The texts of the pages: one YAML file per language, embedded, and a folder of
// the admin's that changes them or adds languages.

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

//go:embed texts/*.yaml
var textFiles embed.FS

const (
	// baseLanguage is complete: what other files lack is taken from it.
	baseLanguage = "en"
	// maxTextsBytes bounds one file of texts; ours have 5 KB.
	maxTextsBytes = 256 << 10
	// maxAcceptBytes bounds how much of Accept-Language is parsed; browsers send 100.
	maxAcceptBytes = 200
	monthsInYear   = 12
)

// pluralForms are the names that CLDR gives to the forms.
var pluralForms = map[string]plural.Form{
	"zero": plural.Zero, "one": plural.One, "two": plural.Two,
	"few": plural.Few, "many": plural.Many, "other": plural.Other,
}

var placeholder = regexp.MustCompile(`\{([a-z]+)\}`)

// message is one text, in the forms that a number asks for; most have Other only.
type message map[plural.Form]string

// texts is one language.
type texts struct {
	Code     string // BCP 47, for the lang attribute
	RTL      bool
	tag      language.Tag
	months   []string
	messages map[string]message
}

// Say gives a text with its placeholders filled: pairs are name, value.
func (t *texts) Say(key string, pairs ...string) string {
	return fill(t.messages[key][plural.Other], pairs)
}

// Count gives the form of a text that n asks for, with {n} filled.
func (t *texts) Count(key string, n int, pairs ...string) string {
	forms := t.messages[key]
	text, ok := forms[plural.Cardinal.MatchPlural(t.tag, n%10_000_000, 0, 0, 0, 0)] // CLDR wants no more digits
	if !ok {
		text = forms[plural.Other]
	}
	return fill(text, append([]string{"n", fmt.Sprint(n)}, pairs...))
}

// Markup gives a text as HTML: its own characters escaped, and in place of each
// placeholder the HTML that pairs has for it.
func (t *texts) Markup(key string, pairs ...any) (template.HTML, error) {
	text := template.HTMLEscapeString(t.messages[key][plural.Other])
	for i := 0; i+1 < len(pairs); i += 2 {
		name, isName := pairs[i].(string)
		value, isHTML := pairs[i+1].(template.HTML)
		if !isName || !isHTML {
			return "", fmt.Errorf("text %s: the value of {%v} is not HTML", key, pairs[i])
		}
		pairs[i], pairs[i+1] = "{"+name+"}", string(value)
	}
	replacements := make([]string, len(pairs))
	for i, p := range pairs {
		replacements[i] = fmt.Sprint(p)
	}
	return template.HTML(strings.NewReplacer(replacements...).Replace(text)), nil
}

// Lines gives a text of several paragraphs.
func (t *texts) Lines(key string, pairs ...string) []string {
	return strings.FieldsFunc(t.Say(key, pairs...), func(r rune) bool { return r == '\n' })
}

// Dir is the value of the dir attribute.
func (t *texts) Dir() string {
	if t.RTL {
		return "rtl"
	}
	return "ltr"
}

// fill replaces in one pass, so that a value is never taken for a placeholder.
func fill(text string, pairs []string) string {
	replacements := make([]string, 0, len(pairs))
	for i := 0; i+1 < len(pairs); i += 2 {
		replacements = append(replacements, "{"+pairs[i]+"}", pairs[i+1])
	}
	return strings.NewReplacer(replacements...).Replace(text)
}

// catalog is all languages, and the choice among them.
type catalog struct {
	languages []*texts // the default first
	matcher   language.Matcher
}

// pick gives the language that suits an Accept-Language header best.
func (c *catalog) pick(accept string) *texts {
	if len(accept) > maxAcceptBytes {
		accept = accept[:maxAcceptBytes]
		accept = accept[:max(0, strings.LastIndexByte(accept, ','))]
	}
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(wanted) == 0 {
		return c.languages[0]
	}
	_, index, confidence := c.matcher.Match(wanted...)
	if confidence == language.No {
		return c.languages[0]
	}
	return c.languages[index]
}

// loadCatalog reads the embedded texts and those of folder, "" for none.
func loadCatalog(folder, preferred string) (*catalog, error) {
	embedded, err := fs.Sub(textFiles, "texts")
	if err != nil {
		return nil, fmt.Errorf("embedded texts: %w", err)
	}
	all := map[string]*texts{}
	if err := readTexts(all, embedded); err != nil {
		return nil, fmt.Errorf("embedded texts: %w", err)
	}
	if folder != "" {
		if err := readTexts(all, os.DirFS(folder)); err != nil {
			return nil, fmt.Errorf("texts: folder %s: %w", folder, err)
		}
	}
	tag, err := language.Parse(preferred)
	if err != nil {
		return nil, fmt.Errorf("language: %q: %w", preferred, err)
	}
	first, ok := all[tag.String()]
	if !ok {
		return nil, fmt.Errorf("language: there are no texts for %q, only for %s", preferred, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	c := &catalog{languages: []*texts{first}}
	for _, code := range slices.Sorted(maps.Keys(all)) {
		if all[code] != first {
			c.languages = append(c.languages, all[code])
		}
	}
	tags := make([]language.Tag, len(c.languages))
	for i, t := range c.languages {
		tags[i] = t.tag
	}
	c.matcher = language.NewMatcher(tags)
	return c, nil
}

// readTexts lays the files of folder, named by their language, over what is
// there already; the base language comes first, others start from it.
func readTexts(all map[string]*texts, folder fs.FS) error {
	names, err := fs.Glob(folder, "*.yaml")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if _, err := fs.Stat(folder, "."); err != nil {
			return err
		}
		return errors.New("has no file such as fr.yaml")
	}
	slices.SortFunc(names, func(a, b string) int { return baseFirst(a) - baseFirst(b) })
	for _, name := range names {
		if err := readLanguage(all, folder, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func baseFirst(name string) int {
	if name == baseLanguage+".yaml" {
		return 0
	}
	return 1
}

func readLanguage(all map[string]*texts, folder fs.FS, name string) error {
	tag, err := language.Parse(strings.TrimSuffix(path.Base(name), ".yaml"))
	if err != nil {
		return errors.New("the name is not that of a language (such as fr.yaml or pt-BR.yaml)")
	}
	info, err := fs.Stat(folder, name)
	if err != nil {
		return err
	}
	if info.Size() > maxTextsBytes {
		return fmt.Errorf("has %d bytes, more than %d", info.Size(), maxTextsBytes)
	}
	content, err := fs.ReadFile(folder, name)
	if err != nil {
		return err
	}
	var raw map[string]any
	if err := yaml.Unmarshal(content, &raw); err != nil {
		return err
	}
	code := tag.String()
	t := &texts{Code: code, tag: tag, messages: map[string]message{}}
	start, base := all[code], all[baseLanguage]
	if start == nil {
		start = base
	}
	if start != nil {
		t.months, t.messages = start.months, maps.Clone(start.messages)
		t.RTL = start.RTL && start.Code == code
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if err := t.set(key, raw[key], base); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	all[code] = t
	return nil
}

// set takes one key of a file. base, where there is one already, says which
// keys and placeholders there are.
func (t *texts) set(key string, value any, base *texts) error {
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
			t.months = append(t.months, fmt.Sprint(m))
		}
		return nil
	}
	m, err := parseMessage(value)
	if err != nil {
		return err
	}
	if base != nil {
		known, ok := base.messages[key]
		if !ok {
			return errors.New("there is no such text")
		}
		if err := samePlaceholders(m, known); err != nil {
			return err
		}
	}
	t.messages[key] = m
	return nil
}

func parseMessage(value any) (message, error) {
	switch v := value.(type) {
	case string:
		return message{plural.Other: strings.TrimSpace(v)}, nil
	case map[string]any:
		m := message{}
		for name, text := range v {
			form, ok := pluralForms[name]
			s, isText := text.(string)
			if !ok || !isText {
				return nil, fmt.Errorf("%s: write zero, one, two, few, many or other, each with a text", name)
			}
			m[form] = strings.TrimSpace(s)
		}
		if m[plural.Other] == "" {
			return nil, errors.New("the form other is missing")
		}
		return m, nil
	}
	return nil, errors.New("write a text, in quotation marks where YAML would read something else")
}

// samePlaceholders finds a placeholder that nothing would fill.
func samePlaceholders(m, known message) error {
	for _, text := range m {
		for _, p := range placeholder.FindAllString(text, -1) {
			if !slices.ContainsFunc(slices.Collect(maps.Values(known)), func(k string) bool { return strings.Contains(k, p) }) {
				return fmt.Errorf("%s is not filled in here", p)
			}
		}
	}
	return nil
}
