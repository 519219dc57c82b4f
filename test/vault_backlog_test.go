package test

// What a long queue costs: memory and CPU of the daemon while very many files
// wait for a target that is away.

import (
	"bytes"
	"database/sql"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	backlog = 100_000 // waiting files
	// backlogMemory is how much more memory the daemon may have with a backlog
	// than without: room for the pages of the database that it reads.
	backlogMemory = 32 << 20
)

// process finds the daemon's process.
func (d *daemon) process() string {
	d.t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		d.t.Fatal(err)
	}
	want := []byte("--config\x00" + d.running.ConfigFile() + "\x00serve\x00")
	for _, path := range found {
		line, _ := os.ReadFile(path) // processes end meanwhile
		if bytes.HasPrefix(line, []byte(d.Binary+"\x00")) && bytes.Contains(line, want) {
			return filepath.Dir(path)
		}
	}
	d.t.Fatal("the daemon's process is not found")
	return ""
}

// usage is what a process has and has used.
type usage struct {
	memory int64 // resident bytes
	cpu    time.Duration
}

func usageOf(t *testing.T, process string) (u usage) {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(process, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, rest, _ := strings.Cut(read("status"), "VmRSS:")
	kb, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(kb, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	u.memory = n << 10
	// Fields 14 and 15 of stat are ticks of user and system time; the second ends in ")".
	stat := read("stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const ticks = 100 // USER_HZ on Linux
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		u.cpu += time.Duration(n) * time.Second / ticks
	}
	return u
}

// TestALongQueueCostsNoMemory has a target that is away, with one file waiting,
// and then with very many.
func TestALongQueueCostsNoMemory(t *testing.T) {
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	closed.Close()
	d := newDaemon(t, fmt.Sprintf("vault:\n  targets:\n    assets:\n      delay: 0s\n      sftp: {address: %q, user: x, password_file: password, host_key: [%q]}\nrules:\n  - name: all\n    vault: {target: assets}\n",
		address, "SHA256:ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs"))
	if err := os.WriteFile(filepath.Join(d.Folder, "password"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	p := startPostfix(t, d.MilterAddr)
	send(t, p, dave, []string{bob}, toCRLF(compose(dave, []string{bob}, "backlog", file{"plan.pdf", "application/pdf", random(20<<10, 700)})))
	d.waitLog("target_down=true")
	process := d.process()
	const watched = 3 * time.Second
	measure := func() (memory int64, cpu time.Duration) {
		before := usageOf(t, process)
		time.Sleep(watched)
		after := usageOf(t, process)
		return after.memory, after.cpu - before.cpu
	}
	memory, cpu := measure()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(d.Folder, "data", "cloakroom.db")+"?_pragma=busy_timeout(20000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // the temporary table is the connection's
	for _, statement := range []string{
		`CREATE TEMP TABLE n AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ` + strconv.Itoa(backlog) + `) SELECT i FROM c`,
		`INSERT INTO jobs SELECT key || '-' || i, kind, target, owner, payload, 'waiting', 0, not_before, 0, node, 0, '', created, since, updated,
			due, label || i, sha256, size, 0 FROM jobs, n`,
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	moreMemory, moreCPU := measure()
	var waiting int
	if err := db.QueryRow(`SELECT COUNT(*) FROM jobs WHERE state <> 'done' AND state <> 'failed'`).Scan(&waiting); err != nil || waiting != backlog+1 {
		t.Errorf("%d files wait, %v", waiting, err)
	}
	t.Logf("one file waits: %.1f MB, %v of CPU in %v; %d files wait: %.1f MB, %v of CPU", float64(memory)/(1<<20), cpu, watched,
		waiting, float64(moreMemory)/(1<<20), moreCPU)
	if moreMemory-memory > backlogMemory {
		t.Errorf("%d waiting files take %d MB", backlog, (moreMemory-memory)>>20)
	}
	if moreCPU-cpu > watched/5 {
		t.Errorf("%d waiting files take %v of CPU in %v, without them it was %v", backlog, moreCPU, watched, cpu)
	}
}
