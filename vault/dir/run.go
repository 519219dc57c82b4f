package dir

// Calls that end with their context, also while the kernel waits for a file
// server that does not answer: such a thread cannot be interrupted, only left.

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"cloakroom/vault"
)

// abandonGrace is how long a call whose context has ended may take to clean up
// before it is left alone.
const abandonGrace = 2 * time.Second

// run calls f, which calls beat after every step. It returns without f when the
// context has ended or no step ends in time; f then still holds its slot.
func (d *Dir) run(ctx context.Context, f func(ctx context.Context, beat func()) error) error {
	if err := d.acquire(ctx); err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()

	beats := make(chan struct{}, 1)
	beat := func() {
		select {
		case beats <- struct{}{}:
		default:
		}
	}
	done := make(chan error, 1)
	go func() {
		err := f(inner, beat)
		<-d.slots
		done <- err
	}()

	watch := time.NewTimer(d.cfg.Timeout)
	defer watch.Stop()
	for {
		select {
		case err := <-done:
			return d.verdict(ctx, err)
		case <-beats:
			watch.Reset(d.cfg.Timeout)
		case <-inner.Done():
			select {
			case err := <-done:
				return d.verdict(ctx, err)
			case <-time.After(abandonGrace):
				d.abandon(done)
				return d.verdict(ctx, inner.Err())
			}
		case <-watch.C:
			d.abandon(done)
			return hangs(d.cfg)
		}
	}
}

// abandon leaves a call alone, and counts it until it ends.
func (d *Dir) abandon(done <-chan error) {
	d.stuck.Add(1)
	go func() {
		<-done
		d.stuck.Add(-1)
	}()
}

// acquire waits for a slot.
func (d *Dir) acquire(ctx context.Context) error {
	watch := time.NewTicker(d.cfg.Timeout)
	defer watch.Stop()
	for {
		if err := d.verdict(ctx, d.life.Err()); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case d.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
		case <-d.life.Done():
		case <-watch.C:
			if int(d.stuck.Load()) >= cap(d.slots) {
				return hangs(d.cfg)
			}
		}
	}
}

// verdict puts the cause before its consequences.
func (d *Dir) verdict(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case d.life.Err() != nil:
		return fmt.Errorf("folder %s: %w", d.cfg.Base, fs.ErrClosed)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

func hangs(cfg Config) error {
	return &vault.Fault{Scope: vault.Target, Hint: "does the file server answer?",
		Err: fmt.Errorf("folder %s: nothing happened within %v", cfg.Base, cfg.Timeout)}
}
