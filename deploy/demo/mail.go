package main

// Composing the mails that are sent (RFC 5322, RFC 2045 to 2047), and reading
// mail back with the parser of Go's library: a reader that knows nothing of
// Cloakroom.

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
)

// Who writes to whom. The first three are ours, Dave is elsewhere.
const (
	ann   = "ann@acmecorp.test"
	bob   = "bob@acmecorp.test"
	carol = "carol@acmecorp.test"
	dave  = "dave@ext.test"
)

// letter is a mail: its envelope and header, and its content.
type letter struct {
	from    string
	to      []string
	subject string
	content entity
}

// entity is a MIME entity: header fields and body, ready to be written.
type entity struct {
	header []string
	body   []byte
}

func (e entity) bytes() []byte {
	return append([]byte(strings.Join(e.header, "\n")+"\n\n"), e.body...)
}

// compose writes the mail, with LF line ends.
func (l letter) compose(now time.Time) []byte {
	head := fmt.Sprintf("From: %s\nTo: %s\nSubject: %s\nDate: %s\nMessage-ID: <%d.%s>\nMIME-Version: 1.0\n",
		l.from, strings.Join(l.to, ", "), mime.QEncoding.Encode("utf-8", l.subject),
		now.Format(time.RFC1123Z), now.UnixNano(), l.from)
	return append([]byte(head), l.content.bytes()...)
}

func text(subtype, content string) entity {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	io.WriteString(w, content) // a buffer takes everything
	w.Close()
	return entity{
		[]string{"Content-Type: text/" + subtype + "; charset=utf-8", "Content-Transfer-Encoding: quoted-printable"},
		bytes.ReplaceAll(b.Bytes(), []byte("\r\n"), []byte("\n")),
	}
}

// file is an attachment.
func file(mediaType, name string, content []byte) entity {
	return entity{[]string{
		fmt.Sprintf("Content-Type: %s; name=%q", mediaType, name),
		fmt.Sprintf("Content-Disposition: attachment; filename=%q", name),
		"Content-Transfer-Encoding: base64",
	}, base64Lines(content)}
}

// inline is an image that the HTML shows by its Content-ID (RFC 2392).
func inline(mediaType, name, id string, content []byte) entity {
	e := file(mediaType, name, content)
	e.header[1] = fmt.Sprintf("Content-Disposition: inline; filename=%q", name)
	e.header = append(e.header, "Content-ID: <"+id+">")
	return e
}

// group is a multipart; parameters follow its type, each with its "; ".
func group(subtype, parameters string, parts ...entity) entity {
	boundary := fmt.Sprintf("=_%s_%d", subtype, len(parts))
	var b bytes.Buffer
	for _, p := range parts {
		fmt.Fprintf(&b, "--%s\n%s\n", boundary, p.bytes())
	}
	fmt.Fprintf(&b, "--%s--\n", boundary)
	return entity{[]string{fmt.Sprintf("Content-Type: multipart/%s; boundary=%q%s", subtype, boundary, parameters)}, b.Bytes()}
}

// base64Lines encodes in lines of 76 characters, without a line end behind the last.
func base64Lines(content []byte) []byte {
	s := base64.StdEncoding.EncodeToString(content)
	var b bytes.Buffer
	for len(s) > 76 {
		b.WriteString(s[:76] + "\n")
		s = s[76:]
	}
	b.WriteString(s)
	return b.Bytes()
}

// part is one node of a mail's tree, as a mail program finds it.
type part struct {
	depth     int
	mediaType string
	name      string
	inline    bool
	content   []byte // decoded; nil for a multipart
}

// readMail takes a mail apart.
func readMail(raw []byte) ([]part, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read the mail: %w", err)
	}
	return readEntity(nil, 0, func(k string) string { return m.Header.Get(k) }, m.Body)
}

func readEntity(parts []part, depth int, field func(string) string, body io.Reader) ([]part, error) {
	mediaType, params, err := mime.ParseMediaType(field("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("Content-Type %q: %w", field("Content-Type"), err)
	}
	p := part{depth: depth, mediaType: mediaType, name: params["name"]}
	if d, params, err := mime.ParseMediaType(field("Content-Disposition")); err == nil {
		p.inline, p.name = d == "inline", params["filename"]
	}
	if strings.HasPrefix(mediaType, "multipart/") {
		parts = append(parts, p)
		for r := multipart.NewReader(body, params["boundary"]); ; {
			child, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				return parts, nil
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", mediaType, err)
			}
			if parts, err = readEntity(parts, depth+1, child.Header.Get, child); err != nil {
				return nil, err
			}
		}
	}
	switch strings.ToLower(field("Content-Transfer-Encoding")) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	if p.content, err = io.ReadAll(body); err != nil {
		return nil, fmt.Errorf("content of %s: %w", mediaType, err)
	}
	return append(parts, p), nil
}

// first finds the first part of a media type.
func first(parts []part, mediaType string) (part, bool) {
	for _, p := range parts {
		if p.mediaType == mediaType {
			return p, true
		}
	}
	return part{}, false
}

// bodyOf is what follows the header of a mail, line ends as LF.
func bodyOf(raw []byte) []byte {
	_, body, _ := bytes.Cut(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	return body
}
