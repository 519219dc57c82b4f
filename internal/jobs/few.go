package jobs

// Lists of jobs that a condition finds by itself: looking for three jobs among a
// million in the order of the list would look at all.

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// fewJobs is up to how many jobs are looked at one by one. Of more, a page is
	// soon full in the order of the list.
	fewJobs = 20_000
	// keysAtOnce stand in one statement.
	keysAtOnce = 500
)

// listFew is List where the keys of f.Also are few; else few is false.
func (s *Store) listFew(ctx context.Context, f *Filter, after Cursor, limit int) (found []Job, few bool, err error) {
	keys, err := s.ownKeys(ctx, f.Also)
	if err != nil || len(keys) > fewJobs {
		return nil, false, err
	}
	var places []Cursor
	for part := range slices.Chunk(keys, keysAtOnce) {
		if places, err = s.placesOf(ctx, f, after, part, places); err != nil {
			return nil, false, err
		}
	}
	slices.SortFunc(places, func(a, b Cursor) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Key, b.Key)) })
	for part := range slices.Chunk(places[:min(len(places), limit)], keysAtOnce) {
		w := &where{}
		w.add(keyIn(len(part)), collect(part, func(c Cursor) any { return c.Key })...)
		rows, err := s.db.Read().QueryContext(ctx, `SELECT `+columns+` FROM jobs`+w.text.String()+` ORDER BY due, key`, w.args...)
		page, err := scan(rows, err)
		if err != nil {
			return nil, false, fmt.Errorf("list jobs: %w", err)
		}
		found = append(found, page...)
	}
	return found, true, nil
}

// ownKeys are the keys that a condition finds, and at most one more than few.
func (s *Store) ownKeys(ctx context.Context, c *Condition) ([]string, error) {
	w := &where{}
	w.add(c.Keys+" LIMIT ?", append(slices.Clone(c.Args), fewJobs+1)...)
	rows, err := s.db.Read().QueryContext(ctx, strings.TrimPrefix(w.text.String(), " WHERE "), w.args...)
	if err != nil {
		return nil, fmt.Errorf("find jobs: %w", err)
	}
	defer rows.Close()
	var keys []string
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, fmt.Errorf("find jobs: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}

// placesOf adds to places those of the keys that f chooses beside its Also.
func (s *Store) placesOf(ctx context.Context, f *Filter, after Cursor, keys []string, places []Cursor) ([]Cursor, error) {
	rest := *f
	rest.Also = nil
	w := rest.where(after)
	w.add(keyIn(len(keys)), collect(keys, func(key string) any { return key })...)
	rows, err := s.db.Read().QueryContext(ctx, s.sql(`SELECT due, key FROM jobs`+w.text.String()), w.args...)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var ms int64
		var one Cursor
		if err := rows.Scan(&ms, &one.Key); err != nil {
			return nil, fmt.Errorf("list jobs: %w", err)
		}
		one.Due = time.UnixMilli(ms)
		places = append(places, one)
	}
	return places, rows.Err()
}

// keyIn is the condition that the key is one of n.
func keyIn(n int) string { return "key IN (?" + strings.Repeat(", ?", n-1) + ")" }

func collect[T any](list []T, f func(T) any) []any {
	out := make([]any, len(list))
	for i, one := range list {
		out[i] = f(one)
	}
	return out
}
