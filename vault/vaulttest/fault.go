package vaulttest

// What goes wrong: contents, contexts, connections, servers.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"cloakroom/vault"
)

func badContent(t *testing.T, f Fixture) {
	b := Bytes(300_000, 1)
	good := Content(b)
	other := slices.Clone(b)
	other[len(b)-1] ^= 1
	broken := errors.New("the blob cannot be read")
	failing := func(after int64) vault.Content {
		c := Watched(b, 10_000, func(read int64) error {
			if read >= after {
				return broken
			}
			return nil
		})
		return c
	}
	as := func(b []byte) vault.Content { // announced as good
		c := good
		c.Open = Content(b).Open
		return c
	}
	cannotOpen := good
	cannotOpen.Open = func() (io.ReadSeekCloser, error) { return nil, broken }
	for name, c := range map[string]struct {
		content vault.Content
		want    error
	}{
		"open fails":            {cannotOpen, broken},
		"read fails at once":    {failing(0), broken},
		"read fails in between": {failing(150_000), broken},
		"read fails at the end": {failing(300_000), broken},
		"too short":             {as(b[:len(b)-1]), vault.ErrContent},
		"nothing":               {as(nil), vault.ErrContent},
		"too long":              {as(append(slices.Clone(b), 0)), vault.ErrContent},
		"much too long":         {as(Bytes(largeSize, 2)), vault.ErrContent},
		"another byte":          {as(other), vault.ErrContent},
	} {
		err := f.Destination.Put(t.Context(), "bob/"+name, c.content, Attempt())
		var fault *vault.Fault
		if !errors.Is(err, c.want) || errors.As(err, &fault) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.wantNothing(t)
	if _, hidden := f.list(t); len(hidden) != 0 {
		t.Errorf("left behind: %q", hidden)
	}
}

func retry(t *testing.T, f Fixture) {
	b := Bytes(300_000, 1)
	c := Content(b)
	c.Open = Content(b[1:]).Open
	for range 10 { // more than there are connections
		if err := f.Destination.Put(t.Context(), "bob/a", c, Attempt()); !errors.Is(err, vault.ErrContent) {
			t.Fatal(err)
		}
	}
	put(t, f, "bob/a", b)
}

func cancelled(t *testing.T, f Fixture) {
	b := Bytes(largeSize, 1)
	for _, at := range []int64{0, 64 << 10, largeSize / 2, largeSize} {
		ctx, cancel := context.WithCancel(t.Context())
		var ended time.Time
		c := Watched(b, 64<<10, func(read int64) error {
			if read >= at && ended.IsZero() {
				ended = time.Now()
				cancel()
			}
			return nil
		})
		err := f.Destination.Put(ctx, "bob/a", c, Attempt())
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %d: %v", at, err)
		}
		if took := time.Since(ended); took > cancelLimit {
			t.Errorf("cancelled at %d: it took %v to end", at, took)
		}
		f.wantNothing(t)
	}
	put(t, f, "bob/a", b)
}

func ended(t *testing.T, f Fixture) {
	put(t, f, "bob/a", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for call, err := range everyCall(ctx, f.Destination) {
		if call == "copy" && errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", call, err)
		}
	}
	f.wantNothing(t, "bob/a")
	f.wantFile(t, "bob/a", []byte("x"))
}

