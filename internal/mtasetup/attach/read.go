package attach

// Reading a Postfix: what postconf(1) says, and the way to the milter's socket.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"cloakroom/internal/mtasetup"
)

// snapshot is the configuration files as they were when they were looked at.
type snapshot map[string][]byte

func (p *Postfix) snapshot() (snapshot, error) {
	s := snapshot{}
	for _, name := range configFiles {
		text, err := os.ReadFile(p.file(name))
		if err != nil {
			return nil, fmt.Errorf("read Postfix's configuration: %w", err)
		}
		s[name] = text
	}
	return s, nil
}

// Machine reads what the plan has to know.
func (p *Postfix) Machine(ctx context.Context, set mtasetup.Settings) (*mtasetup.Machine, error) {
	m := &mtasetup.Machine{Folder: p.Folder, Explicit: map[string]bool{}}
	all, err := p.config(ctx)
	if err != nil {
		return nil, err
	}
	expanded, err := p.config(ctx, "-x")
	if err != nil {
		return nil, err
	}
	explicit, err := p.config(ctx, "-n")
	if err != nil {
		return nil, err
	}
	m.Main, m.Expanded = parameters(all), parameters(expanded)
	for name := range parameters(explicit) {
		m.Explicit[name] = true
	}
	m.Version = m.Main["mail_version"]
	if m.Services, err = p.services(ctx); err != nil {
		return nil, err
	}
	record, err := p.record()
	if err != nil && !errors.Is(err, ErrNothing) {
		return nil, err
	}
	if record != nil {
		m.Ours = record.Milters
	}
	m.Maps = p.tables(m.Main["default_database_type"])
	if path, ok := strings.CutPrefix(strings.Replace(set.Listen, "local:", "unix:", 1), "unix:"); ok {
		m.Socket = socketFacts(path, m.Expanded["mail_owner"])
	}
	return m, nil
}

// parameters reads "name = value" lines.
func parameters(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, "=")
		if ok {
			out[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return out
}

// services reads master.cf.
func (p *Postfix) services(ctx context.Context) ([]mtasetup.MasterService, error) {
	lines, err := p.config(ctx, "-M")
	if err != nil {
		return nil, err
	}
	overrides, err := p.config(ctx, "-P")
	if err != nil {
		return nil, err
	}
	var out []mtasetup.MasterService
	for line := range strings.Lines(lines) {
		// name type private unprivileged chroot wakeup limit command
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		out = append(out, mtasetup.MasterService{Name: f[0], Type: f[1], Chroot: f[4], Program: filepath.Base(f[7]), Overrides: map[string]string{}})
	}
	for place, value := range parameters(overrides) {
		service, name, ok := cutLast(place, '/')
		if !ok {
			continue
		}
		for i := range out {
			if out[i].ID() == service {
				out[i].Overrides[name] = value
			}
		}
	}
	return out, nil
}

func cutLast(s string, at byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, at)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// indexed are the files that a table of a type consists of, beside its source.
var indexed = map[string]string{"hash": ".db", "btree": ".db", "lmdb": ".lmdb", "cdb": ".cdb", "dbm": ".pag", "sdbm": ".pag"}

// tables tells which lookup tables of ours can be used.
func (p *Postfix) tables(kind string) map[string]bool {
	out := map[string]bool{}
	for name, ending := range map[string]string{"cloakroom": indexed[kind], "cloakroom-srs": ""} {
		if info, err := os.Stat(p.file(name) + ending); err == nil && info.Mode().IsRegular() {
			out[p.file(name)] = true
		}
	}
	return out
}

// socketFacts looks at the way to a socket, and at who has to go it.
func socketFacts(path, account string) *mtasetup.Socket {
	s := &mtasetup.Socket{Account: account}
	if u, err := user.Lookup(account); err == nil {
		s.UID, _ = strconv.Atoi(u.Uid)
		groups, _ := u.GroupIds()
		for _, g := range append(groups, u.Gid) {
			if id, err := strconv.Atoi(g); err == nil && !slices.Contains(s.GIDs, id) {
				s.GIDs = append(s.GIDs, id)
			}
		}
	} else {
		return nil // an account that is not there is Postfix's own complaint
	}
	var way []string
	for at := filepath.Clean(path); at != "/" && at != "."; at = filepath.Dir(at) {
		way = append(way, at)
	}
	slices.Reverse(way)
	for _, at := range way {
		step := mtasetup.PathStep{Path: at}
		info, err := os.Stat(at)
		if err != nil {
			step.Missing = errors.Is(err, fs.ErrNotExist)
			if !step.Missing {
				return nil // we may not look; whoever runs this as root may
			}
		} else {
			step.Mode = info.Mode()
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				step.UID, step.GID = int(st.Uid), int(st.Gid)
			}
		}
		s.Steps = append(s.Steps, step)
	}
	return s
}
