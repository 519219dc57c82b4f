package test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// Two mail systems share acmecorp.test: boss and gina have their mailboxes at
// the other one, which also takes gapps.acmecorp.test for them and is the MX of
// both; bob and carol have theirs here. ghost is believed here to be there, and
// there to be here.
const (
	boss  = "boss@acmecorp.test"
	gina  = "gina@acmecorp.test"
	ghost = "ghost@acmecorp.test"
	// refusedThere is refused by the MTA that takes Cloakroom's own mail.
	refusedThere = "gina+refused@gapps.acmecorp.test"
)

// Addresses that tell on loopback who speaks: our own users speak from
// 127.0.0.1, which is trusted.
const (
	otherIP    = "127.0.0.2"
	internetIP = "127.0.0.3"
)

// world is the Internet with two mail systems in it.
type world struct {
	t        *testing.T
	d        *daemon
	ours     *testserver.Postfix // with Cloakroom
	other    *testserver.Postfix // plays the hosted system
	internet *testserver.Postfix // everybody else

	submitListener string // where our Postfix takes mail of Cloakroom's own
	submitPlace    string // where Cloakroom sends it
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		port, err := testserver.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

const coexistenceUsers = `users:
  - {address: boss@acmecorp.test, groups: [gapps]}
  - {address: gina@acmecorp.test, aliases: [georgina@acmecorp.test], groups: [gapps]}
  - {address: ghost@acmecorp.test, groups: [gapps]}
  - {address: bob@acmecorp.test}
  - {address: carol@acmecorp.test}
`

// listenerGateway is a gateway known by its listener.
const listenerGateway = "    gateways: {networks: [" + otherIP + "/32], daemon: gapps-in}\n"

// withSRS are the lines of a route that rewrites senders.
const withSRS = "    srs: true\n    srs_domain: srs.acmecorp.test\n"

// worldOptions are what worlds differ in.
type worldOptions struct {
	route, rules string            // more lines of the route; the rules
	files        map[string]string // beside the configuration
	submit       submitPlace
	ours, other  map[string]string // parameters of their Postfix
	services     func(*daemon) []string
	moved        []string // have mailboxes in the other system as well
	example      bool     // the listeners are those of deploy/postfix/master.cf.example
}

// submitPlace is where Cloakroom sends mail of its own.
type submitPlace int

const (
	submits     submitPlace = iota
	submitsNot              // there is no such place
	submitsAway             // it cannot be reached, see world.submitReturns
)

// newWorld starts it.
func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	ports := freePorts(t, 6)
	oursPort, gatewayPort, submitPort, otherPort, internetPort := ports[0], ports[1], ports[2], ports[3], ports[4]
	config := "directory: {file: users.yaml}\ntrusted: [127.0.0.1/32]\n"
	place := address(submitPort)
	if o.submit == submitsAway {
		place = address(ports[5])
	}
	if o.submit != submitsNot {
		config += fmt.Sprintf("submit: {smtp: %q}\n", place)
	}
	config += "coexistence:\n  - domain: acmecorp.test\n    alternate: gapps.acmecorp.test\n    group: gapps\n" + o.route + o.rules
	w := &world{t: t, d: newDaemon(t, config), submitListener: address(submitPort), submitPlace: place}
	files := map[string]string{"users.yaml": coexistenceUsers}
	maps.Copy(files, o.files)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(w.d.Folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.d.start()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	start := func(opt testserver.PostfixOptions) *testserver.Postfix {
		t.Helper()
		p, err := testserver.StartPostfix(ctx, opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("log of Postfix on port %d:\n%s", opt.Port, p.Log())
			}
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		})
		return p
	}
	services := []string{
		fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd -o milter_macro_daemon_name=gapps-in", gatewayPort),
		fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd -o smtpd_milters= -o cleanup_service_name=cleanup-own -o local_header_rewrite_clients= -o { smtpd_recipient_restrictions = check_recipient_access inline:{ {%s=550 5.7.9 no such thing here} } }",
			submitPort, refusedThere),
		"cleanup-own unix n - n - 0 cleanup -o cleanup_replace_stray_cr_lf=no",
	}
	if o.example {
		services = exampleServices(t, gatewayPort, submitPort)
	}
	if o.services != nil {
		services = append(services, o.services(w.d)...)
	}
	w.ours = start(testserver.PostfixOptions{
		Port: oursPort, MilterAddr: w.d.MilterAddr, Mailboxes: []string{bob, carol},
		Routes: map[string]string{"gapps.acmecorp.test": address(otherPort), "ext.test": address(internetPort)},
		Extra: with(o.ours, map[string]string{
			"mynetworks": "127.0.0.1/32",
			// Everybody in the directory exists, wherever his mailbox is, and so
			// do rewritten senders.
			"virtual_mailbox_maps":            "inline:{ {bob@acmecorp.test=bob@acmecorp.test/} {carol@acmecorp.test=carol@acmecorp.test/} {boss@acmecorp.test=x/} {gina@acmecorp.test=x/} {georgina@acmecorp.test=x/} {ghost@acmecorp.test=x/} }",
			"relay_domains":                   "srs.acmecorp.test",
			"relay_recipient_maps":            "regexp:{ {/^SRS[01][-+=].*@srs\\.acmecorp\\.test$$/ OK} }",
			"smtpd_relay_restrictions":        "permit_mynetworks, reject_unauth_destination",
			"smtpd_reject_unlisted_recipient": "yes",
			"recipient_delimiter":             "+",
		}),
		Services: services,
	})
	there := ""
	for _, m := range append([]string{boss, gina}, o.moved...) {
		there += " {" + m + "=virtual:}"
	}
	w.other = start(testserver.PostfixOptions{
		Port: otherPort, Mailboxes: append([]string{boss, gina}, o.moved...),
		Extra: with(o.other, map[string]string{
			"mynetworks":                      "127.0.0.1/32",
			"smtp_bind_address":               otherIP,
			"relay_domains":                   "gapps.acmecorp.test",
			"virtual_alias_maps":              "inline:{ {@gapps.acmecorp.test=@acmecorp.test} }",
			"virtual_alias_domains":           "gapps.acmecorp.test",
			"smtpd_reject_unlisted_recipient": "no",
			"recipient_delimiter":             "+",
			"smtpd_relay_restrictions":        "permit_mynetworks, reject_unauth_destination",
			// Known users here, everybody else of the domain to the first system.
			"virtual_transport": "error:unknown",
			"transport_maps": fmt.Sprintf("inline:{%s {acmecorp.test=smtp:[127.0.0.1]:%d} {ext.test=smtp:[127.0.0.1]:%d} {srs.acmecorp.test=smtp:[127.0.0.1]:%d} }",
				there, gatewayPort, internetPort, oursPort),
		}),
	})
	w.internet = start(testserver.PostfixOptions{
		Port: internetPort, Mailboxes: []string{dave},
		Routes: map[string]string{"acmecorp.test": address(otherPort), "gapps.acmecorp.test": address(otherPort), "srs.acmecorp.test": address(oursPort)},
		Extra:  map[string]string{"smtp_bind_address": internetIP},
	})
	return w
}

