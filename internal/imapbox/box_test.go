package imapbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"cloakroom/internal/testserver"
)

const bob = "bob@acmecorp.test"

var received = time.Date(2026, 3, 14, 15, 9, 26, 535e6, time.UTC)

func startDovecot(t *testing.T, extra ...string) *testserver.Dovecot {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	d, err := testserver.StartDovecot(ctx, "", extra...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// options are for a mailbox of bob.
func options(t *testing.T, d *testserver.Dovecot, scheme, address, mailbox string) Options {
	t.Helper()
	p, err := ParsePlace(scheme + "://bob%40acmecorp.test@" + address + "/" + mailbox)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(d.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return Options{Place: p, Password: d.Password(), CAs: roots, Patience: 20 * time.Second, Pauses: []time.Duration{0, 100 * time.Millisecond, 500 * time.Millisecond}}
}

func open(t *testing.T, o Options) *Box {
	t.Helper()
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func message(text string) Message {
	return Message{Body: strings.NewReader(text), Size: int64(len(text)), Received: received}
}

// put puts messages into a box, and closes it; it tells which were there.
func put(t *testing.T, b *Box, texts ...string) (was []bool) {
	t.Helper()
	for _, text := range texts {
		w, err := b.Put(t.Context(), message(text))
		if err != nil {
			t.Fatal(err)
		}
		was = append(was, w)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return was
}

// contents reads a mailbox with a client of its own.
func contents(t *testing.T, d *testserver.Dovecot, mailbox string) (out []*imapclient.FetchMessageBuffer) {
	t.Helper()
	c, err := imapclient.DialInsecure(d.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(bob, d.Password()).Wait(); err != nil {
		t.Fatal(err)
	}
	box, err := c.Select(mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if box.NumMessages == 0 {
		return nil
	}
	out, err = c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mail(subject, body string) string {
	return "From: alice@ext.test\r\nSubject: " + subject + "\r\nMessage-ID: <1@ext.test>\r\n\r\n" + body
}

func TestMessagesArriveByteForByteAndOnlyOnce(t *testing.T) {
	t.Parallel()
	d := startDovecot(t)
	texts := []string{
		mail("one", "a body\r\nwith \x80\xff bytes\r\n.\r\nFrom here\r\n"),
		strings.ReplaceAll(mail("LF only", "a body\r\nof two lines\r\n"), "\r\n", "\n"),
		mail("mixed", "one\r\ntwo\nthree\r\n"),
		mail("no end", "of the last line"),
		"Subject: no body\r\n\r\n",
		"Subject: no blank line\r\n",
		mail("long", strings.Repeat("x", 200<<10)+"\r\n"+strings.Repeat("y", 65536-1)+"\r\n"+strings.Repeat("line\r\n", 1<<18)),
		mail("twin", "the same twice\r\n"),
		mail("twin", "the same twice\r\n"),
		mail("twin", "the other time\r\n"), // same size, date and header
	}
	const name = "Zur%C3%BCckgeholt/M%C3%A4rz%20&%20mehr"
	first := put(t, open(t, options(t, d, "imap", d.Address(), name)), texts[:8]...)
	if slices.Contains(first, true) {
		t.Errorf("in a new mailbox these are: %v", first)
	}
	again := put(t, open(t, options(t, d, "imaps", d.TLSAddress(), name)), texts...)
	if want := []bool{true, true, true, true, true, true, true, true, false, false}; !slices.Equal(again, want) {
		t.Errorf("after an interruption these are there: %v", again)
	}
	if third := put(t, open(t, options(t, d, "imaps", d.TLSAddress(), name)), texts...); slices.Contains(third, false) {
		t.Errorf("the third time these are there: %v", third)
	}
	found := contents(t, d, "Zurückgeholt.März & mehr")
	if len(found) != len(texts) {
		t.Fatalf("%d messages of %d", len(found), len(texts))
	}
	for i, text := range texts {
		want := strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
		if got := found[i].BodySection[0].Bytes; string(got) != want {
			t.Errorf("message %d has %d bytes, not %d, and differs from what was put: %.200q", i, len(got), len(want), got)
		}
		if slices.Contains(found[i].Flags, imap.FlagSeen) || !found[i].InternalDate.Equal(received.Truncate(time.Second)) {
			t.Errorf("message %d has flags %v and the date %v", i, found[i].Flags, found[i].InternalDate)
		}
	}
	checkSubscribed(t, d, "Zurückgeholt.März & mehr")
}

// Mail that was moved in bulk can have one date.
func TestManyMessagesOfOneSecondAreToldApart(t *testing.T) {
	t.Parallel()
	d := startDovecot(t)
	var texts []string
	for i := range 2*fewAlike + 2 {
		texts = append(texts, mail("bulk", strings.Repeat("x", i)+"\r\n"))
	}
	texts = append(texts, texts[3]) // a twin
	put(t, open(t, options(t, d, "imap", d.Address(), "Bulk")), texts[:2*fewAlike]...)
	was := put(t, open(t, options(t, d, "imap", d.Address(), "Bulk")), texts...)
	for i, w := range was {
		if w != (i < 2*fewAlike) {
			t.Errorf("message %d was there: %v", i, w)
		}
	}
	if was = put(t, open(t, options(t, d, "imap", d.Address(), "Bulk")), texts...); slices.Contains(was, false) || len(contents(t, d, "Bulk")) != len(texts) {
		t.Errorf("the third time these are there: %v", was)
	}
}

func checkSubscribed(t *testing.T, d *testserver.Dovecot, mailbox string) {
	t.Helper()
	c, err := imapclient.DialInsecure(d.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(bob, d.Password()).Wait(); err != nil {
		t.Fatal(err)
	}
	list, err := c.List("", "*", &imap.ListOptions{SelectSubscribed: true}).Collect()
	if err != nil || !slices.ContainsFunc(list, func(l *imap.ListData) bool { return l.Mailbox == mailbox }) {
		t.Errorf("subscribed are %v, %v", list, err)
	}
}

func TestABrokenConnectionIsMadeAgainAndNothingComesTwice(t *testing.T) {
	t.Parallel()
	d := startDovecot(t)
	proxy, err := testserver.StartProxy(t.Context(), d.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	o := options(t, d, "imap", proxy.Address(), "INBOX")
	o.Patience = 400 * time.Millisecond
	b := open(t, o)
	steps := []struct {
		name  string
		fault func()
		want  string // was it there
	}{
		{"one", func() {}, "false"},
		{"cut while idle", func() { proxy.Cut() }, "false"},
		// What was sent arrived, and the answer did not.
		{"arrived without an answer", func() {
			put(t, open(t, options(t, d, "imap", d.Address(), "INBOX")), mail("arrived without an answer", "x\r\n"))
			proxy.Cut()
		}, "true"},
		{"hangs for a time", func() {
			proxy.Stall()
			time.AfterFunc(600*time.Millisecond, proxy.Flow)
		}, "either"}, // as what was sent may arrive late
	}
	for _, s := range steps {
		s.fault()
		was, err := b.Put(t.Context(), message(mail(s.name, "x\r\n")))
		if err != nil || s.want != "either" && fmt.Sprint(was) != s.want {
			t.Fatalf("%s: was there %v, %v", s.name, was, err)
		}
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if found := contents(t, d, "INBOX"); len(found) != len(steps) {
		t.Errorf("%d messages of %d", len(found), len(steps))
	}
	b = open(t, o)
	defer b.drop()
	proxy.Stall()
	began := time.Now()
	_, err = b.Put(t.Context(), message(mail("hangs for good", "x\r\n")))
	var stopped *StoppedError
	if !errors.As(err, &stopped) || !strings.Contains(err.Error(), "said nothing for 400ms") || time.Since(began) > 15*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Put(ctx, message(mail("nobody waits", "x\r\n"))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who asked has left: %v", err)
	}
}

func TestWhatTheServerDoesNotTake(t *testing.T) {
	t.Parallel()
	d := startDovecot(t, "mail_plugins = quota", "plugin {", "  quota = maildir:User quota", "  quota_rule = *:bytes=100k", "}",
		"imap_capability = +APPENDLIMIT=80000")
	b := open(t, options(t, d, "imap", d.Address(), "INBOX"))
	large := mail("large", strings.Repeat("a line of the mail\r\n", 3000)) // 60 KB
	if _, err := b.Put(t.Context(), message(mail("too large", strings.Repeat("a line of the mail\r\n", 5000)))); err == nil || !strings.Contains(err.Error(), "at most 80000 (APPENDLIMIT)") {
		t.Errorf("over APPENDLIMIT: %v", err)
	}
	if _, err := b.Put(t.Context(), message(mail("NUL", "a\x00b\r\n"))); !errors.Is(err, ErrNUL) {
		t.Errorf("with a NUL: %v", err)
	}
	for i := range 2 {
		_, err := b.Put(t.Context(), message(fmt.Sprintf("X: %d\r\n", i)+large))
		var stopped *StoppedError
		if i == 0 && err != nil || i == 1 && (!errors.As(err, &stopped) || !strings.Contains(err.Error(), "OVERQUOTA")) {
			t.Errorf("message %d of 60 KB into 100 KB: %v", i, err)
		}
	}
	// A smaller one fits, over the connection that the client gave up.
	if _, err := b.Put(t.Context(), message(mail("small", "x\r\n"))); err != nil {
		t.Errorf("after the refusal: %v", err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// limited is a session whose mailboxes have limits of their own: Dovecot has none.
type limited struct {
	imapserver.Session
	limit *uint32 // nil: this mailbox has none
}

func (s limited) Status(mailbox string, o *imap.StatusOptions) (*imap.StatusData, error) {
	data, err := s.Session.Status(mailbox, o)
	if err == nil && o.AppendLimit {
		data.AppendLimit = s.limit
	}
	return data, err
}

func TestTheLimitOfAMailboxIsAskedFor(t *testing.T) {
	t.Parallel()
	d := startDovecot(t) // for its certificate
	key, err := tls.LoadX509KeyPair(d.CAFile(), strings.TrimSuffix(d.CAFile(), "ca.pem")+"key.pem")
	if err != nil {
		t.Fatal(err)
	}
	small, large := mail("small", "x\r\n"), mail("large", strings.Repeat("a line of the mail\r\n", 5000))
	some, none := uint32(50_000), uint32(0)
	for _, c := range []struct {
		limit         *uint32
		smallE, large string // the errors
	}{
		{limit: nil},
		{limit: &some, large: "at most 50000 (APPENDLIMIT)"},
		{limit: &none, smallE: "at most 0 (APPENDLIMIT)", large: "at most 0 (APPENDLIMIT)"},
	} {
		store := imapmemserver.New()
		user := imapmemserver.NewUser(bob, d.Password())
		user.Create("INBOX", nil)
		store.AddUser(user)
		server := imapserver.New(&imapserver.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{key}},
			Caps: imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapAppendLimit: {}},
			NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
				return limited{store.NewSession(), c.limit}, nil, nil
			}})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go server.Serve(l)
		b := open(t, options(t, d, "imap", l.Addr().String(), "INBOX"))
		for _, m := range [][2]string{{large, c.large}, {small, c.smallE}} { // the box goes on after a refusal
			_, err := b.Put(t.Context(), message(m[0]))
			var stopped *StoppedError
			if (err == nil) != (m[1] == "") || err != nil && (!strings.Contains(err.Error(), m[1]) || errors.As(err, &stopped)) {
				t.Errorf("limit %v, %d bytes: %v, want %q", c.limit, len(m[0]), err, m[1])
			}
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		server.Close()
	}
}

func TestAMailboxThatVanishesIsMadeAgain(t *testing.T) {
	t.Parallel()
	d := startDovecot(t)
	b := open(t, options(t, d, "imap", d.Address(), "Gone"))
	c, err := imapclient.DialInsecure(d.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(bob, d.Password()).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete("Gone").Wait(); err != nil {
		t.Fatal(err)
	}
	if was := put(t, b, mail("one", "x\r\n")); was[0] {
		t.Error("it was there")
	}
	if found := contents(t, d, "Gone"); len(found) != 1 {
		t.Errorf("%d messages", len(found))
	}
	// What somebody deletes meanwhile is told at the end.
	b = open(t, options(t, d, "imap", d.Address(), "Gone"))
	if _, err := b.Put(t.Context(), message(mail("two", "x\r\n"))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("Gone", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Store(imap.SeqSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "1 messages, of 1") {
		t.Errorf("closed with %v", err)
	}
}

func TestServersThatAreNotTheRightOnes(t *testing.T) {
	t.Parallel()
	d := startDovecot(t, "auth_master_user_separator = *", "passdb {", "  driver = static", "  master = yes", "  args = password=overall", "}", "listen = 127.0.0.1, 127.0.0.2",
		// Else it makes who gave a wrong password wait.
		"service anvil {", "  unix_listener anvil-auth-penalty {", "    mode = 0", "  }", "}")
	good := options(t, d, "imaps", d.TLSAddress(), "INBOX")
	cases := []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"password", func(o *Options) { o.Password = "wrong" }, "the user or the password is wrong"},
		{"authority", func(o *Options) { o.CAs = x509.NewCertPool() }, "name the file with the certificate that signed it"},
		{"system's authorities", func(o *Options) { o.CAs = nil }, "name the file with the certificate that signed it"},
		{"host", func(o *Options) { o.Place.Host = "127.0.0.2" }, "write the name that the certificate has"},
		{"no TLS at this port", func(o *Options) { _, o.Place.Port, _ = net.SplitHostPort(d.Address()) }, "there is no TLS at this port"},
		{"mailbox", func(o *Options) { o.Place.Mailbox = "a//b" }, "nor made"},
	}
	for _, c := range cases {
		o := good
		c.change(&o)
		if b, err := Open(t.Context(), o); err == nil {
			b.drop()
			t.Errorf("%s: no error", c.name)
		} else if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "IMAP server 127.0.0.") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	o := good
	o.Place.Host = "localhost" // which the certificate has
	o.Place.User, o.Password = bob+"*master", "overall"
	if was := put(t, open(t, o), mail("by the master", "x\r\n")); was[0] || len(contents(t, d, "INBOX")) != 1 {
		t.Error("a master user does not get into the mailbox")
	}
}

// A server on the same machine may want TLS too (LOGINDISABLED).
func TestNoPasswordGoesToAServerThatWantsTLSFirst(t *testing.T) {
	t.Parallel()
	d := startDovecot(t) // for its certificate
	key, err := tls.LoadX509KeyPair(d.CAFile(), strings.TrimSuffix(d.CAFile(), "ca.pem")+"key.pem")
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range []*tls.Config{{Certificates: []tls.Certificate{key}}, nil} {
		store := imapmemserver.New()
		user := imapmemserver.NewUser(bob, d.Password())
		user.Create("INBOX", nil)
		store.AddUser(user)
		server := imapserver.New(&imapserver.Options{TLSConfig: config,
			NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
				return store.NewSession(), nil, nil
			}})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go server.Serve(l)
		b, err := Open(t.Context(), options(t, d, "imap", l.Addr().String(), "INBOX"))
		switch {
		case config != nil && err != nil:
			t.Error(err)
		case config != nil:
			if was := put(t, b, mail("one", "x\r\n")); was[0] {
				t.Error("it was there")
			}
		case err == nil || !strings.Contains(err.Error(), "takes no password here (LOGINDISABLED)"):
			t.Errorf("without TLS: %v", err)
		}
		server.Close()
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Place{
		"imaps://bob%40acmecorp.com@mail.acmecorp.com/Restored": {TLS: true, Host: "mail.acmecorp.com", Port: "993", User: "bob@acmecorp.com", Mailbox: "Restored"},
		"imap://bob@[::1]:1143":                                 {Host: "::1", Port: "1143", User: "bob", Mailbox: "INBOX"},
		"imaps://b%40x*master@h/A%20b/%C3%A4":                   {TLS: true, Host: "h", Port: "993", User: "b@x*master", Mailbox: "A b/ä"},
	} {
		if p, err := ParsePlace(text); err != nil || p != want {
			t.Errorf("%s: %+v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "imaps://host/x", "http://u@h/", "imap://u:p@h/", "imaps://u@h/a?b", "imaps://u@h/a#b", "imaps://u@h/a%0d%0ab", "imaps://u@h/%ff", "imaps://u@/x"} {
		if p, err := ParsePlace(text); err == nil {
			t.Errorf("%q is %+v", text, p)
		}
	}
}
