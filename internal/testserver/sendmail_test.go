package testserver

import (
	"context"
	"strings"
	"testing"
	"time"
)

func startTestSendmail(t *testing.T, opt SendmailOptions) *Sendmail {
	t.Helper()
	s, err := StartSendmail(testContext(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of Sendmail:\n%s", s.Log())
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func startTestSink(t *testing.T) *Sink {
	t.Helper()
	s, err := StartSink(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func TestSendmailDeliversBySMTPAndSendmail(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	sink := startTestSink(t)
	began := time.Now()
	s := startTestSendmail(t, SendmailOptions{Routes: map[string]string{"acmecorp.test": sink.Addr()}})
	t.Logf("ready after %v", time.Since(began))
	to := []string{"bob@acmecorp.test", "alice@acmecorp.test"}
	reply, err := SendSMTP(ctx, s.SMTPAddr(), "eve@ext.test", to, strings.NewReader("Subject: one\r\n\r\n.dot and text\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", reply)
	mails, err := sink.Wait(ctx, to[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v\n%s", mails, mails[0].Data)
	if err := s.Submit(ctx, "", to[:1], strings.NewReader("Subject: two\n\n.\nafter the dot\n")); err != nil {
		t.Fatal(err)
	}
	mails, err = sink.Wait(ctx, to[0], 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v\n%s", mails[1], mails[1].Data)
	t.Log(s.Log())
}
