package sisa

import (
	"context"
	"testing"

	"cloakroom/internal/db"
)

func TestSumsGoWithEveryChange(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		check := func(when string, want StoreStats) {
			t.Helper()
			kept, err := s.links.Stats(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			there, err := countAnew(t.Context(), s.db.Read())
			if err != nil || kept != there || kept != want {
				t.Errorf("%s: kept %+v, there is %+v, want %+v (%v)", when, kept, there, want, err)
			}
		}
		for n := range byte(3) {
			s.commit(t, func(ctx context.Context, tx db.Tx) error { return Use(ctx, tx, [32]byte{n}, 100, start) })
			s.issue(t, s.mail(t, n, "a@acmecorp.test"), start, 0)
		}
		check("three", StoreStats{Blobs: 3, Bytes: 300, Links: 3})
		for _, step := range []struct {
			text string
			want StoreStats
		}{
			{`UPDATE blobs SET size = size + 1, used = used + 1`, StoreStats{3, 303, 3}},
			{`DELETE FROM blobs WHERE sha256 = (SELECT b.sha256 FROM blobs b ORDER BY b.sha256 LIMIT 1)`, StoreStats{2, 202, 3}},
			{`DELETE FROM link_parts`, StoreStats{2, 202, 3}},
			{`DELETE FROM links`, StoreStats{2, 202, 0}},
			{`DELETE FROM blobs`, StoreStats{}},
		} {
			s.commit(t, func(ctx context.Context, tx db.Tx) error { _, err := tx.ExecContext(ctx, step.text); return err })
			check(step.text, step.want)
		}
	})
}
