package flow

// What an admin sets about the notice in place of attachments, and the files
// that the settings name.

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"os"
	"path/filepath"
	"strings"
	texttemplate "text/template"
	"time"

	"golang.org/x/text/language"

	"cloakroom/message"
)

// LanguageAuto is the language of each mail.
const LanguageAuto = "auto"

// NoticeConfig is the section about the notice that stands in a mail for the
// attachments taken out of it.
type NoticeConfig struct {
	// Language is auto, en, de or that of a file in `texts`. With auto it is the
	// language that the mail tells of itself: in its Content-Language field, else
	// in its HTML.
	Language string `yaml:"language"`

	// Fallback is the language for mail that does not tell its own, or one there
	// are no texts for.
	Fallback string `yaml:"fallback"`

	// Texts is a folder of YAML files named by language, such as fr.yaml: further
	// languages, or other words for some of the built-in texts (the keys are those
	// of message/texts/en.yaml in the source). A relative path starts at the folder
	// of this file.
	Texts string `yaml:"texts"`

	// HTML is a file with a template of your own for HTML mail, in the language of
	// Go's html/template: a piece of HTML without html and body, with {{.Heading}},
	// {{.Site}}, {{.URL}}, {{.Expiry}}, {{.Language}}, {{.Dir}}, {{.BodyDir}} and
	// {{range .Files}} of {{.Name}}, {{.Size}}, {{.SHA256}}. Every name and hash, and
	// the URL, must stand in its text; where they do not, the built-in form is used.
	HTML string `yaml:"html"`

	// Text is the same for plain text (text/template).
	Text string `yaml:"text"`

	// TimeZone is the zone of the times in it, such as Europe/Berlin.
	TimeZone string `yaml:"time_zone"`

	// PlainURL shows the address as text only. Mail programs make a link of it
	// themselves; some mail filters dislike links in HTML.
	PlainURL bool `yaml:"plain_url"`
}

// DefaultNoticeConfig is the built-in form in the language of each mail.
func DefaultNoticeConfig() NoticeConfig {
	return NoticeConfig{Language: LanguageAuto, Fallback: "en", TimeZone: "UTC"}
}

// Resolve makes relative paths start at folder.
func (c NoticeConfig) Resolve(folder string) NoticeConfig {
	for _, p := range []*string{&c.Texts, &c.HTML, &c.Text} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	return c
}

// Validate checks the section. Its error begins with the key that is wrong. The
// files it names are read and tried by Open.
func (c NoticeConfig) Validate() error {
	if c.Language != LanguageAuto {
		if _, err := language.Parse(c.Language); err != nil {
			return fmt.Errorf("language: %q is neither %s nor the name of a language (such as fr or pt-BR)", c.Language, LanguageAuto)
		}
	}
	if _, err := language.Parse(c.Fallback); err != nil {
		return fmt.Errorf("fallback: %q is not the name of a language (such as fr or pt-BR)", c.Fallback)
	}
	if c.TimeZone == "" || c.TimeZone == "Local" {
		return errors.New("time_zone: name a zone, such as UTC or Europe/Berlin")
	}
	if _, err := time.LoadLocation(c.TimeZone); err != nil {
		return fmt.Errorf("time_zone: %w", err)
	}
	return nil
}

// Open reads the files that the settings name and tries the templates in every
// language. Its error begins with the key that is wrong.
func (c NoticeConfig) Open() (*message.Wording, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	o := message.WordingOptions{Fallback: c.Fallback, PlainURL: c.PlainURL}
	if c.Language != LanguageAuto {
		o.Language = c.Language
	}
	var err error
	if o.Zone, err = time.LoadLocation(c.TimeZone); err != nil {
		return nil, fmt.Errorf("time_zone: %w", err)
	}
	if o.Texts, err = readTexts(c.Texts); err != nil {
		return nil, fmt.Errorf("texts: %w", err)
	}
	// The languages first: what is wrong then is the templates.
	if _, err = message.NewWording(o); err != nil {
		if o.Language != "" {
			return nil, fmt.Errorf("language: %w", err)
		}
		return nil, fmt.Errorf("fallback: %w", err)
	}
	if c.HTML != "" {
		o.HTML, err = parseTemplate(c.HTML, htmltemplate.New(filepath.Base(c.HTML)).Parse)
		if err == nil {
			_, err = message.NewWording(o)
		}
		if err != nil {
			return nil, fmt.Errorf("html: %w", err)
		}
	}
	if c.Text != "" {
		if o.Text, err = parseTemplate(c.Text, texttemplate.New(filepath.Base(c.Text)).Parse); err != nil {
			return nil, fmt.Errorf("text: %w", err)
		}
	}
	w, err := message.NewWording(o)
	if err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	return w, nil
}

func parseTemplate[T any](path string, parse func(string) (*T, error)) (*T, error) {
	content, err := readSmall(path, message.MaxNoticeTemplate)
	if err != nil {
		return nil, err
	}
	return parse(string(content))
}

// readTexts reads the YAML files of folder; "" has none.
func readTexts(folder string) ([]*message.Texts, error) {
	if folder == "" {
		return nil, nil
	}
	if _, err := os.Stat(folder); err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s has no file such as fr.yaml", folder)
	}
	var out []*message.Texts
	for _, path := range paths {
		content, err := readSmall(path, message.MaxTexts)
		if err != nil {
			return nil, err
		}
		t, err := message.ParseTexts(strings.TrimSuffix(filepath.Base(path), ".yaml"), content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return content, nil
}
