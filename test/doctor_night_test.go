package test

// A bad night: what doctor tells of a host on which one thing after the other breaks.

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// breakThingsOneByOne goes through a bad night.
func (p *patient) breakThingsOneByOne() {
	t := p.t
	p.broken("paused", func() func() {
		p.must(os.WriteFile(p.data("paused"), []byte(`{"who":"bob","why":"broken PDFs"}`), 0o600))
		return func() { p.must(os.Remove(p.data("paused"))) }
	}, "daemon", "warning", "broken PDFs", "--only", "daemon")
	e := p.broken("a mistake in the configuration", p.configured(p.config+"colour: blue\n"), "config", "wrong", "colour")
	if len(e.Lines) != 1 {
		t.Errorf("more than the configuration was looked at: %+v", e.Lines)
	}
	p.broken("not attached", p.postconf("smtpd_milters ="), "mta", "wrong", "mail by SMTP does not pass Cloakroom", "--only", "mta")
	p.broken("another port", p.postconf("smtpd_milters = inet:127.0.0.1:9"), "mta", "wrong", "inet:127.0.0.1:9", "--only", "mta")
	p.broken("past us when away", p.postconf("milter_default_action = accept"), "mta", "warning", "milter_default_action is accept", "--only", "mta")
	p.broken("behind the signer", p.postconf("non_smtpd_milters = unix:/opendkim/opendkim.sock, "+p.MilterAddr), "mta", "warning", "must sign mail as it leaves", "--only", "mta")
	pid := filepath.Join(p.mta.Folder(), "queue/pid/master.pid")
	p.broken("no MTA", func() func() {
		p.asRoot("mv", pid, pid+".away")
		return func() { p.asRoot("mv", pid+".away", pid) }
	}, "mta", "wrong", "does not run", "--only", "mta")
	p.broken("open to all", func() func() {
		p.must(os.Chmod(p.data("."), 0o755))
		return func() { p.must(os.Chmod(p.data("."), 0o700)) }
	}, "data", "wrong", "mode 0755", "--only", "data")
	p.broken("a damaged file", p.edited(p.anyFile(), func([]byte) []byte { return []byte("damaged") }), "store", "wrong", "is damaged", "--only", "store")
	p.broken("a missing file", func() func() {
		file := p.anyFile()
		p.must(os.Rename(file, file+".away"))
		return func() { p.must(os.Rename(file+".away", file)) }
	}, "store", "wrong", "is missing", "--only", "store")
	other := func([]byte) []byte { return bytes.Repeat([]byte("ab"), 32) }
	e = p.broken("another secret", p.edited(p.data("secret"), other), "secret", "wrong", "made with another secret", "--only", "secret,web")
	if !e.has("web", "wrong", "not as this Cloakroom") {
		t.Errorf("pages of another secret pass: %+v", e.Lines)
	}
	p.broken("a lost secret", func() func() {
		p.must(os.Rename(p.data("secret"), p.data("secret.away")))
		return func() { p.must(os.Rename(p.data("secret.away"), p.data("secret"))) }
	}, "secret", "wrong", "restore the file from the backup", "--only", "secret")
	elsewhere := httptest.NewServer(http.RedirectHandler("https://login.ext.test/", http.StatusFound))
	defer elsewhere.Close()
	p.broken("a proxy that sends away", p.edited(filepath.Join(p.Folder, "cloakroom.yaml"), func(b []byte) []byte {
		return bytes.Replace(b, []byte("url: http://"+p.WebAddr), []byte("url: "+elsewhere.URL), 1)
	}), "web", "wrong", "sends visitors on to https://login.ext.test/", "--only", "web")
	p.broken("a name that is gone", p.edited(filepath.Join(p.Folder, "cloakroom.yaml"), func(b []byte) []byte {
		return bytes.Replace(b, []byte("http://"+p.WebAddr), []byte("https://files.acmecorp.test"), 1)
	}), "dns", "wrong", "files.acmecorp.test (web.url) is not in DNS", "--only", "dns")
	p.broken("a directory with a mistake", p.edited(filepath.Join(p.Folder, "users.yaml"), func(b []byte) []byte { return append(b, "nonsense"...) }), "directory", "wrong", "users.yaml", "--only", "directory")
	p.broken("an old directory", func() func() {
		file, old := filepath.Join(p.Folder, "users.yaml"), time.Now().Add(-49*time.Hour)
		p.must(os.Chtimes(file, old, old))
		return func() {}
	}, "directory", "warning", "2 days ago", "--only", "directory", "--directory-age", "1d")
	e = p.broken("a vault with another host key", func() func() {
		p.must(p.sshd.ReplaceHostKey(t.Context()))
		return func() {}
	}, "vault", "wrong", "far (", "--only", "vault")
	if !e.has("vault", "ok", "assets") || !e.has("vault", "wrong", "host key") {
		t.Errorf("the other target, and why: %+v", e.Lines)
	}
	p.broken("a vault that is away", func() func() {
		p.must(p.sshd.Stop())
		return func() {}
	}, "vault", "wrong", "connection refused", "--only", "vault")
	p.broken("too many connections for the files", p.edited(filepath.Join(p.Folder, "cloakroom.yaml"), func(b []byte) []byte {
		return bytes.Replace(b, []byte("milter:\n"), []byte("milter:\n  max_connections: 100000\n"), 1)
	}), "limits", map[bool]string{true: "wrong", false: "warning"}[limitOfFiles(t, p.data("lock")) < 100000], "100000 MTA connections", "--only", "limits")
	p.hangs()
	p.down()
}

