package ftps

// Sessions that are used by one call after the other.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// maxIdle is how long a session may be unused: less than the idle timeout of
// common servers (vsftpd 5 minutes, ProFTPD 10).
const maxIdle = time.Minute

// do calls f with a session, which ends when ctx or the destination does. Errors
// of f are faults already, or not ours. f tells whether the session can be used
// again.
func (d *FTPS) do(ctx context.Context, f func(ctx context.Context, s *session) (reusable bool, err error)) error {
	if d.life.Err() != nil {
		return d.verdict(ctx, d.life.Err())
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	select {
	case d.slots <- struct{}{}:
	case <-inner.Done():
		return d.verdict(ctx, inner.Err())
	}
	defer func() { <-d.slots }()

	s, err := d.session(inner)
	if err != nil {
		return d.verdict(ctx, err)
	}
	release := context.AfterFunc(inner, s.kill)
	reusable, err := f(inner, s)
	if !release() || !reusable || !d.keep(s) {
		s.kill()
	}
	return d.verdict(ctx, err)
}

// verdict puts the cause before its consequences.
func (d *FTPS) verdict(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case d.life.Err() != nil:
		return fmt.Errorf("FTP server %s: %w", d.address, fs.ErrClosed)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

// session is one that was used before and still answers, or a new one.
func (d *FTPS) session(ctx context.Context) (*session, error) {
	for {
		s := d.take()
		if s == nil {
			return d.dial(ctx)
		}
		release := context.AfterFunc(ctx, s.kill)
		err := s.NoOp()
		if release() && err == nil {
			return s, nil
		}
		s.kill()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // another would wait as long
			return nil, onConnect(fmt.Errorf("FTP server %s: %w", d.address, err))
		}
	}
}

// idle is a session that nobody uses.
type idle struct {
	session *session
	expire  *time.Timer
}

// keep lays a session aside, unless the destination is closed.
func (d *FTPS) keep(s *session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life.Err() != nil {
		return false
	}
	d.idle = append(d.idle, idle{s, time.AfterFunc(maxIdle, func() { d.expire(s) })})
	return true
}

// take gives the session that was used last, or nil.
func (d *FTPS) take() *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) == 0 {
		return nil
	}
	last := d.idle[len(d.idle)-1]
	d.idle = d.idle[:len(d.idle)-1]
	last.expire.Stop()
	return last.session
}

// expire ends a session that nobody has taken.
func (d *FTPS) expire(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, e := range d.idle {
		if e.session == s {
			d.idle = append(d.idle[:i], d.idle[i+1:]...)
			go s.leave()
			return
		}
	}
}

// leave says goodbye.
func (s *session) leave() {
	_ = s.Quit()
	s.kill()
}

// Close implements vault.Destination.
func (d *FTPS) Close() error {
	d.end() // sessions in use are killed
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.idle {
		e.expire.Stop()
		e.session.kill()
	}
	d.idle = nil
	return nil
}

// lock keeps other calls of this process from path until unlock. Servers that
// ignore case have one file for names that differ in it.
func (d *FTPS) lock(ctx context.Context, path string) (unlock func(), err error) {
	key := foldPath(path)
	for {
		d.mu.Lock()
		other, busy := d.locked[key]
		if !busy {
			mine := make(chan struct{})
			d.locked[key] = mine
			d.mu.Unlock()
			return func() {
				d.mu.Lock()
				delete(d.locked, key)
				d.mu.Unlock()
				close(mine)
			}, nil
		}
		d.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
