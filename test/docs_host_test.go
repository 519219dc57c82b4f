package test

// The host that documents are walked on: the program as its service, a Postfix and
// a Sendmail, servers for the vault and for mailboxes, DNS, and some mail with links.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// host is where documents are walked, one after the other.
type host struct {
	t                                *testing.T // of the document
	dir                              string     // stands for /
	milter, web, admin, submit       string     // host:port
	postfix                          *testserver.Postfix
	sendmail                         *testserver.Sendmail
	sshd                             *testserver.SSHD
	ftpd                             *testserver.ProFTPD
	dovecot                          *testserver.Dovecot
	dns                              *testserver.DNS
	service                          *service
	env                              []string
	main, master                     string         // of Postfix, as they are at first
	config                           string         // the configuration in the file
	sent                             map[string]int // mails by recipient
	link, token, queueID, attachment string         // of the mail that came last
	ill                              []string       // what the doctor may find: a story broke it
}

// hostZone is what DNS says.
const hostZone = `mx.acmecorp.com. A 203.0.113.25
acmecorp.com. MX 10 mx.acmecorp.com.
acmecorp.com. TXT "v=spf1 ip4:203.0.113.25 ip4:192.0.2.0/24 ip6:2001:db8::/48 -all"
_dmarc.acmecorp.com. TXT "v=DMARC1; p=reject; aspf=r"
gapps.acmecorp.com. MX 10 in.gapps.example.
gapps.acmecorp.com. TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/48 -all"
in.gapps.example. A 192.0.2.1
mx2026._domainkey.acmecorp.com. TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
google._domainkey.acmecorp.com. TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
srs.acmecorp.com. MX 10 mx.acmecorp.com.
srs.acmecorp.com. TXT "v=spf1 ip4:203.0.113.25 -all"
`

// hostUsers are its users: those of acmecorp.com, and of the examples about rules.
const hostUsers = `users:
  - {address: alice@acmecorp.test, groups: [research, pilot], department: labs}
  - {address: bob@acmecorp.test, department: research}
  - {address: alice@acmecorp.com, groups: [research, pilot], department: personnel}
  - {address: bob@acmecorp.com}
  - {address: carol@acmecorp.com}
  - {address: ruth@acmecorp.com, groups: [research], department: research}
  - {address: boss@acmecorp.com, groups: [gapps]}
  - {address: jane@acmecorp.com, groups: [gapps]}
`

const (
	aliceHere = "alice@acmecorp.com"
	bobHere   = "bob@acmecorp.com"
	carolHere = "carol@acmecorp.com"
	ruthHere  = "ruth@acmecorp.com"
	daveThere = "dave@example.org"
)

