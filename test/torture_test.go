package test

// The vault under fire: a stream of mail through a real Postfix and the built
// daemon, to real servers that fail in every way they can, while a reader looks
// at the spaces. In the end every space must hold every file exactly once.

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"cloakroom/internal/testserver"
)

// tortureScale is the short form; TORTURE=long ("make torture-vault") is the
// whole of it.
func tortureScale() scale {
	if os.Getenv("TORTURE") == "long" {
		return scale{attachments: 2000, users: 16, departments: 4, largest: 50 << 20, kills: 20}
	}
	return scale{attachments: 150, users: 4, departments: 2, largest: 2 << 20, kills: 3}
}

// aside is the scale for the kinds of targets that are not the main one.
func (s scale) aside() scale {
	s.attachments, s.largest, s.kills = s.attachments/5, s.largest/5, max(2, s.kills/5)
	return s
}

// fire is a target under fire.
type fire struct {
	t       *testing.T
	scale   scale
	d       *daemon
	db      *sql.DB
	reader  *reader
	postman *postman
	batches [][]post
	books   ledger
	figures map[string]int
	began   time.Time

	server interface { // nil for a folder
		KillSessions() (int, error)
		Pause() error
		Resume() error
	}
	sshd      *testserver.SSHD
	proxy     *testserver.Proxy
	smallDisk bool
}

func (f *fire) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// newFire prepares a stream of mail in batches; begin starts it.
func newFire(t *testing.T, s scale, batches int) *fire {
	f := &fire{t: t, scale: s, figures: map[string]int{}, began: time.Now()}
	f.batches, f.books = s.stream(batches)
	return f
}

// room is how large a disk must be for all spaces, and uploads to them.
func (f *fire) room() int64 {
	room := int64(8 * f.scale.largest)
	for _, b := range f.batches {
		for _, p := range b {
			for _, a := range p.files {
				room += int64(len(p.to)) * int64(a.size+4096)
			}
		}
	}
	return room
}

// spaceRules is the rules of the test: departments and users have spaces.
const spaceRules = `
rules:
  - name: departments
    if: owner.department != ''
    vault: {target: assets, space: department}
  - name: everybody else
    vault: {target: assets}
`

// begin starts daemon and Postfix with a target, as its settings say in YAML.
func (f *fire) begin(root, target string, files map[string]string) {
	f.t.Helper()
	indented := strings.ReplaceAll(strings.TrimSpace(target), "\n", "\n      ")
	f.d = newDaemon(f.t, "directory: {file: users.yaml}\nvault:\n  targets:\n    assets:\n      path: \"{space}/{name}\"\n      delay: 0s\n      "+indented+spaceRules)
	files["users.yaml"] = f.scale.directory()
	for name, text := range files {
		f.must(os.WriteFile(filepath.Join(f.d.Folder, name), []byte(text), 0o600))
	}
	if f.sshd != nil {
		f.noteHostKey()
	}
	f.d.start()
	var err error
	f.db, err = sql.Open("sqlite", "file:"+filepath.Join(f.d.Folder, "data", "cloakroom.db")+"?_pragma=busy_timeout(20000)")
	f.must(err)
	f.t.Cleanup(func() { f.db.Close() })
	p, err := testserver.StartPostfix(f.t.Context(), testserver.PostfixOptions{
		MilterAddr: f.d.MilterAddr, Mailboxes: f.scale.addresses(),
		// What is delivered is not looked at here.
		Extra: map[string]string{"message_size_limit": "0", "virtual_transport": "discard:"},
	})
	f.must(err)
	f.t.Cleanup(func() { p.Stop() })
	f.reader = startReader(root, f.books)
	mails := 0
	for _, b := range f.batches {
		mails += len(b)
	}
	f.postman = startPostman(f.t.Context(), p, mails)
}

// feed gives the postman the next batch.
func (f *fire) feed() {
	if len(f.batches) == 0 {
		f.t.Fatal("there are more faults than batches of mail")
	}
	for _, p := range f.batches[0] {
		f.postman.pending.Add(1)
		f.postman.inbox <- p
	}
	f.batches = f.batches[1:]
}

// until waits for a condition.
func (f *fire) until(what string, condition func() bool) {
	f.t.Helper()
	f.untilWithin(what, feltWithin, condition)
}

func (f *fire) untilWithin(what string, limit time.Duration, condition func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("not within %v: %s; jobs %v, target %+v, mails sent %d", limit, what, f.jobs(), f.target(), f.postman.sent.Load())
		}
	}
}

