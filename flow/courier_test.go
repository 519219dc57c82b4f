package flow_test

// Copies on their way to a real MTA.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"os"
	"strings"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/jobs"
	"cloakroom/internal/submit"
	"cloakroom/internal/testserver"
	"cloakroom/policy"
	"cloakroom/policy/forward"
)

// startMTA starts the MTA that takes our own mail, for those with a mailbox
// there.
func startMTA(t *testing.T, port int, extra map[string]string, mailboxes ...string) *testserver.Postfix {
	t.Helper()
	settings := map[string]string{"cleanup_replace_stray_cr_lf": "no", "local_header_rewrite_clients": ""}
	for name, value := range extra {
		settings[name] = value
	}
	p, err := testserver.StartPostfix(t.Context(), testserver.PostfixOptions{Port: port, Mailboxes: mailboxes, Extra: settings})
	if err != nil {
		unavailable(t, err.Error())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of Postfix:\n%s", p.Log())
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// courier is the one of a world, whose clock can be set.
func (s *systems) courier(t *testing.T, mta string, after time.Duration) *flow.Courier {
	t.Helper()
	cfg := submit.DefaultConfig()
	cfg.SMTP = mta
	sender, err := submit.New(cfg, "mx.acmecorp.test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &flow.Courier{DB: s.db, Jobs: s.jobs, Blobs: s.blobs, Spool: s.engine.Spool, Sender: sender, Hostname: "mx.acmecorp.test",
		Onward: s.engine.Onward, Now: func() time.Time { return time.Now().Add(after) }, Log: s.engine.Log}
}

// work works all jobs that are due, until none is left, and tells how those
// ended that did not succeed.
func (s *systems) work(t *testing.T, c *flow.Courier) (failed []error) {
	t.Helper()
	for {
		taken, err := s.jobs.Claim(t.Context(), jobs.Claim{Kind: flow.JobCopy, Limit: 10, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if len(taken) == 0 {
			return failed
		}
		for _, j := range taken {
			effect, err := c.Handle(t.Context(), j)
			if err != nil {
				failed = append(failed, err)
				err = s.jobs.Fail(t.Context(), j.Ref(), err)
			} else {
				err = s.jobs.Complete(t.Context(), j.Ref(), effect)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (s *systems) states(t *testing.T) map[jobs.State]int64 {
	t.Helper()
	stats, err := s.jobs.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[jobs.State]int64)
	for _, one := range stats {
		out[one.State] += one.Count
	}
	return out
}

// inbox waits for the nth mail and reads it.
func inbox(t *testing.T, p *testserver.Postfix, address string, n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	files, err := p.WaitMailbox(ctx, address, n)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(files[n-1])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestACopyIsTheMailAsItCame(t *testing.T) {
	tag := policy.Rule{Name: "tag", Tag: &policy.TagAction{Text: "[extern]"}}
	s := newSystems(t, forward.Config{gappsRoute()}, tag, linkAll)
	mta := startMTA(t, 0, nil, atGapps)
	raw := string(attachedMail("odd"))
	// Latin-1 in the header, and in the body what looks like the end of the mail,
	// a CR alone, a NUL and a line too long.
	raw = strings.Replace(raw, "Subject: Plans", "X-Acme-Gateway: secret\r\nSubject: Pl\xe4ne\r\n\tgefaltet", 1)
	raw = strings.Replace(raw, "See the plans.", "\r\n.\r\n..dots\rand \x80\xff"+strings.Repeat("x", 1900)+"\r\n \t", 1)
	env := from(dave, carol, boss)
	env.Received = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	s.mustPass(t, env, []byte(raw))
	if failed := s.work(t, s.courier(t, mta.SMTPAddr(), 0)); failed != nil {
		t.Fatal(failed)
	}
	got := inbox(t, mta, atGapps, 1)
	head, body, _ := strings.Cut(got, "\n\n")
	_, want, _ := strings.Cut(strings.ReplaceAll(raw, "\r\n", "\n"), "\n\n")
	if body != want {
		t.Errorf("the body differs: %d bytes, want %d", len(body), len(want))
	}
	if !strings.HasPrefix(head, "Return-Path: <SRS0=") || strings.Contains(head, "X-Acme") {
		t.Errorf("the header is\n%s", head)
	}
	if !strings.Contains(head, "\nSubject: [extern] Pl\xe4ne\n\tgefaltet\n") {
		t.Errorf("the subject is not tagged, byte for byte:\n%q", head)
	}
	// As in the mail that stays: the MTA's hop on top, then the mark.
	hop := "\nReceived: from mail.ext.test (unknown [203.0.113.7])\n\tby mx.acmecorp.test (Cloakroom) with ESMTP id Q1;\n\tMon, 02 Nov 2026 10:00:00 +0000\nX-Cloakroom-Hop: v1 "
	if strings.Count(head, "\nReceived:") != 2 || !strings.Contains(head, hop) {
		t.Errorf("the trace is\n%s", head)
	}
}

func TestEachRecipientOfACopyIsSettledForHimself(t *testing.T) {
	s := newSystems(t, nil, pilot)
	const good, soon, never = "good@ext.test", "soon@ext.test", "never@ext.test"
	refuse := map[string]string{"smtpd_recipient_restrictions": "check_recipient_access inline:{ {soon@ext.test=450 4.7.1 not yet} {never@ext.test=550 5.7.9 go away} }"}
	first := startMTA(t, 0, refuse, good, soon, never, "alice@acmecorp.test")
	s.mustPass(t, from("alice@acmecorp.test", carol, good, soon, never), attachedMail("1"))
	courier := s.courier(t, first.SMTPAddr(), 0)
	failed := s.work(t, courier)
	if len(failed) != 1 || !strings.Contains(failed[0].Error(), "not yet") {
		t.Errorf("failures %v, want one: not yet", failed)
	}
	inbox(t, first, good, 1)
	report := inbox(t, first, "alice@acmecorp.test", 1)
	if !strings.HasPrefix(report, "Return-Path: <>") || !strings.Contains(report, "Final-Recipient: rfc822; never@ext.test\nAction: failed\nStatus: 5.7.9\n") ||
		!strings.Contains(report, "550 5.7.9 <never@ext.test>: Recipient address rejected: go away") || strings.Contains(report, soon) {
		t.Errorf("the report is\n%s", report)
	}
	if states := s.states(t); states[jobs.Waiting] != 1 || states[jobs.Failed] != 0 {
		t.Errorf("jobs %v", states)
	}
	// When it takes him, he alone gets it.
	second := startMTA(t, 0, nil, good, soon, never)
	s.change(t, `UPDATE jobs SET not_before = 0`)
	if failed := s.work(t, s.courier(t, second.SMTPAddr(), 0)); failed != nil {
		t.Error(failed)
	}
	inbox(t, second, soon, 1)
	for _, who := range []string{good, never} {
		if files, err := second.Mailbox(who); err != nil || len(files) > 0 {
			t.Errorf("%s got it as well (%v)", who, err)
		}
	}
	if states := s.states(t); states[jobs.Done] != 3 || len(states) != 1 {
		t.Errorf("jobs %v, want three that are done", states)
	}
}

func TestACopyIsReturnedWhenItWasRefusedForDays(t *testing.T) {
	s := newSystems(t, nil, pilot)
	refuse := map[string]string{"smtpd_recipient_restrictions": "check_recipient_access inline:{ {x@ext.test=450 4.7.1 not yet} }"}
	mta := startMTA(t, 0, refuse, "x@ext.test", "alice@acmecorp.test")
	s.mustPass(t, from("alice@acmecorp.test", carol, "x@ext.test"), attachedMail("1"))
	courier := s.courier(t, mta.SMTPAddr(), 6*24*time.Hour)
	for range 4 {
		if failed := s.work(t, courier); len(failed) != 1 {
			t.Fatalf("failures %v, want one", failed)
		}
		s.change(t, `UPDATE jobs SET not_before = 0`)
	}
	if failed := s.work(t, courier); failed != nil {
		t.Fatalf("at the fifth attempt: %v", failed)
	}
	if report := inbox(t, mta, "alice@acmecorp.test", 1); !strings.Contains(report, "\nStatus: 4.4.7\n") || !strings.Contains(report, "not yet") {
		t.Errorf("the report is\n%s", report)
	}

	// The same where the mail cannot even be put together.
	s.mustPass(t, from("alice@acmecorp.test", carol, "x@ext.test"), attachedMail("2"))
	breakBlobs(t, s.world)
	s.change(t, `UPDATE jobs SET attempts = 4 WHERE state = 'waiting'`)
	if failed := s.work(t, courier); failed != nil {
		t.Fatalf("without blobs: %v", failed)
	}
	if report := inbox(t, mta, "alice@acmecorp.test", 2); !strings.Contains(report, "x-cloakroom; not accepted for days") || !strings.Contains(report, "<2@acmecorp.test>") {
		t.Errorf("the report is\n%s", report)
	}
}

func TestCopiesWaitForAnMTAThatIsAway(t *testing.T) {
	s := newSystems(t, nil, pilot)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	mta := l.Addr().String()
	l.Close()
	s.mustPass(t, from("alice@acmecorp.test", carol, "x@ext.test"), attachedMail("1"))
	s.mustPass(t, from("alice@acmecorp.test", carol, "x@ext.test"), attachedMail("2"))
	// Whatever the time, nothing is returned for what is not the mail's fault.
	courier := s.courier(t, mta, 30*24*time.Hour)
	for range 6 {
		if failed := s.work(t, courier); len(failed) == 0 || !errors.Is(failed[0], submit.ErrUnavailable) {
			t.Fatalf("failures %v", failed)
		}
		s.change(t, `UPDATE jobs SET not_before = 0`)
		s.change(t, `UPDATE job_targets SET probe_at = 0`)
	}
	p := startMTA(t, port, nil, "x@ext.test")
	if failed := s.work(t, courier); failed != nil {
		t.Fatal(failed)
	}
	inbox(t, p, "x@ext.test", 2)
	if states := s.states(t); states[jobs.Done] != 2 || len(states) != 1 {
		t.Errorf("jobs %v", states)
	}
}

func TestNobodyIsToldWhoDoesNotWantOrCannot(t *testing.T) {
	refuse := map[string]string{"smtpd_recipient_restrictions": "check_recipient_access inline:{ {x@ext.test=550 5.1.1 nobody} {boss@gapps.acmecorp.test=550 5.1.1 nobody} }"}
	mta := startMTA(t, 0, refuse, "x@ext.test", "alice@acmecorp.test", atGapps)
	never := newSystems(t, nil, pilot)
	env := from("alice@acmecorp.test", carol, "x@ext.test")
	env.Recipients[1].Args = []string{"NOTIFY=NEVER"}
	never.mustPass(t, env, attachedMail("1"))
	if failed := never.work(t, never.courier(t, mta.SMTPAddr(), 0)); failed != nil || never.states(t)[jobs.Done] != 2 {
		t.Errorf("NOTIFY=NEVER: %v, %v", failed, never.states(t))
	}
	null := newSystems(t, forward.Config{gappsRoute()}, policy.Rule{Name: "x", Link: &policy.LinkAction{}})
	c := null.courier(t, mta.SMTPAddr(), 0)
	raw := attachedMail("2")
	null.mustPass(t, from(dave, carol, boss), raw)
	null.change(t, `UPDATE mails SET sender = ''`)
	if failed := null.work(t, c); len(failed) != 1 || null.states(t)[jobs.Failed] != 1 {
		t.Errorf("null sender: %v, %v", failed, null.states(t))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if files, err := mta.WaitMailbox(ctx, "alice@acmecorp.test", 1); err == nil {
		t.Errorf("%d reports were sent", len(files))
	}
}

func TestAReportFollowsItsReaderAndKeepsSecrets(t *testing.T) {
	s := newSystems(t, forward.Config{gappsRoute()}, linkAll)
	refuse := map[string]string{"smtpd_recipient_restrictions": "check_recipient_access inline:{ {gina@gapps.acmecorp.test=550 5.1.1 nobody} }"}
	mta := startMTA(t, 0, refuse, boss, atGapps)
	raw := append([]byte("X-Acme-Gateway: "+secret+"\r\n"), attachedMail("1")...)
	// boss, in the other system, wrote from there through an account of ours.
	env := from(boss, carol, gina)
	env.SenderArgs = []string{"ENVID=a+2Bb", "RET=HDRS"}
	env.Recipients[1].Args = []string{"NOTIFY=FAILURE", "ORCPT=rfc822;gina+2Bx@acmecorp.test"}
	s.mustPass(t, env, raw)
	if failed := s.work(t, s.courier(t, mta.SMTPAddr(), 0)); failed != nil {
		t.Fatal(failed)
	}
	report := inbox(t, mta, atGapps, 1)
	if strings.Contains(report, secret) {
		t.Errorf("the report tells the gateway's secret:\n%s", report)
	}
	for _, want := range []string{"\nX-Cloakroom-Hop: v1 ", "\nOriginal-Envelope-Id: a+b\n", "\nOriginal-Recipient: rfc822;gina+x@acmecorp.test\n",
		"\nFinal-Recipient: rfc822; gina@acmecorp.test\n", "\nDiagnostic-Code: smtp; 550 5.1.1 ", "Auto-Submitted: auto-replied", "\nSubject: Plans\n"} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in the report:\n%s", want, report)
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(report))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("%s %v (%v)", kind, params, err)
	}
	var kinds []string
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(p)
		if err != nil || len(bytes.TrimSpace(content)) == 0 {
			t.Errorf("part %q, %v", content, err)
		}
		kinds = append(kinds, p.Header.Get("Content-Type"))
	}
	if got := strings.Join(kinds, ", "); got != "text/plain; charset=utf-8, message/delivery-status, text/rfc822-headers" {
		t.Errorf("parts %s", got)
	}
}
