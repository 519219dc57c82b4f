package test

// The program over a store of many years. "make bench-store" makes one of ten
// million links and measures; "make test" makes a small one, sees that its rows
// are like those of real mail, and that all that is measured works.

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"modernc.org/sqlite"
)

// storeSize is how much there is of each.
type storeSize struct{ links, blobs, jobs int }

// bigStore is the size that BIGSTORE_LINKS asks for, and whether it is for
// measuring. Of blobs and jobs there are a tenth each.
func bigStore(t *testing.T) (n storeSize, long bool) {
	text := os.Getenv("BIGSTORE_LINKS")
	if text == "" {
		return storeSize{2000, 200, 200}, false
	}
	links, err := strconv.Atoi(text)
	if err != nil || links < 1000 {
		t.Fatalf("BIGSTORE_LINKS=%s is not a number from 1000 on", text)
	}
	return storeSize{links, links / 10, links / 10}, true
}

// filledName marks a folder whose store is made: BIGSTORE_DIR keeps one.
const filledName = "filled"

const storeConfig = "vault:\n  targets:\n    assets: {dir: {base: %[1]s/vault}, path: \"{space}/{name}\"}\n    archive: {dir: {base: %[1]s/vault}, path: \"{space}/{name}\"}\n" +
	"rules:\n  - name: vault\n    if: attachment.name == 'vault.pdf'\n    vault: {target: assets}\n  - name: everything\n    link: {}\n"

