package test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/app"
)

// queued lists the queue as programs see it.
func queued(t *testing.T, d *daemon, args ...string) []app.Job {
	t.Helper()
	stdout, stderr, code := d.run(nil, append([]string{"queue", "list", "--json"}, args...)...)
	var page app.JobPage
	if err := json.Unmarshal([]byte(stdout), &page); err != nil || code != 0 {
		t.Fatalf("queue list: exit code %d, %v\n%s", code, err, stderr)
	}
	return page.Jobs
}

// command runs one beside the daemon, and expects what it says.
func command(t *testing.T, d *daemon, want string, args ...string) {
	t.Helper()
	stdout, stderr, code := d.run(nil, args...)
	if code != 0 || !strings.Contains(stdout, want) {
		t.Errorf("%s: exit code %d\n%s%s\nwant %q", strings.Join(args, " "), code, stdout, stderr, want)
	}
}

// waitQueue waits until a list has n jobs.
func waitQueue(t *testing.T, d *daemon, n int, args ...string) []app.Job {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		got := queued(t, d, args...)
		if len(got) == n {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs with %q, want %d: %+v", len(got), args, n, got)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestTheQueueObeysWhileTheDaemonRuns holds a target, releases it, drops an
// upload and retries one that failed for good, all beside a daemon at work.
func TestTheQueueObeysWhileTheDaemonRuns(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	d := newDaemon(t, "vault:\n  targets:\n    assets:\n      dir: {base: "+base+"}\n      delay: 0s\n      path: \"{space}/{name}\"\nrules:\n  - name: everybody\n    vault: {target: assets}\n")
	d.start()
	p := startPostfix(t, d.MilterAddr)
	mail := func(name string, seed int64) []byte {
		return toCRLF(compose(dave, []string{bob}, "queue", file{name, "application/pdf", random(3000, seed)}))
	}
	command(t, d, "target assets is held: 0 waiting jobs and all that come", "queue", "hold", "--target", "assets")
	send(t, p, dave, []string{bob}, mail("kept.pdf", 91))
	send(t, p, dave, []string{bob}, mail("dropped.pdf", 92))
	mailbox(t, p, bob, 2) // mail does not wait for the vault
	waitQueue(t, d, 2, "--state", "waiting")
	command(t, d, "1 job dropped", "queue", "drop", "--file", "dropped.pdf", "--yes")
	if files := filesIn(t, base); len(files) != 0 {
		t.Errorf("a held target got %v", files)
	}
	var snapshot app.Snapshot
	stdout, _, _ := d.run(nil, "queue", "watch", "--once", "--json")
	if err := json.Unmarshal([]byte(stdout), &snapshot); err != nil || len(snapshot.Targets) != 1 || snapshot.Targets[0].State != "held" {
		t.Errorf("watch: %v\n%s", err, stdout)
	}
	command(t, d, "target assets is released: 1 waiting job", "queue", "release", "--target", "assets")
	waitFiles(t, base, 1)
	waitQueue(t, d, 0)
	done := waitQueue(t, d, 1, "--state", "done")
	command(t, d, "bob@acmecorp.test/kept.pdf (since", "queue", "show", done[0].ID)

	// A file stands where a folder should be: an administrator has to act.
	if err := os.RemoveAll(filepath.Join(base, bob)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, bob), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	send(t, p, dave, []string{bob}, mail("late.pdf", 93))
	failed := waitQueue(t, d, 1, "--state", "failed")[0]
	if failed.Error == "" || failed.Attempts != 1 {
		t.Errorf("failed: %+v", failed)
	}
	command(t, d, "cloakroom queue retry "+failed.ID, "queue", "show", failed.ID)
	command(t, d, failed.ID, "queue", "list", "--error", failed.Error[:10])
	if err := os.Remove(filepath.Join(base, bob)); err != nil {
		t.Fatal(err)
	}
	command(t, d, "1 job retried", "queue", "retry", failed.ID)
	waitFiles(t, base, 1)
	waitQueue(t, d, 0)
	command(t, d, "assets  dir   up", "vault", "targets")
	command(t, d, "ok    delete", "vault", "test", "assets")
}

// TestBackfillMakesTheSameUploadsOnceMore takes somebody into the vault whose
// mail came before, by rules that came later.
func TestBackfillMakesTheSameUploadsOnceMore(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	const rules = "rules:\n  - name: carol\n    if: owner.address == 'carol@acmecorp.test'\n    vault: {target: assets}\n  - name: links\n    link: {}\n"
	config := "vault:\n  targets:\n    assets:\n      dir: {base: " + base + "}\n      delay: 0s\n      path: \"{space}/{name}\"\n"
	d := newDaemon(t, config+rules)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	content := random(9000, 94)
	msg := toCRLF(compose(dave, []string{bob, carol}, "backfill", file{"plan.pdf", "application/pdf", content}))
	send(t, p, dave, []string{bob, carol}, msg)
	mailbox(t, p, bob, 1)
	waitFiles(t, base, 1)
	all := strings.Replace(rules, "owner.address == 'carol@acmecorp.test'", "owner.domain == 'acmecorp.test'", 1)
	d.reload(config+all, "configuration reloaded")
	command(t, d, "1 upload of 8.8 KB would be made", "vault", "backfill", "--user", bob, "--dry-run")
	command(t, d, "1 upload of 8.8 KB made", "vault", "backfill", "--user", bob)
	command(t, d, "1 uploads of 1 mails", "audit")
	files := waitFiles(t, base, 2)
	got, err := os.ReadFile(filepath.Join(base, bob, "plan.pdf"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%v: %v", err, files)
	}
	// Nothing is made twice: not by the command, nor by the mail that comes again.
	command(t, d, "0 uploads of 0 bytes made; 1 were there already", "vault", "backfill", "--user", bob)
	send(t, p, dave, []string{bob, carol}, msg)
	mailbox(t, p, bob, 2)
	if left := waitQueue(t, d, 2, "--state", "done"); len(left) != 2 {
		t.Errorf("jobs %+v", left)
	}
	waitFiles(t, base, 2)
}
