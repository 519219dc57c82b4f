package main

// Staying up for mail of the visitor's own, with -keep.

import (
	"context"
	"path/filepath"

	"cloakroom/internal/testserver"
)

// stay tells what can be done now, and waits for Ctrl-C.
func (t *tour) stay(interrupt context.Context, failure error) {
	t.step("Your turn")
	if failure != nil {
		t.say("Not all went well (%v), but all servers are still up.", failure)
	}
	page := t.link
	if page == "" {
		page = t.cloakroom.WebURL() + "/"
	}
	program := t.binary + " --config " + t.cloakroom.ConfigFile()
	t.say("Send mail of your own, to %s, %s or %s:", bob, carol, dave)
	t.command("curl smtp://"+t.postfix.SMTPAddr(), "--mail-from "+ann, "--mail-rcpt "+bob, "--crlf", "--upload-file "+t.saved)
	t.command("swaks -s "+t.postfix.SMTPAddr(), "-f "+ann, "-t "+bob, "--attach @FILE")
	t.say("Or take a mail through without any MTA; what Bob would get comes out:")
	t.command(program, "filter", "--from "+ann, "--client-ip 127.0.0.1", "--to "+bob, "< "+t.saved)
	t.say("Look at what became of it: the links, the mailboxes, the logs, the page of the first link:")
	t.command(program + " links list")
	t.command("ls -tr " + filepath.Join(t.postfix.Folder(), "mail", "*", "new", "*"))
	t.command("tail " + t.cloakroom.LogFile() + " " + filepath.Join(t.postfix.Folder(), "log"))
	t.line("")
	t.line(margin + page)
	t.say("Browse the vault:")
	t.command("sftp -F "+t.openssh.ClientConfig(), testserver.ClientHost)
	t.say("Change the rules in %s, then:", t.cloakroom.ConfigFile())
	t.command("pkill -HUP -f '" + t.cloakroom.ConfigFile() + " serve'")
	t.line("")
	t.line(margin + t.style(bold, "Press Ctrl-C to stop all and remove everything."))
	<-interrupt.Done()
}
