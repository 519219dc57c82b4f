package test

// The service: what systemd thinks of its unit, and what it hears from the
// daemon, which speaks to a stand-in for its socket here.

import (
	"context"
	"database/sql"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // holds the database's lock

	"cloakroom/internal/testserver"
)

const unitFile = "deploy/systemd/cloakroom.service"

// maxExposure is the figure of systemd-analyze security that is allowed, of 10.
const maxExposure = 1.5

// systemd runs one of systemd's tools.
func systemd(t *testing.T, tool string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd, err := testserver.Systemd(ctx, tool, args...)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Environ(), "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestServiceIsConfined(t *testing.T) {
	out, err := systemd(t, "systemd-analyze", "security", "--offline=true", "--no-pager",
		"--threshold="+strconv.Itoa(int(maxExposure*10)), filepath.Join(root, unitFile))
	m := regexp.MustCompile(`Overall exposure level for cloakroom.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no figure (%v):\n%s", err, out)
	}
	exposure, parseErr := strconv.ParseFloat(m[1], 64)
	if err != nil || parseErr != nil || exposure > maxExposure {
		t.Errorf("exposure %s, want %v or less (%v)\n%s", m[1], maxExposure, err, out)
	}
	t.Logf("exposure %s of 10", m[1])
}

func TestServiceIsUnderstood(t *testing.T) {
	// It names the program at its installed place.
	unit := mustRead(t, filepath.Join(root, unitFile))
	here := strings.ReplaceAll(unit, "/usr/bin/cloakroom", binary)
	if strings.Count(here, binary) != 2 {
		t.Errorf("the unit does not name /usr/bin/cloakroom for start and reload")
	}
	verify := func(text string) (string, error) {
		file := filepath.Join(t.TempDir(), "cloakroom.service")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return systemd(t, "systemd-analyze", "verify", "--man=no", file)
	}
	if out, err := verify(here); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	if out, _ := verify(strings.Replace(here, "UMask=", "Umusk=", 1)); !strings.Contains(out, "Umusk") {
		t.Errorf("a misspelt key is not noticed: %q", out)
	}
}

func TestServiceWaitsForTheDrain(t *testing.T) {
	unit := mustRead(t, filepath.Join(root, unitFile))
	seconds := func(text, pattern string) int {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("%s is not there", pattern)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	drain := seconds(mustRead(t, filepath.Join(root, "internal/app/daemon.go")), `drainTime = (\d+) \* time\.Second`)
	if stop := seconds(unit, `(?m)^TimeoutStopSec=(\d+)s$`); stop < drain+15 {
		t.Errorf("systemd ends the daemon after %d s, which itself takes up to %d", stop, drain)
	}
}

// manager is a stand-in for the socket of the service manager.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

// newManager listens where the daemons started next will speak; watchdog is
// their WATCHDOG_USEC, 0 for none.
func newManager(t *testing.T, watchdog time.Duration) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	if watchdog > 0 {
		t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	return &manager{t: t, conn: conn}
}

// next reads one message; "" when none comes within limit.
func (m *manager) next(limit time.Duration) string {
	m.t.Helper()
	buffer := make([]byte, 4096)
	m.conn.SetReadDeadline(time.Now().Add(limit))
	n, err := m.conn.Read(buffer)
	if err != nil {
		return ""
	}
	return string(buffer[:n])
}

// wait reads until a message has a text, and gives it.
func (m *manager) wait(text string) string {
	m.t.Helper()
	end := time.Now().Add(20 * time.Second)
	var heard []string
	for time.Now().Before(end) {
		message := m.next(time.Until(end))
		if strings.Contains(message, text) {
			return message
		}
		heard = append(heard, message)
	}
	m.t.Fatalf("the daemon did not say %q, but %q", text, heard)
	return ""
}

func TestServiceManagerHearsTheLifeOfTheDaemon(t *testing.T) {
	m := newManager(t, 0)
	d := newDaemon(t, linkAll)
	d.start()
	if ready := m.wait("READY=1\n"); !strings.Contains(ready, "STATUS=mode enforce, 1 rules, milter on "+d.MilterAddr) {
		t.Errorf("ready: %q", ready)
	}
	d.reload("mode: observe\n"+linkAll, "configuration reloaded")
	if reloading := m.wait("RELOADING=1\n"); !regexp.MustCompile(`\nMONOTONIC_USEC=[1-9]\d+\n`).MatchString(reloading) {
		t.Errorf("reloading: %q", reloading)
	}
	if ready := m.wait("READY=1\n"); !strings.Contains(ready, "STATUS=mode observe") {
		t.Errorf("after a reload: %q", ready)
	}
	d.reload("rules: 5\n", "configuration not reloaded")
	m.wait("RELOADING=1\n")
	if ready := m.wait("READY=1\n"); !strings.Contains(ready, "reload failed") || !strings.Contains(ready, "mode observe") {
		t.Errorf("after a reload of nonsense: %q", ready)
	}
	d.stop()
	m.wait("STOPPING=1\n")
	if strings.Contains(d.running.Log(), "watchdog") {
		t.Errorf("without a watchdog there is nothing to feed:\n%s", d.running.Log())
	}
}

// A newer schema takes minutes where millions of mails are kept: the service manager
// is asked for the time. Here the step waits for somebody who holds the database.
func TestServiceManagerIsAskedForTimeWhileTheSchemaIsBroughtUpToDate(t *testing.T) {
	m := newManager(t, 0)
	d := newDaemon(t, linkAll)
	extract(t, "testdata/old-data-1.tar.gz", d.Folder)
	database, err := sql.Open("sqlite", filepath.Join(d.Folder, "data", "cloakroom.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	database.SetMaxOpenConns(1)
	if _, err := database.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	heard := make(chan []string)
	go func() {
		var all []string
		for end := time.Now().Add(20 * time.Second); len(all) < 2 && time.Now().Before(end); {
			all = append(all, m.next(time.Until(end)))
		}
		if _, err := database.Exec("ROLLBACK"); err != nil {
			all = append(all, err.Error())
		}
		heard <- all
	}()
	d.start()
	all := <-heard
	for _, message := range all {
		if message != "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=opening the database: a newer schema takes minutes where millions of mails are kept" {
			t.Errorf("during the step: %q", message)
		}
	}
	m.wait("READY=1\n")
	if len(all) != 2 || !strings.Contains(d.running.Log(), "the step is made") {
		t.Errorf("%d messages; log:\n%s", len(all), lastLines(d.running.Log()))
	}
	d.stop()
	for message := m.next(time.Second); message != ""; message = m.next(time.Second) {
		if strings.Contains(message, "EXTEND_TIMEOUT_USEC") {
			t.Errorf("once it runs: %q", message)
		}
	}
}

// patience is what the stand-in gives the daemon: long enough for a check on a
// busy machine, short enough for a test.
const patience = 3 * time.Second

func TestWatchdogStarvesWhileTheDatabaseHangs(t *testing.T) {
	m := newManager(t, patience)
	d := newDaemon(t, linkAll)
	d.start()
	for range 2 {
		m.wait("WATCHDOG=1\n")
	}
	database, err := sql.Open("sqlite", filepath.Join(d.Folder, "data", "cloakroom.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	database.SetMaxOpenConns(1)
	if _, err := database.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	m.wait("STATUS=self-check failed: database: commit")
	for end := time.Now().Add(patience + patience/2); time.Now().Before(end); {
		if message := m.next(time.Until(end)); strings.Contains(message, "WATCHDOG=1") {
			t.Fatalf("fed while nothing can be committed: %q", message)
		}
	}
	if _, err := database.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if message := m.wait("WATCHDOG=1\n"); !strings.Contains(message, "STATUS=mode enforce") {
		t.Errorf("recovered: %q", message)
	}
	d.waitLog("self-check passes again")
	if n := strings.Count(d.running.Log(), "self-check failed"); n != 1 {
		t.Errorf("logged %d times that the check failed:\n%s", n, d.running.Log())
	}
}

func TestWatchdogIsFedByAMilterThatIsFull(t *testing.T) {
	m := newManager(t, patience)
	d := newDaemon(t, linkAll)
	d.MilterConfig = []string{"max_connections: 1"}
	d.start()
	network, address, _ := strings.Cut(d.MilterAddr, ":")
	conn, err := net.Dial(map[string]string{"inet": "tcp", "unix": "unix"}[network], address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m.wait("WATCHDOG=1\n")
	d.waitLog("all milter connections are in use")
	m.wait("WATCHDOG=1\n")
}
