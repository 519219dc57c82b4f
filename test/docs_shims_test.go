package test

// What commands of the documents mean on their host: files, names and ports that
// are its own, and the commands of the system that must not reach the machine.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// shims stand before the commands of the system. DIR is the host's folder, ASK has
// the test do something; other words in capitals are said in installShims.
var shims = map[string]string{
	// Starts and stops the daemon, or has Sendmail read its configuration again:
	// there is no systemd that a test could give a unit to (systemd_test.go has what
	// there is to say about the unit).
	"systemctl": `exec DIR/bin/ask systemctl "$@"`,
	// The program itself, but: the daemon stays behind the shell, somebody who watches
	// presses Ctrl-C, Sendmail's files are not in /etc/mail, questions to DNS go to
	// that of the host, and the clock and the disk of this machine are nobody's business.
	"cloakroom": `case " $* " in
*" serve "*) exec DIR/bin/ask serve "$@" ;;
*" queue watch "*) timeout --preserve-status -s INT 1 BINARY "$@"; [ $? = 130 ]; exit ;;
*" setup sendmail "*) set -- "$@" --config-directory SENDMAIL ;;
*" doctor "*" --only "*|*" doctor "*" --skip "*) set -- "$@" --resolver RESOLVER ;;
*" doctor "*) set -- "$@" --resolver RESOLVER --skip clock,fsync ;;
*" coexistence check "*|*" links restore "*) set -- "$@" --resolver RESOLVER ;;
esac
exec BINARY "$@"`,
	// The log of the daemon; there is no journal. What is vacuumed would be the machine's.
	"journalctl": `case "$*" in --vacuum-size=*) exit 0 ;; esac
[ "$1 $2" = "-u cloakroom" ] || exit 64
case "$3" in -n) exec tail -n "$4" DIR/var/log/cloakroom.log ;; -g) exec grep -E -- "$4" DIR/var/log/cloakroom.log ;; esac
exit 64`,
	// The real ones; but what they have written counts as old, as Postfix's programs read
	// a file that is younger than two seconds again until it is not, and a reload is over
	// when Postfix says so.
	"postconf": settled, "postfix": settled,
	// Packages are not installed on this machine (deb_test.go does, into a folder):
	// that it is a package is looked at, and the service restarted as its scripts do.
	"apt": `[ "$1" = install ] && shift && for deb; do dpkg --info "$deb" >/dev/null || exit; done
! systemctl is-active cloakroom >/dev/null || exec systemctl restart cloakroom`,
	// demo and test take minutes, and one of them runs this: that they exist is looked
	// at. deb is the package of the program under test.
	"make": `if [ "$1" = deb ]; then mkdir -p bin; exec ln -sf DEB bin; fi
exec REALMAKE -C ROOT -n "$@" >/dev/null`,
	// An account in the host's own /etc/passwd.
	"useradd": `exec /usr/sbin/useradd --prefix DIR "$@"`,
	// The server has another port than 22.
	"ssh-keyscan": `for last; do :; done; exec KEYSCAN -p "${last#*:}" "$1" "$2" 127.0.0.1`,
	// Nobody is there to edit it.
	"editor": `[ -w "$1" ]`,
	// All is run by root here.
	"sudo": `exec "$@"`,
	// These need not be on this machine; then what they are given is all that is looked at.
	"curl":    `REALCURL [ "$1 $2 $3" = "-L -OJ -d" ]`,
	"jq":      `REALJQ [ "$(head -c 1)" = "{" ]`,
	"sqlite3": `REALSQLITE [ -s "$1" ]`,
}

// settled is for commands of Postfix.
const settled = `old() { touch -d "1 minute ago" "$MAIL_CONFIG"/ma*.cf; }
reloads() { grep -c "master.*: reload -- version" "$MAIL_CONFIG/../log"; }
before=$(reloads); old; POSTFIX/${0##*/} "$@"; code=$?; old
[ "${0##*/} $1" = "postfix reload" ] || exit $code
for wait in 1 2 3 4 5 6 7 8 9; do [ "$(reloads)" = "$before" ] || exit $code; sleep 0.$wait; done
exit $code`

