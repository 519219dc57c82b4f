package policytest

// Mails that are made for a case, so that a test of large attachments needs no
// large files.

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// Compose describes a mail: multipart/mixed of a text and files.
type Compose struct {
	// Header has fields in their order; what is left out of From, To, Subject,
	// Date and Message-ID is made up.
	Header yaml.MapSlice `yaml:"header"`
	// Text is the body people read.
	Text string `yaml:"text"`
	// Attachments are the files.
	Attachments []File `yaml:"attachments"`
}

// File is an attachment to make.
type File struct {
	Name string `yaml:"name"`
	// Type is the media type. Default: application/octet-stream.
	Type string `yaml:"type"`
	// Content is how the file begins.
	Content string `yaml:"content"`
	// Size is how long it is at least: 300, 20KB, 6MB. What Content lacks are zeros.
	Size string `yaml:"size"`
}

// maxComposed is the sum of the sizes of a mail's files in bytes: it is made in
// memory, and few sites take larger mail.
const maxComposed = 256 << 20

const boundary = "=_composed"

// fileSize reads a size: a number of bytes, or one with KB or MB (powers of 1,024).
func fileSize(s string) (int, error) {
	number, unit := s, 1
	for suffix, n := range map[string]int{"KB": 1 << 10, "MB": 1 << 20} {
		if rest, found := strings.CutSuffix(s, suffix); found {
			number, unit = strings.TrimSpace(rest), n
		}
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > maxComposed/unit {
		return 0, fmt.Errorf("%q is not a size up to 256MB: write 300, 20KB or 6MB", s)
	}
	return n * unit, nil
}

func (c *Compose) check() error {
	for _, field := range c.Header {
		name, isText := field.Key.(string)
		if !isText || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }) {
			return fmt.Errorf("compose.header: %v is not the name of a header field", field.Key)
		}
		for _, value := range fieldValues(field.Value) {
			if strings.ContainsAny(value, "\r\n") {
				return fmt.Errorf("compose.header: %s: a value is one line", name)
			}
		}
	}
	total := 0
	for i, f := range c.Attachments {
		if f.Size == "" {
			continue
		}
		n, err := fileSize(f.Size)
		if err != nil {
			return fmt.Errorf("compose.attachments[%d].size: %w", i, err)
		}
		if total += n; total > maxComposed {
			return fmt.Errorf("compose.attachments: are more than 256MB")
		}
	}
	return nil
}

// fieldValues gives the values of a field: one, or a list for a field that
// comes several times.
func fieldValues(value any) []string {
	list, several := value.([]any)
	if !several {
		return []string{fmt.Sprint(value)}
	}
	var out []string
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// mail makes the message, with the line ends of the wire.
func (c *Compose) mail(env Envelope) io.Reader {
	var b bytes.Buffer
	given := map[string]bool{}
	for _, field := range c.Header {
		name := field.Key.(string)
		given[strings.ToLower(name)] = true
		for _, value := range fieldValues(field.Value) {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	for _, field := range [][2]string{
		{"From", env.From}, {"To", strings.Join(env.To, ", ")}, {"Subject", "test"},
		{"Date", "Mon, 23 Nov 2026 10:00:00 +0000"}, {"Message-ID", "<composed@policy.test>"}, {"MIME-Version", "1.0"},
	} {
		if !given[strings.ToLower(field[0])] {
			fmt.Fprintf(&b, "%s: %s\r\n", field[0], field[1])
		}
	}
	text := strings.ReplaceAll(strings.TrimRight(c.Text, "\n"), "\n", "\r\n")
	if len(c.Attachments) == 0 {
		fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n", text)
		return &b
	}
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%q\r\n\r\n", boundary)
	fmt.Fprintf(&b, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n", boundary, text)
	for i := range c.Attachments {
		c.Attachments[i].write(&b)
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return &b
}

func (f *File) write(b *bytes.Buffer) {
	typ := f.Type
	if typ == "" {
		typ = "application/octet-stream"
	}
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": f.Name})
	fmt.Fprintf(b, "--%s\r\nContent-Type: %s\r\nContent-Disposition: %s\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary, typ, disposition)
	content := []byte(f.Content)
	if size, err := fileSize(f.Size); err == nil && size > len(content) {
		content = append(content, make([]byte, size-len(content))...)
	}
	const lineBytes, lineEnd = 57, "\r\n" // 76 characters in base64 (RFC 2045 section 6.8)
	b.Grow(base64.StdEncoding.EncodedLen(len(content)) + (len(content)/lineBytes+1)*len(lineEnd))
	for line := range slices.Chunk(content, lineBytes) {
		b.Write(base64.StdEncoding.AppendEncode(b.AvailableBuffer(), line))
		b.WriteString(lineEnd)
	}
}
