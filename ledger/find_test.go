package ledger

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"cloakroom/internal/db"
)

// What an index finds is what a look at every record finds, also after some were
// changed.
func TestIndexesFindWhatALookAtAllFinds(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		mails := make([]*Mail, 12)
		for i := range mails {
			m := sample(byte(i + 1))
			m.Received = time.UnixMilli(int64(1000 - i))
			m.MessageID, m.QueueID = fmt.Sprintf("<%d@ext.test>", i), fmt.Sprint("Q", i%3)
			m.Sender = []string{"Alice@Acmecorp.test", "", "postmaster", "x@y@ext.test"}[i%4]
			m.Recipients = []string{fmt.Sprintf("Bob%d@Ext.test", i%5), "carol@acmecorp.test", "carol@sub.ext.test", "local"}[:1+i%4]
			m.Parts[1].Name = []string{"Plan.PDF", "plan b.pdf", "other_1.doc"}[i%3]
			put(t, d, m)
			mails[i] = m
		}
		filters := []Filter{{Mail: "Q1"}, {Mail: "3@ext.test"}, {Mail: mails[4].Key.String()}, {Sender: "alice@acmecorp.TEST"}, {Sender: NullSender},
			{Sender: "postmaster"}, {Sender: "@ext.test"}, {Sender: "@test"}, {Recipient: "bob2@ext.test"}, {Recipient: "@ext.test"}, {Recipient: "@EXT.TEST", Sender: NullSender},
			{Recipient: "local"}, {Recipient: "nobody@ext.test"}, {Address: "carol@acmecorp.test"}, {Address: "@acmecorp.test"}, {File: "plan.pdf"}, {File: "*plan*"},
			{File: "other?1.*", Recipient: "@ext.test"}, {File: "other_?.doc", Since: time.UnixMilli(995)}}
		compare := func(when string) {
			t.Helper()
			for _, f := range filters {
				want, err := findAll(t.Context(), d.Read(), f)
				if err != nil {
					t.Fatal(err)
				}
				got, err := Find(t.Context(), d.Read(), f)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: %+v finds %d mails, %d by a look at all (%v)", when, f, len(got), len(want), err)
				}
				few, ok, err := f.Narrow(t.Context(), d.Read(), 2)
				if err != nil || ok && len(few) < len(want) {
					t.Errorf("%s: %+v: %d are few, of %d (%v)", when, f, len(few), len(want), err)
				}
			}
		}
		compare("at first")
		within(t, d, func(ctx context.Context, tx db.Tx) error {
			if _, err := Strike(ctx, tx, mails[2].Key, "BOB2@ext.test"); err != nil {
				return err
			}
			if _, err := Strike(ctx, tx, mails[3].Key, "@sub.ext.test"); err != nil {
				return err
			}
			return Forget(ctx, tx, mails[5].Key, time.UnixMilli(5000))
		})
		compare("after some were struck")
		var rows int
		if err := d.Read().QueryRowContext(t.Context(), `SELECT COUNT(*) FROM recipients WHERE mail = $1`, mails[5].Key[:]).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("a mail that was forgotten has %d recipients (%v)", rows, err)
		}
		put(t, d, mails[5])
		compare("after it came again")
	})
}
