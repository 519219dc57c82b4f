package test

// What happens between the blocks of documents: mail comes, something breaks, a
// person does what the text says.

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// stories are told by document.
var stories = map[string]func(*document){
	"README.md":           readmeStory,
	"docs/backup.md":      backupStory,
	"docs/care.md":        careStory,
	"docs/coexistence.md": coexistenceStory,
	"docs/doctor.md":      doctorStory,
	"docs/golive.md":      goLiveStory,
	"docs/install.md":     installStory,
	"docs/links.md":       linksStory,
	"docs/mta.md":         mtaStory,
	"docs/operations.md":  operationsStory,
	"docs/vault.md":       vaultStory,
}

// hasFile waits for a file with a content; the name may have wildcards.
func hasFile(t *testing.T, pattern string, content []byte) bool {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			if got, err := os.ReadFile(name); err == nil && bytes.Equal(got, content) {
				return true
			}
		}
	}
	return false
}

// readmeStory: the mail that is shown is one that arrives, and the first page leads
// to a link.
func readmeStory(d *document) {
	h := d.h
	d.next("Cloakroom")
	sample := shapes(h.here(d.take("mail")))
	pdf := random(10<<20, 90)
	msg := compose(aliceHere, []string{daveThere}, "plans", file{"plans.pdf", "application/pdf", pdf})
	msg = bytes.Replace(msg, []byte("See the attachments, Grüße.\n"), []byte("Hello Bob,\nhere are the plans.\n"), 1)
	got := h.arrives(aliceHere, daveThere, msg)
	_, text, _ := strings.Cut(bodyOf(got), "8bit\n\n")
	text, _, _ = strings.Cut(strings.ReplaceAll(text, "\r", ""), "--=_test")
	if !matches(sample, shapes(text)) {
		d.t.Errorf("the mail that is shown is not one that arrives:\n%s\n%s", strings.Join(sample, "\n"), text)
	}
	h.token = strings.TrimPrefix(links(got)[0], "http://"+h.web+"/d/")
	d.next("What it does to a mail")
	if _, err := exec.LookPath("curl"); (err == nil || os.Getenv("CI") == "true") && !hasFile(d.t, filepath.Join(h.etc(), "plans.pdf"), pdf) {
		d.t.Error("curl did not fetch the file")
	}

	const five = "Five minutes to the first link"
	h.must("systemctl stop cloakroom")
	h.write("try.yaml", h.here(d.take("yaml"))+"admin: {listen: \"\"}\n") // one port cannot serve several daemons
	said := d.next(five) + d.next(five)
	for _, want := range []string{"no mistakes", "large files become links", "contracts stay in the mail", "Available without a time limit."} {
		if !strings.Contains(said, want) {
			d.t.Errorf("the commands do not say %q:\n%.3000s", want, said)
		}
	}
	lines := d.blocks[d.at].text
	d.step()
	h.setPostfix(h.detached(), h.master)
	for line := range strings.Lines(lines) {
		h.must("postconf -e '" + strings.TrimSpace(line) + "'")
	}
	h.reloaded()
	mail := []byte(mustRead(d.t, filepath.Join(h.etc(), "mail.eml")))
	found := append(links(h.arrives(aliceHere, daveThere, mail)), links([]byte(said))...)
	if len(found) != 2 { // one by the milter, one by the filter
		d.t.Fatalf("links %v", found)
	}
	for _, link := range found {
		if sums := download(d.t, link); len(sums) != 1 || sums[0] != sha256.Sum256(random(2<<20, 1)) {
			d.t.Errorf("%s gives %x", link, sums)
		}
	}
	if list := h.must("cloakroom links list --config try.yaml"); !strings.Contains(list, "mail") {
		d.t.Errorf("links list: %s", list)
	}

	h.must("systemctl stop cloakroom")
	h.setPostfix(h.detached(), h.master)
	d.next("For real")
	if !strings.Contains(mustRead(d.t, h.postfixFile("main.cf")), h.milter) {
		d.t.Error("Postfix does not have the milter")
	}
}