func closed(t *testing.T, f Fixture) {
	put(t, f, "bob/a", []byte("x"))
	if err := f.Destination.Close(); err != nil {
		t.Error(err)
	}
	for call, err := range everyCall(t.Context(), f.Destination) {
		if call == "copy" && errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if err := f.Destination.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	f.wantNothing(t, "bob/a")
}

func closeUnderWay(t *testing.T, f Fixture) {
	var once sync.Once
	c := Watched(Bytes(largeSize, 1), 64<<10, func(read int64) error {
		if read >= largeSize/4 {
			once.Do(func() { f.Destination.Close() })
		}
		return nil
	})
	if err := f.Destination.Put(t.Context(), "bob/a", c, Attempt()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v", err)
	}
	f.wantNothing(t)
}

func progress(t *testing.T, f Fixture) {
	for _, size := range []int{0, 1, 100_000, largeSize} {
		c := Content(Bytes(size, 1))
		var mu sync.Mutex
		last, calls := int64(-1), 0
		c.Progress = func(sent int64) {
			mu.Lock()
			defer mu.Unlock()
			if sent < last || sent > int64(size) {
				t.Errorf("%d bytes: %d after %d", size, sent, last)
			}
			last = sent
			calls++
		}
		if err := f.Destination.Put(t.Context(), fmt.Sprintf("bob/%d", size), c, Attempt()); err != nil {
			t.Error(err)
		}
		mu.Lock()
		if last != int64(size) {
			t.Errorf("%d bytes: the last was %d", size, last)
		}
		if size == largeSize && calls < 5 {
			t.Errorf("%d bytes: told %d times", size, calls)
		}
		mu.Unlock()
	}
}

// memory compares the heap while a file passes that is larger than what we allow.
func memory(t *testing.T, f Fixture) {
	const (
		size  = 64 << 20
		limit = 24 << 20
	)
	var base, peak uint64
	next := int64(0)
	measure := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	c := Generated(size, 1, func(read int64) {
		if read >= next {
			next += 8 << 20
			peak = max(peak, measure())
		}
	})
	base = measure()
	if err := f.Destination.Put(t.Context(), "bob/large.bin", c, Attempt()); err != nil {
		t.Fatal(err)
	}
	if peak > base+limit {
		t.Errorf("%d bytes of heap for a file of %d", peak-base, int64(size))
	}
	if ok, err := f.Destination.Same(t.Context(), "bob/large.bin", c); err != nil || !ok {
		t.Errorf("same: %v, %v", ok, err)
	}
}

func killed(t *testing.T, f Fixture) {
	if f.Kill == nil {
		return // a folder has no connection
	}
	const rounds = 20
	b := Bytes(2<<20+7, 3)
	for round := range rounds {
		p := fmt.Sprintf("bob/killed %d", round)
		at := rand.Int64N(int64(len(b)) + 1)
		if round == 0 {
			at = int64(len(b)) // at the very end
		}
		var once sync.Once
		c := Watched(b, 64<<10, func(read int64) error {
			if read >= at {
				once.Do(func() { f.Kill(t) })
			}
			return nil
		})
		err := f.Destination.Put(t.Context(), p, c, Attempt())
		if _, statErr := os.Stat(f.file(p)); statErr == nil {
			f.wantFile(t, p, b) // also if we were told that it failed
		} else if err == nil {
			t.Fatalf("killed at %d: no error, and no file", at)
		}
		if err == nil {
			continue
		}
		wantFault(t, err, vault.OneFile, vault.Target)
		// The next attempt finds out.
		err = f.Destination.Put(t.Context(), p, Content(b), Attempt())
		if err != nil && !errors.Is(err, vault.ErrTaken) {
			t.Fatalf("killed at %d, then: %v", at, err)
		}
		f.wantFile(t, p, b)
		if ok, err := f.Destination.Same(t.Context(), p, Content(b)); err != nil || !ok {
			t.Errorf("same: %v, %v", ok, err)
		}
	}
	visible, _ := f.list(t)
	if len(visible) != rounds {
		t.Errorf("there are %q", visible)
	}
}

func hung(t *testing.T, f Fixture) {
	if f.Pause == nil {
		return // nothing answers for a folder
	}
	b := Bytes(largeSize, 1)
	put(t, f, "bob/before", b)
	limited := func(what string, call func() error) {
		t.Helper()
		began := time.Now()
		err := call()
		wantFault(t, err, vault.Target)
		if took := time.Since(began); took > f.Timeout+slack {
			t.Errorf("%s: it took %v to fail", what, took)
		}
	}
	defer f.Resume(t)

	f.Pause(t)
	var both sync.WaitGroup
	both.Go(func() {
		limited("same", func() error {
			_, err := f.Destination.Same(t.Context(), "bob/before", Content(b))
			return err
		})
	})
	both.Go(func() {
		limited("put", func() error {
			return f.Destination.Put(t.Context(), "bob/a", Content(b), Attempt())
		})
	})
	both.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), f.Timeout/10)
	began := time.Now()
	err := f.Destination.Put(ctx, "bob/a", Content(b), Attempt())
	cancel()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put with a short context: %v", err)
	}
	if took := time.Since(began); took > cancelLimit {
		t.Errorf("put with a short context: it took %v to fail", took)
	}
	f.Resume(t)
	put(t, f, "bob/a", b)

	var once sync.Once
	limited("put that is under way", func() error {
		return f.Destination.Put(t.Context(), "bob/b", Watched(b, 64<<10, func(read int64) error {
			if read >= largeSize/2 {
				once.Do(func() { f.Pause(t) })
			}
			return nil
		}), Attempt())
	})
	f.wantAbsent(t, "bob/b")
	f.Resume(t)
	if err := f.Destination.Put(t.Context(), "bob/b", Content(b), Attempt()); err != nil && !errors.Is(err, vault.ErrTaken) {
		t.Fatal(err)
	}
	f.wantFile(t, "bob/b", b)
}
