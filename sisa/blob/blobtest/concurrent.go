package blobtest

// Puts at the same time.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"cloakroom/sisa/blob"
)

func sameAtOnce(t *testing.T, s blob.Store) {
	b := Content(2<<20, 1)
	ref := RefOf(b)
	var made atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			existed, err := s.Put(t.Context(), ref, Writer(b, 64<<10))
			if err != nil {
				t.Error(err)
				return
			}
			if !existed {
				made.Add(1)
			}
			if !bytes.Equal(read(t, s, ref.SHA256), b) {
				t.Error("read something else")
			}
		})
	}
	wg.Wait()
	if made.Load() == 0 {
		t.Error("nobody made it")
	}
}

func failingAmongMany(t *testing.T, s blob.Store) {
	b := Content(1<<20, 1)
	ref := RefOf(b)
	broken := errors.New("broken")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if i%2 == 0 {
				existed, err := s.Put(t.Context(), ref, func(w io.Writer) error {
					w.Write(b[:1000])
					return broken
				})
				if !existed && !errors.Is(err, broken) {
					t.Errorf("existed %v, %v", existed, err)
				}
				return
			}
			if _, err := s.Put(t.Context(), ref, Writer(b, 64<<10)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if !bytes.Equal(read(t, s, ref.SHA256), b) {
		t.Error("read something else")
	}
}

func cancelWaiting(t *testing.T, s blob.Store) {
	b := Content(1000, 1)
	ref := RefOf(b)
	running, gate, first := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := s.Put(context.Background(), ref, func(w io.Writer) error {
			close(running)
			<-gate
			return Writer(b, 64<<10)(w)
		})
		first <- err
	}()
	<-running
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		_, err := s.Put(ctx, ref, func(w io.Writer) error {
			<-ctx.Done() // a store that does not wait gets here
			return ctx.Err()
		})
		second <- err
	}()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("the second: %v", err)
	}
	close(gate)
	if err := <-first; err != nil {
		t.Errorf("the first: %v", err)
	}
	if !bytes.Equal(read(t, s, ref.SHA256), b) {
		t.Error("read something else")
	}
}

func manyAtOnce(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			b := Content(1000*i, uint64(i))
			if _, err := s.Put(t.Context(), RefOf(b), Writer(b, 5000)); err != nil {
				t.Error(err)
			} else if !bytes.Equal(read(t, s, RefOf(b).SHA256), b) {
				t.Errorf("%d: read something else", i)
			}
		})
	}
	wg.Wait()
}
