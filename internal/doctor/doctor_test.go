package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/diskspace"
)

// want compares a line with what it shall be: its state, and pieces of its text and
// of its fix, which must be there for whatever is not ok.
type want struct {
	state State
	text  string
	fix   string
}

func (w want) check(t *testing.T, l Line) {
	t.Helper()
	if l.State != w.state || !strings.Contains(l.Text, w.text) || !strings.Contains(l.Fix, w.fix) {
		t.Errorf("%s: %q -> %q; want %s: %q -> %q", l.State, l.Text, l.Fix, w.state, w.text, w.fix)
	}
	if (l.Fix == "") != (l.State == OK) {
		t.Errorf("%s with the fix %q: %s", l.State, l.Fix, l.Text)
	}
}

// only is the one line that there is to be.
func only(t *testing.T, lines []Line) Line {
	t.Helper()
	if len(lines) != 1 {
		t.Fatalf("%d lines: %+v", len(lines), lines)
	}
	return lines[0]
}

func TestWhatHangsAndWhatFailsIsALineOfItsOwn(t *testing.T) {
	begin := time.Now()
	checks := []Check{
		{"stubborn", func(context.Context) []Line { time.Sleep(time.Hour); return nil }},
		{"obedient", func(ctx context.Context) []Line { <-ctx.Done(); return []Line{warn("fix", "told to end")} }},
		{"broken", func(context.Context) []Line { panic("oh") }},
		{"well", func(context.Context) []Line { return []Line{ok("fine"), {Check: "other", State: OK, Text: "named"}} }},
	}
	lines := Examine(t.Context(), checks, 50*time.Millisecond)
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	var names []string
	for _, l := range lines {
		names = append(names, l.Check)
	}
	if got := strings.Join(names, " "); got != "stubborn obedient broken well other" {
		t.Fatalf("lines of %s", got)
	}
	want{Wrong, "no end within 50 ms", "--timeout"}.check(t, lines[0])
	want{Warning, "told to end", "fix"}.check(t, lines[1])
	want{Wrong, "failed: oh", "authors"}.check(t, lines[2])
	want{OK, "fine", ""}.check(t, lines[3])
}

func TestReportHasTheWorstState(t *testing.T) {
	r := &Report{State: OK, Lines: []Line{}}
	for _, one := range []struct {
		add  State
		then State
	}{{OK, OK}, {Warning, Warning}, {OK, Warning}, {Wrong, Wrong}, {Warning, Wrong}} {
		r.Add(Line{Check: string(one.add), State: one.add, Text: "x"})
		if r.State != one.then {
			t.Errorf("after %s: %s", one.add, r.State)
		}
	}
	r.Order([]string{"wrong", "warning", "ok"})
	if r.Lines[0].Check != "wrong" || r.Lines[4].Check != "ok" {
		t.Errorf("order: %+v", r.Lines)
	}
	if s := r.Summary(); s != "wrong: 1, warnings: 2, of 5" {
		t.Errorf("summary %q", s)
	}
}

func TestTablesKeepWhatOthersWroteOnItsLine(t *testing.T) {
	r := &Report{State: OK}
	r.Add(Line{"a", OK, "fine", ""}, Line{"long", Wrong, "bad\x1b[2J\nok       a  forged", "do\nthis"})
	var b bytes.Buffer
	if err := Print(&b, r, false); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "ok       a     fine\nwrong    long  bad [2J ok a forged\n               -> do this\n\nwrong: 1, warnings: 0, of 2\n"; got != want {
		t.Errorf("table\n%s\nwant\n%s", got, want)
	}
	b.Reset()
	if err := PrintBrief(&b, r); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.HasPrefix(got, "wrong: 1, warnings: 0, of 2: long\nwrong    long  bad") || strings.Contains(got, "fine") {
		t.Errorf("brief\n%s", got)
	}
	b.Reset()
	if err := PrintBrief(&b, &Report{Lines: r.Lines[:1]}); err != nil || b.String() != "all of 1 are ok\n" {
		t.Errorf("brief of what is well: %q, %v", b.String(), err)
	}
	if text, err := json.Marshal(Line{"a", OK, "fine", ""}); err != nil || string(text) != `{"check":"a","state":"ok","text":"fine"}` {
		t.Errorf("as JSON %s, %v", text, err)
	}
}

