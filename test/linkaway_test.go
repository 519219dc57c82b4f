package test

// Codes and receipts while the MTA that takes them is away.

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/app"
	"cloakroom/internal/testserver"
)

// A code comes as soon as the MTA is back, if that is soon; a receipt comes, however
// long it takes and whatever becomes of the daemon meanwhile, and comes once.
func TestMailAboutLinksOutlivesAnMTAThatIsAway(t *testing.T) {
	t.Parallel()
	port := freePorts(t, 1)[0]
	d := newDaemon(t, fmt.Sprintf("trusted: [127.0.0.1/32]\nsubmit: {smtp: %q}\n", address(port))+
		"rules:\n  - {name: codes, link: {access: recipients, notify: true}}\n")
	d.start()
	p := startPostfix(t, d.MilterAddr)
	// back is an MTA for our own mail, which delivers it itself.
	back := func() *testserver.Postfix {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		mta, err := testserver.StartPostfix(ctx, testserver.PostfixOptions{Mailboxes: []string{alice, dave},
			Services: []string{fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd", port)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { mta.Stop() })
		return mta
	}
	send(t, p, alice, []string{dave}, toCRLF(compose(alice, []string{dave}, "plans", file{"plans.pdf", "application/pdf", random(50_000, 91)})))
	link := links(mailbox(t, p, dave, 1)[0])[0]
	v := newVisitor(t)
	if status, page := v.post(link, "address", dave); status != http.StatusOK || !strings.Contains(page, "Enter the code") {
		t.Fatalf("%d\n%s", status, page)
	}
	time.Sleep(time.Second) // for a first try, in vain
	first := back()
	w := &accessWorld{t, d, first}
	status, page := v.post(link, "code", w.code(dave, 1))
	if status != http.StatusOK || !strings.Contains(page, "plans.pdf") {
		t.Fatalf("%d\n%s", status, page)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	part := fileField.FindStringSubmatch(page)[1]
	for range 2 {
		if status, _ := v.post(link, "file", part); status != http.StatusOK {
			t.Errorf("download: %d", status)
		}
	}
	receipt := func() app.Job {
		t.Helper()
		all := queued(t, d, "--kind", "receipt", "--state", "waiting,running,failed,held,done")
		if len(all) != 1 {
			t.Fatalf("%d receipts are in the queue, want one for the first download: %+v", len(all), all)
		}
		return all[0]
	}
	for end := time.Now().Add(30 * time.Second); receipt().Error == ""; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it was not tried: %+v", receipt())
		}
	}
	if j := receipt(); j.State != "waiting" && j.State != "running" || !strings.Contains(j.Error, "connection refused") {
		t.Errorf("while the MTA is away: %+v", j)
	}
	d.stop()
	d.start()
	second := back()
	got := string(mailbox(t, second, alice, 1)[0])
	for _, want := range []string{"Subject: Downloaded: plans.pdf", "By: " + dave, "Return-Path: <>"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	for end := time.Now().Add(20 * time.Second); receipt().State != "done"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("sent, and still %+v", receipt())
		}
	}
	if n := len(mailbox(t, second, alice, 1)); n != 1 {
		t.Errorf("%d receipts came", n)
	}
}
