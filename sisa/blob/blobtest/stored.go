package blobtest

// What can be done with blobs once they are there.

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"cloakroom/sisa/blob"
)

func deleted(t *testing.T, s blob.Store) {
	b := Content(1000, 1)
	ref := put(t, s, b)
	for range 2 {
		if err := s.Delete(t.Context(), ref.SHA256); err != nil {
			t.Fatal(err)
		}
		wantNothing(t, s, ref)
	}
	existed, err := s.Put(t.Context(), ref, Writer(b, 1000))
	if err != nil || existed {
		t.Errorf("put again: existed %v, %v", existed, err)
	}
	if !bytes.Equal(read(t, s, ref.SHA256), b) {
		t.Error("read something else")
	}
}

func readDeleted(t *testing.T, s blob.Store) {
	b := Content(3<<20, 1)
	ref := put(t, s, b)
	f, err := s.Open(t.Context(), ref.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.Delete(t.Context(), ref.SHA256); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, b) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func walk(t *testing.T, s blob.Store) {
	want := make(map[blob.Ref]bool)
	for i := range 300 {
		want[put(t, s, Content(i, uint64(i)))] = true
	}
	err := s.Walk(t.Context(), func(r blob.Ref) error {
		if !want[r] {
			t.Errorf("%v was not put, or seen twice", r)
		}
		delete(want, r)
		return nil
	})
	if err != nil || len(want) != 0 {
		t.Errorf("%v; %d not seen", err, len(want))
	}
}

func walkStops(t *testing.T, s blob.Store) {
	for i := range 10 {
		put(t, s, Content(100, uint64(i)))
	}
	enough, n := errors.New("enough"), 0
	err := s.Walk(t.Context(), func(blob.Ref) error { n++; return enough })
	if err != enough || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
}

func walkDeletes(t *testing.T, s blob.Store) {
	for i := range 50 {
		put(t, s, Content(100, uint64(i)))
	}
	err := s.Walk(t.Context(), func(r blob.Ref) error { return s.Delete(t.Context(), r.SHA256) })
	if err != nil {
		t.Fatal(err)
	}
	wantNothing(t, s, RefOf(Content(100, 0)))
}

func seek(t *testing.T, s blob.Store) {
	b := Content(200_000, 1)
	ref := put(t, s, b)
	f, err := s.Open(t.Context(), ref.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := iotest.TestReader(f, b); err != nil {
		t.Error(err)
	}
	p := make([]byte, 1000)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadAt(p, 150_000); err != nil || !bytes.Equal(p[:n], b[150_000:151_000]) {
		t.Errorf("read at: %d, %v", n, err)
	}
	if n, err := io.ReadFull(f, p); err != nil || !bytes.Equal(p[:n], b[:1000]) {
		t.Errorf("reading at an offset moved the file: %v", err)
	}
}
