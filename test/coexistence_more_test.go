package test

// Two mail systems, when something is missing, away, wrong or odd.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAGatewayKnownByItsHeader: the field is believed from the other system
// alone, and nobody ever sees it.
func TestAGatewayKnownByItsHeader(t *testing.T) {
	const secret = "b94d27b9934d3e08a52e52d7da7dabfa"
	w := newWorld(t, worldOptions{
		route: "    gateways: {networks: [" + otherIP + "/32], header: {name: X-Acme-Gateway, secret_file: gateway}}\n" + withSRS,
		rules: linkAll, files: map[string]string{"gateway": secret + "\n"},
		other: map[string]string{"smtp_header_checks": "regexp:{ {/^Message-ID:/ PREPEND X-Acme-Gateway: " + secret + "} }"},
	})
	msg := toCRLF(compose(boss, []string{carol}, "over", file{"plan.pdf", "application/pdf", random(9000, 62)}))
	send(t, w.other, boss, []string{carol, bob}, msg)
	send(t, w.other, boss, []string{ghost}, plainMail(boss, ghost, "anybody there"))
	forged := func(to string) []byte {
		return append([]byte("X-ACME-Gateway: "+secret+"\r\nX-Acme-Gateway: guess\r\n"), plainMail(boss, to, "forged")...)
	}
	sendFrom(t, internetIP, w.ours, boss, []string{carol}, forged(carol))
	sendFrom(t, internetIP, w.ours, boss, []string{boss}, forged(boss)) // no loop: it came from elsewhere
	w.settled(map[string]int{bob: 1, carol: 2, boss: 2})
	for who, mails := range map[string][][]byte{bob: mailbox(t, w.ours, bob, 1), carol: mailbox(t, w.ours, carol, 2)} {
		for _, m := range mails {
			if bytes.Contains(bytes.ToLower(m), []byte("x-acme-gateway")) || bytes.Contains(m, []byte(secret)) {
				t.Errorf("%s can read the gateway's secret:\n%s", who, m)
			}
		}
	}
	if n := len(links(mailbox(t, w.ours, bob, 1)[0])); n != 1 {
		t.Errorf("bob's mail has %d links, want 1", n)
	}
	bounces, arrived := 0, 0
	for _, m := range mailbox(t, w.other, boss, 2) {
		switch {
		case bytes.Contains(m, []byte("550-5.4.6")) || bytes.Contains(m, []byte("550 5.4.6")):
			bounces++
		case bytes.Contains(m, []byte("Subject: forged")):
			arrived++
			if bytes.Contains(bytes.ToLower(m), []byte("x-acme-gateway")) {
				t.Errorf("the forged field is still there:\n%s", m)
			}
		}
	}
	if bounces != 1 || arrived != 1 {
		t.Errorf("%d bounces of the loop and %d forged mails, want one each", bounces, arrived)
	}
	if log := w.ours.Log(); strings.Contains(log, "milter-reject: RCPT") || !strings.Contains(log, "milter-reject: END-OF-MESSAGE") {
		t.Errorf("refused at RCPT, where the header is not known:\n%s", log)
	}
}

// TestLoopsEndWithoutGateways: by the mark after one round, and by the number of
// Received fields where the other side takes the mark off.
func TestLoopsEndWithoutGateways(t *testing.T) {
	rounds := func(w *world) int { return strings.Count(w.ours.Log(), "to=<ghost@gapps.acmecorp.test>") }
	w := newWorld(t, worldOptions{})
	send(t, w.other, boss, []string{ghost}, plainMail(boss, ghost, "round"))
	w.settled(map[string]int{boss: 1})
	if bounce := mailbox(t, w.other, boss, 1)[0]; rounds(w) != 1 || !bytes.Contains(bytes.Join(bytes.Fields(bounce), []byte(" ")), []byte("5.4.6 mail loop: mail for ghost@acmecorp.test was forwarded")) {
		t.Errorf("%d rounds, and:\n%s", rounds(w), bounce)
	}
	w = newWorld(t, worldOptions{route: "    max_received: 10\n",
		other: map[string]string{"smtp_header_checks": "regexp:{ {/^X-Cloakroom-Hop:/ IGNORE} }"}})
	send(t, w.other, boss, []string{ghost}, plainMail(boss, ghost, "rounds"))
	w.settled(map[string]int{boss: 1})
	if bounce := mailbox(t, w.other, boss, 1)[0]; rounds(w) < 2 || rounds(w) > 5 || !bytes.Contains(bounce, []byte("too many hops")) {
		t.Errorf("%d rounds, and:\n%s", rounds(w), bounce)
	}
}