// openBigStore prepares a daemon with the store.
func openBigStore(t *testing.T, n storeSize) (*daemon, *adminClient) {
	t.Helper()
	d, web := newAdmin(t, "")
	if dir := os.Getenv("BIGSTORE_DIR"); dir != "" {
		admins := filepath.Join(d.Folder, "admins")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		d.Config = strings.ReplaceAll(d.Config, admins, filepath.Join(dir, "admins"))
		if err := os.Rename(admins, filepath.Join(dir, "admins")); err != nil {
			t.Fatal(err)
		}
		d.Folder = dir
	}
	vault := filepath.Join(d.Folder, "vault")
	if err := os.MkdirAll(vault, 0o755); err != nil {
		t.Fatal(err)
	}
	d.Config += fmt.Sprintf(storeConfig, d.Folder)
	if _, err := os.Stat(filepath.Join(d.Folder, filledName)); err == nil {
		return d, web
	}
	d.start()
	command(t, d, "target assets is held", "queue", "hold", "--target", "assets")
	command(t, d, "target archive is held", "queue", "hold", "--target", "archive")
	realMail(t, d)
	d.stop()
	begin := time.Now()
	fillStore(t, d.Folder, n)
	t.Logf("%d links, %d files and %d jobs made in %v", n.links, n.blobs, n.jobs, time.Since(begin).Round(time.Second))
	if err := os.WriteFile(filepath.Join(d.Folder, filledName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return d, web
}

// realMail is what the rows of the store are compared with: a mail with a link
// that was opened and a copy for the vault.
func realMail(t *testing.T, d *daemon) {
	t.Helper()
	msg := compose(dave, []string{bob}, "real", file{"vault.pdf", "application/pdf", random(3000, 31)})
	stdout, stderr, code := d.run(bytes.NewReader(msg), "filter", "--from", dave, "--to", bob, "--client-ip", "192.0.2.7")
	if code != 0 {
		t.Fatalf("filter: exit code %d\n%s", code, stderr)
	}
	for _, l := range links([]byte(stdout)) {
		download(t, l)
	}
}

// fillStore makes the rows and the files.
func fillStore(t *testing.T, folder string, n storeSize) {
	t.Helper()
	err := sqlite.RegisterDeterministicScalarFunction("hash", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		sum := sha256.Sum256([]byte(fmt.Sprint(args[0])))
		return sum[:], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "data", "cloakroom.db")
	d, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(off)&_pragma=synchronous(off)&_pragma=foreign_keys(off)&_pragma=cache_size(-2000000)")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.SetMaxOpenConns(1)
	var wait sync.WaitGroup
	wait.Go(func() { fillBlobs(t, filepath.Join(folder, "data", "blobs"), n.blobs) })
	fillRows(t, d, n)
	wait.Wait()
	if _, err := d.Exec(`PRAGMA journal_mode = wal`); err != nil {
		t.Fatal(err)
	}
}

// fillRows drops the indexes of large tables meanwhile: sorted once they are made
// much sooner.
func fillRows(t *testing.T, d *sql.DB, n storeSize) {
	t.Helper()
	run := func(text string) {
		if _, err := d.ExecContext(t.Context(), text); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	indexes := make(map[string]string)
	for _, row := range column(t, d, `SELECT name || ' ' || sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL`) {
		name, text, _ := strings.Cut(row[0], " ")
		indexes[name] = text
		run("DROP INDEX " + name)
	}
	text, err := os.ReadFile("testdata/bigstore.sql")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{"links": n.links, "blobs": n.blobs, "jobs": n.jobs, "hours": min(n.links, 2*365*24)}
	const step = 2_000_000 // rows of a transaction: each writes most pages of the indexes
	for part := range strings.SplitSeq(string(text), "\n\n") {
		what, statement, _ := strings.Cut(strings.TrimPrefix(part, "-- "), "\n")
		for from := 0; from < counts[what]; from += step {
			run(strings.NewReplacer("{from}", fmt.Sprint(from), "{to}", fmt.Sprint(min(from+step, counts[what])), "{links}", fmt.Sprint(n.links),
				"{blobs}", fmt.Sprint(n.blobs), "{jobs}", fmt.Sprint(n.jobs), "{now}", fmt.Sprint(time.Now().UnixMilli()),
				"{gap}", fmt.Sprint(2*365*24*time.Hour.Milliseconds()/int64(n.links))).Replace(statement))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(indexes)) {
		begin := time.Now()
		run(indexes[name])
		if took := time.Since(begin); took > time.Second {
			t.Logf("index %s: %v", name, took.Round(time.Second))
		}
	}
}

// fillBlobs writes the files of the store, in its folders.
func fillBlobs(t *testing.T, dir string, n int) {
	for i := range n {
		content := fmt.Appendf(nil, "blob %015d", i)
		name := fmt.Sprintf("%x", sha256.Sum256(content))
		path := filepath.Join(dir, name[:2], name)
		err := os.WriteFile(path, content, 0o600)
		if os.IsNotExist(err) {
			if err = os.Mkdir(filepath.Dir(path), 0o700); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// column reads rows of texts.
func column(t *testing.T, d *sql.DB, text string, args ...any) (out [][]string) {
	t.Helper()
	rows, err := d.QueryContext(t.Context(), text, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		row, to := make([]string, len(names)), make([]any, len(names))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		out = append(out, row)
	}
	return out
}

// likeRealMail sees that in every table the rows of the real mail, which came
// first, have twins among those that were made: the same columns are empty, and
// the others have the same types.
func likeRealMail(t *testing.T, path string) {
	t.Helper()
	d, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, table := range []string{"mails", "parts", "links", "link_parts", "downloads", "blobs", "jobs", "uploaded"} {
		var shape []string
		for _, c := range column(t, d, `SELECT name FROM pragma_table_info($1)`, table) {
			shape = append(shape, fmt.Sprintf(`typeof(%[1]s) || CASE WHEN typeof(%[1]s) IN ('text', 'blob') AND LENGTH(%[1]s) = 0 THEN ' empty' ELSE '' END`, c[0]))
		}
		shapes := `SELECT DISTINCT ` + strings.Join(shape, " || ',' || ") + ` FROM ` + table
		var made []string
		for _, row := range column(t, d, shapes+` WHERE rowid > 10`) {
			made = append(made, row[0])
		}
		for _, row := range column(t, d, shapes+` WHERE rowid = 1`) {
			if !slices.Contains(made, row[0]) {
				t.Errorf("%s: a row of real mail is\n%s\nthose that were made are\n%s", table, row[0], strings.Join(made, "\n"))
			}
		}
	}
}

func TestTheProgramOverAStoreOfManyYears(t *testing.T) {
	n, long := bigStore(t)
	d, web := openBigStore(t, n)
	m := &meter{t: t, long: long}
	if !long {
		likeRealMail(t, filepath.Join(d.Folder, "data", "cloakroom.db"))
	}
	m.starts(d)
	m.commands(d, n)
	m.pages(web, n)
	m.paint(web)
	m.throughput(d)
	m.stops(d)
	t.Logf("\n%s", strings.Join(m.lines, "\n"))
}
