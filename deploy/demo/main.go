// Command demo shows Cloakroom at work: it starts the built program, a private
// Postfix and a private OpenSSH server, sends real mail, prints what became of it, checks all of it
// against what was sent, and removes everything. "make demo" runs it.
//
// main.go says what happens when; the steps themselves are in tour.go.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitFailed      = 1   // something did not hold
	exitUsage       = 2   // as package flag has it
	exitInterrupted = 130 // as a shell reports an interrupt: 128 and SIGINT
)

// patience bounds the whole tour, which takes a few seconds.
const patience = 3 * time.Minute

func main() {
	binary := flag.String("binary", "bin/cloakroom", "the built `program`")
	keep := flag.Bool("keep", false, "stay up after the tour, for mail of your own, until Ctrl-C")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(exitUsage)
	}
	os.Exit(run(*binary, *keep))
}

// run goes on the tour, tells how it went, and cleans up in any case.
func run(binary string, keep bool) int {
	interrupt, release := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer release()
	began := time.Now()
	t := &tour{screen: newScreen(os.Stdout), binary: binary}
	t.introduce()
	err := t.goThrough(interrupt)
	if err == nil && len(t.failed) > 0 {
		err = fmt.Errorf("%d of %d checks did not hold; the first: %s", len(t.failed), len(t.failed)+t.held, t.failed[0])
	}
	took := time.Since(began)
	interrupted := interrupt.Err() != nil
	if keep && t.postfix != nil && !interrupted {
		t.stay(interrupt, err)
	}
	if err != nil && !interrupted {
		t.report(err)
	}
	stopErr := t.stop()
	switch {
	case stopErr != nil:
		fmt.Fprintf(os.Stderr, "demo: not everything ended well: %v\n", stopErr)
		return exitFailed
	case interrupted:
		t.line("\nInterrupted. Everything that was started is stopped and removed.")
		return exitInterrupted
	case err != nil:
		return exitFailed
	}
	t.line("")
	t.line("")
	t.line(t.style(bold, fmt.Sprintf("All %d checks held, in %.1f seconds.", t.held, took.Seconds())) +
		" Everything that was started is stopped and removed.")
	if !keep {
		t.line("To try it with mail of your own: make demo KEEP=1")
	}
	return 0
}

// goThrough takes the steps one after the other.
func (t *tour) goThrough(interrupt context.Context) error {
	ctx, cancel := context.WithTimeout(interrupt, patience)
	defer cancel()
	var err error
	t.step("A private Postfix, with Cloakroom as its milter, and a private SFTP server as its vault")
	// The servers outlive the tour: they end with stop.
	if t.servers, err = start(interrupt, t.binary); err != nil {
		return err
	}
	t.showServers()
	for _, next := range []struct {
		title string
		take  func(context.Context) error
	}{
		{"Ann sends files to Bob, and to Dave who is elsewhere", t.firstMail},
		{"What Bob and Dave get", t.firstDelivery},
		{"Bob fetches the files", t.download},
		{"Why each part stayed or went", t.explain},
		{"The same file again, in another mail, under another name", t.secondMail},
		{"A signed mail is not touched", t.signedMail},
		{"The vault: a copy of each file, where people can browse", t.vault},
		{"What the administrator sees", t.administration},
	} {
		t.step(next.title)
		if err := next.take(ctx); err != nil {
			return fmt.Errorf("step %d, %q: %w", t.steps, next.title, err)
		}
	}
	return nil
}

// report tells of a failure, and keeps the logs.
func (t *tour) report(failure error) {
	fmt.Fprintf(os.Stderr, "\ndemo: %v\n", failure)
	if t.postfix == nil {
		return // what does not start says why, with its log
	}
	name, err := t.saveLogs()
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: the logs could not be kept: %v\n", err)
		return
	}
	fmt.Fprintf(os.Stderr, "demo: the logs of Cloakroom, Postfix and OpenSSH are in %s; everything else is removed\n", name)
}