// TestWithoutSubmitThereIsOneTransaction: nobody misses a mail, but what needs
// another body or sender for some is left out. And rules overrule the group.
func TestWithoutSubmitThereIsOneTransaction(t *testing.T) {
	rules := `rules:
  - name: stays
    if: header("X-Stay") == "yes"
    forward: false
  - name: moved
    if: header("X-Moved") == "yes" && recipient.address == "carol@acmecorp.test"
    forward: {alternate: gapps.acmecorp.test}
` + strings.TrimPrefix(linkAll, "rules:\n")
	w := newWorld(t, worldOptions{route: listenerGateway + withSRS, rules: rules, submit: submitsNot, moved: []string{carol}})
	msg := toCRLF(compose(dave, []string{bob, boss}, "both", file{"plan.pdf", "application/pdf", random(9000, 63)}))
	sendFrom(t, internetIP, w.ours, dave, []string{bob, boss}, msg)
	w.settled(map[string]int{bob: 1, boss: 1})
	for who, m := range map[string][]byte{bob: mailbox(t, w.ours, bob, 1)[0], boss: mailbox(t, w.other, boss, 1)[0]} {
		if !bytes.HasPrefix(m, []byte("Return-Path: <"+dave+">")) || len(links(m)) != 0 || !bytes.Contains(m, []byte("plan.pdf")) {
			t.Errorf("%s has:\n%s", who, m)
		}
	}
	w.d.waitLog("given_up=")
	if log := w.d.running.Log(); !strings.Contains(log, "set submit.smtp") {
		t.Errorf("the log does not say what to do:\n%s", log)
	}

	send(t, w.ours, bob, []string{boss, carol}, append([]byte("X-Stay: yes\r\n"), plainMail(bob, boss, "stays")...))
	w.settled(map[string]int{bob: 1, boss: 1, carol: 1})
	here, err := filepath.Glob(filepath.Join(w.ours.Folder(), "mail", "x", "new", "*"))
	if err != nil || len(here) != 1 {
		t.Errorf("%d mails in the mailbox of boss here, want 1 (%v)", len(here), err)
	}
	send(t, w.ours, bob, []string{carol, bob}, append([]byte("X-Moved: yes\r\n"), plainMail(bob, carol, "moved")...))
	w.settled(map[string]int{bob: 2, boss: 1, carol: 1})
	if m := mailbox(t, w.other, carol, 1)[0]; !bytes.Contains(m, []byte("Subject: moved")) {
		t.Errorf("carol has over there:\n%s", m)
	}
}

// TestALoopThatWaits: with loop_reply: 450 nothing is returned.
func TestALoopThatWaits(t *testing.T) {
	w := newWorld(t, worldOptions{route: listenerGateway + "    loop_reply: 450\n"})
	send(t, w.other, boss, []string{ghost, bob}, plainMail(boss, ghost, "wait"))
	mailbox(t, w.ours, bob, 1) // who is no part of the loop does not wait
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		queue, err := w.other.Queue(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(queue) == 1 && len(queue[0].Recipients) == 1 && strings.Contains(queue[0].Recipients[0].Reason, "450 4.4.6 mail loop") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if files, err := w.other.Mailbox(boss); err != nil || len(files) > 0 {
		t.Errorf("%d mails were returned (%v)", len(files), err)
	}
}

// submitReturns makes the place reachable that Cloakroom sends its own mail to.
func (w *world) submitReturns() {
	w.t.Helper()
	l, err := net.Listen("tcp", w.submitPlace)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", w.submitListener)
			if err != nil {
				in.Close()
				continue
			}
			go func() { io.Copy(out, in); out.Close() }()
			go func() { io.Copy(in, out); in.Close() }()
		}
	}()
}

