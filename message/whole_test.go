package message

import (
	"strings"
	"testing"
)

func TestWholeMessageIsTheAttachment(t *testing.T) {
	const names = "content-type: application/pdf;\n name=\"a.pdf\"\nCONTENT-TRANSFER-ENCODING: base64\nContent-disposition: attachment;\n\tfilename=\"a.pdf\"\n"
	for _, c := range []struct{ name, header, body string }{
		{"usual", "MIME-Version: 1.0\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment\n", "JVBERi0="},
		{"names in mixed case, folded", "Mime-version: 1.0\n" + names + "X-Last: 1\n", "JVBERi0=\n"},
		{"text that is an attachment", "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Disposition: attachment; filename=a.txt\n", "text\n"},
		{"no MIME-Version", "Content-Type: application/pdf\n", "%PDF"},
		{"no Content-Type", "Content-Disposition: attachment\nX-Last: 1\n", "text"},
		{"all that describes the content", "Content-ID: <x@y>\nContent-Description: a\nContent-Description: b\nContent-MD5: x\nContent-Location: x\nContent-Length: 3\nContent-Type: image/gif\n", "GIF"},
		{"forwarded message", "MIME-Version: 1.0\nContent-Type: message/rfc822\n", "Subject: x\n\ny\n"},
	} {
		for _, eol := range []string{"\r\n", "\n"} {
			const kept = "Received: by x;\n Mon, 1 Jan 2026 00:00:00 +0000\nFrom: a@ext.test\nSubject: Gr\xc3\xbc\xc3\x9fe\n"
			m := open(t, strings.ReplaceAll(kept+c.header+"\n"+c.body, "\n", eol))
			if m.alone != "" || len(m.free()) != 1 {
				t.Fatalf("%s: alone %q, %d free", c.name, m.alone, len(m.free()))
			}
			rw, err := m.try(m.tree.Root)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range rw.Header {
				if there := m.header.Has(e.Name); there != (e.Index > 0) || e.Value == "" && !there {
					t.Errorf("%s: edit %+v, and the field is there: %v", c.name, e, there)
				}
			}
			next := m.remove(m.tree.Root)
			if got := outline(next.tree.Root); got != "alternative(plain html)" {
				t.Errorf("%s: structure %s\n%s", c.name, got, next.header.Raw)
			}
			if raw := string(next.header.Raw); !strings.HasPrefix(raw, strings.ReplaceAll(kept, "\n", eol)) || !strings.HasSuffix(raw, eol) {
				t.Errorf("%s: header\n%s", c.name, raw)
			}
			for _, field := range []string{"Content-Transfer-Encoding", "Content-Disposition", "Content-Id", "Content-Description", "Content-Md5", "Content-Location", "Content-Length"} {
				if next.header.Has(field) {
					t.Errorf("%s: %s is still there:\n%s", c.name, field, next.header.Raw)
				}
			}
			if v := next.header.Values("Mime-Version"); len(v) != 1 || v[0] != "1.0" {
				t.Errorf("%s: MIME-Version %q", c.name, v)
			}
			if v := next.header.Values("Content-Type"); len(v) != 1 {
				t.Errorf("%s: Content-Type %q", c.name, v)
			}
			if strings.Contains(c.header, "X-Last") && !next.header.Has("X-Last") {
				t.Errorf("%s: X-Last is gone:\n%s", c.name, next.header.Raw)
			}
		}
	}
}

func TestApplyHeader(t *testing.T) {
	const head = "Received: a\n b\nSubject: one\nx-mixed : two\nSubject: three\n\tfolded\nTo: z\n"
	for _, c := range []struct {
		name  string
		raw   string
		edits []HeaderEdit
		want  string
	}{
		{"nothing", head, nil, head},
		{"add", head, []HeaderEdit{{Index: 0, Name: "X-New", Value: "v"}}, head + "X-New: v\n"},
		{"change", head, []HeaderEdit{{Index: 1, Name: "subject", Value: "v"}}, "Received: a\n b\nsubject: v\nx-mixed : two\nSubject: three\n\tfolded\nTo: z\n"},
		{"change the second, folded", head, []HeaderEdit{{Index: 2, Name: "Subject", Value: "v"}}, "Received: a\n b\nSubject: one\nx-mixed : two\nSubject: v\nTo: z\n"},
		{"delete the second, folded", head, []HeaderEdit{{Index: 2, Name: "Subject", Value: ""}}, "Received: a\n b\nSubject: one\nx-mixed : two\nTo: z\n"},
		{"delete the first, folded", head, []HeaderEdit{{Index: 1, Name: "Received", Value: ""}}, "Subject: one\nx-mixed : two\nSubject: three\n\tfolded\nTo: z\n"},
		{"delete the last", head, []HeaderEdit{{Index: 1, Name: "TO", Value: ""}}, "Received: a\n b\nSubject: one\nx-mixed : two\nSubject: three\n\tfolded\n"},
		{"delete both", head, []HeaderEdit{{Index: 2, Name: "Subject", Value: ""}, {Index: 1, Name: "Subject", Value: ""}}, "Received: a\n b\nx-mixed : two\nTo: z\n"},
		{"blank before the colon", head, []HeaderEdit{{Index: 1, Name: "X-Mixed", Value: "v"}}, "Received: a\n b\nSubject: one\nX-Mixed: v\nSubject: three\n\tfolded\nTo: z\n"},
		{"change what is not there", head, []HeaderEdit{{Index: 3, Name: "Subject", Value: "v"}}, head + "Subject: v\n"},
		{"delete what is not there", head, []HeaderEdit{{Index: 1, Name: "Bcc", Value: ""}}, head},
		{"no line end at the end", "Subject: one", []HeaderEdit{{Index: 0, Name: "To", Value: "z"}}, "Subject: one\nTo: z\n"},
		{"name as the value's begin", "Subject: To: x\nTo: y\n", []HeaderEdit{{Index: 1, Name: "To", Value: "z"}}, "Subject: To: x\nTo: z\n"},
		{"empty header", "", []HeaderEdit{{Index: 0, Name: "To", Value: "z"}}, "To: z\n"},
	} {
		for _, eol := range []string{"\r\n", "\n"} {
			raw := strings.ReplaceAll(c.raw, "\n", eol)
			before := raw
			got := string(ApplyHeader(Header{Raw: []byte(raw)}, c.edits))
			want := strings.ReplaceAll(c.want, "\n", eol)
			if !strings.Contains(raw, "\n") { // nothing tells the line end
				want = strings.ReplaceAll(c.want, "\n", "\r\n")
			}
			if got != want || raw != before {
				t.Errorf("%s %q: got\n%q, want\n%q", c.name, eol, got, want)
			}
		}
	}
}