// newHost starts everything, and the servers at the same time.
func newHost(t *testing.T) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "cloakroom-docs-")
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 4)
	h := &host{t: t, dir: dir, milter: address(ports[0]), web: address(ports[1]), admin: address(ports[2]), submit: address(ports[3]), sent: map[string]int{}}
	t.Cleanup(func() { // some of it belongs to other accounts
		if cmd, err := testserver.AsRoot(nil, "rm", "-rf", dir); err != nil || cmd.Run() != nil {
			t.Errorf("%s was not removed", dir)
		}
	})
	for _, name := range []string{".", "etc/cloakroom", "etc/ssh", "etc/cron.d", "var/lib", "var/log", "srv/vault/spaces", "srv/backup", "run/cloakroom", "usr/share", "usr/bin", "bin"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, name), 0o755), os.Chmod(filepath.Join(dir, name), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(h.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	h.startServers(ctx)
	h.main, h.master = mustRead(t, h.postfixFile("main.cf")), mustRead(t, h.postfixFile("master.cf"))
	h.service = newService(t, dir)
	h.installShims(ctx)
	for name, text := range map[string]string{
		"users.yaml": hostUsers, "vault_key": mustRead(t, h.sshd.KeyFile()), "vault_known_hosts": mustRead(t, h.sshd.KnownHostsFile()),
		"ftp-password": mustRead(t, h.ftpd.PasswordFile()), "acme-ca.pem": mustRead(t, h.ftpd.CAFile()), "pw": h.dovecot.Password() + "\n",
		"partners.hash": linkPassword() + "\n", "gateway": strings.Repeat("5e", 32) + "\n", "srs": strings.Repeat("57", 32) + "\n",
		"mail.eml": string(compose(aliceHere, []string{daveThere}, "a mail", file{"plan.pdf", "application/pdf", random(2<<20, 1)}, file{"NDA.pdf", "application/pdf", random(2<<20, 2)})),
	} {
		h.write(name, text)
	}
	h.must("install -d -o " + h.sshd.User() + " " + h.sshd.Root() + "/spaces")
	vault := filepath.Join(h.ftpd.Root(), "vault")
	if err := errors.Join(os.Mkdir(vault, 0o755), h.ftpd.Give(vault)); err != nil {
		t.Fatal(err)
	}
	return h
}

// startServers starts the servers beside the program.
func (h *host) startServers(ctx context.Context) {
	h.t.Helper()
	starts := []func() error{
		func() (err error) {
			h.postfix, err = testserver.StartPostfix(ctx, testserver.PostfixOptions{MilterAddr: "inet:" + h.milter,
				Mailboxes: []string{aliceHere, bobHere, carolHere, ruthHere, daveThere, alice, bob},
				Services: []string{h.submit + " inet n - n - - smtpd -o smtpd_milters= -o cleanup_service_name=cleanup-own",
					"cleanup-own unix n - n - 0 cleanup -o cleanup_replace_stray_cr_lf=no"}})
			return err
		},
		func() (err error) {
			h.sendmail, err = testserver.StartSendmail(ctx, testserver.SendmailOptions{})
			return err
		},
		func() (err error) { h.sshd, err = testserver.StartSSHD(ctx, ""); return err },
		func() (err error) { h.ftpd, err = testserver.StartProFTPD(ctx, ""); return err },
		func() (err error) { h.dovecot, err = testserver.StartDovecot(ctx, "", dovecotMaster); return err },
		func() (err error) { h.dns, err = testserver.StartDNS(hostZone, nil); return err },
	}
	outcome := make([]error, len(starts))
	var all sync.WaitGroup
	for i, start := range starts {
		all.Go(func() { outcome[i] = start() })
	}
	all.Wait()
	h.t.Cleanup(func() {
		for _, s := range []interface{ Stop() error }{h.postfix, h.sendmail, h.sshd, h.ftpd, h.dovecot} {
			if err := s.Stop(); err != nil {
				h.t.Error(err)
			}
		}
		h.dns.Stop()
	})
	if err := errors.Join(outcome...); err != nil {
		h.t.Fatal(err)
	}
}

// dovecotMaster lets a master user in, as docs/care.md has it.
const dovecotMaster = "auth_master_user_separator = *\npassdb {\n  driver = static\n  args = nopassword=y\n  master = yes\n}"

func (h *host) etc() string  { return filepath.Join(h.dir, "etc/cloakroom") }
func (h *host) data() string { return filepath.Join(h.dir, "var/lib/cloakroom") }

func (h *host) postfixFile(name string) string { return filepath.Join(h.postfix.Folder(), "etc", name) }

// log is what the daemon has logged so far.
func (h *host) log() string {
	h.t.Helper()
	text, err := os.ReadFile(h.service.log())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return string(text)
}

// asRoot prepares a command as an administrator gives it on this host.
func (h *host) asRoot(argv ...string) *exec.Cmd {
	h.t.Helper()
	cmd, err := testserver.AsRoot(h.env, argv...)
	if err != nil {
		h.t.Fatal(err)
	}
	return cmd
}

// output runs a command, and gives what it prints and how it ends.
func (h *host) output(cmd *exec.Cmd) (string, int) {
	h.t.Helper()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		h.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// open makes the host as it is at first, with a new mail, for a document.
func (h *host) open(t *testing.T, name string, all []snippet) *document {
	t.Helper()
	h.t, h.ill = t, nil
	log, postfix := h.log(), h.postfix.Log()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of cloakroom:\n%s\nof postfix:\n%s", strings.TrimPrefix(h.log(), log), strings.TrimPrefix(h.postfix.Log(), postfix))
		}
	})
	d := &document{t: t, h: h, name: name, blocks: all}
	for _, s := range all {
		if s.language != "sh" && s.language != "yaml" {
			continue
		}
		h.must("systemctl stop cloakroom")
		h.setPostfix(h.main, h.master)
		h.configure("")
		h.write("tests/cases.yaml", "cases:\n  - name: a small file stays\n    compose: {attachments: [{name: a.txt, size: 1KB}]}\n"+
			"    envelope: {from: alice@acmecorp.test, to: [dave@ext.test], user: alice}\n    want: {linked: []}\n")
		h.must("systemctl start cloakroom")
		h.receive()
		break
	}
	return d
}

// setPostfix gives Postfix other files, where they are others.
func (h *host) setPostfix(main, master string) {
	h.t.Helper()
	if mustRead(h.t, h.postfixFile("main.cf")) == main && mustRead(h.t, h.postfixFile("master.cf")) == master {
		return
	}
	h.write("main.cf", main)
	h.write("master.cf", master)
	for _, name := range []string{"main.cf", "master.cf"} {
		h.must("cat " + name + " > " + h.postfixFile(name) + " && touch -d '1 minute ago' " + h.postfixFile(name))
	}
	h.must("rm -f main.cf master.cf " + h.postfixFile("cloakroom-setup.json"))
	h.reloaded()
}

// detached is main.cf without milters.
func (h *host) detached() string {
	return regexp.MustCompile(`(?m)^((?:non_)?smtpd_milters =).*`).ReplaceAllString(h.main, "$1")
}

// reloaded lets Postfix take up what it has been told.
func (h *host) reloaded() {
	h.t.Helper()
	h.must("postfix reload")
	time.Sleep(500 * time.Millisecond)
}

// section is a key of the configuration.
type section struct{ key, text string }