// limitOfFiles is the limit of the daemon.
func limitOfFiles(t *testing.T, lock string) uint64 {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(mustRead(t, lock)))
	if err != nil {
		t.Fatal(err)
	}
	var r unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &r); err != nil {
		t.Fatal(err)
	}
	return r.Cur
}

// hangs examines a daemon that stands still: it ends in time all the same.
func (p *patient) hangs() {
	p.must(p.running.Signal("STOP"))
	begin := time.Now()
	e, code := p.examine("--timeout", "2s")
	took := time.Since(begin)
	p.must(p.running.Signal("CONT"))
	if took > 3*time.Second || code != 2 || !e.has("milter", "wrong", "handshake") || !e.has("web", "wrong", "") || !e.has("database", "ok", "") {
		p.t.Errorf("of a daemon that hangs, after %v: exit code %d, %+v", took, code, e.Lines)
	}
}

// down examines while no daemon runs.
func (p *patient) down() {
	t := p.t
	p.stop()
	e, code := p.examine()
	if code != 2 || !e.has("daemon", "wrong", "no daemon runs") || !e.has("milter", "wrong", "refused") || !e.has("web", "wrong", "refused") {
		t.Errorf("with the daemon down: exit code %d, %+v", code, e.Lines)
	}
	for _, check := range []string{"config", "mta", "data", "space", "database", "secret", "store", "directory"} {
		if !e.has(check, "ok", "") {
			t.Errorf("with the daemon down %s is not ok: %+v", check, e.Lines)
		}
	}
	before := p.files()
	p.broken("a damaged database", p.edited(p.data("cloakroom.db"), func(b []byte) []byte {
		copy(b[4096:], bytes.Repeat([]byte("damage"), 2000))
		return b
	}), "database", "wrong", "", "--only", "database,store")
	p.broken("a database that is gone", func() func() {
		p.must(os.Rename(p.data("cloakroom.db"), p.data("away")))
		return func() { p.must(os.Rename(p.data("away"), p.data("cloakroom.db"))) }
	}, "database", "wrong", "is missing or empty", "--only", "database")
	if after := p.files(); !slices.Equal(after, before) {
		t.Errorf("the examination left %v, there was %v", after, before)
	}
	stranger := newDaemon(t, linkAll)
	stranger.MilterAddr = p.MilterAddr
	stranger.start()
	p.broken("another daemon at our port", func() func() { return stranger.stop }, "milter", "wrong", "not the daemon of this data folder", "--only", "milter")
}

func (p *patient) files() (names []string) {
	p.t.Helper()
	entries, err := os.ReadDir(p.data("."))
	p.must(err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
