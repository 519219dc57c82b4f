package diskspace

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/spool/smalldisk"
)

// watched is a watch whose clock stands still until it is told.
func watched(watermark int64, folders ...string) (w *Watch, tick func(), log *bytes.Buffer) {
	log = new(bytes.Buffer)
	w = New(watermark, slog.New(slog.NewTextHandler(log, nil)), folders...)
	var now time.Duration
	w.clock = func() time.Duration { return now }
	return w, func() { now += lookEvery }, log
}

func fill(t *testing.T, dir, name string, size int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAShortageBeginsAtTheWatermarkAndEndsAQuarterAboveIt(t *testing.T) {
	disk := smalldisk.Dir(t)
	if disk == "" {
		return
	}
	const watermark = 512 << 10
	w, tick, log := watched(watermark, t.TempDir(), disk)
	// What is filled in steps, and whether that is a shortage.
	for _, step := range []struct {
		filled int
		low    bool
	}{{0, false}, {500 << 10, false}, {600 << 10, true}, {500 << 10, true}, {450 << 10, true}, {300 << 10, false}, {500 << 10, false}, {600 << 10, true}, {0, false}} {
		fill(t, disk, "ballast", step.filled)
		tick()
		why := w.Low()
		if (why != "") != step.low {
			t.Errorf("%d KB filled of 1 MB: %q, want low %v", step.filled>>10, why, step.low)
		}
		if why != "" && (!strings.Contains(why, disk) || !strings.Contains(why, "free of 1.0 MB")) {
			t.Errorf("the reason is %q", why)
		}
	}
	if n := strings.Count(log.String(), "nearly full"); n != 2 {
		t.Errorf("%d shortages were logged, want 2:\n%s", n, log)
	}
	if n := strings.Count(log.String(), "room again"); n != 2 {
		t.Errorf("%d ends were logged, want 2:\n%s", n, log)
	}
}

func TestInodesRunOutToo(t *testing.T) {
	disk := smalldisk.With(t, "size=10m,nr_inodes=500")
	if disk == "" {
		return
	}
	w, tick, _ := watched(1, disk)
	if why := w.Low(); why != "" {
		t.Fatal(why)
	}
	for n := 0; ; n++ {
		f, err := os.Create(filepath.Join(disk, fmt.Sprint(n)))
		if err != nil {
			break
		}
		f.Close()
	}
	tick()
	if why := w.Low(); !strings.Contains(why, "0 inodes free of 500") {
		t.Errorf("without inodes: %q", why)
	}
	for n := range 10 {
		os.Remove(filepath.Join(disk, fmt.Sprint(n)))
	}
	tick()
	if why := w.Low(); why != "" {
		t.Errorf("with inodes again: %q", why)
	}
}

func TestTheDiskIsLookedAtOnceASecond(t *testing.T) {
	disk := smalldisk.Dir(t)
	if disk == "" {
		return
	}
	w, tick, log := watched(512<<10, disk)
	w.Low()
	fill(t, disk, "ballast", 800<<10)
	if why := w.Low(); why != "" {
		t.Errorf("looked again within a second: %q", why)
	}
	tick()
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { w.Low() })
	}
	group.Wait()
	if w.Low() == "" {
		t.Error("not looked at after a second")
	}
	if n := strings.Count(log.String(), "nearly full"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	w.SetWatermark(0)
	if why := w.Low(); why != "" {
		t.Errorf("turned off: %q", why)
	}
	w.SetWatermark(512 << 10)
	if w.Low() == "" {
		t.Error("turned on again: nothing is low")
	}
}

func TestWhatCannotBeSeenStaysAsItWas(t *testing.T) {
	disk := smalldisk.Dir(t)
	if disk == "" {
		return
	}
	inner := filepath.Join(disk, "data")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	w, tick, log := watched(512<<10, inner)
	fill(t, disk, "ballast", 800<<10)
	if w.Low() == "" {
		t.Fatal("not low")
	}
	os.Remove(inner)
	for range 3 {
		tick()
		if w.Low() == "" {
			t.Error("a folder that is gone ends the shortage")
		}
	}
	if n := strings.Count(log.String(), "not known"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
	if _, err := Of(inner); err == nil {
		t.Error("a folder that is gone has room")
	}
}