// temps lists the temporary files on the target with their sizes.
func (f *fire) temps() map[string]int64 {
	out := make(map[string]int64)
	found, _ := filepath.Glob(filepath.Join(f.reader.root, ".cloakroom-upload", "*"))
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			out[path] = info.Size()
		}
	}
	return out
}

// untilUploading waits until a file is on its way, and has not arrived.
func (f *fire) untilUploading() {
	f.t.Helper()
	old := f.temps()
	f.until("an upload is under way", func() bool {
		for path, size := range f.temps() {
			if before, known := old[path]; size > before || !known && size > 0 {
				return true
			}
		}
		return len(f.batches) > 0 && f.idle() && f.more()
	})
}

// more feeds another batch where nothing is left to do, and gives false.
func (f *fire) more() bool {
	f.feed()
	return false
}

// untilBusy waits until jobs are under way.
func (f *fire) untilBusy() {
	f.t.Helper()
	f.until("jobs are under way", func() bool {
		return f.jobs()["running"] > 0 || len(f.batches) > 0 && f.idle() && f.more()
	})
}

// idle tells that all mail that was fed is sent, and all jobs are done.
func (f *fire) idle() bool {
	n := f.jobs()
	return f.postman.pending.Load() == 0 && n["waiting"]+n["running"] == 0
}

// jobs counts the uploads by state.
func (f *fire) jobs() map[string]int {
	f.t.Helper()
	rows, err := f.db.Query(`SELECT state, COUNT(*) FROM jobs WHERE kind = 'vault' GROUP BY state`)
	f.must(err)
	defer rows.Close()
	out := make(map[string]int)
	for rows.Next() {
		var state string
		var n int
		f.must(rows.Scan(&state, &n))
		out[state] = n
	}
	f.must(rows.Err())
	return out
}

type targetState struct {
	held      bool
	failures  int
	lastError string
}

// target is how the queue sees the target.
func (f *fire) target() (s targetState) {
	f.t.Helper()
	err := f.db.QueryRow(`SELECT held, failures, last_error FROM job_targets WHERE kind = 'vault' AND target = 'assets'`).Scan(&s.held, &s.failures, &s.lastError)
	if err != sql.ErrNoRows {
		f.must(err)
	}
	return s
}

// release is what an administrator does after a target let nobody in.
func (f *fire) release() {
	f.t.Helper()
	f.queue("release")
}

// queue does something to the target as a whole.
func (f *fire) queue(what string) {
	f.t.Helper()
	if _, stderr, code := f.d.run(nil, "queue", what, "--target", "assets"); code != 0 {
		f.t.Fatalf("queue %s: %s", what, stderr)
	}
}

// shiftClock makes the times in the database what they are to a clock that
// jumps by d.
func (f *fire) shiftClock(d time.Duration) {
	f.t.Helper()
	tx, err := f.db.Begin()
	f.must(err)
	for _, statement := range []string{
		`UPDATE jobs SET not_before = not_before - $1, created = created - $1, since = since - $1, updated = updated - $1`,
		`UPDATE jobs SET lease_until = lease_until - $1 WHERE state = 'running'`,
		`UPDATE job_targets SET probe_at = probe_at - $1, changed = changed - $1`,
	} {
		_, err := tx.Exec(statement, d.Milliseconds())
		f.must(err)
	}
	f.must(tx.Commit())
}

// finish sends what is left, waits until all is done, sweeps, and compares.
func (f *fire) finish() {
	f.t.Helper()
	for len(f.batches) > 0 {
		f.feed()
	}
	f.postman.close()
	f.untilWithin("all jobs are done", recoverWithin(f.scale), f.idle)
	took := time.Since(f.began)
	f.sweep()
	f.reader.stop()
	wrong := f.reader.settle()
	for _, w := range wrong {
		f.t.Error(w)
	}
	jobs := f.jobs()
	delete(jobs, "done")
	if len(jobs) > 0 {
		f.t.Errorf("jobs that are not done: %v", jobs)
	}
	var repeated int
	f.must(f.db.QueryRow(`SELECT COUNT(*) FROM jobs WHERE kind = 'vault' AND attempts > 1`).Scan(&repeated))
	var lines []string
	for _, what := range slices.Sorted(maps.Keys(f.figures)) {
		lines = append(lines, fmt.Sprintf("%s: %d", what, f.figures[what]))
	}
	f.t.Logf("%d attachments (%d MB) in %d mails to %d spaces, sent again after 4xx: %d, though taken: %d; uploads done: %d, of which repeated: %d; "+
		"files in the spaces: %d, want %d; looks of the reader: %d, complaints: %d; %s; all done after %.0f s",
		f.scale.attachments, f.postman.bytes.Load()>>20, f.postman.sent.Load(), len(f.books), f.postman.repeated.Load(), f.postman.twice.Load(), f.jobs()["done"], repeated,
		f.reader.count(), f.books.files(), f.reader.looks, len(wrong), strings.Join(lines, ", "), took.Seconds())
}

