package testserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// cloakroomReadyTimeout bounds the wait for the daemon's "ready", which takes
// 100 ms on an idle machine.
const cloakroomReadyTimeout = 20 * time.Second

// CloakroomOptions describes a daemon with a configuration and data of its own.
type CloakroomOptions struct {
	// Binary is the built program.
	Binary string
	// Folder is an existing folder for configuration and data, which is left as
	// it is at the end, so that another daemon can go on with it. "" is a new
	// one, removed at the end.
	Folder string
	// MilterAddr is where the milter listens, in the words of PostfixOptions:
	// "inet:127.0.0.1:8891" or "unix:/path"; "" is a free port.
	MilterAddr string
	// MilterConfig holds more lines for the milter section: `socket_mode: "0666"`.
	MilterConfig []string
	// WebAddr is the host:port of the pages, 127.0.0.1 and a free port if "".
	WebAddr string
	// Config is the rest of the configuration: YAML below the keys hostname,
	// domains, data, milter.listen and web, which are given. Without a section
	// admin there is no listener for administrators.
	Config string
	// Files are further files beside the configuration, such as one with users:
	// their content by name.
	Files map[string]string
}

// Cloakroom is a running daemon.
type Cloakroom struct {
	opt     CloakroomOptions
	binary  string
	folder  string
	guard   *guard
	stop    sync.Once
	stopErr error
	log     *os.File // can be read to the end even when its name is gone
}

// StartCloakroom runs "cloakroom serve" and waits until it is ready. It runs
// until Stop is called, ctx ends or this process dies.
func StartCloakroom(ctx context.Context, opt CloakroomOptions) (*Cloakroom, error) {
	for attempt := 1; ; attempt++ {
		c, err := startCloakroom(ctx, opt)
		if err == nil {
			return c, nil
		}
		// A port that the caller chose is not ours to exchange.
		ours := opt.MilterAddr == "" || opt.WebAddr == ""
		if attempt == portAttempts || !ours || !errors.Is(err, errPortTaken) {
			return nil, fmt.Errorf("start cloakroom: %w", err)
		}
	}
}

// startCloakroom is one attempt.
func startCloakroom(ctx context.Context, opt CloakroomOptions) (*Cloakroom, error) {
	c := &Cloakroom{opt: opt}
	var err error
	if c.binary, err = filepath.Abs(opt.Binary); err != nil {
		return nil, err
	}
	if c.folder, err = filepath.Abs(opt.Folder); err != nil {
		return nil, err
	}
	if err := c.choosePorts(); err != nil {
		return nil, err
	}
	removed := "" // the guard's to remove
	if opt.Folder == "" {
		if c.folder, err = newFolder("", "cloakroom-data-*"); err != nil {
			return nil, err
		}
		removed = c.folder
	}
	if err := c.launch(ctx, removed); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	ready := func() bool { return strings.Contains(c.Log(), "msg=ready") }
	if err := c.guard.waitReady(ctx, cloakroomReadyTimeout, ready); err != nil {
		log := c.Log()
		if strings.Contains(log, "address already in use") {
			err = fmt.Errorf("%w: %w", err, errPortTaken)
		}
		_ = c.Stop() // what went wrong was said before
		return nil, fmt.Errorf("%w; its log:\n%s", err, log)
	}
	return c, nil
}

// choosePorts fills in the addresses that were left open.
func (c *Cloakroom) choosePorts() error {
	for prefix, addr := range map[string]*string{"inet:": &c.opt.MilterAddr, "": &c.opt.WebAddr} {
		if *addr != "" {
			continue
		}
		port, err := FreePort()
		if err != nil {
			return err
		}
		*addr = fmt.Sprintf("%s127.0.0.1:%d", prefix, port)
	}
	return nil
}

