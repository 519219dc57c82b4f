// Package policytest checks rules against mails: cases say what must become of
// a mail, and whoever runs them says what does.
package policytest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"cloakroom/policy"
)

// Case is one mail and what must become of it.
type Case struct {
	// Name is what reports call the case. Unique in its file.
	Name string `yaml:"name"`
	// Message is the file of the mail, from the folder of the case's file on.
	Message string `yaml:"message"`
	// Inline is the mail itself, in the place of Message.
	Inline string `yaml:"inline"`
	// Compose describes a mail to make, in the place of both.
	Compose  *Compose `yaml:"compose"`
	Envelope Envelope `yaml:"envelope"`
	Want     Want     `yaml:"want"`

	File string `yaml:"-"` // that it is in
}

// Envelope is how the mail comes in.
type Envelope struct {
	From   string   `yaml:"from"`   // MAIL FROM; "" is the null sender
	To     []string `yaml:"to"`     // RCPT TO
	User   string   `yaml:"user"`   // authenticated as; "" not at all
	Client string   `yaml:"client"` // IP address of the SMTP client
	Helo   string   `yaml:"helo"`
	Host   string   `yaml:"host"`   // the client's name
	Daemon string   `yaml:"daemon"` // the MTA's name for the service
	TLS    string   `yaml:"tls"`    // TLS version
}

// Want is what must come out. Linked, Kept, Expires, Vault and Forward are
// compared where they are given; of the others, what is left out must not happen.
type Want struct {
	// Linked are the names of the attachments that become links, in any order.
	Linked *[]string `yaml:"linked"`
	// Kept are the names of those that stay in the mail.
	Kept *[]string `yaml:"kept"`
	// Expires is how long the link is there: 90d, or never.
	Expires string `yaml:"expires"`
	// Vault are the copies that are kept, in any order: "OWNER TARGET", with the
	// path or the rule behind it, which is compared if it is given.
	Vault *[]string `yaml:"vault"`
	// Forward are the recipients whose address is exchanged, and the new one.
	Forward *map[string]string `yaml:"forward"`
	// Reject is the code with which the mail is refused for all recipients.
	Reject int `yaml:"reject"`
	// Refused are recipients who are refused by themselves, and the code.
	Refused map[string]int `yaml:"refused"`
	// Quarantine is the reason to hold the mail.
	Quarantine string `yaml:"quarantine"`
	// Headers are the fields that are added and removed.
	Headers Headers `yaml:"headers"`
	// Tag is what is put before the subject.
	Tag string `yaml:"tag"`
	// Fails tells that a rule fails, so that the mail is put off.
	Fails bool `yaml:"fails"`
}

// Headers are changes of header fields.
type Headers struct {
	Add    map[string]string `yaml:"add" json:"add,omitempty"`
	Remove []string          `yaml:"remove" json:"remove,omitempty"`
}

// Limits on what is read, in bytes.
const (
	maxCaseFile = 4 << 20 // some thousand cases with short mails inside
	maxMessage  = 1 << 30 // a mail in a file, far above what a test needs
)

// Load reads every *.yaml and *.yml file below the root of fsys, in the order
// of their names. The error joins what is wrong with any of them.
func Load(fsys fs.FS) ([]Case, error) {
	var out []Case
	var errs []error
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := path.Ext(name); entry.IsDir() || ext != ".yaml" && ext != ".yml" {
			return nil
		}
		cases, err := loadFile(fsys, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		out = append(out, cases...)
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for cases: %w", err)
	case len(errs) > 0:
		return nil, errors.Join(errs...)
	case len(out) == 0:
		return nil, errors.New("no cases there: write them under `cases:` in a .yaml file")
	}
	return out, nil
}

func loadFile(fsys fs.FS, name string) ([]Case, error) {
	text, err := readAll(fsys, name, maxCaseFile)
	if err != nil {
		return nil, err
	}
	var file struct {
		Cases []Case `yaml:"cases"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var errs []error
	seen := map[string]bool{}
	for i := range file.Cases {
		c := &file.Cases[i]
		c.File = name
		if err := c.check(); err != nil {
			errs = append(errs, fmt.Errorf("cases[%d]: %w", i, err))
		} else if seen[c.Name] {
			errs = append(errs, fmt.Errorf("cases[%d]: name: there is a case %q above", i, c.Name))
		}
		seen[c.Name] = true
	}
	return file.Cases, errors.Join(errs...)
}

func (c *Case) check() error {
	switch {
	case c.Name == "":
		return errors.New("name: missing; reports call the case by it")
	case c.ways() != 1:
		return fmt.Errorf("%q: give either message (a file), inline (the mail itself) or compose (what to make it of)", c.Name)
	case c.Message != "" && !fs.ValidPath(c.messagePath()):
		return fmt.Errorf("%q: message: %s is not below the folder of the tests", c.Name, c.Message)
	case len(c.Envelope.To) == 0:
		return fmt.Errorf("%q: envelope.to: missing; a mail has a recipient", c.Name)
	case c.Want.Reject != 0 && (c.Want.Reject < 400 || c.Want.Reject > 599):
		return fmt.Errorf("%q: want.reject: %d does not refuse", c.Name, c.Want.Reject)
	}
	if err := c.Want.check(); err != nil {
		return fmt.Errorf("%q: want.%w", c.Name, err)
	}
	if c.Compose != nil {
		if err := c.Compose.check(); err != nil {
			return fmt.Errorf("%q: %w", c.Name, err)
		}
	}
	return nil
}

// never is how a link without a time limit is written.
const never = "never"

func (w *Want) check() error {
	if w.Expires != "" && w.Expires != never {
		if _, err := policy.ParseDuration(w.Expires); err != nil {
			return fmt.Errorf("expires: %w", err)
		}
	}
	if w.Vault == nil {
		return nil
	}
	for _, v := range *w.Vault {
		if _, _, found := strings.Cut(v, " "); !found {
			return fmt.Errorf("vault: %q is not OWNER TARGET, or OWNER TARGET and a path or a rule", v)
		}
	}
	return nil
}

// ways counts the mails that are given.
func (c *Case) ways() (n int) {
	for _, given := range []bool{c.Message != "", c.Inline != "", c.Compose != nil} {
		if given {
			n++
		}
	}
	return n
}

func (c *Case) messagePath() string { return path.Join(path.Dir(c.File), c.Message) }

// open gives the mail.
func (c *Case) open(fsys fs.FS) (io.ReadCloser, error) {
	if c.Compose != nil {
		return io.NopCloser(c.Compose.mail(c.Envelope)), nil
	}
	if c.Inline != "" {
		return io.NopCloser(strings.NewReader(c.Inline)), nil
	}
	f, err := fsys.Open(c.messagePath())
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, maxMessage), f}, nil
}

func readAll(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("over the limit of %d bytes", limit)
	}
	return text, err
}

// fields writes header changes in one form for comparing.
func (h Headers) fields() []string {
	var out []string
	for name, value := range h.Add {
		out = append(out, "+"+strings.ToLower(name)+": "+value)
	}
	for _, name := range h.Remove {
		out = append(out, "-"+strings.ToLower(name))
	}
	slices.Sort(out)
	return out
}