func TestDaemon(t *testing.T) {
	well := []Line{ok("ready")}
	process := &Process{PID: 7, UID: 99}
	for name, one := range map[string]struct {
		d     Daemon
		ready []Line
		want  want
	}{
		"runs":           {Daemon{Runs: true, Process: process}, well, want{OK, "process 7 of uid 99; ready", ""}},
		"in a container": {Daemon{Runs: true}, nil, want{OK, "not seen from here", ""}},
		"down":           {Daemon{}, nil, want{Wrong, "no daemon runs on /data", "systemctl start"}},
		"not to be seen": {Daemon{Err: errors.New("permission denied")}, nil, want{Wrong, "permission denied", "root"}},
		"elsewhere":      {Daemon{Others: []int{8}}, nil, want{Wrong, "process 8 serves this configuration and does not hold /data", "restart"}},
		"two":            {Daemon{Runs: true, Process: process, Others: []int{8}}, well, want{Warning, "second daemon serves this configuration: process 8", "end the one"}},
		"paused":         {Daemon{Runs: true, Process: process, Pause: "by bob"}, well, want{Warning, "paused: by bob", "cloakroom resume"}},
		"replaced":       {Daemon{Runs: true, Process: &Process{Replaced: true}}, well, want{Warning, "program was replaced", "restart"}},
		"not ready":      {Daemon{Runs: true, Process: process}, []Line{wrong("fix", "database")}, want{Wrong, "database", "fix"}},
	} {
		t.Run(name, func(t *testing.T) { one.want.check(t, only(t, one.d.Lines("/data", one.ready))) })
	}
}

func TestDaemonsAreToldByTheirCommandLine(t *testing.T) {
	for line, is := range map[string]bool{
		"/usr/bin/cloakroom serve --config /etc/c.yaml": true,
		"cloakroom --config=/etc/c.yaml serve":          true,
		"cloakroom --config c.yaml serve":               true, // started in /etc
		"cloakroom --config /etc/other.yaml serve":      false,
		"cloakroom --config /etc/c.yaml doctor":         false,
		"vim --config /etc/c.yaml serve":                false,
		"cloakroom serve":                               false, // whose file is not known
		"":                                              false,
	} {
		if got := servesFile(strings.Split(line, " "), "/etc", "/etc/c.yaml"); got != is {
			t.Errorf("%q: %v", line, got)
		}
	}
}

