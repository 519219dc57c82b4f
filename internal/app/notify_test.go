package app

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/diskspace"
)

func TestWatchdogIsNotFedByACheckThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "200000")

	var calls atomic.Int32
	release := make(chan struct{})
	check := func(context.Context) (string, error) {
		if calls.Add(1) == 1 {
			<-release // a disk that does not answer ends no system call, whatever the context says
		}
		return "", nil
	}
	n := &notifier{log: slog.New(slog.DiscardHandler)}
	n.ready("as ever")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { n.feed(ctx, check); close(ended) }()

	next := func() string {
		buffer := make([]byte, 1024)
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		k, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:k])
	}
	if got := next(); got != "READY=1\nSTATUS=as ever" {
		t.Errorf("%q", got)
	}
	for range 3 {
		if got := next(); !strings.HasPrefix(got, "STATUS=self-check failed: no end within") {
			t.Errorf("%q while the check hangs", got)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("%d checks wait for the same disk", calls.Load())
	}
	close(release)
	for got := next(); got != "WATCHDOG=1\nSTATUS=as ever"; got = next() {
		if !strings.HasPrefix(got, "STATUS=self-check failed") {
			t.Fatalf("%q", got)
		}
	}
	cancel()
	<-ended
}

func TestSelfCheckTellsOfADiskThatIsThere(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	const all = 1 << 62 // bytes: more than any disk has
	for _, c := range []struct {
		name, dir, warning string
		watermark          int64
		fails              bool
	}{
		{name: "with room", dir: dir},
		{name: "below the watermark", dir: dir, watermark: all, warning: "no links are made: disk of " + dir},
		{name: "gone", dir: filepath.Join(dir, "gone"), fails: true},
	} {
		check := selfCheck{store: &Store{Dir: c.dir, Space: diskspace.New(c.watermark, quiet, c.dir)}}
		warning, err := check.space()
		if !strings.HasPrefix(warning, c.warning) || (warning == "") != (c.warning == "") || (err != nil) != c.fails {
			t.Errorf("%s: %q, %v", c.name, warning, err)
		}
	}
}
