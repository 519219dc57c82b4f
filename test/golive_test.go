package test

// The story of docs/golive.md, from observing to all users and out again: what
// becomes of mail at each of its steps.

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// goLiveVault is what its configurations have besides a vault: a rule that fills it,
// so that there are uploads to go on.
const goLiveVault = "  - {name: bob keeps his, if: \"owner.address == 'bob@acmecorp.com'\", vault: {target: assets}}\n"

// goingLive is somebody who does as the document says.
type goingLive struct {
	*document
	links []string // that were sent
}

// tryMail sends a mail with a large attachment and expects links in it, or that it
// comes as it was sent.
func (g *goingLive) tryMail(n int, from, to, subject string) {
	g.t.Helper()
	msg := compose(from, []string{to}, subject, file{subject + ".pdf", "application/pdf", plan(subject)})
	got := g.h.arrives(from, to, msg)
	found := links(got)
	if len(found) != n || n == 0 && bodyOf(got) != bodyOf(msg) {
		g.t.Errorf("%s: %d links, want %d", subject, len(found), n)
	}
	g.links = append(g.links, found...)
}

// plan is the file that a mail has, by its subject.
func plan(subject string) []byte { return random(1_200_000, int64(len(subject))) }

// goes takes the next configuration, and the next commands.
func (g *goingLive) goes(section string, texts ...string) {
	g.t.Helper()
	if s := g.blocks[g.at]; s.language == "yaml" {
		config := g.take("yaml")
		if strings.Contains(config, "mode: enforce") {
			config += goLiveVault
		}
		g.h.configure(config + usualVault)
	}
	out := g.next(section)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			g.t.Errorf("%s: the commands do not say %q:\n%s", section, text, out)
		}
	}
}

func goLiveStory(d *document) {
	h := d.h
	h.must("systemctl stop cloakroom\nmv /var/lib/cloakroom /var/lib/cloakroom.before") // nothing was counted before
	h.setPostfix(h.detached(), h.master)
	h.must("rm -rf " + filepath.Join(h.dir, "srv/vault/spaces", bobHere))
	main := h.postfixFile("main.cf")
	before := mustRead(d.t, main)
	g := &goingLive{document: d}

	const observe = "1. Observe a week of mail"
	g.goes(observe, "no mistakes", "smtpd_milters")
	if now := mustRead(d.t, main); !strings.Contains(now, h.milter) {
		d.t.Errorf("main.cf does not have the milter:\n%s", now)
	}
	time.Sleep(time.Second) // until Postfix has taken it up
	g.tryMail(0, aliceHere, bobHere, "observed")
	g.tryMail(0, daveThere, bobHere, "observed from outside")
	g.tryMail(0, aliceHere, daveThere, "observed to the outside")
	signed := compose(aliceHere, []string{daveThere}, "observed and signed", file{"signed.pdf", "application/pdf", plan("signed")})
	signed = bytes.Replace(signed, []byte("multipart/mixed"), []byte("multipart/signed; micalg=pgp-sha256; protocol=\"application/pgp-signature\""), 1)
	h.arrives(aliceHere, daveThere, signed)
	if !strings.Contains(h.log(), "would be changed") {
		d.t.Error("the log does not say what would be done")
	}
	h.must("systemctl restart cloakroom") // which writes down what was counted
	g.goes(observe, "would-be links", "large files become links", `"mode": "observe"`)
	d.step() // what it prints

	h.must("systemctl restart cloakroom")
	g.goes("2. A pilot group", "no mistakes", " 0 failed")
	g.tryMail(1, aliceHere, daveThere, "from the pilot")
	g.tryMail(0, carolHere, daveThere, "from somebody else")
	g.tryMail(0, aliceHere, daveThere, "[whole] the pilot says no")

	const watch = "3. Watch, and pause"
	g.goes(watch, "a customer gets broken PDFs", "the daemon obeys")
	time.Sleep(time.Second) // what is promised
	g.tryMail(0, aliceHere, daveThere, "while it is paused")
	g.goes(watch, "goes by the rules again", "resume")
	time.Sleep(time.Second)
	g.tryMail(1, aliceHere, daveThere, "after the pause")

	h.must("cloakroom queue hold --target assets")
	g.goes("4. Everybody")
	g.tryMail(1, carolHere, bobHere, "everybody has links now")
	g.tryMail(0, carolHere, bobHere, "[whole] anybody can say no")

	const out = "Out again, with the links kept"
	g.goes(out)
	if mustRead(d.t, main) != before {
		d.t.Errorf("main.cf is not what it was:\n%s", mustRead(d.t, main))
	}
	h.must("postconf -e smtpd_milters=inet:" + h.milter + " && postfix reload") // in again, to leave by hand
	g.goes(out)
	time.Sleep(time.Second)
	log := h.log()
	g.goes(out, "there are no rules", "waiting", "everybody has links now")
	g.tryMail(0, carolHere, daveThere, "after it all")
	for _, link := range g.links {
		if len(download(d.t, link)) != 1 {
			d.t.Errorf("%s does not work any more", link)
		}
	}
	if strings.Contains(strings.TrimPrefix(h.log(), log), "queue_id=") {
		d.t.Error("a mail came by the milter")
	}
	h.must("cloakroom queue release --target assets")
	for _, subject := range []string{"everybody has links now", "[whole] anybody can say no"} {
		name := regexp.MustCompile(`[][]`).ReplaceAllString(subject, "*") + ".pdf"
		if !hasFile(d.t, filepath.Join(h.dir, "srv/vault/spaces", bobHere, name), plan(subject)) {
			d.t.Errorf("the vault does not have the file of %q", subject)
		}
	}
}
