package app

// As whom `cloakroom doctor` looks: what root sees too easily is looked at by a
// second process of the account that the daemon has.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cloakroom/internal/doctor"
)

// killDelay is how long a process that was told to end may hold its pipes open.
const killDelay = 200 * time.Millisecond

// Owner is the account that a data directory belongs to, and so the daemon's; nil
// where this process is not root, or has no other to become. A folder that is
// root's by accident is looked at as whom its database belongs to.
func Owner(data string) *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, path := range []string{data, filepath.Join(data, databaseName)} {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return credential(st.Uid, st.Gid)
		}
	}
	return nil
}

// credential has the groups of an account, as a service manager gives them to it:
// it may reach a socket or a key by one.
func credential(uid, gid uint32) *syscall.Credential {
	c := &syscall.Credential{Uid: uid, Gid: gid}
	u, err := user.LookupId(strconv.Itoa(int(uid)))
	if err != nil {
		return c
	}
	if own, err := strconv.ParseUint(u.Gid, 10, 32); err == nil {
		c.Gid = uint32(own)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return c
	}
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	return c
}

// LookAs has this program make checks as another account: args are those of
// `doctor` besides --json. Its lines come back; what cannot be had is one line.
func (d *Doctor) LookAs(ctx context.Context, limit time.Duration, who *syscall.Credential, args []string) []doctor.Line {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	name := (&doctor.Account{UID: int(who.Uid)}).String()
	if u, err := user.LookupId(strconv.Itoa(int(who.Uid))); err == nil {
		name = u.Username
	}
	failed := func(err error) []doctor.Line {
		return []doctor.Line{{Check: "config", State: doctor.Wrong, Text: fmt.Sprintf("%s, to whom the data belongs, cannot look: %v", name, err),
			Fix: "see what it says; sudo -u " + name + " cloakroom doctor repeats it"}}
	}
	program, err := os.Executable()
	if err != nil {
		return failed(err)
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"--config", d.ConfigFile, "doctor", "--json"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	cmd.Dir, cmd.WaitDelay = "/", killDelay
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err = cmd.Run()
	var r doctor.Report
	if json.Unmarshal(out.Bytes(), &r) == nil && r.Schema == doctor.Schema {
		for i := range r.Lines {
			if r.Lines[i].Check == "config" {
				r.Lines[i].Text = "as " + name + ", to whom the data belongs: " + r.Lines[i].Text
			}
		}
		return r.Lines
	}
	if err == nil {
		err = errors.New("its answer is no report")
	}
	return failed(errors.Join(err, errors.New(strings.TrimSpace(complaint.String()))))
}
