package test

// Pieces of other programs' files in documents, which those programs read.

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"cloakroom/internal/testserver"
	"cloakroom/policy"
)

// pieces are the languages of blocks that other programs know, and who looks at them.
var pieces = map[string]func(d *document, text string){
	"cel":            (*document).conditions, // conditions of rules, one a line
	"main.cf":        (*document).mainCF,     // of Postfix
	"master.cf":      (*document).masterCF,   // of Postfix
	"sendmail.mc":    (*document).sendmailMC, // of Sendmail
	"sshd_config":    (*document).sshdConfig, // of OpenSSH
	"prometheus.yml": (*document).prometheus, // of Prometheus
	"cron":           (*document).scheduled,  // a file of /etc/cron.d, whose commands are run
	"nrpe":           (*document).monitored,  // likewise, of Nagios
	"monit":          (*document).monitored,  // likewise
	"tree":           (*document).folder,     // a folder of the host, and what is in it
}

func (d *document) conditions(text string) {
	d.t.Helper()
	for line := range strings.Lines(text) {
		condition := strings.TrimSpace(line)
		if condition == "" {
			continue
		}
		set, err := policy.Compile([]policy.Rule{{Name: "r", If: condition, Tag: &policy.TagAction{Text: "x"}}})
		if err != nil {
			d.t.Errorf("%s: %v", d.where(), err)
		} else if doubts := set.Warnings(); len(doubts) > 0 {
			d.t.Errorf("%s: %s: %v", d.where(), condition, doubts)
		}
	}
}

// instance has Postfix look at lines that its files end in.
func (d *document) instance(main, master string) string {
	d.t.Helper()
	folder, err := os.MkdirTemp(d.h.dir, "instance-")
	if err != nil {
		d.t.Fatal(err)
	}
	etc, err := testserver.PostfixInstance(d.t.Context(), folder, main, d.h.master+"\n"+master)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, name := range []string{"main.cf", "master.cf"} { // for a young file Postfix waits until it is complete
		if err := os.Chtimes(filepath.Join(etc, name), time.Time{}, time.Now().Add(-time.Minute)); err != nil {
			d.t.Fatal(err)
		}
	}
	// Words about files of other accounts are about the machine.
	said := d.h.must("postconf -c " + etc + " -n && postconf -c " + etc + " -M")
	for _, line := range strings.Split(said, "\n") {
		if strings.Contains(line, "warning:") || strings.Contains(line, "fatal:") {
			d.t.Errorf("%s: %s", d.where(), line)
		}
	}
	return said
}

// compact is a text without blanks.
func compact(text string) string { return strings.Join(strings.Fields(text), "") }

func (d *document) mainCF(text string) {
	d.t.Helper()
	said := compact(d.instance(d.h.here(text), ""))
	for line := range strings.Lines(d.h.here(text)) {
		if !strings.Contains(said, compact(line)) {
			d.t.Errorf("%s: Postfix does not have %s", d.where(), line)
		}
	}
}

func (d *document) masterCF(text string) {
	d.t.Helper()
	if said := d.instance("", d.h.here(text)); !strings.Contains(compact(said), compact(d.h.here(text))) {
		d.t.Errorf("%s: Postfix understands it as\n%s", d.where(), said)
	}
}

