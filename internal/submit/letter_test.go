package submit

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message/mail"
)

func TestALetterIsReadAsItWasWritten(t *testing.T) {
	text := "87654321\n\nist der Code für die Dateien. " + strings.Repeat("Lange Zeilen werden umgebrochen. ", 40) + "\n.\nFrom here\n"
	l := Letter{Hostname: "mx.acmecorp.test", From: "postmaster@acmecorp.test", Name: `Acme "Files", Köln`, To: "bob@ext.test", Subject: "Ihr Code: für " + strings.Repeat("ü", 80),
		Text: text, ID: "1", Date: time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)}
	raw := l.Bytes()
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if len(line) > 90 || bytes.ContainsAny(line, "\r\n") || bytes.ContainsFunc(line, func(r rune) bool { return r >= 0x80 }) {
			t.Errorf("a line of the letter: %q", line)
		}
	}
	r, err := mail.CreateReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	from, err := r.Header.AddressList("From")
	if err != nil || len(from) != 1 || from[0].Address != l.From || from[0].Name != l.Name {
		t.Errorf("from %v, %v", from, err)
	}
	if subject, err := r.Header.Subject(); err != nil || subject != l.Subject {
		t.Errorf("subject %q, %v", subject, err)
	}
	if r.Header.Get("Auto-Submitted") != "auto-generated" || l.NeedsUTF8() {
		t.Error("it does not say that nobody wrote it, or needs SMTPUTF8")
	}
	part, err := r.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(part.Body); err != nil || strings.ReplaceAll(string(body), "\r\n", "\n") != text {
		t.Errorf("%v, text:\n%s", err, body)
	}
	// What comes with a mail plants no field.
	l.Subject, l.Name, l.To = "x\r\nBcc: eve@ext.test", "y\nBcc: eve@ext.test", "bob@ext.test\r\nBcc: eve@ext.test"
	if bytes.Contains(l.Bytes(), []byte("\nBcc:")) {
		t.Errorf("a field was planted:\n%s", l.Bytes())
	}
	l.Subject = "Downloaded: =?utf-8?q?a=0D=0ABcc:_x=E2=80=AEgpj.exe?="
	if r, err = mail.CreateReader(bytes.NewReader(l.Bytes())); err != nil {
		t.Fatal(err)
	}
	if subject, err := r.Header.Subject(); err != nil || strings.ContainsAny(subject, "\r\n\u202e") {
		t.Errorf("a file's name was decoded: %q, %v", subject, err)
	}
	if other := (&Letter{From: "büro@ext.test", To: "b@ext.test"}); !other.NeedsUTF8() {
		t.Error("an address beyond ASCII needs SMTPUTF8")
	}
}