// launch writes the configuration and starts the daemon under a guard, which
// removes a folder at the end.
func (c *Cloakroom) launch(ctx context.Context, removed string) error {
	if err := c.Configure(c.opt.Config); err != nil {
		return err
	}
	for name, content := range c.opt.Files {
		if err := os.WriteFile(filepath.Join(c.folder, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("configure cloakroom: %w", err)
		}
	}
	// Each daemon in a folder has a log file of its own: an earlier one keeps what it logged.
	if err := os.Remove(c.LogFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("log of cloakroom: %w", err)
	}
	var err error
	if c.log, err = os.OpenFile(c.LogFile(), os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_RDWR, 0o644); err != nil {
		return fmt.Errorf("log of cloakroom: %w", err)
	}
	c.guard, err = startGuard(ctx, guarded{
		argv:   []string{c.binary, "--config", c.ConfigFile(), "serve"},
		folder: removed, signal: "TERM", log: c.log,
	})
	return err
}

// Configure writes the configuration file anew, with config as its variable
// part. A running daemon takes notice at Signal("HUP").
func (c *Cloakroom) Configure(config string) error {
	milter := strings.Join(append([]string{"listen: " + c.opt.MilterAddr}, c.opt.MilterConfig...), "\n  ")
	if !strings.HasPrefix(config, "admin:") && !strings.Contains(config, "\nadmin:") {
		config = "admin: {listen: \"\"}\n" + config // one port cannot serve several daemons
	}
	text := fmt.Sprintf("hostname: mx.acmecorp.test\ndomains: [acmecorp.test]\ndata: %s\nmilter:\n  %s\nweb:\n  listen: %s\n  url: %s\n%s",
		filepath.Join(c.folder, "data"), milter, c.opt.WebAddr, c.WebURL(), config)
	if err := os.WriteFile(c.ConfigFile(), []byte(text), 0o644); err != nil {
		return fmt.Errorf("configure cloakroom: %w", err)
	}
	return nil
}

// MilterAddr is where the milter listens, as PostfixOptions takes it.
func (c *Cloakroom) MilterAddr() string { return c.opt.MilterAddr }

// WebURL is where links lead to, and web.url of the configuration.
func (c *Cloakroom) WebURL() string { return "http://" + c.opt.WebAddr }

// Folder holds the configuration, the log and the data.
func (c *Cloakroom) Folder() string { return c.folder }

// ConfigFile is the configuration, for --config.
func (c *Cloakroom) ConfigFile() string { return filepath.Join(c.folder, "cloakroom.yaml") }

// LogFile is what the daemon logs to.
func (c *Cloakroom) LogFile() string { return filepath.Join(c.folder, "cloakroom.log") }

// Log is what the daemon has logged so far; after Stop, what it logged in all.
func (c *Cloakroom) Log() string {
	if c.log == nil {
		return ""
	}
	text, err := io.ReadAll(io.NewSectionReader(c.log, 0, math.MaxInt64))
	if err != nil {
		return fmt.Sprintf("the log cannot be read: %v", err)
	}
	return string(text)
}

// WaitLog waits until the log has a text. When ctx or the daemon ends first,
// the error has the log.
func (c *Cloakroom) WaitLog(ctx context.Context, text string) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !strings.Contains(c.Log(), text) {
		if c.guard.ended() {
			return fmt.Errorf("cloakroom ended without logging %q:\n%s", text, c.Log())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cloakroom did not log %q: %w:\n%s", text, ctx.Err(), c.Log())
		}
	}
	return nil
}

// Signal sends the daemon a signal by its short name, such as HUP.
func (c *Cloakroom) Signal(name string) error { return c.guard.tell(name) }

// Run runs a command of the program beside the daemon, with its configuration.
// The exit code is -1 when it could not be run at all.
func (c *Cloakroom) Run(ctx context.Context, stdin io.Reader, args ...string) (stdout, stderr string, code int) {
	cmd := exec.CommandContext(ctx, c.binary, append([]string{"--config", c.ConfigFile()}, args...)...)
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &complaint
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return "", err.Error(), -1
	}
	return out.String(), complaint.String(), cmd.ProcessState.ExitCode()
}

// Stop ends the daemon with SIGTERM and waits until it and, if StartCloakroom
// made it, its folder are gone. The error tells of an exit code that is not 0.
// Later calls return what the first returned.
func (c *Cloakroom) Stop() error {
	c.stop.Do(func() {
		if c.guard != nil {
			if c.stopErr = c.guard.stop(); c.stopErr == nil {
				c.stopErr = c.guard.status
			}
		}
		if c.opt.Folder == "" {
			c.stopErr = errors.Join(c.stopErr, os.RemoveAll(c.folder))
		}
		if c.stopErr != nil {
			c.stopErr = fmt.Errorf("stop cloakroom: %w", c.stopErr)
		}
	})
	return c.stopErr
}
