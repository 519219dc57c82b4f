package testserver

// A private Sendmail.

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed sendmail.sh
var sendmailScript string

// sendmailReadyTimeout bounds the wait for the daemon's start, which takes 0.4 s
// on an idle machine.
const sendmailReadyTimeout = 30 * time.Second

// sendmailHost is the instance's host name.
const sendmailHost = "mx.acmecorp.test"

// SendmailOptions describes a private Sendmail.
type SendmailOptions struct {
	// Dir is the parent of the instance's own folder, as in PostfixOptions.
	Dir string
	// MilterAddr is the milter of all listeners, in the words of PostfixOptions:
	// "inet:127.0.0.1:8891" or "unix:/path". "": no milter.
	MilterAddr string
	// DefaultAction is what happens to mail while the milter cannot be reached or
	// breaks off, in Postfix's words: tempfail (F=T), reject (F=R), shutdown (F=4)
	// or accept (no flag, Sendmail's own default). "" is tempfail.
	DefaultAction string
	// MilterTimeouts is T= of the milter, such as "C:10s;S:10s;R:10s;E:5m";
	// "" leaves it to Sendmail.
	MilterTimeouts string
	// Routes says where mail for domains goes: domain to "host:port", such as
	// the address of a Sink. Mail for other domains bounces.
	Routes map[string]string
	// QueueInterval is the time between two runs of the queue, in which every
	// message is tried again; 0 is one second, the least there is.
	QueueInterval time.Duration
	// Macros are further lines of the .mc file, such as define(`confX', `Y')dnl.
	Macros []string
	// Listeners are further values of DAEMON_OPTIONS, such as
	// "Name=own, Addr=127.0.0.1, Port=10026, InputMailFilters=".
	Listeners []string
	// Port is where its SMTP service listens; 0 is a free one.
	Port int
}

// Sendmail is a private, running Sendmail. It has no mailboxes: a Sink takes
// the mail.
type Sendmail struct {
	programs *sendmailPrograms
	folder   string
	port     int
	guard    *guard
	log      *syslogFile

	stop    sync.Once
	stopErr error
	lastLog string // the log as it was before its file was removed
}

// StartSendmail starts a Sendmail that listens on 127.0.0.1. It runs until Stop
// is called, ctx ends or this process dies. A milter should listen before.
//
// Readiness is read from the log, so that the first connection a milter sees is
// the caller's. Sendmail is started by root, as Postfix is, and needs the right
// to unshare its host name and its mounts.
func StartSendmail(ctx context.Context, opt SendmailOptions) (*Sendmail, error) {
	if err := checkPrivilege(ctx); err != nil {
		return nil, err
	}
	programs, err := findSendmail()
	if err != nil {
		return nil, fmt.Errorf("start Sendmail: %w", err)
	}
	for attempt := 1; ; attempt++ {
		s, err := startSendmail(ctx, programs, opt)
		if err == nil {
			return s, nil
		}
		if attempt == portAttempts || opt.Port != 0 || !errors.Is(err, errPortTaken) {
			return nil, fmt.Errorf("start Sendmail: %w", err)
		}
	}
}

// sendmailPrograms is an unpacked Sendmail.
type sendmailPrograms struct {
	installation
	sendmail string // the program itself
	macros   string // the folder of its configuration macros
	m4       string
}

func findSendmail() (*sendmailPrograms, error) {
	in, err := unpacked("sendmail")
	if err != nil {
		return nil, err
	}
	p := &sendmailPrograms{installation: *in,
		sendmail: in.path("/usr/libexec/sendmail/sendmail"), macros: in.path("/usr/share/sendmail/cf"), m4: in.path("/usr/bin/m4")}
	if !executable(p.m4) {
		p.m4 = lookPath("m4")
	}
	return p, nil
}

// startSendmail is one attempt, on one port.
func startSendmail(ctx context.Context, programs *sendmailPrograms, opt SendmailOptions) (*Sendmail, error) {
	port, err := opt.Port, error(nil)
	if port == 0 {
		port, err = FreePort()
	}
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(opt.Dir, "cloakroom-sendmail-*")
	if err != nil {
		return nil, err
	}
	s := &Sendmail{programs: programs, folder: folder, port: port}
	if err := s.launch(ctx, opt); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	// Sendmail goes on trying for minutes where a port is taken.
	taken := false
	err = s.guard.waitReady(ctx, sendmailReadyTimeout, func() bool {
		log := s.Log()
		taken = strings.Contains(log, "cannot bind")
		return taken || strings.Contains(log, "started as:") && s.listens(opt)
	})
	if taken {
		err = errPortTaken
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w; its log: %q", explainEnd(err, port), s.Log()), s.Stop())
	}
	return s, nil
}

