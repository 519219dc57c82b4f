package ledger

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"cloakroom/message"
)

// encoders are kept: each holds about a megabyte of tables.
var encoders = sync.Pool{New: func() any {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constant, and valid
	}
	return z
}}

// WriteSkeleton writes the mail without the encoded bytes of the parts that
// are cut, compressed, to w: header, blank line, and body from src.
func WriteSkeleton(w io.Writer, header []byte, src io.ReaderAt, size int64, parts []Part) error {
	z := encoders.Get().(*zstd.Encoder)
	defer encoders.Put(z)
	z.Reset(w)
	if _, err := z.Write(header); err != nil {
		return err
	}
	at := int64(0)
	for _, p := range cutParts(parts) {
		if _, err := io.Copy(z, io.NewSectionReader(src, at, p.Start-at)); err != nil {
			return err
		}
		at = p.End
	}
	if _, err := io.Copy(z, io.NewSectionReader(src, at, size-at)); err != nil {
		return err
	}
	return z.Close()
}

// cutParts are the parts missing in the skeleton, in order.
func cutParts(parts []Part) []Part {
	var out []Part
	for _, p := range parts {
		if p.Cut {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Part) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

// Opener gives the bytes of a blob.
type Opener func(ctx context.Context, sha256 [32]byte) (io.ReadCloser, error)

// ErrNoOriginal says that a mail was delivered as it came, and not kept.
var ErrNoOriginal = errors.New("the mail was delivered unchanged, and its record has no original")

// Rebuild writes the original mail, header and body, to w, and fails when
// what it wrote is not what came in.
func Rebuild(ctx context.Context, w io.Writer, m *Mail, open Opener) error {
	if !m.Retired.IsZero() {
		return fmt.Errorf("mail %s: %w on %s", m.Key, ErrRetired, m.Retired.Format(time.DateOnly))
	}
	if m.Skeleton.Stored == 0 {
		return fmt.Errorf("mail %s: %w", m.Key, ErrNoOriginal)
	}
	var stored io.Reader = bytes.NewReader(m.Skeleton.Inline)
	if !m.Skeleton.Blob.IsZero() {
		b, err := open(ctx, m.Skeleton.Blob)
		if err != nil {
			return fmt.Errorf("skeleton of mail %s: %w", m.Key, err)
		}
		defer b.Close()
		stored = b
	}
	z, err := zstd.NewReader(stored, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return fmt.Errorf("skeleton of mail %s: %w", m.Key, err)
	}
	defer z.Close()

	var header bytes.Buffer
	if _, err := io.CopyN(io.MultiWriter(w, &header), z, m.Skeleton.Header); err != nil {
		return fmt.Errorf("skeleton of mail %s: %w", m.Key, err)
	}
	if sum := Hash(sha256.Sum256(header.Bytes())); !m.Skeleton.HeaderSum.IsZero() && sum != m.Skeleton.HeaderSum {
		return fmt.Errorf("rebuild mail %s: the header differs from the original, whose SHA-256 is %s", m.Key, m.Skeleton.HeaderSum)
	}
	h, _ := message.ParseHeader(header.Bytes())
	check := message.NewInspector()
	scan := message.NewScanner(h, check)
	out := bufio.NewWriter(io.MultiWriter(w, scan))

	at := int64(0)
	for _, p := range cutParts(m.Parts) {
		if _, err := io.CopyN(out, z, p.Start-at); err != nil {
			return fmt.Errorf("skeleton of mail %s: %w", m.Key, err)
		}
		if err := encodePart(ctx, out, p, open); err != nil {
			return fmt.Errorf("part %d of mail %s: %w", p.Index, m.Key, err)
		}
		at = p.End
	}
	if _, err := io.Copy(out, z); err != nil {
		return fmt.Errorf("skeleton of mail %s: %w", m.Key, err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("rebuild mail %s: %w", m.Key, err)
	}
	scan.Close()
	if check.Digest() != m.Digest {
		return fmt.Errorf("rebuild mail %s: the result differs from the original, whose digest is %s", m.Key, m.Digest)
	}
	return nil
}

func encodePart(ctx context.Context, w io.Writer, p Part, open Opener) error {
	layout, err := message.ParseLayout(p.Layout)
	if err != nil {
		return err
	}
	b, err := open(ctx, p.SHA256)
	if err != nil {
		return err
	}
	defer b.Close()
	return layout.Encode(w, b)
}
