package sftp

// The copy-data extension (draft-ietf-secsh-filexfer-extensions-00 section 7),
// which the client library does not have: spoken on a channel of its own.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	pkgsftp "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"cloakroom/vault"
)

const (
	copyDataExtension = "copy-data"
	// copyPiece is how much is copied by one request, in bytes: little enough for
	// an answer within any sensible timeout.
	copyPiece = 16 << 20
	// maxAnswer bounds an answer, in bytes: what OpenSSH's own client accepts.
	maxAnswer = 256 << 10
)

// Packet types (draft-ietf-secsh-filexfer-02 section 3), flags and codes.
const (
	typeInit     = 1
	typeVersion  = 2
	typeOpen     = 3
	typeClose    = 4
	typeStatus   = 101
	typeHandle   = 102
	typeExtended = 200

	protocolVersion = 3

	openRead  = 1
	openWrite = 2

	statusOK         = 0
	statusEOF        = 1
	statusNoSuchFile = 2
	statusPermission = 3
)

// errSourceEnded says that the file to be copied is shorter than it was.
var errSourceEnded = errors.New("the file ends early")

// rawChannel is the second SFTP channel of a session. Whoever holds the token
// uses it.
type rawChannel struct {
	token  chan struct{} // capacity 1
	watch  watch
	in     io.Reader
	out    io.Writer
	lastID uint32
}

// copyData has the server copy the content's size from one file to another, which exists.
func (s *session) copyData(ctx context.Context, from, to string, c vault.Content) (err error) {
	r := &s.raw
	select {
	case r.token <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
		return errLost
	}
	defer func() { <-r.token }()
	if r.in == nil {
		if err := r.open(s.ssh); err != nil {
			return err
		}
	}
	source, err := r.openFile(from, openRead)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close(source)) }()
	target, err := r.openFile(to, openWrite)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close(target)) }()
	for done := int64(0); done < c.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(copyPiece, c.Size-done)
		if err := r.copyPiece(source, target, done, n); err != nil {
			return err
		}
		if done += n; c.Progress != nil {
			c.Progress(done)
		}
	}
	return nil
}

// open starts the channel and agrees on the version.
func (r *rawChannel) open(conn *ssh.Client) (err error) {
	in, out, err := openSFTP(conn, &r.watch)
	if err != nil {
		return err
	}
	r.in, r.out = in, out
	defer func() {
		if err != nil {
			r.in = nil
		}
	}()
	if err := r.send(typeInit, binary.BigEndian.AppendUint32(nil, protocolVersion)); err != nil {
		return err
	}
	kind, _, err := r.receive()
	if err == nil && kind != typeVersion {
		err = fmt.Errorf("the server answered with packet %d instead of its version", kind)
	}
	return err
}

func (r *rawChannel) openFile(path string, flags uint32) (handle string, err error) {
	kind, answer, err := r.ask(typeOpen, ssh.Marshal(struct {
		Path         string
		Flags, Attrs uint32
	}{path, flags, 0}))
	if err != nil {
		return "", err
	}
	var opened struct{ Handle string }
	if kind != typeHandle {
		return "", statusOf(kind, answer)
	}
	if err := ssh.Unmarshal(answer, &opened); err != nil {
		return "", fmt.Errorf("the server's handle of %s: %w", path, err)
	}
	return opened.Handle, nil
}

func (r *rawChannel) close(handle string) error {
	kind, answer, err := r.ask(typeClose, ssh.Marshal(struct{ Handle string }{handle}))
	if err != nil {
		return err
	}
	return statusOf(kind, answer)
}

// copyPiece copies n bytes at the same offset.
func (r *rawChannel) copyPiece(source, target string, offset, n int64) error {
	kind, answer, err := r.ask(typeExtended, ssh.Marshal(struct {
		Name          string
		Source        string
		Offset, Count uint64
		Target        string
		TargetOffset  uint64
	}{copyDataExtension, source, uint64(offset), uint64(n), target, uint64(offset)}))
	if err != nil {
		return err
	}
	return statusOf(kind, answer)
}

// ask sends a request and waits for its answer, whose id is cut off.
func (r *rawChannel) ask(kind byte, request []byte) (answerKind byte, answer []byte, err error) {
	r.lastID++
	if err := r.send(kind, append(binary.BigEndian.AppendUint32(nil, r.lastID), request...)); err != nil {
		return 0, nil, err
	}
	answerKind, answer, err = r.receive()
	if err != nil {
		return 0, nil, err
	}
	if len(answer) < 4 || binary.BigEndian.Uint32(answer) != r.lastID {
		return 0, nil, lost(errors.New("the server answers another request"))
	}
	return answerKind, answer[4:], nil
}

func (r *rawChannel) send(kind byte, payload []byte) error {
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)))
	_, err := r.out.Write(append(append(packet, kind), payload...))
	return lost(err)
}

func (r *rawChannel) receive() (kind byte, payload []byte, err error) {
	var length [4]byte
	if _, err := io.ReadFull(r.in, length[:]); err != nil {
		return 0, nil, lost(err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxAnswer {
		return 0, nil, fmt.Errorf("the server answers with %d bytes", n)
	}
	packet := make([]byte, n)
	if _, err := io.ReadFull(r.in, packet); err != nil {
		return 0, nil, lost(err)
	}
	return packet[0], packet[1:], nil
}

// lost is an error of the channel: it has ended.
func lost(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w (%w)", pkgsftp.ErrSSHFxConnectionLost, err)
}

// statusOf is the error that an answer tells, if it does.
func statusOf(kind byte, answer []byte) error {
	if kind != typeStatus || len(answer) < 4 {
		return fmt.Errorf("the server answered with packet %d", kind)
	}
	switch code := binary.BigEndian.Uint32(answer); code {
	case statusOK:
		return nil
	case statusEOF:
		return errSourceEnded
	case statusNoSuchFile:
		return fs.ErrNotExist
	case statusPermission:
		return fs.ErrPermission
	default:
		return &pkgsftp.StatusError{Code: code}
	}
}
