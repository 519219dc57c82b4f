package mtasetup

// Whether Postfix reaches a UNIX socket: from inside its chroot, and as its own
// account.

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Socket is what is known of the path to milter.listen.
type Socket struct {
	Steps   []PathStep // from the root to the socket
	Account string     // mail_owner, as which Postfix's daemons connect
	UID     int
	GIDs    []int // its group, and those it is a member of
}

// PathStep is a folder on the way, or the socket.
type PathStep struct {
	Path     string
	Missing  bool
	Mode     fs.FileMode
	UID, GID int
}

// allows tells whether an account has one of the rights r (4), w (2), x (1).
func (p PathStep) allows(s *Socket, right fs.FileMode) bool {
	switch {
	case s.UID == 0:
		return true
	case p.UID == s.UID:
		return p.Mode.Perm()&(right<<6) != 0
	case slices.Contains(s.GIDs, p.GID):
		return p.Mode.Perm()&(right<<3) != 0
	}
	return p.Mode.Perm()&right != 0
}

// socket looks at a milter on a UNIX socket.
func (b *postfix) socket() {
	path, isSocket := strings.CutPrefix(b.address, "unix:")
	if !isSocket {
		return
	}
	if strings.HasPrefix(path, "/") {
		b.outside(path)
	}
	if b.m.Socket != nil {
		if level, text := b.reach(b.m.Socket); text != "" {
			b.remark(level, "%s", text)
		}
	}
}

// outside tells who cannot see a socket outside of the queue folder.
func (b *postfix) outside(path string) {
	var jailed []string
	for i := range b.m.Services {
		s := &b.m.Services[i]
		speaks := s.Program == "cleanup" || slices.ContainsFunc(b.listening, func(l listener) bool { return l.ours && l.MasterService == s })
		if speaks && b.m.chrooted(s) {
			jailed = append(jailed, s.ID())
		}
	}
	if len(jailed) > 0 {
		b.remark(Problem, "milter.listen is unix:%s, which %s cannot see: chrooted in %s (master.cf). Set milter.listen to unix:%s/cloakroom/milter.sock, a folder that the service makes for this, or to inet:127.0.0.1:8891",
			path, strings.Join(jailed, ", "), b.m.queue(), b.m.queue())
	}
}

// reach tells why an account cannot connect, or that it may not.
func (b *postfix) reach(s *Socket) (Level, string) {
	for i, step := range s.Steps {
		last := i == len(s.Steps)-1
		switch {
		case step.Missing && last:
			return b.unborn(s, s.Steps[i-1], step.Path)
		case step.Missing:
			return Warning, fmt.Sprintf("%s does not exist: is Cloakroom's service running? Until it is, mail waits", step.Path)
		case !last && !step.allows(s, 1):
			return Problem, fmt.Sprintf("the account %s cannot enter %s (%s): it does not reach Cloakroom's socket. Make the folder's group one of %s's, with the right x", s.Account, step.Path, step.Mode, s.Account)
		case last && step.Mode&fs.ModeSocket == 0:
			return Problem, fmt.Sprintf("%s is not a socket", step.Path)
		case last && !step.allows(s, 2):
			return Problem, fmt.Sprintf("the account %s cannot write to %s (%s): put it into the socket's group, or make that the group of a folder with mode 2750, or set milter.socket_mode", s.Account, step.Path, step.Mode)
		}
	}
	return "", ""
}

// unborn foretells a socket whose daemon is not running.
func (b *postfix) unborn(s *Socket, folder PathStep, path string) (Level, string) {
	open := b.set.SocketMode&0o002 != 0
	byGroup := folder.Mode&fs.ModeSetgid != 0 && slices.Contains(s.GIDs, folder.GID) && b.set.SocketMode&0o020 != 0
	if open || byGroup {
		return Info, path + " is not there yet; its folder lets Postfix connect once Cloakroom runs"
	}
	return Warning, fmt.Sprintf("%s is not there yet, and %s may not be allowed to write to it: its folder does not hand on a group of %s's. Run this again while Cloakroom runs", path, s.Account, s.Account)
}
