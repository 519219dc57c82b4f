package main

// The steps of the tour: each sends or looks, prints, and checks what it prints.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"cloakroom/internal/testserver"
	"cloakroom/message"
)

// tour is what the steps share.
type tour struct {
	*screen
	servers
	binary  string            // the program on show
	files   map[string][]byte // what Ann attaches, by name
	logo    []byte
	first   []byte // Ann's mail as sent
	saved   string // the file with Ann's mail
	link    string // of Ann's mail
	queueID []string
	got     map[string]int // mails delivered so far, by mailbox
}

func (t *tour) introduce() {
	t.title("Cloakroom: attachments become links")
	t.say("This starts a private Postfix and, as its milter, Cloakroom (%s), and a private OpenSSH server for copies of "+
		"the attachments, on free ports of 127.0.0.1 and in three new folders under %s. Then it sends three mails, shows "+
		"what became of them, and checks that. No system service is touched, an installed Postfix or OpenSSH keeps its "+
		"configuration and files to itself, and no mail leaves this machine. At the end, or at Ctrl-C, all are stopped "+
		"and their folders removed.", t.binary, os.TempDir())
}

func (t *tour) showServers() {
	t.table(
		[2]string{"Postfix", t.postfix.SMTPAddr() + ", in " + t.postfix.Folder()},
		[2]string{"main.cf", "smtpd_milters = " + t.cloakroom.MilterAddr()},
		[2]string{"Cloakroom", t.cloakroom.WebURL() + ", in " + t.cloakroom.Folder()},
		[2]string{"OpenSSH", t.openssh.Address() + ", in " + filepath.Dir(t.openssh.KeyFile())})
	t.say("The rules, from the configuration file:")
	t.quote(rules)
}

func (t *tour) firstMail(ctx context.Context) error {
	var err error
	if t.logo, err = logo(); err != nil {
		return err
	}
	t.files = map[string][]byte{"north-hall.pdf": drawing(), "readings.csv": readings()}
	plans := letter{ann, []string{bob, dave}, "Plans", group("mixed", "",
		group("alternative", "",
			text("plain", "Hello Bob, hello Dave,\n\nhere are the plan of the north hall and a week of readings.\n\nAnn\n"),
			group("related", "",
				text("html", "<html><body>\n<p>Hello Bob, hello Dave,</p>\n"+
					"<p>here are the plan of the north hall and a week of readings.</p>\n"+
					"<p>Ann <img src=\"cid:logo@acmecorp.test\" alt=\"\"></p>\n</body></html>\n"),
				inline("image/png", "logo.png", "logo@acmecorp.test", t.logo))),
		file("application/pdf", "north-hall.pdf", t.files["north-hall.pdf"]),
		file("text/csv", "readings.csv", t.files["readings.csv"]),
		file("text/plain", "site-rules.txt", []byte(siteRules)))}
	if t.first, err = t.send(ctx, plans, time.Now()); err != nil {
		return err
	}
	t.saved, err = t.keep("plans.eml", t.first)
	return err
}

func (t *tour) firstDelivery(ctx context.Context) error {
	for _, to := range []string{bob, dave} {
		raw, err := t.delivered(ctx, to)
		if err != nil {
			return err
		}
		parts, err := readMail(raw)
		if err != nil {
			return err
		}
		plain, _ := first(parts, "text/plain")
		found := linkPattern.FindAllString(string(plain.content), -1)
		if to == bob {
			t.tree("Delivered to "+bob, parts, len(raw))
			t.say("The text of the mail, as delivered:")
			t.quote(string(plain.content))
			t.line("")
		}
		if len(found) != 1 {
			return fmt.Errorf("the mail to %s has %d links in its text, want 1", to, len(found))
		}
		if to == dave {
			t.check(found[0] == t.link, "Dave got the same mail, with the same link")
			continue
		}
		t.link = found[0]
		html, _ := first(parts, "text/html")
		t.check(bytes.Contains(html.content, []byte(`href="`+t.link+`"`)), "the HTML text has the same block, before its end")
		t.check(t.unchanged(parts, "logo.png", t.logo), "the logo that the text shows is still in its place, byte for byte")
		t.check(t.unchanged(parts, "site-rules.txt", []byte(siteRules)), "the small file is still attached, byte for byte")
		t.check(len(raw) < len(t.first)/100, "%s of mail became %s", size(len(t.first)), size(len(raw)))
	}
	return nil
}

// unchanged tells whether a mail has a file with exactly this content.
func (t *tour) unchanged(parts []part, name string, content []byte) bool {
	for _, p := range parts {
		if p.name == name {
			return bytes.Equal(p.content, content)
		}
	}
	return false
}

func (t *tour) explain(ctx context.Context) error {
	args := []string{"policy", "explain", t.saved, "--from", ann, "--client-ip", "127.0.0.1", "--to", bob}
	t.command("cloakroom policy explain "+t.saved, "--from "+ann, "--client-ip 127.0.0.1", "--to "+bob)
	t.line("")
	out, err := t.run(ctx, args...)
	if err != nil {
		return err
	}
	t.verbatim(out)
	var plan struct {
		Parts []struct{ Name, Fate string }
	}
	if err := t.ask(ctx, &plan, args...); err != nil {
		return err
	}
	right := 0
	for _, p := range plan.Parts {
		if linked := p.Fate == "link"; p.Name != "" && linked == (t.files[p.Name] != nil) {
			right++
		}
	}
	t.line("")
	t.check(right == 4, "this is what became of the four files of the mail")
	return nil
}