// TestCopiesSurviveEverything: the MTA for copies is away, and the daemon dies
// between its commit and the copy.
func TestCopiesSurviveEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{route: listenerGateway + withSRS, rules: linkAll, submit: submitsAway})
	for i := range 3 {
		msg := toCRLF(compose(dave, []string{carol, boss}, fmt.Sprintf("%d away", i), file{"plan.pdf", "application/pdf", random(9000, int64(70+i))}))
		sendFrom(t, internetIP, w.ours, dave, []string{carol, boss, gina}, msg)
	}
	if n := len(links(mailbox(t, w.ours, carol, 3)[2])); n != 1 {
		t.Errorf("carol's mail has %d links, want 1", n)
	}
	w.d.waitLog("target_down=true")
	w.d.kill()
	w.submitReturns()
	w.d.start()
	w.settled(map[string]int{carol: 3, boss: 3, gina: 3})
	for _, m := range mailbox(t, w.other, gina, 3) {
		if !bytes.HasPrefix(m, []byte("Return-Path: <SRS0=")) || !bytes.Contains(m, []byte("plan.pdf")) || len(links(m)) != 0 {
			t.Errorf("the copy is:\n%s", m)
		}
	}
	// A restart sends nothing again.
	w.d.stop()
	w.d.start()
	send(t, w.ours, bob, []string{gina}, plainMail(bob, gina, "last"))
	w.settled(map[string]int{carol: 3, boss: 3, gina: 4})
}