func TestOpenFiles(t *testing.T) {
	for limit, w := range map[uint64]want{
		2048:      {OK, "may open 2048 files, 512 MTA connections need up to 2048", ""},
		2047:      {Warning, "2047", "LimitNOFILE=2048"},
		511:       {Wrong, "511", "LimitNOFILE=2048"},
		unlimited: {OK, "any number", ""},
	} {
		w.check(t, only(t, enoughFiles(limit, "the daemon", 512)))
	}
	if n, err := limitIn([]byte("Limit  Soft Limit\nMax open files            1024                 524288               files\n")); n != 1024 || err != nil {
		t.Errorf("limit %d, %v", n, err)
	}
	if n, err := limitIn([]byte("Max open files            unlimited            unlimited            files\n")); n != unlimited || err != nil {
		t.Errorf("limit %d, %v", n, err)
	}
	if _, err := limitIn(nil); err == nil {
		t.Error("a limit from nothing")
	}
	self := only(t, OpenFiles(&Process{PID: os.Getpid()}, 1))
	if self.State == Wrong || !strings.Contains(self.Text, "the daemon may open") {
		t.Errorf("of this process: %+v", self)
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	want{Wrong, "is not there", "start the daemon once"}.check(t, only(t, Folder(dir, nil, nil)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mine, other := &Account{UID: os.Getuid()}, &Account{UID: 4321, Name: "postman"}
	want{OK, "mode 0700", ""}.check(t, only(t, Folder(dir, mine, other)))
	want{Wrong, "the daemon's account is postman: it cannot write there", "chown -R postman: " + dir}.check(t, only(t, Folder(dir, other, nil)))
	want{Wrong, "the daemon's account is uid 77", "chown -R 77: "}.check(t, only(t, Folder(dir, &Account{UID: 77}, nil)))
	if l := ownership(dir, 0, nil, other); l == nil {
		t.Error("root's folder passes where the package made an account")
	} else {
		want{Wrong, "belongs to uid 0, and the daemon's account is postman", "chown"}.check(t, *l)
	}
	if l := ownership(dir, 1000, nil, other); l != nil {
		t.Errorf("somebody's own daemon: %+v", l)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	want{Wrong, "mode 0755: everybody", "chmod o-rwx " + dir}.check(t, only(t, Folder(dir, mine, nil)))
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want{Wrong, "is not a folder", "correct data"}.check(t, only(t, Folder(file, nil, nil)))
	if os.Getuid() == 0 { // else nobody can give files away
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(file, 4321, 4321); err != nil {
			t.Fatal(err)
		}
		want{Wrong, file + " belongs to uid 4321, the folder to uid 0", "chown -R --reference"}.check(t, only(t, Folder(dir, nil, nil)))
	}
}

func TestSpace(t *testing.T) {
	const gb = 1 << 30
	for name, one := range map[string]struct {
		u         diskspace.Usage
		watermark int64
		want      want
	}{
		"plenty":               {diskspace.Usage{Free: 50 * gb, Size: 100 * gb}, gb, want{OK, "50.0 GB of 100.0 GB free", ""}},
		"no inodes are fixed":  {diskspace.Usage{Free: 50 * gb, Size: 100 * gb, Inodes: 0}, gb, want{OK, "free", ""}},
		"soon low":             {diskspace.Usage{Free: 2*gb - 1, Size: 100 * gb}, gb, want{Warning, "2.0 GB", "store stats"}},
		"low":                  {diskspace.Usage{Free: gb - 1, Size: 100 * gb}, gb, want{Wrong, "below store.low_space (1.0 GB), no links", "make room"}},
		"full":                 {diskspace.Usage{Free: 0, Size: gb}, 0, want{Wrong, "nothing can be stored", "make room"}},
		"little, no watermark": {diskspace.Usage{Free: gb / 2, Size: 100 * gb}, 0, want{Warning, "512.0 MB", "make room"}},
		"no inode":             {diskspace.Usage{Free: 50 * gb, Size: 100 * gb, Inodes: 1000}, gb, want{Wrong, "0 of 1000 inodes: nothing can be stored", "make room"}},
		"few inodes":           {diskspace.Usage{Free: 50 * gb, Size: 100 * gb, Inodes: 10_000_000, FreeInodes: 19_000}, gb, want{Warning, "19000 of", "make room"}},
		"few of few inodes":    {diskspace.Usage{Free: 50 * gb, Size: 100 * gb, Inodes: 1000, FreeInodes: 30}, gb, want{OK, "30 of 1000", ""}},
	} {
		t.Run(name, func(t *testing.T) { one.want.check(t, room("/data", one.u, one.watermark)) })
	}
	dir := t.TempDir()
	if l := only(t, Space(dir, 0)); !strings.HasPrefix(l.Text, dir) {
		t.Errorf("of a folder: %+v", l)
	}
	want{Wrong, "cannot be looked at", "see the line data"}.check(t, only(t, Space(filepath.Join(dir, "nothing"), 0)))
}

func TestSync(t *testing.T) {
	times := func(n int, each time.Duration) []time.Duration {
		out := make([]time.Duration, n)
		for i := range out {
			out[i] = each
		}
		return out
	}
	for name, one := range map[string]struct {
		took []time.Duration
		want want
	}{
		"well":            {times(syncs, time.Millisecond), want{OK, "fsync takes 1 ms, at worst 1 ms", ""}},
		"slow":            {times(syncs, 80*time.Millisecond), want{Warning, "80 ms", "load"}},
		"one that hung":   {append(times(syncs-1, time.Millisecond), 3*time.Second), want{Wrong, "at worst 3.0 s", "mend the disk"}},
		"ran out of time": {times(3, time.Second), want{Wrong, "fsync takes 1.0 s", "mend the disk"}},
		"nothing":         {nil, want{Wrong, "not one file", "mend the disk"}},
	} {
		t.Run(name, func(t *testing.T) { one.want.check(t, syncVerdict("/data", one.took)) })
	}
	dir := t.TempDir()
	if l := only(t, Sync(t.Context(), dir)); !strings.Contains(l.Text, "fsync takes") {
		t.Errorf("of a folder: %+v", l)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	well := clockWorld{now: now, seen: true, kept: true, last: now.Add(-time.Hour), program: now.AddDate(0, -1, 0)}
	for name, one := range map[string]struct {
		change func(*clockWorld)
		want   want
	}{
		"well":                  {func(*clockWorld) {}, want{OK, "2026-11-23 03:00:00 +00:00, synchronised", ""}},
		"nobody keeps it":       {func(w *clockWorld) { w.kept = false }, want{Warning, "nobody keeps it", "chrony"}},
		"not to be seen":        {func(w *clockWorld) { w.err = errors.New("not permitted") }, want{Warning, "not permitted", "chrony"}},
		"file server apart":     {func(w *clockWorld) { w.apart = -20 * time.Second }, want{Warning, "file system of /data is 20.0 s apart", "both hosts"}},
		"file server far apart": {func(w *clockWorld) { w.apart = time.Hour }, want{Wrong, "3600.0 s apart", "both hosts"}},
		"journal soon":          {func(w *clockWorld) { w.last = now.Add(30 * time.Second) }, want{Warning, "in the future", "chrony"}},
		"journal of tomorrow":   {func(w *clockWorld) { w.last = now.AddDate(0, 0, 1) }, want{Wrong, "in the future: the clock is slow, or was fast then", "chrony"}},
		"before it was built":   {func(w *clockWorld) { w.program = now.AddDate(1, 0, 0) }, want{Wrong, "this program is from 2027-11-23", "chrony"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := well
			one.change(&w)
			one.want.check(t, only(t, w.lines("/data")))
		})
	}
}

func TestTheJournalTellsWhenItWasWritten(t *testing.T) {
	dir := t.TempDir()
	if got := lastWritten(dir); !got.IsZero() {
		t.Errorf("of no journal: %v", got)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("2026-11-21-1.jsonl", `{"t":5,"kind":"mail","data":{}}`+"\n")
	write("2026-11-22-1.jsonl", `{"t":7000,"kind":"mail","data":{}}`+"\n"+`{"t":8000,"kind":"link","data":{"t":1}}`+"\n"+`{"t":9000,"ki`)
	if got := lastWritten(dir); got.UnixMilli() != 8000 {
		t.Errorf("last written %v, want that of the last whole line", got)
	}
	write("2026-11-23-1.jsonl", strings.Repeat("x", 2*journalTail))
	if got := lastWritten(dir); !got.IsZero() {
		t.Errorf("of a damaged journal: %v", got)
	}
}

func TestTargets(t *testing.T) {
	well := Target{Name: "assets", Address: "u@vault:22:/spaces", Connect: 30 * time.Millisecond, Question: time.Millisecond}
	for name, one := range map[string]struct {
		change func(*Target)
		want   want
	}{
		"well":           {func(*Target) {}, want{OK, "assets (u@vault:22:/spaces): connected in 30 ms", ""}},
		"down":           {func(x *Target) { x.Err, x.Waiting = "connection refused", 3 }, want{Wrong, "connection refused; uploads wait: 3", "vault test assets"}},
		"host key":       {func(x *Target) { x.Err, x.Hint = "host key mismatch", "compare the key" }, want{Wrong, "host key mismatch", "compare the key"}},
		"down and held":  {func(x *Target) { x.Err, x.Held = "refused", true }, want{Wrong, "refused; held", "release --target assets"}},
		"held":           {func(x *Target) { x.Held, x.Why, x.Waiting = true, "host key", 2 }, want{Warning, "is held after: host key; uploads wait: 2", "queue release --target assets"}},
		"slow":           {func(x *Target) { x.Connect = 6 * time.Second }, want{Warning, "connecting takes 6.0 s", "network"}},
		"slow to answer": {func(x *Target) { x.Question = 3 * time.Second }, want{Warning, "a question 3.0 s", "network"}},
		"failed uploads": {func(x *Target) { x.Failed = 2 }, want{Warning, "failed for good: 2", "queue retry"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := well
			one.change(&x)
			one.want.check(t, x.Line())
		})
	}
}

func TestDirectory(t *testing.T) {
	now := time.Now()
	file := Directory{File: "users.yaml", Users: 3, Written: now.Add(-50 * time.Hour)}
	ldap := Directory{Server: "ldaps://ldap", Took: time.Millisecond, Stale: day}
	for name, one := range map[string]struct {
		d      Directory
		change func(*Directory)
		want   want
	}{
		"none":             {Directory{}, func(*Directory) {}, want{OK, "none is configured", ""}},
		"file":             {file, func(*Directory) {}, want{OK, "users.yaml: 3 users, written 2 days ago", ""}},
		"old file":         {file, func(d *Directory) { d.Oldest = day }, want{Warning, "written 2 days ago", "what writes the file"}},
		"file, new enough": {file, func(d *Directory) { d.Oldest = 3 * day }, want{OK, "3 users", ""}},
		"empty file":       {file, func(d *Directory) { d.None = true }, want{Warning, "no users", "fill"}},
		"broken file":      {file, func(d *Directory) { d.Err = errors.New("users.yaml:3: unknown key") }, want{Wrong, "users.yaml:3", "does not start anew"}},
		"LDAP":             {ldap, func(*Directory) {}, want{OK, "a lookup takes 1 ms", ""}},
		"LDAP down":        {ldap, func(d *Directory) { d.Err = errors.New("connection refused") }, want{Wrong, "ldaps://ldap: connection refused", "for 1 day what is remembered"}},
		"LDAP slow":        {ldap, func(d *Directory) { d.Took = 3 * time.Second }, want{Warning, "takes 3.0 s", "index"}},
		"LDAP empty":       {ldap, func(d *Directory) { d.None = true }, want{Warning, "no users below the base", "directory list"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := one.d
			one.change(&d)
			one.want.check(t, d.Line(now))
		})
	}
}

func TestDurationsForPeople(t *testing.T) {
	for d, text := range map[time.Duration]string{1500 * time.Microsecond: "2 ms", 2 * time.Second: "2.0 s"} {
		if got := short(d); got != text {
			t.Errorf("%v is %q, want %q", d, got, text)
		}
	}
	for d, text := range map[time.Duration]string{5 * time.Hour: "5 hours", day: "1 day", 9*day + time.Hour: "9 days"} {
		if got := days(d); got != text {
			t.Errorf("%v is %q, want %q", d, got, text)
		}
	}
}
