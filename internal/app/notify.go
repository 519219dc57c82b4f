package app

// What a service manager hears from the daemon (sd_notify(3)): that it is
// ready, reloads, stops, and, as the watchdog's food, that it could handle a
// mail now. Without a service manager nothing is said.

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notifier talks to the service manager.
type notifier struct {
	log *slog.Logger

	mu     sync.Mutex
	status string // the last one that is not about a failed check
}

// say sends lines of the protocol.
func (n *notifier) say(lines ...string) {
	if _, err := sd.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		n.log.Warn("the service manager cannot be told", "message", lines[0], "err", err)
	}
}

// ready says that mail can come. status is for people who ask systemctl.
func (n *notifier) ready(status string) {
	n.keep(status)
	n.say(sd.SdNotifyReady, "STATUS="+status)
}

// tell says how things stand, at once.
func (n *notifier) tell(status string) {
	n.keep(status)
	n.say("STATUS=" + oneLine(status))
}

const (
	// patienceFirst is when a start takes long: the service manager is asked for
	// more time then, and again after each patienceEvery. patienceTime is how much
	// it is asked for: its own 90 s are not enough for a new index of ten million
	// mails.
	patienceFirst = time.Second
	patienceEvery = 5 * time.Second
	patienceTime  = time.Minute
)

// patience asks for more time to start, again and again until enough is called.
func (n *notifier) patience(status string) (enough func()) {
	end := make(chan struct{})
	go func() {
		beat := time.NewTimer(patienceFirst)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				beat.Reset(patienceEvery)
				n.say(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", patienceTime.Microseconds()), "STATUS="+status)
			case <-end:
				return
			}
		}
	}()
	return func() { close(end) }
}

// reloading says that the configuration is being read; ready ends it.
func (n *notifier) reloading() {
	lines := []string{sd.SdNotifyReloading}
	if now := sd.SdNotifyMonotonicUsec(); now != "" {
		lines = append(lines, now)
	}
	n.say(append(lines, "STATUS=reading the configuration")...)
}

// stopping says that the end has begun.
func (n *notifier) stopping() {
	status := "stopping: messages and downloads in flight finish first"
	n.keep(status)
	n.say(sd.SdNotifyStopping, "STATUS="+status)
}

func (n *notifier) keep(status string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status = status
}

func (n *notifier) kept() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}

// feed feeds the watchdog until ctx ends, twice in the time that it waits (which
// sd_watchdog_enabled(3) recommends), and only after a check that passed. A
// check is waited for less than a beat: then two good ones are never further
// apart than the watchdog allows. One that hangs is not joined by others.
func (n *notifier) feed(ctx context.Context, check func(context.Context) (warning string, err error)) {
	patience, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("watchdog: WATCHDOG_USEC or WATCHDOG_PID cannot be read, it is not fed", "err", err)
	}
	if err != nil || patience <= 0 {
		return
	}
	beat := time.NewTicker(patience / 2)
	defer beat.Stop()
	f := &feeder{notifier: n, check: check, limit: patience * 5 / 16, wait: patience * 3 / 8}
	for {
		select {
		case <-beat.C:
			f.beat(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// feeder remembers from one beat to the next.
type feeder struct {
	*notifier
	check   func(context.Context) (warning string, err error)
	limit   time.Duration // for a check, which is told to give up then
	wait    time.Duration // for its answer
	pending chan verdict  // of a check that did not end in time; nil: none
	failing bool          // the last check failed, which is logged
	warned  bool          // the last one that passed had a warning, which is logged
}

// verdict is what a check found.
type verdict struct {
	warning string
	err     error
}

// beat checks once, and feeds if all is well.
func (f *feeder) beat(life context.Context) {
	if f.pending == nil {
		found := make(chan verdict, 1)
		f.pending = found
		go func() {
			ctx, cancel := context.WithTimeout(life, f.limit)
			defer cancel()
			warning, err := f.check(ctx)
			found <- verdict{warning, err}
		}()
	}
	var v verdict
	select {
	case v = <-f.pending:
		f.pending = nil
	case <-time.After(f.wait):
		v.err = fmt.Errorf("no end within %v: is the disk gone?", f.wait)
	case <-life.Done():
	}
	if life.Err() != nil {
		return // the daemon ends, and with it what was looked at
	}
	f.report(v)
}

// report tells the service manager, and the log where something changed.
func (f *feeder) report(v verdict) {
	if v.err != nil {
		if !f.failing {
			f.log.Error("self-check failed: the watchdog is not fed", "err", v.err)
		}
		f.failing = true
		f.say("STATUS=self-check failed: " + oneLine(v.err.Error()))
		return
	}
	if f.failing {
		f.log.Info("self-check passes again")
	}
	f.failing = false
	if warn := v.warning != ""; warn != f.warned {
		f.warned = warn
		if warn {
			f.log.Warn("self-check: " + v.warning)
		}
	}
	status := f.kept()
	if v.warning != "" {
		status = v.warning + "; " + status
	}
	f.say(sd.SdNotifyWatchdog, "STATUS="+status)
}

// oneLine keeps a text within one line of the protocol.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
