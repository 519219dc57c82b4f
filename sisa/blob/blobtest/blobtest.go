// Package blobtest holds the properties that every blob store must have. A
// store's own tests call Run.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"cloakroom/sisa/blob"
)

// largeSize is the size in bytes of the largest blob tried: above what a mail
// system commonly lets through, and above any buffer or part size of a store.
const largeSize = 30 << 20

// Run checks a store. open returns an empty one; it is called once for every
// property and registers its own cleanup.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s blob.Store)
	}{
		{"what is put is read back", roundTrip},
		{"a blob is put once", once},
		{"a missing blob is ErrNotExist", missing},
		{"content that does not match is refused", mismatch},
		{"an error of the content leaves nothing", contentError},
		{"an error of the content can be followed by success", retry},
		{"a content that hides the write error is refused", hiddenError},
		{"a cancelled put leaves nothing", cancelled},
		{"a context that has ended does nothing", ended},
		{"puts of one blob at once all succeed", sameAtOnce},
		{"one failing put does not fail the others", failingAmongMany},
		{"a put that waits can be cancelled", cancelWaiting},
		{"puts of many blobs at once all succeed", manyAtOnce},
		{"a deleted blob is gone", deleted},
		{"an open blob can be read after it was deleted", readDeleted},
		{"walk sees every blob", walk},
		{"walk stops at an error", walkStops},
		{"walk allows deleting", walkDeletes},
		{"seeking and reading at offsets", seek},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// Content makes a reproducible content of n bytes that does not compress.
func Content(n int, seed uint64) []byte {
	b := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	rand.NewChaCha8(key).Read(b)
	return b
}

// RefOf is the reference of a content.
func RefOf(b []byte) blob.Ref { return blob.Ref{SHA256: sha256.Sum256(b), Size: int64(len(b))} }

// Writer is a content function that writes b in pieces of the given size.
func Writer(b []byte, piece int) func(io.Writer) error {
	return func(w io.Writer) error {
		for rest := b; len(rest) > 0; {
			n, err := w.Write(rest[:min(piece, len(rest))])
			if err != nil {
				return fmt.Errorf("content: %w", err)
			}
			rest = rest[n:]
		}
		return nil
	}
}

func put(t *testing.T, s blob.Store, b []byte) blob.Ref {
	t.Helper()
	ref := RefOf(b)
	if _, err := s.Put(t.Context(), ref, Writer(b, 40_000)); err != nil {
		t.Fatal(err)
	}
	return ref
}

func read(t *testing.T, s blob.Store, sha [32]byte) []byte {
	t.Helper()
	f, err := s.Open(t.Context(), sha)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != f.Size() {
		t.Errorf("read %d bytes of %d", len(b), f.Size())
	}
	return b
}

// wantNothing checks that the store is empty.
func wantNothing(t *testing.T, s blob.Store, ref blob.Ref) {
	t.Helper()
	if _, err := s.Stat(t.Context(), ref.SHA256); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	err := s.Walk(t.Context(), func(r blob.Ref) error { return fmt.Errorf("%v is in the store", r) })
	if err != nil {
		t.Error(err)
	}
}

func roundTrip(t *testing.T, s blob.Store) {
	for _, size := range []int{0, 1, 4095, 128 << 10, 128<<10 + 1, 1_000_003, largeSize} {
		for _, piece := range []int{57, 64 << 10, size + 1} {
			if size == largeSize && piece == 57 {
				continue
			}
			b := Content(size, uint64(size+piece))
			ref := RefOf(b)
			existed, err := s.Put(t.Context(), ref, Writer(b, piece))
			if err != nil || existed && size > 0 {
				t.Fatalf("%d bytes in pieces of %d: existed %v, %v", size, piece, existed, err)
			}
			if got, err := s.Stat(t.Context(), ref.SHA256); err != nil || got != ref {
				t.Errorf("stat: %v, %v", got, err)
			}
			if !bytes.Equal(read(t, s, ref.SHA256), b) {
				t.Errorf("%d bytes in pieces of %d: read something else", size, piece)
			}
		}
	}
}

func once(t *testing.T, s blob.Store) {
	b := Content(100_000, 1)
	ref := put(t, s, b)
	existed, err := s.Put(t.Context(), ref, func(io.Writer) error {
		t.Error("content was asked for again")
		return nil
	})
	if err != nil || !existed {
		t.Errorf("existed %v, %v", existed, err)
	}
	if !bytes.Equal(read(t, s, ref.SHA256), b) {
		t.Error("the content changed")
	}
}

func missing(t *testing.T, s blob.Store) {
	ref := RefOf([]byte("never put"))
	wantNothing(t, s, ref)
	if _, err := s.Open(t.Context(), ref.SHA256); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	if err := s.Delete(t.Context(), ref.SHA256); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func mismatch(t *testing.T, s blob.Store) {
	for _, size := range []int{1, 300_000} {
		b := Content(size, 1)
		good := RefOf(b)
		other := slices.Clone(b)
		other[size-1] ^= 1
		for name, c := range map[string]struct {
			ref     blob.Ref
			content []byte
		}{
			"wrong byte":          {good, other},
			"too short":           {good, b[:size-1]},
			"too long":            {good, append(slices.Clone(b), 0)},
			"nothing":             {good, nil},
			"size says more":      {blob.Ref{SHA256: good.SHA256, Size: good.Size + 1}, b},
			"size says less":      {blob.Ref{SHA256: good.SHA256, Size: good.Size - 1}, b},
			"size below zero":     {blob.Ref{SHA256: good.SHA256, Size: -1}, nil},
			"size of nothing":     {blob.Ref{SHA256: good.SHA256}, nil},
			"much more than said": {blob.Ref{SHA256: good.SHA256, Size: 1}, append(slices.Clone(b), b...)},
		} {
			existed, err := s.Put(t.Context(), c.ref, Writer(c.content, 64<<10))
			if !errors.Is(err, blob.ErrMismatch) || existed {
				t.Errorf("%s: existed %v, %v", name, existed, err)
			}
			wantNothing(t, s, good)
		}
	}
}

func contentError(t *testing.T, s blob.Store) {
	b := Content(500_000, 1)
	broken := errors.New("attachment cannot be decoded")
	for _, after := range []int{0, 1, 200_000, len(b)} {
		_, err := s.Put(t.Context(), RefOf(b), func(w io.Writer) error {
			if err := Writer(b[:after], 64<<10)(w); err != nil {
				return err
			}
			return broken
		})
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", after, err)
		}
		wantNothing(t, s, RefOf(b))
	}
}

func retry(t *testing.T, s blob.Store) {
	b := Content(300_000, 1)
	if _, err := s.Put(t.Context(), RefOf(b), func(io.Writer) error { return errors.New("not now") }); err == nil {
		t.Fatal("no error")
	}
	put(t, s, b)
	if !bytes.Equal(read(t, s, RefOf(b).SHA256), b) {
		t.Error("read something else")
	}
}

func hiddenError(t *testing.T, s blob.Store) {
	b := Content(300_000, 1)
	_, err := s.Put(t.Context(), RefOf(b), func(w io.Writer) error {
		w.Write(b)
		w.Write([]byte("one too many"))
		return nil
	})
	if !errors.Is(err, blob.ErrMismatch) {
		t.Errorf("got %v", err)
	}
	wantNothing(t, s, RefOf(b))
}

func cancelled(t *testing.T, s blob.Store) {
	b := Content(4<<20, 1)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Put(ctx, RefOf(b), func(w io.Writer) error {
		if err := Writer(b[:1<<20], 64<<10)(w); err != nil {
			return err
		}
		cancel()
		return Writer(b[1<<20:], 64<<10)(w)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	wantNothing(t, s, RefOf(b))
}

func ended(t *testing.T, s blob.Store) {
	ref := put(t, s, Content(10, 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := Content(10, 2)
	_, putErr := s.Put(ctx, RefOf(b), Writer(b, 10))
	_, statErr := s.Stat(ctx, ref.SHA256)
	_, openErr := s.Open(ctx, ref.SHA256)
	for name, err := range map[string]error{
		"put": putErr, "stat": statErr, "open": openErr,
		"delete": s.Delete(ctx, ref.SHA256),
		"walk":   s.Walk(ctx, func(blob.Ref) error { return nil }),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Stat(t.Context(), ref.SHA256); err != nil {
		t.Error(err)
	}
	if _, err := s.Stat(t.Context(), RefOf(b).SHA256); !errors.Is(err, blob.ErrNotExist) {
		t.Error("put after the end of its context")
	}
}
