package flow

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestTheTraceFieldTellsTheHopAndNothingElse(t *testing.T) {
	at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	const end = "; Mon, 02 Nov 2026 10:00:00 +0000"
	for _, c := range []struct {
		env  Envelope
		want string
	}{
		{Envelope{Client: netip.MustParseAddr("192.0.2.1"), Helo: "mail.ext.test", Host: "mx.ext.test", QueueID: "4XYZ"},
			"from mail.ext.test (mx.ext.test [192.0.2.1]) by mx.acmecorp.test (Cloakroom) with ESMTP id 4XYZ"},
		{Envelope{Client: netip.MustParseAddr("::ffff:192.0.2.1"), Helo: "[192.0.2.1]", TLS: "TLSv1.3", AuthUser: "bob"},
			"from [192.0.2.1] (unknown [192.0.2.1]) by mx.acmecorp.test (Cloakroom) with ESMTPSA"},
		{Envelope{Client: netip.MustParseAddr("2001:db8::1%eth0"), Helo: "a b) by evil; \r\nX: y", Host: "ü", TLS: "TLSv1.3"},
			"from a?b??by?evil????X:?y (? [IPv6:2001:db8::1]) by mx.acmecorp.test (Cloakroom) with ESMTPS"},
		{Envelope{QueueID: "4XYZ"}, "by mx.acmecorp.test (Cloakroom) id 4XYZ"},
	} {
		c.env.Received = at
		hop := (&Mail{env: &c.env}).hop()
		got := hop.received("mx.acmecorp.test", c.env.QueueID)
		if unfolded := strings.ReplaceAll(got, "\r\n\t", " "); unfolded != c.want+end {
			t.Errorf("got  %q\nwant %q", unfolded, c.want+end)
		}
		if strings.Contains(strings.ReplaceAll(got, "\r\n\t", ""), "\n") {
			t.Errorf("a line end of somebody else's: %q", got)
		}
	}
}
