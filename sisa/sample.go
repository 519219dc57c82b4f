package sisa

// A look at some of what is stored, for whoever cannot wait for a look at all of it.

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cloakroom/ledger"
	"cloakroom/sisa/blob"
)

// sampleRun is how many blobs that follow each other are taken at a time: hashes
// have no order, so that neighbours are as good as any.
const sampleRun = 4

// sampleIdle is after how many choices of nothing new there is taken to be no more.
const sampleIdle = 40

// Sampled is what a sample found.
type Sampled struct {
	Blobs, Bytes int64 // read
	Missing      []ledger.Hash
	Damaged      []ledger.Hash
}

// Sample reads and hashes blobs chosen at random, up to so many of them and so
// many bytes, or until ctx ends; a blob that does not fit into what is left of the
// bytes is only looked for. It changes nothing.
func (k *Keeper) Sample(ctx context.Context, blobs, bytes int64) (*Sampled, error) {
	v := &verifier{k: k, needs: allNeeds(k.Needs), buf: make([]byte, verifyBuffer), begin: time.Now(), out: new(Verification)}
	s, seen := new(Sampled), make(map[[32]byte]bool)
	idle := 0
	for looked := int64(0); looked < blobs && idle < sampleIdle; idle++ {
		refs, err := k.pick(ctx)
		for i := 0; err == nil && i < len(refs) && looked < blobs; i++ {
			if seen[refs[i].SHA256] {
				continue
			}
			seen[refs[i].SHA256] = true
			looked++
			idle = 0
			err = v.sample(ctx, refs[i], bytes-v.out.Bytes, s)
		}
		if ctx.Err() != nil {
			break // what was seen counts
		}
		if err != nil {
			return nil, err
		}
	}
	s.Bytes = v.out.Bytes
	return s, nil
}

// pick takes some blobs from a place chosen at random.
func (k *Keeper) pick(ctx context.Context) ([]blob.Ref, error) {
	from := make([]byte, len(blob.Ref{}.SHA256))
	rand.Read(from)
	refs, err := k.following(ctx, from)
	if err == nil && len(refs) < sampleRun {
		var begin []blob.Ref // the end was reached: go on at the beginning
		begin, err = k.following(ctx, []byte{})
		refs = append(refs, begin...)
	}
	return refs, err
}

func (k *Keeper) following(ctx context.Context, from []byte) ([]blob.Ref, error) {
	rows, err := k.DB.Read().QueryContext(ctx, `SELECT sha256, size FROM blobs WHERE sha256 >= $1 ORDER BY sha256 LIMIT $2`, from, sampleRun)
	if err != nil {
		return nil, fmt.Errorf("choose blobs: %w", err)
	}
	defer rows.Close()
	var out []blob.Ref
	for rows.Next() {
		var raw []byte
		var r blob.Ref
		if err := rows.Scan(&raw, &r.Size); err != nil {
			return nil, fmt.Errorf("choose blobs: %w", err)
		}
		copy(r.SHA256[:], raw)
		out = append(out, r)
	}
	return out, rows.Err()
}

// sample looks at one blob.
func (v *verifier) sample(ctx context.Context, ref blob.Ref, bytes int64, s *Sampled) error {
	there, err := v.there(ctx, ref.SHA256)
	if err != nil {
		return err
	}
	if !there {
		return v.gone(ctx, ref, s)
	}
	s.Blobs++
	if ref.Size > bytes {
		return nil
	}
	problem, err := v.check(ctx, ref)
	if problem != "" {
		s.Damaged = append(s.Damaged, ref.SHA256)
	}
	if errors.Is(err, blob.ErrNotExist) {
		return v.gone(ctx, ref, s) // between the two looks
	}
	return err
}

// gone counts a blob as missing if it is needed and does not come back: mail that
// begins to use a blob while it is collected puts it again.
func (v *verifier) gone(ctx context.Context, ref blob.Ref, s *Sampled) error {
	needed, err := v.needs.held(ctx, v.k.DB.Read(), ref.SHA256)
	if err != nil || !needed {
		return err
	}
	if len(s.Missing) == 0 { // who misses many need not wait for each
		select {
		case <-time.After(verifyAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	there, err := v.there(ctx, ref.SHA256)
	if err == nil && !there {
		s.Missing = append(s.Missing, ref.SHA256)
	}
	return err
}

// Ends gives the oldest and the newest link, which tell whether a secret is the one
// that links were made with: Row.Token. Other fields of the rows are empty.
func (l *Links) Ends(ctx context.Context) ([]Row, error) {
	var out []Row
	for _, order := range []string{"ASC", "DESC"} {
		rows, err := l.db.Read().QueryContext(ctx, `SELECT id, mail, generation FROM links ORDER BY created `+order+` LIMIT 1`)
		if err != nil {
			return nil, fmt.Errorf("oldest and newest link: %w", err)
		}
		for rows.Next() {
			var id, mail []byte
			var r Row
			if err := rows.Scan(&id, &mail, &r.Generation); err != nil {
				rows.Close()
				return nil, fmt.Errorf("oldest and newest link: %w", err)
			}
			r.ID = hex.EncodeToString(id)
			copy(r.Mail[:], mail)
			out = append(out, r)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, fmt.Errorf("oldest and newest link: %w", err)
		}
	}
	return out, nil
}
