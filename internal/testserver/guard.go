package testserver

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

//go:embed guard.sh
var guardScript string

// stopTimeout bounds the wait for a server's end: guard.sh's own patience of
// 10 s before it kills, and some time to remove files.
const stopTimeout = 20 * time.Second

// guard is a running server together with what ends it; see guard.sh.
type guard struct {
	hold    *os.File      // the write end of the guard's standard input
	done    chan struct{} // closed when the guard has ended
	status  error         // how the server ended; set before done is closed
	log     string        // name of the log file
	release func() bool
	stopped sync.Once
}

// guarded says what a guard runs.
type guarded struct {
	argv       []string
	env        []string // added to this process's environment
	folder     string   // removed at the end; "": nothing is
	signal     string   // asks the server to stop: TERM, INT
	log        *os.File // takes standard output and error
	privileged bool     // run as root, by sudo if need be
	account    *account // run as this account; nil: as the caller
}

// startGuard starts a server. It ends with ctx, with stop, or with this process.
func startGuard(ctx context.Context, g guarded) (*guard, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	argv := append([]string{"/bin/sh", "-c", guardScript, "guard.sh", g.signal, g.folder}, g.argv...)
	// Not CommandContext: its kill would end the guard and leave the server.
	var cmd *exec.Cmd
	if g.privileged {
		cmd = asRoot(argv, g.env)
	} else {
		cmd = exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), g.env...)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to the guard: %w", err)
	}
	defer read.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = read, g.log, g.log
	cmd.Dir = "/"
	// A group of its own: an interrupt typed at the terminal reaches us, and we stop the server in good order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if g.account != nil {
		cmd.SysProcAttr.Credential = g.account.credential()
	}
	if err := cmd.Start(); err != nil {
		write.Close()
		return nil, fmt.Errorf("start %s: %w", g.argv[0], err)
	}
	running := &guard{hold: write, done: make(chan struct{}), log: g.log.Name()}
	go func() {
		running.status = cmd.Wait() // its status is the server's
		close(running.done)
	}()
	running.release = context.AfterFunc(ctx, func() { running.hold.Close() })
	return running, nil
}

// endMark is what guard.sh logs when the server is gone.
const endMark = "guard.sh: the server ended"

// ended tells whether the server has ended.
func (g *guard) ended() bool {
	select {
	case <-g.done: // the guard itself did not get far
		return true
	default:
	}
	log, err := os.ReadFile(g.log)
	return err == nil && bytes.Contains(log, []byte(endMark))
}

// tell sends the server a signal, such as HUP.
func (g *guard) tell(signal string) error {
	if _, err := io.WriteString(g.hold, signal+"\n"); err != nil {
		return fmt.Errorf("send the server SIG%s: %w", signal, err)
	}
	return nil
}

// stop ends the server and waits until its processes and files are gone.
func (g *guard) stop() error {
	g.stopped.Do(func() {
		g.release()
		g.hold.Close()
	})
	select {
	case <-g.done:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("the server did not end within %v", stopTimeout)
	}
}

// waitReady polls ready until it says yes. It fails when the server ends
// before, after limit, or with ctx.
func (g *guard) waitReady(ctx context.Context, limit time.Duration, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !ready() {
		if g.ended() {
			return errEnded
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		}
	}
	return nil
}

// Why a server is not ready.
var (
	errEnded     = errors.New("the server ended before it was ready")
	errPortTaken = errors.New("somebody else took its port meanwhile")
)

// explainEnd adds errPortTaken to errEnded if port is in use.
func explainEnd(err error, port int) error {
	if !errors.Is(err, errEnded) {
		return err
	}
	l, listenErr := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if listenErr != nil {
		return fmt.Errorf("%w: %w", err, errPortTaken)
	}
	l.Close()
	return err
}

// pollInterval is how often a server's state is looked at: short beside the
// 50 ms in which Postfix is ready.
const pollInterval = 10 * time.Millisecond
