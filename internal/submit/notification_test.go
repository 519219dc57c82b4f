package submit

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestANotificationCannotBeMadeToSayMore(t *testing.T) {
	evil := "x\r\nBcc: all@acmecorp.test\r\n\r\n--=_\x00\xff"
	n := Notification{Hostname: "mx.acmecorp.test", To: "alice@acmecorp.test\r\nBcc: y@ext.test", ID: "1", Date: time.Unix(0, 0).UTC(), Arrival: time.Unix(0, 0).UTC(),
		Envelope: []string{"RET=HDRS", "envid=q+0D+0ABcc:+20z"},
		Failed: []FailedRcpt{
			{Address: "bob@ext.test\r\n" + strings.ReplaceAll(evil, "\xff", ""), Args: []string{"ORCPT=rfc822;a+0D+0Ab+3D+g1+2"}, Status: "5.1.1", Reply: "550 5.1.1 " + evil + strings.Repeat("ü", 2000)},
			{Address: "carol@ext.test", Status: "5.0.0", Reply: "the mail cannot be sent"},
		},
		Header: []byte("Subject: Gr\xfc\xdfe\r\nX: y\n")}
	text := n.Bytes()
	head, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	if bytes.Contains(head, []byte("\nBcc")) || bytes.Count(head, []byte("\nTo:")) != 1 {
		t.Errorf("header:\n%s", head)
	}
	for line := range bytes.SplitSeq(text, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") || bytes.HasPrefix(line, []byte("Bcc")) {
			t.Errorf("line %q", line)
		}
	}
	status := string(body[bytes.Index(body, []byte("Reporting-MTA")):])
	status = status[:strings.Index(status, "\r\n--=_")]
	for _, want := range []string{"Original-Envelope-Id: q Bcc: z\r\n", "Original-Recipient: rfc822;a b=+g1+2\r\n", "Diagnostic-Code: smtp; 550 5.1.1 x Bcc",
		"Diagnostic-Code: x-cloakroom; the mail cannot be sent\r\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	if !ascii(status) {
		t.Error("message/delivery-status is not ASCII")
	}
	if !bytes.Contains(body, []byte("Subject: Gr\xfc\xdfe\r\nX: y\r\n")) {
		t.Error("the mail's header is not as it was")
	}
	if !bytes.Equal(text, n.Bytes()) {
		t.Error("the same notification looks different the second time")
	}
}

func TestANotificationAboutAddressesBeyondASCII(t *testing.T) {
	n := Notification{Hostname: "mx.acmecorp.test", To: "alice@acmecorp.test", Failed: []FailedRcpt{{Address: "jürgen@ext.test", Status: "5.1.1", Reply: "550 5.1.1 Köln"}}}
	text := string(n.Bytes())
	if !n.NeedsUTF8() || !strings.Contains(text, "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n") ||
		!strings.Contains(text, "Final-Recipient: utf-8; jürgen@ext.test\r\n") || !strings.Contains(text, "smtp; 550 5.1.1 Köln\r\n") {
		t.Errorf("notification:\n%s", text)
	}
}
