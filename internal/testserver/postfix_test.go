package testserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// testTimeout bounds each test that starts a server.
const testTimeout = time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

func startTestPostfix(t *testing.T, opt PostfixOptions) *Postfix {
	t.Helper()
	p, err := StartPostfix(testContext(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func mustRead(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPostfixDeliversBySMTPAndSendmail(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	began := time.Now()
	p := startTestPostfix(t, PostfixOptions{Mailboxes: []string{"bob@acmecorp.test", "Alice@acmecorp.test"}})
	t.Logf("ready after %v", time.Since(began))

	both := []string{"bob@acmecorp.test", "alice@acmecorp.test"}
	reply, err := SendSMTP(ctx, p.SMTPAddr(), "eve@ext.test", both, strings.NewReader("Subject: one\r\n\r\n.dot and text\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if reply.Code != 250 || reply.QueueID == "" {
		t.Errorf("reply %+v, want 250 with a queue id", reply)
	}
	if _, err := p.WaitMailbox(ctx, "bob@acmecorp.test", 1); err != nil {
		t.Fatal(err)
	}
	if err := p.Sendmail(ctx, "", both[:1], strings.NewReader("Subject: two\n\n.\nafter the dot\n")); err != nil {
		t.Fatal(err)
	}

	bob, err := p.WaitMailbox(ctx, "bob@acmecorp.test", 2)
	if err != nil {
		t.Fatal(err)
	}
	alice, err := p.WaitMailbox(ctx, "ALICE@acmecorp.test", 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(bob) != 2 || len(alice) != 1 {
		t.Fatalf("bob has %d messages, alice %d; want 2 and 1", len(bob), len(alice))
	}
	for _, file := range []string{bob[0], alice[0]} {
		text := mustRead(t, file)
		if !strings.HasPrefix(text, "Return-Path: <eve@ext.test>\n") || !strings.HasSuffix(text, "\n\n.dot and text\n") {
			t.Errorf("delivered by SMTP: %q", text)
		}
		if !strings.Contains(text, "id "+reply.QueueID) {
			t.Errorf("the Received field lacks the queue id %s of the reply: %q", reply.QueueID, text)
		}
	}
	if text := mustRead(t, bob[1]); !strings.HasPrefix(text, "Return-Path: <>\n") || !strings.HasSuffix(text, "\n\n.\nafter the dot\n") {
		t.Errorf("delivered by sendmail: %q", text)
	}
	if _, err := p.Mailbox("carol@acmecorp.test"); err == nil {
		t.Error("Mailbox invents a mailbox nobody asked for")
	}
}

func TestPostfixRefusesUnknownMailbox(t *testing.T) {
	p := startTestPostfix(t, PostfixOptions{Mailboxes: []string{"bob@acmecorp.test"}})
	reply, err := SendSMTP(testContext(t), p.SMTPAddr(), "eve@ext.test", []string{"nobody@acmecorp.test"}, strings.NewReader("\r\n"))
	var refused *textproto.Error
	if !errors.As(err, &refused) || reply.Code != 550 || refused.Code != 550 {
		t.Errorf("reply %+v, error %v; want 550", reply, err)
	}
}

// A listener that takes milter connections and never says a word counts them.
func TestPostfixLeavesTheFirstMilterConnectionToTheCaller(t *testing.T) {
	milter, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer milter.Close()
	connections := make(chan net.Conn, 16)
	go func() {
		for {
			c, err := milter.Accept()
			if err != nil {
				return
			}
			connections <- c
		}
	}()
	p := startTestPostfix(t, PostfixOptions{
		MilterAddr: "inet:" + milter.Addr().String(),
		Mailboxes:  []string{"bob@acmecorp.test"},
	})
	time.Sleep(300 * time.Millisecond) // a connection of the start itself would be here by now
	if n := len(connections); n != 0 {
		t.Errorf("%d milter connections before the first mail", n)
	}
	client, err := net.Dial("tcp4", p.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	select {
	case c := <-connections:
		c.Close()
	case <-time.After(10 * time.Second):
		t.Errorf("no milter connection for an SMTP client; log:\n%s", p.Log())
	}
}

func TestPostfixDefaultActionWhileMilterIsAway(t *testing.T) {
	t.Parallel()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	for action, code := range map[string]int{"": 451, "accept": 250} {
		t.Run("default action "+action, func(t *testing.T) {
			p := startTestPostfix(t, PostfixOptions{
				MilterAddr:    fmt.Sprintf("inet:127.0.0.1:%d", port),
				DefaultAction: action,
				Mailboxes:     []string{"bob@acmecorp.test"},
			})
			reply, _ := SendSMTP(testContext(t), p.SMTPAddr(), "eve@ext.test", []string{"bob@acmecorp.test"}, strings.NewReader("\r\nx\r\n"))
			if reply.Code != code {
				t.Errorf("reply %+v, want %d", reply, code)
			}
		})
	}
}

func TestPostfixRoutesAndQueues(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	next := startTestPostfix(t, PostfixOptions{Mailboxes: []string{"eve@ext.test"}})
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	p := startTestPostfix(t, PostfixOptions{
		Routes: map[string]string{"ext.test": next.SMTPAddr(), "away.test": fmt.Sprintf("127.0.0.1:%d", port)},
		Extra:  map[string]string{"myhostname": "gateway.acmecorp.test"},
	})
	to := []string{"eve@ext.test", "adam@away.test"}
	reply, err := SendSMTP(ctx, p.SMTPAddr(), "bob@acmecorp.test", to, strings.NewReader("Subject: out\r\n\r\nx\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	mails, err := next.WaitMailbox(ctx, "eve@ext.test", 1)
	if err != nil {
		t.Fatal(err)
	}
	if text := mustRead(t, mails[0]); !strings.Contains(text, "from gateway.acmecorp.test") {
		t.Errorf("the next hop does not know the name set by Extra: %q", text)
	}
	var queue []QueuedMail
	for len(queue) == 0 || len(queue[0].Recipients) != 1 || queue[0].Queue != "deferred" {
		if ctx.Err() != nil {
			t.Fatalf("queue %+v, want one deferred recipient; log:\n%s", queue, p.Log())
		}
		if queue, err = p.Queue(ctx); err != nil {
			t.Fatal(err)
		}
	}
	q := queue[0]
	if q.ID != reply.QueueID || q.Sender != "bob@acmecorp.test" || q.Size == 0 ||
		q.Recipients[0].Address != "adam@away.test" || !strings.Contains(q.Recipients[0].Reason, "Connection refused") {
		t.Errorf("queue entry %+v", q)
	}
}

func TestPostfixStopLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	p := startTestPostfix(t, PostfixOptions{Mailboxes: []string{"bob@acmecorp.test"}})
	if _, err := SendSMTP(ctx, p.SMTPAddr(), "eve@ext.test", []string{"bob@acmecorp.test"}, strings.NewReader("\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.WaitMailbox(ctx, "bob@acmecorp.test", 1); err != nil {
		t.Fatal(err)
	}
	pids := postfixProcesses(t, p.Log())
	began := time.Now()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped after %v", time.Since(began))
	assertGone(t, p.folder, pids)
	// A delivery is logged only after the mail lies in its mailbox: too late to wait for.
	if !strings.Contains(p.Log(), "from=<eve@ext.test>") {
		t.Errorf("the log does not outlive the server: %q", p.Log())
	}
	if err := p.Stop(); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

func TestPostfixEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	p, err := StartPostfix(ctx, PostfixOptions{Mailboxes: []string{"bob@acmecorp.test"}})
	if err != nil {
		t.Fatal(err)
	}
	pids := postfixProcesses(t, p.Log())
	cancel()
	<-p.guard.done
	assertGone(t, p.folder, pids)
	if err := p.Stop(); err != nil {
		t.Errorf("Stop after the context's end: %v", err)
	}
}

func TestPostfixSaysWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	p, err := StartPostfix(testContext(t), PostfixOptions{Extra: map[string]string{"mail_owner": "no-such-account"}})
	if err == nil {
		p.Stop()
		t.Fatal("started with an owner that does not exist")
	}
	if !strings.Contains(err.Error(), "no-such-account") {
		t.Errorf("the error does not tell the reason: %v", err)
	}
}

func TestPostfixRefusesWhatItCannotConfigure(t *testing.T) {
	for name, opt := range map[string]PostfixOptions{
		"mailbox without domain": {Mailboxes: []string{"bob"}},
		"mailbox with a path":    {Mailboxes: []string{"../bob@acmecorp.test"}},
		"route without port":     {Routes: map[string]string{"ext.test": "127.0.0.1"}},
		"line end in a value":    {Extra: map[string]string{"myhostname": "a\nb"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := StartPostfix(testContext(t), opt)
			if err == nil {
				p.Stop()
				t.Error("started")
			}
		})
	}
}

var logPID = regexp.MustCompile(`postfix/[\w-]+\[(\d+)\]`)

// postfixProcesses are the processes that wrote to a log, and are alive.
func postfixProcesses(t *testing.T, log string) []int {
	t.Helper()
	var pids []int
	for _, m := range logPID.FindAllStringSubmatch(log, -1) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(pids, pid) && alive(pid) {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatalf("no process of Postfix in its log: %q", log)
	}
	return pids
}

// alive tells whether a process runs. One that has ended and waits for its
// parent to notice (a zombie, "Z" after the command in parentheses) does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// assertGone fails if files or processes of a stopped server are left. The
// kernel gets a moment to end processes that have been killed.
func assertGone(t *testing.T, folder string, pids []int) {
	t.Helper()
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder %s is still there (%v)", folder, err)
	}
	for _, pid := range pids {
		for end := time.Now().Add(2 * time.Second); alive(pid); time.Sleep(pollInterval) {
			if time.Now().After(end) {
				t.Errorf("process %d is still there", pid)
				break
			}
		}
	}
}