// installShims writes them, and makes the environment in which they are found.
func (h *host) installShims(ctx context.Context) {
	h.t.Helper()
	commands, env, err := testserver.PostfixCommands(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	tools, err := testserver.FindSendmailTools()
	if err != nil {
		h.t.Fatal(err)
	}
	really := func(name string) string { // runs the command where there is one
		if at, err := exec.LookPath(name); err == nil {
			return "exec " + at + " \"$@\"\n"
		}
		return ""
	}
	sftp, err := h.sshd.SFTP(ctx, "") // beside which the other commands of OpenSSH are
	if err != nil {
		h.t.Fatal(err)
	}
	openssh := filepath.Dir(sftp.Args[0])
	realMake, _ := exec.LookPath("make")
	checkout, err := filepath.Abs(root)
	if err != nil {
		h.t.Fatal(err)
	}
	deb := buildDeb(h.t, "v1.0.0")
	words := strings.NewReplacer("DIR", h.dir, "BINARY", binary, "POSTFIX", commands, "SENDMAIL", filepath.Join(h.sendmail.Folder(), "etc"), "RESOLVER", h.dns.Addr,
		"DEB", deb, "REALMAKE", realMake, "ROOT", checkout, "KEYSCAN", filepath.Join(openssh, "ssh-keyscan"), "REALCURL", really("curl"), "REALJQ", really("jq"), "REALSQLITE", really("sqlite3"))
	files := map[string]string{"ask": fmt.Sprintf("printf '%%s\\n' \"$PWD $*\" >%[1]s/ask; read -r code said <%[1]s/answer; echo \"$said\"; exit \"$code\"", h.dir)}
	for name, script := range shims {
		files[name] = words.Replace(script)
	}
	for name, script := range files {
		if err := os.WriteFile(filepath.Join(h.dir, "bin", name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"authorities": mustRead(h.t, h.dovecot.CAFile()), "yes": strings.Repeat("yes\n", 10), "password": "five random words\nfive random words\n", "etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/group": "root:x:0:\nstaff:x:50:\n"} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
	for to, from := range map[string]string{"usr/bin/cloakroom": filepath.Join(h.dir, "bin/cloakroom"), "usr/bin/sudo": filepath.Join(h.dir, "bin/sudo"),
		"usr/share/cloakroom": filepath.Join(checkout, "deploy"), "etc/cloakroom/cloakroom_1.3.0_amd64.deb": deb} {
		if err := os.Symlink(from, filepath.Join(h.dir, to)); err != nil {
			h.t.Fatal(err)
		}
	}
	path := strings.Join([]string{filepath.Join(h.dir, "bin"), commands, filepath.Dir(tools.M4), os.Getenv("PATH"), openssh}, ":")
	libraries := map[string]string{}
	for _, v := range append(env, tools.Env...) { // of both
		name, value, _ := strings.Cut(v, "=")
		libraries[name] = strings.TrimPrefix(libraries[name]+":"+value, ":")
	}
	for name, value := range libraries {
		h.env = append(h.env, name+"="+value)
	}
	h.env = append(h.env, "PATH="+path, "MAIL_CONFIG="+filepath.Join(h.postfix.Folder(), "etc"),
		"CLOAKROOM_CONFIG="+filepath.Join(h.etc(), "cloakroom.yaml"), "SSL_CERT_FILE="+filepath.Join(h.dir, "authorities"))
	h.service.env = h.env
	h.service.sendmail = h.sendmail
}

// hostFolder is a place of the host in commands and configurations.
var hostFolder = regexp.MustCompile(`(^|[\s'"=:(>,])/(etc|var|srv|run|usr/share/cloakroom|usr/bin/cloakroom|usr/bin/sudo)\b`)

// here makes a text of a document mean this host.
func (h *host) here(text string) string {
	h.t.Helper()
	generation := func(nth int) func() string {
		return func() string {
			all, err := filepath.Glob(filepath.Join(h.dir, "srv/backup/cloakroom/generations/*"))
			if err != nil || len(all) == 0 {
				return "none"
			}
			return filepath.Base(all[max(0, len(all)-1-nth)])
		}
	}
	text = strings.NewReplacer("/var/spool/postfix/", h.postfix.Folder()+"/queue/", "/etc/postfix/", h.postfix.Folder()+"/etc/", "/etc/mail/", h.sendmail.Folder()+"/etc/").Replace(text)
	text = hostFolder.ReplaceAllString(text, "${1}"+h.dir+"/${2}")
	text = strings.NewReplacer(
		"127.0.0.1:8891", h.milter, "127.0.0.1:8080", h.web, "127.0.0.1:9091", h.admin, "localhost:9091", h.admin, "127.0.0.1:10026", h.submit,
		"https://files.acmecorp.com", "http://"+h.web, "https://files.acmecorp.test", "http://"+h.web,
		"files.acmecorp.com", h.web,
		"vault.acmecorp.com", h.sshd.Address(), "vault.example.com", h.sshd.Address(), "ftp.acmecorp.com", h.ftpd.Address(), "mail.acmecorp.com", h.dovecot.TLSAddress(),
		"-o cloakroom", fmt.Sprintf("-o %d", os.Getuid()), "-g cloakroom", fmt.Sprintf("-g %d", os.Getgid()), "-g staff", fmt.Sprintf("-g %d", os.Getgid()),
	).Replace(text)
	for _, p := range []struct {
		example string
		here    func() string
	}{
		{"3fa9", func() string { return h.link }}, {"03jQXe4e3mkrVs_VvsMTMA", func() string { return h.token }}, {"4XYZabc", func() string { return h.queueID }},
		{"91ab3c4d", func() string { return h.firstID("cloakroom queue list --state done") }},
		{"20261128T020001Z", generation(0)}, {"20261127T020001Z", generation(1)},
		{"blobs/ab/abcd…", func() string { return "blobs/" + h.attachment[:2] + "/" + h.attachment }},
		{"blobs/ab/", func() string { return "blobs/" + h.attachment[:2] + "/" }},
		{"SHA256\n", func() string { return h.attachment + "\n" }},
		{"5AE0F33C", func() string {
			all := regexp.MustCompile(`ref=([0-9A-F]{8})`).FindAllStringSubmatch(h.log(), -1)
			return all[len(all)-1][1]
		}},
	} {
		if strings.Contains(text, p.example) {
			text = strings.ReplaceAll(text, p.example, p.here())
		}
	}
	return text
}

// service is the program as a service of the host, and what the shims ask for.
type service struct {
	t        *testing.T
	dir      string
	env      []string
	sendmail *testserver.Sendmail
	running  *exec.Cmd
}

// newService answers the shims until the test ends.
func newService(t *testing.T, dir string) *service {
	t.Helper()
	s := &service{t: t, dir: dir}
	var pipes [2]*os.File
	for i, name := range []string{"ask", "answer"} {
		name = filepath.Join(dir, name)
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if pipes[i], err = os.OpenFile(name, os.O_RDWR, 0); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan struct{})
	go func() {
		runtime.LockOSThread() // the daemon ends with the thread that started it
		defer close(ended)
		for lines := bufio.NewScanner(pipes[0]); lines.Scan() && lines.Text() != "end"; {
			said, code := "", 0
			if err := s.asked(strings.Fields(lines.Text())); err != nil {
				said, code = strings.ReplaceAll(err.Error(), "\n", " "), 1
			}
			fmt.Fprintf(pipes[1], "%d %s\n", code, said)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		fmt.Fprintln(pipes[0], "end")
		<-ended
		errors.Join(pipes[0].Close(), pipes[1].Close())
	})
	return s
}

// asked does what a shim asks for, in a folder.
func (s *service) asked(words []string) error {
	folder, verb, args := words[0], words[1], words[2:]
	if verb == "serve" {
		return s.start(folder, args...)
	}
	switch asked := strings.Join(args, " "); asked {
	case "enable --now cloakroom", "start cloakroom":
		return s.start(folder, "serve")
	case "restart cloakroom":
		return errors.Join(s.stop(), s.start(folder, "serve"))
	case "stop cloakroom":
		return s.stop()
	case "reload cloakroom":
		return s.reload()
	case "status cloakroom", "is-active cloakroom":
		if s.running == nil {
			return errors.New("inactive (dead)")
		}
		return nil
	case "restart sendmail":
		return hangUpSendmail(s.sendmail)
	default:
		return fmt.Errorf("systemctl %s is nothing that this host knows", asked)
	}
}

func (s *service) log() string { return filepath.Join(s.dir, "var/log/cloakroom.log") }

// start starts the daemon and waits until it is ready.
func (s *service) start(folder string, args ...string) error {
	if s.running != nil {
		return nil
	}
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the daemon has it open
	info, err := log.Stat()
	if err != nil {
		return err
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Stderr = folder, log
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.running = cmd
	if err := s.logged(info.Size(), "msg=ready"); err != nil {
		return errors.Join(err, s.stop())
	}
	return nil
}

// logged waits until the log has a text after a place.
func (s *service) logged(after int64, texts ...string) error {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		log, err := os.ReadFile(s.log())
		if err != nil {
			return err
		}
		for _, text := range texts {
			if strings.Contains(string(log[after:]), text) {
				return nil
			}
		}
		if s.running.Process.Signal(syscall.Signal(0)) != nil || time.Now().After(end) || strings.Contains(string(log[after:]), "\nError: ") || strings.HasPrefix(string(log[after:]), "Error: ") {
			return fmt.Errorf("the daemon did not log %q: %s", texts, log[after:])
		}
	}
}

func (s *service) stop() error {
	if s.running == nil {
		return nil
	}
	defer func() { s.running = nil }()
	if err := s.running.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return s.running.Wait()
}

func (s *service) reload() error {
	info, err := os.Stat(s.log())
	if err != nil {
		return err
	}
	if s.running == nil {
		return errors.New("cloakroom is not active")
	}
	if err := s.running.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return s.logged(info.Size(), "configuration reloaded")
}