// TestReportsAndOddBytes: what comes back to senders, and what must arrive as it
// was, in one world.
func TestReportsAndOddBytes(t *testing.T) {
	plain := freePorts(t, 1)[0]
	w := newWorld(t, worldOptions{route: listenerGateway + withSRS, rules: linkAll, services: func(*daemon) []string {
		return []string{fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd -o smtpd_milters=", plain)}
	}})
	t.Run("sendmail(1) is never refused a recipient", func(t *testing.T) {
		send(t, w.ours, bob, []string{boss}, plainMail(bob, boss, "marked"))
		w.settled(map[string]int{boss: 1})
		marked := mailbox(t, w.other, boss, 1)[0]
		marked = marked[bytes.Index(marked, []byte("X-Cloakroom-Hop:")):]
		if err := w.ours.Sendmail(t.Context(), bob, []string{boss}, bytes.NewReader(marked)); err != nil {
			t.Fatal(err)
		}
		w.settled(map[string]int{boss: 1, bob: 1})
		if bounce := mailbox(t, w.ours, bob, 1)[0]; !bytes.HasPrefix(bounce, []byte("Return-Path: <>")) || !bytes.Contains(bounce, []byte("5.4.6")) {
			t.Errorf("the bounce is:\n%s", bounce)
		}
	})
	t.Run("a copy that is refused", func(t *testing.T) {
		msg := toCRLF(compose(bob, []string{carol}, "refused", file{"plan.pdf", "application/pdf", random(9000, 64)}))
		send(t, w.ours, bob, []string{carol, boss, "gina+refused@acmecorp.test"}, msg)
		w.settled(map[string]int{bob: 2, boss: 2, carol: 1})
		report := mailbox(t, w.ours, bob, 2)[1]
		for _, want := range []string{"Return-Path: <>", "Final-Recipient: rfc822; gina+refused@acmecorp.test", "Status: 5.7.9", "no such thing here", "Subject: refused"} {
			if !bytes.Contains(report, []byte(want)) {
				t.Errorf("no %q in the report:\n%s", want, report)
			}
		}
		if bytes.Contains(report, []byte("boss")) {
			t.Errorf("the report names somebody who has the mail:\n%s", report)
		}
	})
	t.Run("requests for reports go on", func(t *testing.T) {
		ask := []string{"NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;the+2Bboss@acmecorp.test"}
		sendAsking(t, w.ours.SMTPAddr(), bob, plainMail(bob, boss, "place"), map[string][]string{boss: ask})
		w.settled(map[string]int{bob: 3, boss: 3, carol: 1})
		msg := toCRLF(compose(bob, []string{carol}, "copied", file{"plan.pdf", "application/pdf", random(9000, 65)}))
		sendAsking(t, w.ours.SMTPAddr(), bob, msg, map[string][]string{boss: ask, carol: {"NOTIFY=NEVER"}})
		w.settled(map[string]int{bob: 4, boss: 4, carol: 2})
		for _, report := range mailbox(t, w.ours, bob, 4)[2:] {
			// The other system's alias is where the request ends; Postfix decodes the address.
			if !bytes.Contains(report, []byte("Action: expanded")) || !bytes.Contains(report, []byte("Original-Recipient: rfc822;the+boss@acmecorp.test")) {
				t.Errorf("the report is:\n%s", report)
			}
		}
	})
	t.Run("bodies byte for byte", func(t *testing.T) {
		w := &world{t: t, d: w.d, ours: w.ours, other: w.other, internet: w.internet}
		for i, odd := range []string{"bare\rCR\r\n", "NUL\x00here\r\n", "8bit \x80\xe9\xff\r\n", strings.Repeat("long", 5000) + "\r\n", "no line end", "trailing blanks  \t \r\n\r\n\r\n", ".\r\n..\r\n", "\r\n\r\n"} {
			name := fmt.Sprintf("%d odd", i)
			msg := toCRLF(compose(bob, []string{carol}, name, file{"plan.pdf", "application/pdf", random(3000, int64(80+i))}))
			msg = append(msg, "epilogue "+odd...)
			sendRaw(t, w.ours.SMTPAddr(), bob, []string{carol, boss}, msg)
			sendRaw(t, address(plain), bob, []string{gina, "gina@gapps.acmecorp.test"}[1:], msg)
			got, want := mailbox(t, w.other, boss, 5+i)[4+i], mailbox(t, w.other, gina, 1+i)[i]
			_, gotBody, _ := bytes.Cut(got, []byte("\n\n"))
			_, wantBody, _ := bytes.Cut(want, []byte("\n\n"))
			if !bytes.Equal(gotBody, wantBody) || len(gotBody) < 3000 {
				t.Errorf("%q: %d bytes, without Cloakroom %d: %.80q, want %.80q", odd, len(gotBody), len(wantBody), tail(gotBody), tail(wantBody))
			}
		}
	})
}

func tail(b []byte) []byte { return b[max(0, len(b)-80):] }

// TestTheBackstopCatchesWhatAMilterDoesNotSee: aliases, automatic copies and
// bounces reach the other system by the map that Cloakroom makes, and what both
// see arrives once.
func TestTheBackstopCatchesWhatAMilterDoesNotSee(t *testing.T) {
	t.Parallel()
	copied := freePorts(t, 1)[0]
	table := filepath.Join(t.TempDir(), "cloakroom")
	own := "inline:{ {all@acmecorp.test=boss@acmecorp.test,bob@acmecorp.test} {away@acmecorp.test=boss@acmecorp.test} }"
	w := newWorld(t, worldOptions{route: listenerGateway + withSRS, rules: linkAll, example: true,
		ours: map[string]string{"virtual_alias_maps": own + ", texthash:" + table},
		services: func(d *daemon) []string {
			out, stderr, code := d.run(nil, "directory", "export", "--format", "postfix-virtual")
			if code != 0 || !strings.Contains(out, "boss@acmecorp.test boss@gapps.acmecorp.test\n") {
				t.Fatalf("exit code %d, %s%s", code, out, stderr)
			}
			readable(t, table, out)
			return []string{
				fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd -o cleanup_service_name=cleanup-copied", copied),
				"cleanup-copied unix n - n - 0 cleanup -o always_bcc=boss@acmecorp.test",
			}
		}})
	want := map[string]int{}
	expect := func(step string, more ...string) {
		t.Helper()
		for _, who := range more {
			want[who]++
		}
		w.settled(want)
		if t.Failed() {
			t.Fatalf("after %s", step)
		}
	}
	sendFrom(t, internetIP, w.ours, dave, []string{boss}, plainMail(dave, boss, "direct"))
	expect("a mail that both see", boss)
	sendFrom(t, internetIP, w.ours, dave, []string{"all@acmecorp.test"}, plainMail(dave, "all@acmecorp.test", "all"))
	expect("an alias for several", boss, bob)
	send(t, w.ours, bob, []string{"away@acmecorp.test", carol}, plainMail(bob, "away@acmecorp.test", "away"))
	expect("a redirection", boss, carol)
	sendRaw(t, address(copied), bob, []string{carol}, plainMail(bob, carol, "copied"))
	expect("an automatic copy", boss, carol)
	send(t, w.ours, boss, []string{"nobody@ext.test"}, plainMail(boss, "nobody@ext.test", "bounces"))
	expect("a bounce", boss)
	msg := toCRLF(compose(bob, []string{carol}, "split", file{"plan.pdf", "application/pdf", random(9000, 66)}))
	send(t, w.ours, bob, []string{carol, boss, gina}, msg)
	expect("a mail that is split", boss, gina, carol)
	send(t, w.other, gina, []string{ghost}, plainMail(gina, ghost, "loop"))
	expect("a loop", gina)
}

// exampleServices are the listeners that the documentation shows, without what
// a test cannot have: fixed ports, chroot and TLS.
func exampleServices(t *testing.T, gatewayPort, submitPort int) []string {
	t.Helper()
	networks := filepath.Join(t.TempDir(), "other-system")
	readable(t, networks, otherIP+"/32 OK\n")
	text := string(mustReadFile(t, "deploy/postfix/master.cf.example"))
	for _, change := range [][2]string{
		{"\n10025 ", fmt.Sprintf("\n127.0.0.1:%d ", gatewayPort)}, {"\n127.0.0.1:10026 ", "\n" + address(submitPort) + " "},
		{"/etc/postfix/other-system", networks}, {"smtpd_tls_security_level=encrypt", "smtpd_tls_security_level=none"}, {"       y       ", "       n       "},
	} {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("the example has no %q", change[0])
		}
		// Not in comments: their lines do not begin like this.
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	return strings.Split(text, "\n")
}

// readable writes a file that every account can read, with its folders.
func readable(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(name); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// sendRaw sends bytes as they are but for dots, which an SMTP library would not.
func sendRaw(t *testing.T, addr, from string, to []string, msg []byte) {
	t.Helper()
	asked := map[string][]string{}
	for _, r := range to {
		asked[r] = nil
	}
	sendAsking(t, addr, from, msg, asked)
}

// sendAsking sends a mail with ESMTP parameters for its recipients.
func sendAsking(t *testing.T, addr, from string, msg []byte, to map[string][]string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c := textproto.NewConn(conn)
	say := func(code int, line string) {
		t.Helper()
		if line != "" {
			if _, err := io.WriteString(conn, line); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := c.ReadResponse(code); err != nil {
			t.Fatalf("%.60q: %v", line, err)
		}
	}
	say(220, "")
	say(250, "EHLO client.acmecorp.test\r\n")
	say(250, "MAIL FROM:<"+from+">\r\n")
	for r, args := range to {
		say(250, strings.Join(append([]string{"RCPT TO:<" + r + ">"}, args...), " ")+"\r\n")
	}
	say(354, "DATA\r\n")
	stuffed := bytes.ReplaceAll(msg, []byte("\n."), []byte("\n.."))
	if !bytes.HasSuffix(stuffed, []byte("\r\n")) {
		stuffed = append(stuffed, "\r\n"...)
	}
	say(250, string(stuffed)+".\r\n")
	say(221, "QUIT\r\n")
}
