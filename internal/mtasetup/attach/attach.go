// Package attach carries out the plans of mtasetup on this machine: it reads a
// Postfix by postconf(1), changes it by postconf(1) with a backup and a record of
// what was there, and takes the changes back. For Sendmail it edits a marked
// block of sendmail.mc.
//
// Whatever fails on the way, the files are put back as they were.
package attach

// A Postfix instance and its programs.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Errors that callers tell apart.
var (
	ErrNoPostfix   = errors.New("no postconf on the PATH or in /usr/sbin: is Postfix installed on this host?")
	ErrNothing     = errors.New("nothing to undo: no set-up was applied here")
	ErrMoved       = errors.New("the configuration was changed while it was being looked at; try again")
	ErrOtherSetup  = errors.New("another set-up is at work in this folder")
	ErrUnreachable = errors.New("nothing answers there")
)

// Postfix is an instance: a configuration folder, and the programs for it.
type Postfix struct {
	home
	postconf string
	postfix  string
	edited   func() // after each change by postconf; nil but in tests, see settle
}

// Open finds Postfix's programs; folder is the instance's configuration, "" for
// Postfix's own default.
func Open(ctx context.Context, folder string) (*Postfix, error) {
	p := &Postfix{home: home{like: "main.cf"}}
	for _, place := range []string{"postconf", "/usr/sbin/postconf", "/usr/local/sbin/postconf"} {
		if path, err := exec.LookPath(place); err == nil {
			p.postconf = path
			break
		}
	}
	if p.postconf == "" {
		return nil, ErrNoPostfix
	}
	p.postfix = filepath.Join(filepath.Dir(p.postconf), "postfix")
	if folder == "" {
		out, err := run(ctx, p.postconf, "-h", "config_directory")
		if err != nil {
			return nil, err
		}
		folder = strings.TrimSpace(out)
	}
	var err error
	p.Folder, err = filepath.Abs(folder)
	if err != nil {
		return nil, fmt.Errorf("folder of Postfix's configuration: %w", err)
	}
	for _, name := range configFiles {
		if _, err := os.Stat(filepath.Join(p.Folder, name)); err != nil {
			return nil, fmt.Errorf("configuration of Postfix: %w", err)
		}
	}
	return p, nil
}

// configFiles are what postconf edits.
var configFiles = []string{"main.cf", "master.cf"}

// config runs postconf(1) for this instance.
func (p *Postfix) config(ctx context.Context, args ...string) (string, error) {
	return run(ctx, p.postconf, append([]string{"-c", p.Folder}, args...)...)
}

// edit runs a postconf(1) that changes a file.
func (p *Postfix) edit(ctx context.Context, args ...string) error {
	_, err := p.config(ctx, args...)
	if p.edited != nil {
		p.edited()
	}
	return err
}

// Check runs "postfix check". What it finds may only be in the mail log.
func (p *Postfix) Check(ctx context.Context) error {
	out, err := run(ctx, p.postfix, "-c", p.Folder, "check")
	if err != nil {
		return fmt.Errorf("%w (the mail log has the reason)%s", err, out)
	}
	return nil
}

// Reload tells a running Postfix to read its configuration again.
func (p *Postfix) Reload(ctx context.Context) error {
	_, err := run(ctx, p.postfix, "-c", p.Folder, "reload")
	return err
}

// run runs a program; the error has what it said.
func run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(complaint.String())
		if text != "" {
			text = ": " + text
		}
		return out.String(), fmt.Errorf("%s %s: %w%s", filepath.Base(program), strings.Join(args, " "), err, text)
	}
	return out.String(), nil
}
