package app

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/config"
	"cloakroom/internal/submit"
)

// TestACodeWaitsForAnMTAThatStarts: and no longer than it is of use.
func TestACodeWaitsForAnMTAThatStarts(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	place := l.Addr().String()
	l.Close()
	cfg := &config.Config{Hostname: "mx.acmecorp.test", Domains: []string{"acmecorp.test"}, Submit: submit.DefaultConfig()}
	cfg.Submit.SMTP = place
	sender, err := newSender(cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	c := codes{newLetters(cfg, sender, nil, quiet)}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.SendCode(short, "bob@ext.test", "s", "t"); !errors.Is(err, submit.ErrUnavailable) {
		t.Errorf("without an MTA: %v", err)
	}
	sent := make(chan error, 1)
	go func() { sent <- c.SendCode(t.Context(), "bob@ext.test", "Your code", "12345678\n") }()
	time.Sleep(300 * time.Millisecond)
	m := startMTAAt(t, place)
	select {
	case err := <-sent:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the code was not sent")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !strings.Contains(m.envelope, "postmaster@acmecorp.test") || !strings.Contains(string(m.body), "12345678") {
		t.Errorf("%s\n%s", m.envelope, m.body)
	}
	if newLetters(cfg, nil, nil, quiet) != nil || mailer(nil) != nil {
		t.Error("something sends mail without an MTA")
	}
}