// with adds parameters to others.
func with(more, usual map[string]string) map[string]string {
	maps.Copy(usual, more)
	return usual
}

// settled checks that nobody got more than the counted mails, once all queues
// have run dry.
func (w *world) settled(want map[string]int) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		waiting := 0
		for _, p := range []*testserver.Postfix{w.ours, w.other, w.internet} {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			queue, err := p.Queue(ctx)
			cancel()
			if err != nil {
				w.t.Fatal(err)
			}
			waiting += len(queue)
		}
		missing := false
		for who, n := range want {
			files, err := w.home(who).Mailbox(who)
			missing = missing || err != nil || len(files) < n
		}
		if waiting == 0 && !missing {
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d mails are still under way; missing %v", waiting, missing)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, who := range []string{bob, carol, boss, gina, dave} {
		files, err := w.home(who).Mailbox(who)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(files) != want[who] {
			w.t.Errorf("%s has %d mails, want %d", who, len(files), want[who])
		}
	}
}

// home is the system that has somebody's mailbox.
func (w *world) home(who string) *testserver.Postfix {
	switch who {
	case boss, gina:
		return w.other
	case dave:
		return w.internet
	}
	return w.ours
}

func plainMail(from, to, subject string) []byte {
	return []byte("From: " + from + "\r\nTo: " + to + "\r\nSubject: " + subject +
		"\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + fmt.Sprint(serial.Add(1)) + "@x.test>\r\n\r\nhello\r\n")
}

// TestTwelveFlowsOfTwoMailSystems: every mail ends in the right mailbox exactly
// once, or is refused with the right code; no loop survives.
func TestTwelveFlowsOfTwoMailSystems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{route: listenerGateway + withSRS, rules: linkAll})

	t.Run("inbound to each side", func(t *testing.T) {
		send(t, w.internet, dave, []string{bob}, plainMail(dave, bob, "to bob"))
		send(t, w.internet, dave, []string{boss}, plainMail(dave, boss, "to boss"))
	})
	w.settled(map[string]int{bob: 1, boss: 1})
	t.Run("inside the other side, and from it to us and to the Internet", func(t *testing.T) {
		send(t, w.other, boss, []string{gina}, plainMail(boss, gina, "there"))
		send(t, w.other, boss, []string{carol}, plainMail(boss, carol, "over"))
		send(t, w.other, boss, []string{dave}, plainMail(boss, dave, "out"))
	})
	w.settled(map[string]int{bob: 1, boss: 1, gina: 1, carol: 1, dave: 1})
	t.Run("from us to the other side, to us and to the Internet", func(t *testing.T) {
		send(t, w.ours, bob, []string{boss}, plainMail(bob, boss, "over"))
		send(t, w.ours, bob, []string{carol}, plainMail(bob, carol, "here"))
		send(t, w.ours, bob, []string{dave}, plainMail(bob, dave, "out"))
	})
	w.settled(map[string]int{bob: 1, boss: 2, gina: 1, carol: 2, dave: 2})

	t.Run("one mail to both sides with an attachment", func(t *testing.T) {
		content := random(9000, 61)
		msg := toCRLF(compose(bob, []string{carol, boss}, "both", file{"plan.pdf", "application/pdf", content}))
		// Named twice, by an alias of the domain's spelling and with a tag.
		send(t, w.ours, bob, []string{carol, boss, "boss@ACMECORP.test", boss}, msg)
		w.settled(map[string]int{bob: 1, boss: 3, gina: 1, carol: 3, dave: 2})
		here, there := mailbox(t, w.ours, carol, 3)[2], mailbox(t, w.other, boss, 3)[2]
		if n := len(links(here)); n != 1 {
			t.Errorf("carol's mail has %d links, want 1", n)
		}
		_, want, _ := bytes.Cut(bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
		head, got, _ := bytes.Cut(there, []byte("\n\n"))
		if !bytes.Equal(got, want) {
			t.Errorf("the forwarded copy's body is not as it was sent: %d bytes, want %d", len(got), len(want))
		}
		if !bytes.Contains(head, []byte("\nTo: "+carol)) || bytes.Contains(head, []byte("gapps.acmecorp.test\nTo:")) {
			t.Errorf("the header of the forwarded copy changed:\n%s", head)
		}
		if !bytes.Contains(head, []byte("X-Cloakroom-Hop: v1 ")) {
			t.Errorf("no loop mark in the forwarded copy:\n%s", head)
		}
		if hereHead, _, _ := bytes.Cut(here, []byte("\n\n")); bytes.Contains(hereHead, []byte("X-Cloakroom-Hop")) {
			t.Errorf("a loop mark in the mail that stayed here:\n%s", hereHead)
		}
	})
	t.Run("an unknown user on both sides", func(t *testing.T) {
		send(t, w.internet, dave, []string{"nobody@acmecorp.test"}, plainMail(dave, "nobody@acmecorp.test", "who"))
		w.settled(map[string]int{bob: 1, boss: 3, gina: 1, carol: 3, dave: 3})
		if bounce := mailbox(t, w.internet, dave, 3)[2]; !bytes.Contains(bounce, []byte("5.1.1")) {
			t.Errorf("the bounce does not say that the user is unknown:\n%s", bounce)
		}
	})
	t.Run("a user whom each side believes to be on the other", func(t *testing.T) {
		send(t, w.other, boss, []string{ghost}, plainMail(boss, ghost, "anybody there"))
		w.settled(map[string]int{bob: 1, boss: 4, gina: 1, carol: 3, dave: 3})
		if bounce := mailbox(t, w.other, boss, 4)[3]; !bytes.Contains(bounce, []byte("5.4.6")) {
			t.Errorf("the bounce does not say that it was a loop:\n%s", bounce)
		}
	})
	t.Run("a bounce through SRS", func(t *testing.T) {
		// From outside, to us: forwarded with our sender, comes back as a loop,
		// is refused, and the bounce finds its way to the stranger.
		sendFrom(t, internetIP, w.ours, dave, []string{ghost}, plainMail(dave, ghost, "bounce me"))
		w.settled(map[string]int{bob: 1, boss: 4, gina: 1, carol: 3, dave: 4})
		bounce := mailbox(t, w.internet, dave, 4)[3]
		if !bytes.Contains(bounce, []byte("5.4.6")) || !bytes.HasPrefix(bounce, []byte("Return-Path: <>")) {
			t.Errorf("not the bounce of the loop:\n%s", bounce)
		}
		if strings.Contains(string(bounce), "Delivered-To: SRS") {
			t.Errorf("delivered to the rewritten address:\n%s", bounce)
		}
	})
	t.Run("a stranger's mail reaches the other side with a rewritten sender", func(t *testing.T) {
		sendFrom(t, internetIP, w.ours, dave, []string{"boss+tag@acmecorp.test", carol}, plainMail(dave, boss, "direct"))
		w.settled(map[string]int{bob: 1, boss: 5, gina: 1, carol: 4, dave: 4})
		there, here := mailbox(t, w.other, boss, 5)[4], mailbox(t, w.ours, carol, 4)[3]
		if !bytes.HasPrefix(there, []byte("Return-Path: <SRS0=")) {
			t.Errorf("sender of the forwarded copy:\n%s", there)
		}
		if !bytes.HasPrefix(here, []byte("Return-Path: <"+dave+">")) {
			t.Errorf("sender of the mail that stayed:\n%s", here)
		}
		send(t, w.ours, "", []string{boss}, plainMail("MAILER-DAEMON@ext.test", boss, "null sender"))
		w.settled(map[string]int{bob: 1, boss: 6, gina: 1, carol: 4, dave: 4})
		if null := mailbox(t, w.other, boss, 6)[5]; !bytes.HasPrefix(null, []byte("Return-Path: <>")) {
			t.Errorf("null-sender mail has another sender:\n%s", null)
		}
	})
	for _, p := range []*testserver.Postfix{w.ours} {
		if strings.Contains(p.Log(), "warning: milter") {
			t.Errorf("Postfix warns:\n%s", p.Log())
		}
	}
}

// sendFrom sends mail as a client with another address would.
func sendFrom(t *testing.T, ip string, p *testserver.Postfix, from string, to []string, msg []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := testserver.SendSMTPFrom(ctx, ip, p.SMTPAddr(), from, to, bytes.NewReader(msg))
	if err != nil || r.Code != 250 {
		t.Fatalf("%d %s (%v)", r.Code, r.Text, err)
	}
}
