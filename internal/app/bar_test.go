package app

// The progress bar, on a terminal and off it.

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProgressOffATerminalIsARareLine(t *testing.T) {
	var out bytes.Buffer
	b := NewBar(&out)
	b.Show(1, 4, "x")
	if out.Len() != 0 {
		t.Errorf("at once: %q", out.String())
	}
	b.last = b.last.Add(-logEvery)
	b.Show(1, 4, "x files")
	b.Show(2, 4, "x files")
	b.End()
	if out.String() != " 25% x files\n" {
		t.Errorf("%q", out.String())
	}
}

func TestProgressOnATerminalFitsItsLine(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal("no pseudo terminals: ", err)
	}
	defer master.Close()
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 60}); err != nil {
		t.Fatal(err)
	}
	b := NewBar(master)
	if b.width != 60 {
		t.Fatalf("width %d", b.width)
	}
	var out bytes.Buffer
	b.w = &out
	for _, wait := range []time.Duration{barEvery, 5 * time.Second} {
		b.begin = b.begin.Add(-wait)
		b.last = b.last.Add(-wait)
		b.Show(1<<40, 2<<40, strings.Repeat("long ", 20))
	}
	b.End()
	lines := strings.Split(out.String(), "\r\x1b[K")
	if len(lines) != 4 || !strings.HasPrefix(lines[1], " 50% [###############...............] long") || lines[3] != "" {
		t.Fatalf("%q", lines)
	}
	for _, l := range lines {
		if len(l) >= 60 {
			t.Errorf("%d columns: %q", len(l), l)
		}
	}
}

func TestWhatTakesLongIsToldOnATerminalOnly(t *testing.T) {
	var out bytes.Buffer
	b := NewBar(&out)
	stop := b.Wait("reading all names")
	time.Sleep(sayAfter + 200*time.Millisecond)
	stop()
	b.width = 8                   // of which the last stays free
	b.Wait("reading all names")() // it was quick
	if out.Len() != 0 {
		t.Errorf("%q", out.String())
	}
	stop = b.Wait("reading all names")
	time.Sleep(sayAfter + 200*time.Millisecond)
	stop()
	if out.String() != "\r\x1b[Kreading\r\x1b[K" {
		t.Errorf("%q", out.String())
	}
}
