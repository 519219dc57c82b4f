package sisa

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// TestADomainIsStruckFromGuards: whoever was taken out of a mail's record is let in
// no more, and is named nowhere, whichever way he was meant and spelled.
func TestADomainIsStruckFromGuards(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		recipients := []string{"Bob@ext.test", "carol@sub.ext.test", "Öz@EXT.test"}
		m := &ledger.Mail{Key: ledger.Key{1}, Sender: "a@acmecorp.test", Recipients: recipients, Received: start, Skeleton: ledger.Skeleton{Inline: []byte{1}, Stored: 1},
			Parts: []ledger.Part{{Index: 2, Size: 1, SHA256: ledger.Hash{2}, Linked: true}, {Index: 4, Size: 1, SHA256: ledger.Hash{4}, Linked: true}}}
		s.commit(t, func(ctx context.Context, tx db.Tx) error {
			_, err := ledger.Put(ctx, tx, m)
			return err
		})
		g := s.issueGuarded(t, m.Key, Guard{ByMail: true, Recipients: recipients})
		for _, proven := range []string{"bob@ext.test", "carol@sub.ext.test", "öz@ext.test"} {
			if err := s.links.Downloaded(t.Context(), Download{LinkID: g.ID.String(), Part: 2, At: s.now, Proven: proven}); err != nil {
				t.Fatal(err)
			}
		}
		k := &Keeper{DB: s.db, Now: func() time.Time { return s.now }}
		if struck, err := k.Strike(t.Context(), m.Key, "@ext.test", Act{By: "root"}); err != nil || !struck {
			t.Fatalf("struck %v, %v", struck, err)
		}
		if g, err := s.links.Guard(t.Context(), g.ID.String()); err != nil || !slices.Equal(g.Recipients, recipients[1:2]) {
			t.Errorf("the guard names %q, %v", g.Recipients, err)
		}
		downloads, err := s.links.Downloads(t.Context(), g.ID.String())
		if err != nil {
			t.Fatal(err)
		}
		var proven []string
		for _, d := range downloads {
			proven = append(proven, d.Proven)
		}
		slices.Sort(proven)
		if strings.Join(proven, " ") != "  carol@sub.ext.test" {
			t.Errorf("the list of downloads names %q", proven)
		}
	})
}

// TestWhatAnAdministratorSaidHoldsForLaterLinks: also for those that are made when
// the next link of the mail has ended too.
func TestWhatAnAdministratorSaidHoldsForLaterLinks(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		mail := s.mail(t, 1, "a@acmecorp.test")
		g := s.issueGuarded(t, mail, Guard{})
		if err := s.links.Protect(t.Context(), []string{g.ID.String()}, Access{ByMail: true, Password: "one"}, Act{By: "root"}); err != nil {
			t.Fatal(err)
		}
		one, err := s.links.Guard(t.Context(), g.ID.String())
		if err != nil || one.Since != s.now.UnixMilli() {
			t.Errorf("since %d, %v", one.Since, err)
		}
		for generation := uint32(1); generation < 4; generation++ {
			s.revoke(t, *g)
			g = s.issueGuarded(t, mail, Guard{})
			if g.Generation != generation || g.Guard.Access() != "recipients and password" || !slices.Equal(g.Guard.Recipients, []string{"bob@ext.test"}) {
				t.Errorf("link %d opens to %s: %+v", g.Generation, g.Guard.Access(), g.Guard)
			}
		}
	})
}
