package test

// cloakroom setup postfix on a running Postfix with other milters and a chroot:
// what it changes puts Cloakroom into its place, and an undo takes it out again.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// attachable is a Postfix without Cloakroom, and a daemon beside it.
type attachable struct {
	t                         *testing.T
	p                         *testserver.Postfix
	d                         *daemon
	inward, outward, filtered string // listeners
	scanner, verifier, signer string // milters
	env                       []string
}

func newAttachable(t *testing.T) *attachable {
	t.Helper()
	ports := freePorts(t, 3)
	a := &attachable{t: t, inward: address(ports[0]), outward: address(ports[1]), filtered: address(ports[2]),
		scanner: startMarker(t, "scanner"), verifier: startMarker(t, "verifier"), signer: startMarker(t, "signer")}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var err error
	a.p, err = testserver.StartPostfix(ctx, testserver.PostfixOptions{
		Mailboxes: []string{bob},
		Extra:     map[string]string{"smtpd_milters": "{ " + a.scanner + ", default_action=accept }, " + a.verifier, "non_smtpd_milters": a.signer, "milter_default_action": "accept"},
		Services: []string{
			fmt.Sprintf("%d inet n - y - - smtpd", ports[0]),
			fmt.Sprintf("%s inet n - y - - smtpd -o milter_macro_daemon_name=ORIGINATING -o smtpd_milters=%s,%s", a.outward, a.scanner, a.signer),
			// Takes mail back from a content filter after the queue.
			a.filtered + " inet n - y - - smtpd -o content_filter= -o receive_override_options=no_unknown_recipient_checks,no_header_body_checks",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of postfix:\n%s", a.p.Log())
		}
		if err := a.p.Stop(); err != nil {
			t.Errorf("stop postfix: %v", err)
		}
	})
	commands, env, err := testserver.PostfixCommands(ctx)
	if err != nil {
		t.Fatal(err)
	}
	a.env = append(env, "PATH="+commands+":"+os.Getenv("PATH"))
	a.d = newDaemon(t, linkAll)
	a.d.MilterAddr = "unix:" + a.socketFolder() + "/milter.sock"
	return a
}

// socketFolder makes the folder that ExecStartPre of the unit makes for a Postfix in
// its chroot.
func (a *attachable) socketFolder() string {
	a.t.Helper()
	main := mustRead(a.t, a.etc("main.cf"))
	_, rest, _ := strings.Cut(main, "\nmail_owner = ")
	owner, err := osuser.Lookup(strings.Fields(rest)[0])
	if err != nil {
		a.t.Fatal(err)
	}
	folder := filepath.Join(a.p.Folder(), "queue", "cloakroom")
	cmd, err := testserver.AsRoot(nil, "install", "-d", "-o", strconv.Itoa(os.Getuid()), "-g", owner.Gid, "-m", "2750", folder)
	if err == nil {
		err = cmd.Run()
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return folder
}

func (a *attachable) etc(name string) string { return filepath.Join(a.p.Folder(), "etc", name) }

// files are main.cf and master.cf, one after the other.
func (a *attachable) files() string {
	a.t.Helper()
	return mustRead(a.t, a.etc("main.cf")) + "\x00" + mustRead(a.t, a.etc("master.cf"))
}

// setup runs the command as root.
func (a *attachable) setup(args ...string) (stdout, stderr string, code int) {
	a.t.Helper()
	argv := append([]string{binary, "--config", filepath.Join(a.d.Folder, "cloakroom.yaml"), "setup", "postfix", "--config-directory", filepath.Join(a.p.Folder(), "etc")}, args...)
	cmd, err := testserver.AsRoot(a.env, argv...)
	if err != nil {
		a.t.Fatal(err)
	}
	return result(a.t, cmd)
}

func result(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), complaint.String(), cmd.ProcessState.ExitCode()
}

