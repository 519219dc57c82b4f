package test

// The figures of the sizing formula in docs/operations.md: what a mail with a link
// leaves in the database and the journal, what it costs the disk, and what a
// connection of the MTA costs. Run it with -v to see them.

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	sizedMails       = 80
	sizedSenders     = 8
	sizedConnections = 200

	// What docs/operations.md promises, in bytes, with room for other machines.
	mostPerMail       = 8 << 10   // in the database, after a mail with one link
	mostJournal       = 6 << 10   // in the journal
	mostPerConnection = 128 << 10 // of memory
)

// bytesBelow sums up the files below a path whose name begins like it.
func bytesBelow(t *testing.T, prefix string) (sum int64) {
	t.Helper()
	names, err := filepath.Glob(prefix + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		err := filepath.WalkDir(name, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			sum += info.Size()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return sum
}

// syncs counts the syncs of a process until stop is called; -1 without strace.
func syncs(t *testing.T, process string) (stop func() int) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "strace")
	cmd := exec.Command("strace", "-f", "-e", "trace=fsync,fdatasync", "-o", out, "-p", filepath.Base(process))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return func() int { return -1 }
	}
	time.Sleep(time.Second) // to attach
	return func() int {
		time.Sleep(time.Second)
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait() // it ends as it was told to
		return len(regexp.MustCompile(`(?m)(fsync|fdatasync)\(\d+`).FindAllString(mustRead(t, out), -1))
	}
}

func openFiles(t *testing.T, process string) int {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestSizingFigures(t *testing.T) {
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	data := filepath.Join(d.Folder, "data")
	mails := func(from int, concurrent int) {
		var group sync.WaitGroup
		for s := range concurrent {
			group.Go(func() {
				for n := s; n < sizedMails/2; n += concurrent {
					content := random(20<<10, int64(5000+from+n))
					send(t, p, alice, []string{bob}, toCRLF(compose(alice, []string{bob}, fmt.Sprintf("sized-%d", from+n), file{"plan.pdf", "application/pdf", content})))
				}
			})
		}
		group.Wait()
	}
	send(t, p, alice, []string{bob}, toCRLF(compose(alice, []string{bob}, "first", file{"first.pdf", "application/pdf", random(20<<10, 4999)})))
	d.stop()
	database, journal := bytesBelow(t, filepath.Join(data, "cloakroom.db")), bytesBelow(t, filepath.Join(data, "journal"))

	d.start()
	process := d.process()
	stop := syncs(t, process)
	mails(0, 1)
	alone := stop()
	stop = syncs(t, process)
	mails(sizedMails/2, sizedSenders)
	together := stop()

	before, files := usageOf(t, process).memory, openFiles(t, process)
	var conns []net.Conn
	for range sizedConnections {
		conn, err := net.Dial("tcp", strings.TrimPrefix(d.MilterAddr, "inet:"))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for end := time.Now().Add(20 * time.Second); openFiles(t, process) < files+sizedConnections-20 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	more, moreFiles := usageOf(t, process).memory, openFiles(t, process)
	for _, conn := range conns {
		conn.Close()
	}
	d.stop()

	perMail := (bytesBelow(t, filepath.Join(data, "cloakroom.db")) - database) / sizedMails
	perJournal := (bytesBelow(t, filepath.Join(data, "journal")) - journal) / sizedMails
	perConnection := (more - before) / sizedConnections
	t.Logf("a mail with one link: %d bytes in the database, %d in the journal", perMail, perJournal)
	t.Logf("syncs a mail: %.1f one after the other, %.1f with %d at once", float64(alone)/(sizedMails/2), float64(together)/(sizedMails/2), sizedSenders)
	t.Logf("memory %.1f MB, %d files; %d idle connections: %.1f MB, %d files; %d bytes each", float64(before)/(1<<20), files,
		sizedConnections, float64(more)/(1<<20), moreFiles, perConnection)
	if perMail > mostPerMail || perMail < 500 || perJournal > mostJournal || perJournal < 500 {
		t.Errorf("a mail takes %d bytes in the database and %d in the journal", perMail, perJournal)
	}
	if perConnection > mostPerConnection || moreFiles-files > sizedConnections+20 {
		t.Errorf("a connection takes %d bytes and %d files", perConnection, (moreFiles-files)/sizedConnections)
	}
}