// installStory: at first mail is only looked at, in the end there are links.
func installStory(d *document) {
	h := d.h
	h.must("systemctl stop cloakroom")
	h.setPostfix(h.detached(), h.master)
	before := mustRead(d.t, h.postfixFile("main.cf"))
	d.next("1. The package")
	observe := d.blocks[d.at].text
	d.next("2. Configure")
	d.next("Postfix")
	settings := func(text string) {
		d.t.Helper()
		if got := shapes(h.must("postconf milter_default_action smtpd_milters non_smtpd_milters")); !matches(shapes(text), got) {
			d.t.Errorf("Postfix has\n%s\nand not\n%s", strings.Join(got, "\n"), text)
		}
	}
	settings(d.blocks[d.at].text)
	d.next("Sendmail")
	if mc := mustRead(d.t, filepath.Join(h.sendmail.Folder(), "etc/sendmail.mc")); !strings.Contains(mc, "INPUT_MAIL_FILTER(`cloakroom'") {
		d.t.Errorf("sendmail.mc does not have the milter:\n%s", mc)
	}
	time.Sleep(500 * time.Millisecond) // until Postfix has taken it up
	mail := func(n int) {
		d.t.Helper()
		f := file{"plan.pdf", "application/pdf", random(2<<20, serial.Add(1))}
		if got := links(h.arrives(aliceHere, bobHere, compose(aliceHere, []string{bobHere}, "a mail", f))); len(got) != n {
			d.t.Errorf("links %v, want %d", got, n)
		}
	}
	mail(0)
	h.ill = []string{"mta"} // it is to be set up again when the mode becomes enforce
	if said := d.next("4. Look"); !strings.Contains(said, "would be changed") || !strings.Contains(said, "large files become links") {
		d.t.Errorf("the log and the report say\n%s", said)
	}
	h.configure(strings.Replace(observe, "mode: observe", "mode: enforce", 1))
	d.next("5. From observing to links")
	settings("milter_default_action = tempfail\nsmtpd_milters = inet:127.0.0.1:8891\nnon_smtpd_milters = inet:127.0.0.1:8891\n")
	time.Sleep(500 * time.Millisecond)
	mail(1)
	d.next("Out again")
	h.must("cloakroom setup sendmail --undo")
	if now := mustRead(d.t, h.postfixFile("main.cf")); now != before {
		d.t.Errorf("main.cf is not what it was before:\n%s", now)
	}
	time.Sleep(500 * time.Millisecond)
	mail(0)
}

// doctorStory: Postfix asks another milter, and the certificate of the proxy before
// the pages is about to expire.
func doctorStory(d *document) {
	h := d.h
	now := time.Now()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"Let's Encrypt"}}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: now.AddDate(0, 0, -81), NotAfter: now.AddDate(0, 0, 9).Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	if err != nil {
		d.t.Fatal(err)
	}
	pages := &url.URL{Scheme: "http", Host: h.web}
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(pages) }})
	proxy.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
	proxy.StartTLS()
	d.t.Cleanup(proxy.Close)
	h.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	h.must("cat cert.pem >> " + filepath.Join(h.dir, "authorities"))
	h.configure(fmt.Sprintf("web: {listen: %q, url: %q}\n", h.web, proxy.URL))
	h.must("systemctl restart cloakroom\npostconf -e smtpd_milters=inet:127.0.0.1:8892")
	h.ill = []string{"mta", "certificate"}
	d.rest()
}

// mtaStory: what is taken out was there before.
func mtaStory(d *document) {
	h := d.h
	h.must("systemctl stop cloakroom")
	h.setPostfix(h.detached(), h.master)
	before := mustRead(d.t, h.postfixFile("main.cf"))
	h.configure("domains: [acmecorp.com]\nrules: [{name: all, link: {}}]\n")
	h.must("systemctl start cloakroom")
	d.next("Which milter stands where")
	mc := filepath.Join(h.sendmail.Folder(), "etc/sendmail.mc")
	macros := mustRead(d.t, mc)
	h.must("cloakroom setup postfix --apply --reload\ncloakroom setup sendmail --apply")
	h.must("install -d -m 2777 /var/spool/postfix/cloakroom")
	d.next("Taking it out")
	if now := mustRead(d.t, h.postfixFile("main.cf")); now != before {
		d.t.Errorf("main.cf is not what it was before:\n%s", now)
	}
	if now := mustRead(d.t, mc); now != macros {
		d.t.Errorf("sendmail.mc is not what it was before:\n%s", now)
	}
}

// linksStory: there is a link with a limit.
func linksStory(d *document) {
	d.step()
	d.settle()
	d.h.mail(aliceHere, daveThere, "a key", file{"key.lic", "application/octet-stream", random(9000, serial.Add(1))})
}

// operationsStory: somebody is on call.
func operationsStory(d *document) {
	h := d.h
	mail := func(n int) {
		d.t.Helper()
		if got := links(h.arrives(daveThere, bobHere, compose(daveThere, []string{bobHere}, "a mail", h.plan()))); len(got) != n {
			d.t.Errorf("links %v, want %d", got, n)
		}
	}
	d.next("Out of the path")
	time.Sleep(time.Second) // what is promised
	mail(0)
	h.must("cloakroom resume")
	time.Sleep(time.Second)
	mail(1)
	d.next("Out of the path")
	if said := h.must("postconf milter_default_action"); !strings.Contains(said, "accept") {
		d.t.Error(said)
	}
	d.next("The database is damaged")
	h.must("systemctl start cloakroom")
	h.must("mv /var/lib/cloakroom/blobs /var/lib/cloakroom/blobs.away && touch /var/lib/cloakroom/blobs")
	sendRefused(d.t, h.postfix, daveThere, []string{bobHere}, toCRLF(compose(daveThere, []string{bobHere}, "too late", h.plan())))
	h.must("rm /var/lib/cloakroom/blobs && mv /var/lib/cloakroom/blobs.away /var/lib/cloakroom/blobs")
	if said := d.next("Mail is deferred by us"); strings.Count(said, "message deferred") < 2 {
		d.t.Errorf("the log has\n%s", said)
	}
}