// usual is what every configuration here has, and what one has besides that is none
// in itself, as it does not tell its domains.
func (h *host) usual() (always, besides []section) {
	return []section{
			{"hostname", "hostname: mx.acmecorp.com\n"},
			{"data", "data: " + h.data() + "\n"},
			{"milter", fmt.Sprintf("milter: {listen: \"inet:%s\"}\n", h.milter)},
			{"web", fmt.Sprintf("web: {listen: %q, url: \"http://%s\"}\n", h.web, h.web)},
			{"admin", fmt.Sprintf("admin: {listen: %q}\n", h.admin)},
		}, []section{
			{"domains", "domains: [acmecorp.com, acmecorp.test]\n"},
			{"submit", fmt.Sprintf("submit: {smtp: %q}\n", h.submit)},
			{"directory", "directory: {file: users.yaml}\n"},
			{"vault", h.here(usualVault)},
		}
}

// usualVault has one target.
const usualVault = "vault:\n  targets:\n    assets: {dir: {base: /srv/vault/spaces}, delay: 0s, path: \"{space}/{name}\"}\n"

// usualRules are for the same.
const usualRules = `rules:
  - {name: tables go to the vault, if: "attachment.extension == 'csv'", vault: {target: TARGET}}
  - {name: large files become links, if: "attachment.size > 5 * KB", link: {}}
`

var targetName = regexp.MustCompile(`(?m)^ {2}targets:\n(?: {4}([a-z]+):.*\n(?: {6,}.*\n)*)+`)

// targets are those of the vault in the configuration.
func (h *host) targets() (out []string) {
	for _, m := range regexp.MustCompile(`(?m)^ {4}([a-z]+):`).FindAllStringSubmatch(targetName.FindString(h.config), -1) {
		out = append(out, m[1])
	}
	return out
}

// configure writes the configuration: that of a document, and what it does not
// speak of as it is usual.
func (h *host) configure(text string) {
	h.t.Helper()
	h.config = h.completed(text)
	h.write("cloakroom.yaml", h.config)
	if err := os.Chmod(filepath.Join(h.etc(), "cloakroom.yaml"), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) completed(text string) string {
	config := h.here(text)
	if strings.Contains(config, "sftp:") {
		config = strings.NewReplacer("user: cloakroom", "user: "+h.sshd.User(), "base: /spaces", "base: "+h.sshd.Root()+"/spaces").Replace(config)
	}
	if strings.Contains(config, "ftps:") {
		config = strings.Replace(config, "user: cloakroom", "user: "+h.ftpd.User(), 1)
	}
	// The port is the harness's to say.
	config = strings.Replace(config, "\nweb: {url:", fmt.Sprintf("\nweb: {listen: %q, url:", h.web), 1)
	has := func(key string) bool { return regexp.MustCompile(`(?m)^` + key + `:`).MatchString(config) }
	missing, besides := h.usual()
	if !has("domains") {
		missing = append(missing, besides...)
	}
	if !has("domains") && !has("rules") {
		target := "assets"
		if m := regexp.MustCompile(`(?m)^ {2}targets:\n {4}([a-z]+):`).FindStringSubmatch(config); m != nil {
			target = m[1]
		}
		config += strings.Replace(usualRules, "TARGET", target, 1)
	}
	for _, s := range missing {
		if !has(s.key) {
			config = s.text + config
		}
	}
	return config
}

// arrives sends a mail, and gives what arrives.
func (h *host) arrives(from, to string, msg []byte) []byte {
	h.t.Helper()
	send(h.t, h.postfix, from, []string{to}, toCRLF(msg))
	h.sent[to]++
	return mailbox(h.t, h.postfix, to, h.sent[to])[h.sent[to]-1]
}

// mail sends one with a file that is to become a link, to which the documents'
// link, mail and file then are.
func (h *host) mail(from, to, subject string, f file, more ...file) []byte {
	h.t.Helper()
	got := h.arrives(from, to, compose(from, []string{to}, subject, append([]file{f}, more...)...))
	found := links(got)
	if len(found) == 0 {
		h.t.Fatalf("%s has no link:\n%.3000s", f.name, got)
	}
	h.token = found[0][strings.LastIndex(found[0], "/")+1:]
	h.link = h.firstID("cloakroom links list")
	all := regexp.MustCompile(`msg="attachments linked" queue_id=(\w+)`).FindAllStringSubmatch(h.log(), -1)
	h.queueID = all[len(all)-1][1]
	h.attachment = fmt.Sprintf("%x", sha256.Sum256(f.content))
	return got
}

// receive brings the mail that documents are about: a stranger's, with a file that
// becomes a link and one that goes to the vault.
func (h *host) receive() {
	h.t.Helper()
	h.mail(daveThere, bobHere, "plans", h.plan(), file{"table.csv", "text/csv", random(2000, serial.Add(1))})
}

// plan is a file that becomes a link.
func (h *host) plan() file {
	return file{"plan.pdf", "application/pdf", random(9000, serial.Add(1))}
}

// firstID is the id of the first thing in a list that a command prints.
func (h *host) firstID(command string) string {
	h.t.Helper()
	m := regexp.MustCompile(`"id": ?"(\w+)"`).FindStringSubmatch(h.must(command + " --json"))
	if m == nil {
		h.t.Fatalf("%s lists nothing", command)
	}
	return m[1]
}