// deliver sends a mail with an attachment by a listener, or by sendmail(1) if that
// is "", and gives what arrives.
func (a *attachable) deliver(listener string) []byte {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	files, err := a.p.Mailbox(bob)
	if err != nil {
		a.t.Fatal(err)
	}
	msg := compose(alice, []string{bob}, "setup", file{"a.pdf", "application/pdf", random(20000, serial.Load())})
	if listener == "" {
		err = a.p.Sendmail(ctx, alice, []string{bob}, bytes.NewReader(msg))
	} else {
		_, err = testserver.SendSMTP(ctx, listener, alice, []string{bob}, bytes.NewReader(toCRLF(msg)))
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return mailbox(a.t, a.p, bob, len(files)+1)[len(files)]
}

// arrives expects a mail with a link or with its attachment, and what other
// milters saw.
func (a *attachable) arrives(listener string, linked bool, want ...string) []string {
	a.t.Helper()
	msg := a.deliver(listener)
	if got := saw(msg); !slices.Equal(got, want) {
		a.t.Errorf("by %q: %v, want %v", listener, got, want)
	}
	if got := len(links(msg)) > 0; got != linked || bytes.Contains(msg, []byte("filename=\"a.pdf\"")) == linked {
		a.t.Errorf("by %q: linked is %v:\n%.2000s", listener, got, msg)
	}
	return links(msg)
}

func TestSetupPostfixPutsCloakroomInItsPlaceAndTakesItOut(t *testing.T) {
	t.Parallel()
	a := newAttachable(t)
	before := a.files()
	roles := []string{"--scanner", a.scanner, "--verifier", a.verifier, "--signer", a.signer}
	if err := os.WriteFile(filepath.Join(a.d.Folder, "cloakroom.yaml"), []byte("domains: [acmecorp.test]\ndata: data\nweb: {url: https://files.acmecorp.test}\nmilter: {listen: \""+a.d.MilterAddr+"\"}\n"+linkAll), 0o644); err != nil {
		t.Fatal(err)
	}

	stdout, stderr, code := a.setup(roles...)
	if code != 0 || !strings.Contains(stdout, "\nsmtpd_milters = ") || !strings.Contains(stdout, "start Cloakroom before the MTA knows of it") || a.files() != before {
		t.Fatalf("without --apply: exit code %d, changed %v\n%s%s", code, a.files() != before, stdout, stderr)
	}
	a.refusedToOthers(before)

	// Cloakroom is not there: the changes are made, and Postfix goes on as it was.
	stdout, stderr, code = a.setup(append(roles, "--apply", "--reload")...)
	if code != 75 || !strings.Contains(stderr, "Postfix was not reloaded") || a.files() == before {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	a.d.start()
	stdout, stderr, code = a.setup(append(roles, "--apply", "--reload")...)
	if code != 0 || !strings.Contains(stdout, "nothing to do: everything is set up\n") || !strings.Contains(stdout, "Postfix was reloaded\n") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if strings.Contains(stdout, "warning") {
		t.Errorf("with Cloakroom there and its socket within reach:\n%s", stdout)
	}
	kept := a.arrives(a.inward, true, "scanner attachment", "verifier attachment")
	a.arrives(a.outward, true, "scanner attachment", "signer link")
	a.arrives("", true, "signer link")
	a.arrives(a.filtered, false, "scanner attachment", "verifier attachment")

	stdout, stderr, code = a.setup("--undo", "--reload", "--json")
	var undone struct {
		Exact    bool
		Restored []any
		Left     []string
	}
	if err := json.Unmarshal([]byte(stdout), &undone); err != nil || code != 0 || !undone.Exact || len(undone.Restored) < 3 || len(undone.Left) > 0 {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if a.files() != before {
		t.Errorf("after the undo:\n%s\nbefore:\n%s", a.files(), before)
	}
	for _, link := range kept { // detached, the daemon serves what was linked before
		if files := download(t, link); len(files) != 1 {
			t.Errorf("%d files behind %s after the undo", len(files), link)
		}
	}
	a.d.stop()
	a.arrives(a.inward, false, "scanner attachment", "verifier attachment")
	a.arrives(a.outward, false, "scanner attachment", "signer attachment")
	a.arrives("", false, "signer attachment")
	if stdout, _, code = a.setup("--undo"); code != 0 || !strings.Contains(stdout, "nothing to undo") {
		t.Errorf("a second undo: exit code %d\n%s", code, stdout)
	}
}

// refusedToOthers expects a clear error for who is not root.
func (a *attachable) refusedToOthers(before string) {
	a.t.Helper()
	program, config := binary, filepath.Join(a.d.Folder, "cloakroom.yaml")
	cmd := exec.Command(program, "--config", config, "setup", "postfix", "--config-directory", filepath.Join(a.p.Folder(), "etc"), "--apply")
	if os.Geteuid() == 0 {
		// Folders of tests are root's alone: the program is brought to the account.
		folder, err := os.MkdirTemp("", "cloakroom-other-")
		if err != nil {
			a.t.Fatal(err)
		}
		a.t.Cleanup(func() { os.RemoveAll(folder) })
		program, config = filepath.Join(folder, "cloakroom"), filepath.Join(folder, "cloakroom.yaml")
		for _, err := range []error{os.Chmod(folder, 0o755), os.Link(binary, program), os.WriteFile(config, []byte(mustRead(a.t, cmd.Args[2])), 0o644)} {
			if err != nil {
				a.t.Fatal(err)
			}
		}
		cmd = exec.Command(program, append([]string{"--config", config}, cmd.Args[3:]...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	cmd.Env = append(os.Environ(), a.env...)
	stdout, stderr, code := result(a.t, cmd)
	if code != 77 || !strings.Contains(stderr, "run it as root") || a.files() != before {
		a.t.Errorf("not as root: exit code %d\n%s%s", code, stdout, stderr)
	}
}