// recoverWithin is how long everything may take once all is well.
func recoverWithin(s scale) time.Duration {
	return 45*time.Second + time.Duration(s.attachments)*300*time.Millisecond
}

// sweep makes what died uploads left look old, starts the daemon anew, which
// sweeps, and expects that nothing is left.
func (f *fire) sweep() {
	f.t.Helper()
	left := f.temps()
	f.figures["temporary files swept"] = len(left)
	old := time.Now().Add(-25 * time.Hour)
	for path := range left {
		f.must(os.Chtimes(path, old, old))
	}
	f.d.stop()
	f.d.start()
	f.until("nothing temporary is left", func() bool { return len(f.temps()) == 0 })
}

// suffer lets a fault befall the target while mail comes in, and waits until
// the target is tried again and found well.
func (f *fire) suffer(fault func()) {
	f.t.Helper()
	f.feed()
	fault()
	mended := time.Now()
	f.until("the target is well again", func() bool { return f.target().failures == 0 || f.idle() && f.more() })
	f.figures["slowest recovery in ms"] = max(f.figures["slowest recovery in ms"], int(time.Since(mended).Milliseconds()))
}

// TestVaultUnderFireSFTP is the main one, on OpenSSH.
func TestVaultUnderFireSFTP(t *testing.T) {
	t.Parallel() // most of it is waiting
	s := tortureScale()
	f := newFire(t, s, 14+(s.kills+3)/4)
	var err error
	if f.sshd, err = testserver.StartSSHDWithDisk(t.Context(), "", f.room()); err != nil && os.Geteuid() != 0 && os.Getenv("CI") == "" {
		f.sshd, err = testserver.StartSSHD(t.Context(), "")
	} else {
		f.smallDisk = true
	}
	f.must(err)
	t.Cleanup(func() { f.sshd.Stop() })
	f.server = f.sshd
	f.proxy, err = testserver.StartProxy(t.Context(), f.sshd.Address())
	f.must(err)
	key, err := os.ReadFile(f.sshd.KeyFile())
	f.must(err)
	f.begin(filepath.Join(f.sshd.Root(), "disk"), fmt.Sprintf("parallel: 4\nsftp: {address: %q, user: %s, key_file: key, known_hosts: known_hosts, base: disk, timeout: 2s, keepalive: 500ms}",
		f.proxy.Address(), f.sshd.User()), map[string]string{"key": string(key)})
	for _, fault := range []func(){f.sessionsKilled, f.serverHangs, f.diskFull, f.hostKeyChanged, f.keyRefused, f.networkCut, f.daemonKilled, f.clockJumps} {
		f.suffer(fault)
	}
	f.finish()
}

// TestVaultUnderFireFTPS is a smaller one, on ProFTPD.
func TestVaultUnderFireFTPS(t *testing.T) {
	t.Parallel() // most of it is waiting
	s := tortureScale().aside()
	f := newFire(t, s, 9+(s.kills+3)/4)
	server, err := testserver.StartProFTPD(t.Context(), "")
	f.must(err)
	t.Cleanup(func() { server.Stop() })
	f.server = server
	f.proxy, err = testserver.StartProxy(t.Context(), server.Address()) // data connections go past it
	f.must(err)
	password, err := os.ReadFile(server.PasswordFile())
	f.must(err)
	f.begin(server.Root(), fmt.Sprintf("parallel: 4\nbandwidth: %d\nftps: {address: %q, user: %s, password_file: password, ca_file: %s, timeout: 2s}",
		4*f.slow(), f.proxy.Address(), server.User(), server.CAFile()), map[string]string{"password": string(password)})
	for _, fault := range []func(){f.sessionsKilled, f.serverHangs, f.passwordWrong, f.daemonKilled, f.clockJumps} {
		f.suffer(fault)
	}
	f.finish()
}

// TestVaultUnderFireDir is a smaller one, on a folder, with descriptions beside
// the files.
func TestVaultUnderFireDir(t *testing.T) {
	t.Parallel() // most of it is waiting
	s := tortureScale().aside()
	f := newFire(t, s, 6+(s.kills+3)/4)
	base := t.TempDir()
	f.begin(base, fmt.Sprintf("parallel: 4\nsidecar: true\nbandwidth: %d\ndir: {base: %q}", 4*f.slow(), base), map[string]string{})
	for _, fault := range []func(){f.daemonKilled, f.clockJumps, f.targetRemoved} {
		f.suffer(fault)
	}
	f.finish()
}