// sendmailMC has m4 make a sendmail.cf of it, and Sendmail read that.
func (d *document) sendmailMC(text string) {
	d.t.Helper()
	tools, err := testserver.FindSendmailTools()
	if err != nil {
		d.t.Fatal(err)
	}
	// Filters that the piece speaks of and the file has elsewhere.
	others := ""
	if strings.Contains(text, "clamav") {
		for _, name := range []string{"clamav", "cloakroom", "opendkim"} {
			if !strings.Contains(text, "MAIL_FILTER(`"+name+"'") {
				others += "MAIL_FILTER(`" + name + "', `S=inet:1@127.0.0.1')dnl\n"
			}
		}
	}
	d.h.write("piece.mc", "include(`"+tools.Macros+"')dnl\nOSTYPE(`linux')dnl\n"+others+text+"MAILER(`smtp')dnl\n")
	d.h.must("m4 piece.mc > piece.cf")
	cf := mustRead(d.t, filepath.Join(d.h.etc(), "piece.cf"))
	for _, m := range regexp.MustCompile("(?:MAIL_FILTER|DAEMON_OPTIONS)\\(`([^']*)'(?:, `([^']*)')?").FindAllStringSubmatch(text, -1) {
		if !strings.Contains(cf, "\nX"+m[1]+", "+m[2]) && !strings.Contains(cf, "\nO DaemonPortOptions="+m[1]) {
			d.t.Errorf("%s: sendmail.cf has nothing of %s", d.where(), m[0])
		}
	}
	out, err := d.h.sendmail.Run(d.t.Context(), strings.NewReader("/quit\n"), "-C", filepath.Join(d.h.etc(), "piece.cf"), "-bt")
	if err != nil || strings.Contains(string(out), "rror") {
		d.t.Errorf("%s: Sendmail says %v\n%s", d.where(), err, out)
	}
}

func (d *document) sshdConfig(text string) {
	d.t.Helper()
	settings, err := d.h.sshd.Effective(d.t.Context(), d.h.here(text), "cloakroom")
	if err != nil {
		d.t.Errorf("%s: %v", d.where(), err)
	}
	for line := range strings.Lines(d.h.here(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "Match" && !strings.Contains(settings, strings.ToLower(name)+" "+value+"\n") {
			d.t.Errorf("%s: sshd does not have %s", d.where(), line)
		}
	}
}

func (d *document) prometheus(text string) {
	d.t.Helper()
	program := promtool(d.t)
	d.h.must("mkdir -p /etc/prometheus && touch /etc/prometheus/cloakroom.token")
	d.h.write("prometheus.yml", d.h.here(text))
	if out, err := exec.Command(program, "check", "config", filepath.Join(d.h.etc(), "prometheus.yml")).CombinedOutput(); err != nil {
		d.t.Errorf("%s: promtool: %v\n%s", d.where(), err, out)
	}
}

// cronLine is a line of /etc/cron.d.
var cronLine = regexp.MustCompile(`^(?:(?:\*|[0-5]?[0-9])(?:[-,/][0-5]?[0-9])* +){5}root +(\S.*)$`)

func (d *document) scheduled(text string) {
	d.t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := cronLine.FindStringSubmatch(line); m != nil {
			d.commands(m[1])
		} else if line != "" && !strings.HasPrefix(line, "# /etc/cron.d/") {
			d.t.Errorf("%s: cron does not understand %s", d.where(), line)
		}
	}
}

func (d *document) monitored(text string) {
	d.t.Helper()
	m := regexp.MustCompile(`(?m)^(?:command\[\w+\]=(.+)|check program \w+ with path "([^"]+)")`).FindStringSubmatch(text)
	if m == nil {
		d.t.Errorf("%s: there is no command in it", d.where())
		return
	}
	d.commands(m[1] + m[2])
}

// folder looks whether a folder has what is drawn: names, indented by folder, and
// behind two blanks what they are. "…" and digits may be others.
func (d *document) folder(text string) {
	d.t.Helper()
	var at []string // the folders above
	for line := range strings.Lines(d.h.here(text)) {
		names, _, _ := strings.Cut(strings.TrimSpace(line), "   ")
		level := (len(line) - len(strings.TrimLeft(line, " "))) / 2
		if level > len(at) {
			d.t.Errorf("%s: what is %s in?", d.where(), names)
			return
		}
		at = at[:level]
		for _, name := range strings.Fields(names) {
			pattern := name
			if level > 0 {
				pattern = regexp.MustCompile(`[a-f0-9]+…|\bab\b|[0-9]+`).ReplaceAllString(name, "*")
			}
			found, err := filepath.Glob(filepath.Join(append(at, pattern)...))
			if err != nil || len(found) == 0 {
				d.t.Errorf("%s: there is no %s in %s", d.where(), name, filepath.Join(at...))
			}
			if strings.HasSuffix(name, "/") {
				at = append(at, pattern)
			}
		}
	}
}