// backupStory: everything is lost, one after the other.
func backupStory(d *document) {
	h := d.h
	kept := h.attachment
	d.next("In short")
	const lost = "The data folder is lost"
	d.next(lost)
	empty := func() { // as before
		h.must("systemctl stop cloakroom\nrm -rf /var/lib/cloakroom.lost\nmv /var/lib/cloakroom /var/lib/cloakroom.lost\ninstall -d -m 700 -o cloakroom -g cloakroom /var/lib/cloakroom")
	}
	empty()
	d.next(lost)
	h.must("systemctl start cloakroom")
	h.receive() // after the backup
	empty()
	d.tolerate("--journal", 1) // the file of that mail is missing
	if said := d.next(lost); !strings.Contains(said, h.attachment) {
		d.t.Errorf("the file that is missing is not named:\n%s", said)
	}
	h.must("cp -a /var/lib/cloakroom.lost/blobs/. /var/lib/cloakroom/blobs/") // what the lost disk still gives
	h.must("systemctl start cloakroom\ncloakroom store verify")

	h.must("systemctl stop cloakroom\nrm -f /var/lib/cloakroom/cloakroom.db*")
	d.next("Only the database is lost or damaged")
	h.must("cloakroom links show " + h.link)

	h.attachment = kept
	damaged := filepath.Join(h.data(), "blobs", kept[:2], kept)
	h.must("chmod u+w " + damaged + " && echo damaged >> " + damaged)
	d.tolerate("store verify", 1)
	if said := d.next("Only files are lost or damaged"); !strings.Contains(said, kept) {
		d.t.Errorf("the damaged file is not named:\n%s", said)
	}
	h.must("cloakroom store verify")
}

// careStory: alice has sent something that she should not have, and carol got it.
func careStory(d *document) {
	h := d.h
	h.mail(aliceHere, carolHere, "wrong list", h.plan())
	h.arrives("bob@example.org", bobHere, compose("bob@example.org", []string{bobHere}, "forget me", h.plan()))
	h.receive()
	h.sent[carolHere]++ // by links restore --submit
	d.rest()
	for name, what := range map[string]string{"original.eml": "Subject: plans", "bob.mbox": "Subject: plans", "restored.txt": ""} {
		if !strings.Contains(mustRead(d.t, filepath.Join(h.etc(), name)), what) {
			d.t.Errorf("%s does not have %q", name, what)
		}
	}
	mailbox(d.t, h.postfix, carolHere, h.sent[carolHere])
}

// coexistenceStory: there is a list of the other system's users.
func coexistenceStory(d *document) {
	d.h.write("users.csv", "First Name [Required],Last Name [Required],Email Address [Required],Password [Required],Org Unit Path [Required],Status [READ ONLY],Department,Aliases\n"+
		"Jane,Doe,jane@acmecorp.com,,/,Active,,\nBo,Ss,boss@acmecorp.com,,/,Active,,\nMia,New,mia@acmecorp.com,,/,Active,,\n")
	d.tolerate("directory diff", 0, 1) // some differ, and none in the way that --only says
	d.rest()
	if users := mustRead(d.t, filepath.Join(d.h.etc(), "users.yaml")); !strings.Contains(users, "mia@acmecorp.com") {
		d.t.Errorf("the users are\n%s", users)
	}
}

// vaultStory: files arrive at the server, which then is prepared as the document
// says, with keys of its own.
func vaultStory(d *document) {
	h := d.h
	rules := d.blocks[0].text
	d.next("Somebody joins later")
	_, rules, _ = strings.Cut(rules, "rules:")
	h.configure("vault:\n  targets:\n    assets:\n      sftp: {address: vault.acmecorp.com, user: cloakroom, key_file: vault_key, known_hosts: vault_known_hosts, base: /spaces}\n" +
		"      path: \"{space}/{yyyy}/{mm}/{name}\"\n      delay: 0s\nrules:" + rules)
	spaces := filepath.Join(h.sshd.Root(), "spaces")
	h.must("systemctl restart cloakroom\nmv /srv/vault/spaces /srv/vault/spaces.before\nln -s " + spaces + " /srv/vault/spaces")
	for to, name := range map[string]string{bobHere: "plan.xlsx", ruthHere: "data.csv"} {
		content := random(3000, serial.Add(1))
		h.arrives(daveThere, to, compose(daveThere, []string{to}, "a table", file{name, "text/csv", content}))
		if !hasFile(d.t, filepath.Join(spaces, "*", "*", "*", name), content) {
			d.t.Errorf("%s did not get to the server", name)
		}
	}
	for d.blocks[d.at].language != "tree" {
		d.step()
	}
	d.step()
	h.must("rm /srv/vault/spaces && mv /srv/vault/spaces.before /srv/vault/spaces && rm vault_key vault_known_hosts")
	const server = "Preparing OpenSSH"
	d.next(server)
	d.next(server)
	// As the user it runs as, the document says.
	h.must(fmt.Sprintf("chown %d vault_key vault_key.pub vault_known_hosts", os.Getuid()))
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(mustRead(d.t, filepath.Join(h.etc(), "vault_key.pub"))))
	if err == nil {
		err = h.sshd.Authorize(key)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	h.must("touch /srv/vault/.vault-is-mounted")
}