// listenerPort is the port in a value of DAEMON_OPTIONS.
var listenerPort = regexp.MustCompile(`Port=(\d+)`)

// listens tells whether all listeners do, which no line of the log tells. It does
// not connect: a milter would see that.
func (s *Sendmail) listens(opt SendmailOptions) bool {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return true // whoever connects will see
	}
	ports := []int{s.port}
	for _, l := range opt.Listeners {
		if m := listenerPort.FindStringSubmatch(l); m != nil {
			port, _ := strconv.Atoi(m[1]) // digits
			ports = append(ports, port)
		}
	}
	for _, port := range ports {
		// local address, remote address, state: 0A is LISTEN (proc(5))
		if !bytes.Contains(table, fmt.Appendf(nil, ":%04X 00000000:0000 0A ", port)) {
			return false
		}
	}
	return true
}

// launch writes the configuration and starts the daemon under a guard.
func (s *Sendmail) launch(ctx context.Context, opt SendmailOptions) error {
	if err := s.configure(ctx, opt); err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("log of Sendmail: %w", err)
	}
	defer log.Close()
	if s.log, err = listenSyslog(filepath.Join(s.folder, "syslog"), s.logFile()); err != nil {
		return err
	}
	interval := opt.QueueInterval
	if interval == 0 {
		interval = time.Second
	}
	s.guard, err = startGuard(ctx, guarded{
		argv:       s.argv("-C", s.configFile("sendmail"), "-bD", fmt.Sprintf("-q%ds", int(max(interval, time.Second).Seconds()))),
		env:        s.env(),
		folder:     s.folder,
		signal:     "TERM",
		log:        log,
		privileged: true,
	})
	return err
}

// argv is a call of the program as sendmail.sh prepares it.
func (s *Sendmail) argv(args ...string) []string {
	return append([]string{"/bin/sh", "-c", sendmailScript, "sendmail.sh", s.folder, sendmailHost, s.programs.sendmail}, args...)
}

// env is what the program and sendmail.sh need in their environment.
func (s *Sendmail) env() []string {
	return append([]string{"CLOAKROOM_SCRIPT=" + sendmailScript}, s.programs.env()...)
}

// SMTPAddr is the address of its SMTP service.
func (s *Sendmail) SMTPAddr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Folder is the instance's own folder: etc/sendmail.cf is its configuration, log
// its log, and queue its queue. It is gone after Stop.
func (s *Sendmail) Folder() string { return s.folder }

// Log is what Sendmail has logged so far; after Stop, what it had logged until then.
func (s *Sendmail) Log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return s.lastLog
	}
	return string(text)
}

// WaitLog waits until the log has a text.
func (s *Sendmail) WaitLog(ctx context.Context, text string) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !strings.Contains(s.Log(), text) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			log := s.Log()
			return fmt.Errorf("Sendmail did not log %q: %w:\n%s", text, ctx.Err(), log[max(0, len(log)-logTailBytes):])
		}
	}
	return nil
}

// Stop ends Sendmail and removes its folder, with all mail in its queue. Later
// calls return what the first returned.
func (s *Sendmail) Stop() error {
	s.stop.Do(func() {
		s.lastLog = s.Log()
		if s.guard != nil {
			s.stopErr = s.guard.stop()
		}
		if s.log != nil {
			s.log.close()
		}
		// The guard has removed the folder, unless it never ran.
		if err := os.RemoveAll(s.folder); err != nil && s.stopErr == nil {
			s.stopErr = err
		}
		if s.stopErr != nil {
			s.stopErr = fmt.Errorf("stop Sendmail: %w", s.stopErr)
		}
	})
	return s.stopErr
}

func (s *Sendmail) logFile() string { return filepath.Join(s.folder, "log") }

func (s *Sendmail) configFile(name string) string {
	return filepath.Join(s.folder, "etc", name+".cf")
}
