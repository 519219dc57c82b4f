package message

// New messages as two other readers see them: go-message, and the packages of
// the standard library.

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	stdmultipart "mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"strings"

	gomessage "github.com/emersion/go-message"
)

// seen is a leaf as a reader sees it.
type seen struct{ kind, content string }

// checkReaders fails unless others find in the new message the leaves that the
// scanner finds, with the same content.
func checkReaders(next *mail) {
	next.Helper()
	var want []seen
	closed := true
	next.tree.Root.Walk(func(p *Part) {
		if p.IsMultipart() {
			closed = closed && p.Closed
			return
		}
		if p.Content.Defect == "" {
			want = append(want, seen{p.Type.Text, content(next, next.body, p)})
		} else {
			want = append(want, seen{p.Type.Text, ""})
		}
	})
	byGo, err := readGo(next)
	if err != nil && closed {
		next.Fatalf("go-message: %v\n%s", err, next.body)
	}
	byStd, err := readStd(textproto.MIMEHeader(next.header.Map()), bytes.NewReader(next.body))
	if err != nil && closed {
		next.Fatalf("mime/multipart: %v\n%s", err, next.body)
	}
	for name, got := range map[string][]seen{"go-message": byGo, "mime/multipart": byStd} {
		if len(got) != len(want) {
			next.Fatalf("%s sees %d parts, not %d, in\n%s", name, len(got), len(want), next.body)
		}
		for i, w := range want {
			if got[i].kind != "" && got[i].kind != w.kind || w.content != "" && got[i].content != w.content {
				next.Errorf("%s: part %d is %q, want %q", name, i, got[i], w)
			}
		}
	}
}

func readGo(m *mail) (out []seen, err error) {
	e, err := gomessage.Read(io.MultiReader(bytes.NewReader(m.header.Block()), bytes.NewReader(m.body)))
	if err != nil && !gomessage.IsUnknownCharset(err) && !gomessage.IsUnknownEncoding(err) {
		return nil, err
	}
	err = e.Walk(func(_ []int, e *gomessage.Entity, err error) error {
		if err != nil && !gomessage.IsUnknownCharset(err) && !gomessage.IsUnknownEncoding(err) {
			return err
		}
		if e.MultipartReader() != nil {
			return nil
		}
		body, _ := io.ReadAll(e.Body)
		kind := ""
		if e.Header.Has("Content-Type") {
			kind, _, _ = e.Header.ContentType()
		}
		out = append(out, seen{kind, string(body)})
		return nil
	})
	return out, err
}

func readStd(h textproto.MIMEHeader, body io.Reader) (out []seen, err error) {
	kind, params, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if !strings.HasPrefix(kind, "multipart/") {
		switch strings.ToLower(h.Get("Content-Transfer-Encoding")) {
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		}
		b, _ := io.ReadAll(body)
		return []seen{{kind, string(b)}}, nil
	}
	r := stdmultipart.NewReader(body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		leaves, err := readStd(p.Header, p)
		out = append(out, leaves...)
		if err != nil {
			return out, err
		}
	}
}
