package sftp

// What the server's errors mean for the work that waits.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"

	pkgsftp "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"cloakroom/vault"
)

// Status codes (draft-ietf-secsh-filexfer-02 section 7, and -13 section 9.1 for
// those that some servers send although they speak version 3).
const (
	statusFailure       = 4
	statusUnsupported   = 8
	statusExists        = 11
	statusWriteProtect  = 12
	statusNoSpace       = 14
	statusQuotaExceeded = 15
)

// minFreeSpace is how much room a file system has that is not full, in bytes:
// less than this is what OpenSSH means when it only says that it failed.
const minFreeSpace = 1 << 20

// readOnlyFlag is ST_RDONLY of statvfs@openssh.com.
const readOnlyFlag = 1

func accessFault(err error, hint string) error {
	return &vault.Fault{Scope: vault.Access, Hint: hint, Err: err}
}

// dialFault is what it means that there is no connection.
func dialFault(ctx context.Context, err error) error {
	var wrongKey *hostKeyError
	var algorithms *ssh.AlgorithmNegotiationError
	var dns *net.DNSError
	switch {
	case errors.Is(ctx.Err(), context.Canceled): // closed meanwhile
		return fs.ErrClosed
	case errors.As(err, &wrongKey):
		return accessFault(fmt.Errorf("connect: %w", err), wrongKey.hint)
	case errors.As(err, &algorithms):
		return accessFault(fmt.Errorf("connect: %w", err),
			"the server has no host key of the kind that is known here, or is too old for today's algorithms")
	case strings.Contains(err.Error(), "unable to authenticate"): // the package has no type for it
		return accessFault(fmt.Errorf("log in: %w", err),
			"the server does not accept the key or password: look at user, and at authorized_keys and the log on the server")
	case errors.Is(err, errRefused):
		return accessFault(err, "the account must be allowed to use SFTP: see Subsystem and ForceCommand in the server's sshd_config")
	}
	hint := "is the server running, and does a firewall let us through?"
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		hint = "there is no such host: look at address"
	case errors.Is(err, io.ErrUnexpectedEOF):
		hint = "the server let us in and then closed the connection: its log tells why (often the owner or mode of ChrootDirectory)"
	}
	return &vault.Fault{Scope: vault.Target, Hint: hint, Err: fmt.Errorf("connect: %w", err)}
}

// place is what a path is for; it decides whom an error concerns.
type place int

const (
	inSpace   place = iota // what users see
	inStaging              // our own folder: without it nothing works
)

// fault is what it means that an operation on path failed. Errors that say it
// already stay as they are.
func (s *session) fault(err error, what, path string, where place) error {
	var known *vault.Fault
	if err == nil || errors.As(err, &known) || errors.Is(err, vault.ErrTaken) || errors.Is(err, vault.ErrContent) {
		return err
	}
	text := fmt.Errorf("%s %s: %w", what, path, err)
	if cause, over := s.whyOver(err); over {
		return lostFault(fmt.Errorf("%s %s: %w", what, path, cause), cause)
	}
	var status *pkgsftp.StatusError
	switch {
	case errors.Is(err, fs.ErrPermission) && where == inStaging:
		return accessFault(text, "the account must be able to write in the base folder")
	case errors.Is(err, fs.ErrPermission):
		return &vault.Fault{Scope: vault.ThisPath, Err: text,
			Hint: "give the account the right to write in this folder (and to search those above it)"}
	case errors.Is(err, fs.ErrNotExist) && where == inStaging:
		return accessFault(text, "the base folder must exist: make it, or look at base")
	case errors.As(err, &status):
		if blocker := s.blocker(path); blocker != "" && where == inSpace {
			return &vault.Fault{Scope: vault.ThisPath, Err: text, Hint: fmt.Sprintf("%s is not a folder: move it away", blocker)}
		}
		return s.statusFault(status, text, path)
	}
	return &vault.Fault{Scope: vault.OneFile, Err: text}
}

// whyOver tells whether err comes from the end of the session, and its cause.
func (s *session) whyOver(err error) (error, bool) {
	if cause, over := s.over(); over {
		return cause, true
	}
	// The news may be here before the end is.
	if errors.Is(err, pkgsftp.ErrSSHFxConnectionLost) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		s.end(errLost)
		return s.over()
	}
	return nil, false
}

// lostFault is what the end of a connection means.
func lostFault(err, cause error) error {
	switch {
	case errors.Is(cause, fs.ErrClosed):
		return err
	case errors.Is(cause, errStuck), errors.Is(cause, errSilent):
		return &vault.Fault{Scope: vault.Target, Hint: "the server hangs: look at its disks and its network", Err: err}
	}
	return &vault.Fault{Scope: vault.OneFile, Err: err}
}

// blocker is what stands above path and is not a folder, if there is such.
func (s *session) blocker(path string) string {
	for parent := parentOf(path); parent != path; path, parent = parent, parentOf(parent) {
		if info, err := s.files.Stat(parent); err == nil {
			if info.IsDir() {
				return ""
			}
			return parent
		}
	}
	return ""
}

// statusFault looks behind what the server said, which with OpenSSH is often
// just "Failure".
func (s *session) statusFault(status *pkgsftp.StatusError, text error, path string) error {
	full := &vault.Fault{Scope: vault.Target, Hint: "make room on the server, or raise the account's quota", Err: text}
	said := strings.ToLower(status.Error())
	switch status.Code {
	case statusNoSpace, statusQuotaExceeded:
		return full
	case statusWriteProtect:
		return &vault.Fault{Scope: vault.Target, Hint: "the file system is read-only", Err: text}
	case statusUnsupported:
		return &vault.Fault{Scope: vault.ThisPath, Hint: "the server cannot do this", Err: text}
	case statusFailure:
		if strings.Contains(said, "no space") || strings.Contains(said, "quota") {
			return full
		}
		if reason := s.fileSystem(path); reason != nil {
			reason.Err = fmt.Errorf("%w (%w)", text, reason.Err)
			return reason
		}
	}
	return &vault.Fault{Scope: vault.OneFile, Err: text,
		Hint: "the server gives no reason: its log may (a quota is one, or a name that is too long)"}
}

// fileSystem asks whether the one that holds path is full or read-only.
func (s *session) fileSystem(path string) *vault.Fault {
	if _, ok := s.files.HasExtension("statvfs@openssh.com"); !ok {
		return nil
	}
	var state *pkgsftp.StatVFS
	for { // what does not exist yet is asked for above
		var err error
		if state, err = s.files.StatVFS(path); err == nil {
			break
		}
		parent := parentOf(path)
		if parent == path || !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		path = parent
	}
	switch {
	case state.Flag&readOnlyFlag != 0:
		return &vault.Fault{Scope: vault.Target, Err: errors.New("the file system is read-only"),
			Hint: "look at the server's disks: Linux does this to a broken one"}
	case state.Bavail*state.Frsize < minFreeSpace:
		return &vault.Fault{Scope: vault.Target, Err: errors.New("the disk is full"), Hint: "make room on the server"}
	case state.Files > 0 && state.Favail == 0:
		return &vault.Fault{Scope: vault.Target, Err: errors.New("the file system has no inodes left"), Hint: "make room on the server"}
	}
	return nil
}