func (t *tour) secondMail(ctx context.Context) error {
	filing := letter{bob, []string{carol}, "Filing", group("mixed", "",
		text("plain", "Carol, this is the plan Ann sent. Please file it.\n\nBob\n"),
		file("application/pdf", "plan-to-file.pdf", t.files["north-hall.pdf"]))}
	if _, err := t.send(ctx, filing, time.Now()); err != nil {
		return err
	}
	raw, err := t.delivered(ctx, carol)
	if err != nil {
		return err
	}
	link := linkPattern.FindString(string(raw))
	if link == "" {
		return fmt.Errorf("there is no link in the mail to %s", carol)
	}
	fetched, err := fetch(ctx, link)
	if err != nil {
		return err
	}
	t.say("Delivered to %s: %s, with a link of its own:", carol, size(len(raw)))
	t.line(margin + link)
	t.pair("plan-to-file.pdf", "sent", sum(t.files["north-hall.pdf"]), "downloaded", sum(fetched["plan-to-file.pdf"]))
	t.say("The store has the content once:")
	t.command("cloakroom store stats")
	t.line("")
	out, err := t.run(ctx, "store", "stats")
	if err != nil {
		return err
	}
	t.verbatim(out)
	var stats struct {
		Linked, Saved int64
		Store         struct{ Blobs int64 }
	}
	if err := t.ask(ctx, &stats, "store", "stats"); err != nil {
		return err
	}
	t.line("")
	t.check(stats.Linked == 3 && stats.Store.Blobs == 2, "three attachments became links, two files are kept")
	t.check(stats.Saved == int64(len(t.files["north-hall.pdf"])), "what is saved is the size of the plan, to the byte")
	return nil
}

func (t *tour) signedMail(ctx context.Context) error {
	now := time.Now()
	content, err := sign(group("mixed", "",
		text("plain", "Dear Carol,\n\nour offer is attached, and signed.\n\nDave\n"),
		file("application/pdf", "offer.pdf", t.files["north-hall.pdf"])), dave, now)
	if err != nil {
		return err
	}
	t.say("Dave writes to Carol from elsewhere, with an S/MIME signature over text and file.")
	mail, err := t.send(ctx, letter{dave, []string{carol}, "Offer", content}, now)
	if err != nil {
		return err
	}
	raw, err := t.delivered(ctx, carol)
	if err != nil {
		return err
	}
	t.line("")
	t.check(bytes.Equal(bodyOf(raw), bodyOf(mail)), "the body is delivered byte for byte: %s", size(len(bodyOf(raw))))
	if err = verify(raw); err != nil {
		t.check(false, "the signature does not hold any more: %v", err)
		return nil
	}
	t.check(true, "the signature still verifies")
	return nil
}

func (t *tour) administration(ctx context.Context) error {
	t.say("The links that were made, and how often files were fetched:")
	t.command("cloakroom links list")
	t.line("")
	out, err := t.run(ctx, "links", "list")
	if err != nil {
		return err
	}
	t.verbatim(out)
	var links []struct {
		Sender    string
		Downloads int
	}
	if err := t.ask(ctx, &links, "links", "list"); err != nil {
		return err
	}
	t.line("")
	t.check(len(links) == 2 && links[0].Downloads == 1 && links[1].Downloads == 2, "two links, with one and two downloads")
	t.say("The log has one line for each mail:")
	single := 0
	for _, id := range t.queueID {
		line, n := logLine(t.cloakroom, id)
		t.line("")
		t.verbatim(line)
		if n == 1 {
			single++
		}
	}
	t.line("")
	t.check(single == 3, "each of the three mails has one line")
	t.check(!strings.Contains(t.cloakroom.Log(), "level=ERROR"), "there is no error in the log")
	t.check(!strings.Contains(t.postfix.Log(), "warning:"), "there is no warning in the log of Postfix")
	return nil
}

// logLine finds the line of a mail, and tells how many there are; what the vault
// does later has lines of its own.
func logLine(c *testserver.Cloakroom, queueID string) (line string, n int) {
	for l := range strings.Lines(c.Log()) {
		if strings.Contains(l, "queue_id="+queueID) && !strings.Contains(l, "in the vault") {
			line = l
			n++
		}
	}
	return line, n
}

// send composes a mail, shows its parts, submits it by SMTP and prints
// Postfix's answer. It gives the mail as it was sent, with LF line ends.
func (t *tour) send(ctx context.Context, l letter, now time.Time) ([]byte, error) {
	raw := l.compose(now)
	parts, err := readMail(raw)
	if err != nil {
		return nil, err
	}
	t.tree("Sent by "+l.from+" to "+strings.Join(l.to, ", "), parts, len(raw))
	reply, err := testserver.SendSMTP(ctx, t.postfix.SMTPAddr(), l.from, l.to, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	t.queueID = append(t.queueID, reply.QueueID)
	t.say("Postfix answers: %d %s", reply.Code, reply.Text)
	return raw, nil
}

// delivered waits for the next mail in a mailbox and reads it.
func (t *tour) delivered(ctx context.Context, to string) ([]byte, error) {
	if t.got == nil {
		t.got = map[string]int{}
	}
	t.got[to]++
	files, err := t.postfix.WaitMailbox(ctx, to, t.got[to])
	if err != nil {
		return nil, err
	}
	return os.ReadFile(files[t.got[to]-1])
}

// linkPattern is a link of Cloakroom.
var linkPattern = regexp.MustCompile(`http://[0-9.:]+/d/[A-Za-z0-9_-]{22}`)

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func size(n int) string { return message.FormatSize(int64(n)) }
