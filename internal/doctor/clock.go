package doctor

// The clock: links expire by it, signatures and logs are compared by it.

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// wrongClock and doubtfulClock are how far it may be from others' before links
	// expire at the wrong time, and before logs cannot be compared.
	wrongClock    = 2 * time.Minute
	doubtfulClock = 5 * time.Second
)

// Clock asks the kernel whether somebody keeps the time, and compares it with
// that of the data directory's file system, which may be a server's.
func Clock(dir string) []Line {
	now := time.Now()
	if apart, err := filesystemClock(dir, now); err == nil && apart.Abs() > doubtfulClock {
		l := warn("keep the time of both hosts by NTP", "the file system of %s is %s apart from this host's clock", dir, short(apart.Abs()))
		if apart.Abs() > wrongClock {
			l.State = Wrong
		}
		return []Line{l}
	}
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return []Line{warn("", "whether the clock is kept cannot be seen: %v", err)}
	}
	return synchronised(t.Status&unix.STA_UNSYNC == 0, now)
}

func synchronised(kept bool, now time.Time) []Line {
	words := now.Format("2006-01-02 15:04:05 -07:00")
	if !kept {
		return []Line{warn("run chrony, ntpd or systemd-timesyncd (timedatectl set-ntp true)", "%s; the kernel says that nobody keeps it", words)}
	}
	return []Line{ok("%s, synchronised", words)}
}

// filesystemClock makes a file and compares its time.
func filesystemClock(dir string, now time.Time) (time.Duration, error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("time of a file: %w", err)
	}
	return info.ModTime().Sub(now), nil
}
