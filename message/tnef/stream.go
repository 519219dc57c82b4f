package tnef

// Reading forward, with the checksum of what went by.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var le = binary.LittleEndian

// errBroken says that something reaches beyond what it lies in.
var errBroken = errors.New("broken TNEF")

// stream is read once, from front to back.
type stream struct {
	r    *bufio.Reader
	at   int64 // offset of the next byte
	size int64
	sum  uint16 // of the bytes read: the checksum of an attribute
}

// take reads the next n bytes; they are overwritten by the next call.
func (s *stream) take(n int) ([]byte, error) {
	b, err := s.r.Peek(n)
	if len(b) == n {
		s.pass(b)
		return b, nil
	}
	return nil, s.failed(err)
}

// takeUntil is take for what lies before end.
func (s *stream) takeUntil(n int, end int64) ([]byte, error) {
	if int64(n) > end-s.at {
		return nil, errBroken
	}
	return s.take(n)
}

// skip reads over n bytes.
func (s *stream) skip(n int64) error {
	if n < 0 {
		return errBroken
	}
	for n > 0 {
		b, err := s.r.Peek(int(min(n, int64(s.r.Size()))))
		if len(b) == 0 {
			return s.failed(err)
		}
		s.pass(b)
		n -= int64(len(b))
	}
	return nil
}

// pass counts bytes that were peeked at.
func (s *stream) pass(b []byte) {
	sum := uint32(s.sum)
	for _, c := range b {
		sum += uint32(c)
	}
	s.sum = uint16(sum)
	s.at += int64(len(b))
	s.r.Discard(len(b))
}

// failed makes the end of the stream a fault of the stream, and leaves errors of
// the source what they are.
func (s *stream) failed(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errBroken
	}
	return fmt.Errorf("read TNEF at offset %d: %w", s.at, err)
}
