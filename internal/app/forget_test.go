package app

// Deletion on demand reaches the queue and the vault's list too, and waits for
// what is under way.

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/sisa"
	"cloakroom/vault"
)

func TestForgettingReachesTheQueue(t *testing.T) {
	_, s, engine := newShop(t, "")
	take(t, engine, sample("1"))
	keys, err := s.SelectMails(t.Context(), []string{"<1@ext.test>"}, ledger.Filter{})
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	key := keys[0]
	in := func(text string, args ...any) {
		t.Helper()
		err := s.DB.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, text, args...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count := func(table string) (n int) {
		t.Helper()
		if err := s.DB.Read().QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var sum []byte
	if err := s.DB.Read().QueryRow(`SELECT sha256 FROM parts WHERE linked = 1`).Scan(&sum); err != nil {
		t.Fatal(err)
	}
	plan := vault.Upload{Target: "assets", Path: "plan.pdf", SHA256: [32]byte(sum), Owner: "bob@acmecorp.test", About: vault.About{Mail: key}}
	upload, err := plan.Job(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	sent := jobs.Job{Key: "copy-" + key.String()[:16] + "-1", Kind: "copy", Payload: []byte(`{}`)}
	other := jobs.Job{Key: "copy-0000000000000000-1", Kind: "copy", Payload: []byte(`{}`)}
	err = s.DB.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		for _, j := range []jobs.Job{upload, sent, other} {
			if err := s.Jobs.Enqueue(ctx, tx, j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	place, err := s.Where(t.Context(), [32]byte(sum), quiet)
	if err != nil || len(place.Uploads) != 1 || place.Uploads[0].State != "waiting" || strings.Join(place.Needed, " ") != "mails vault uploads" {
		t.Errorf("%+v, %v", place, err)
	}

	forget := func() *ForgetResult {
		t.Helper()
		r, err := s.Forget(t.Context(), Forgetting{Keys: keys, Act: sisa.Act{By: "test"}}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := forget(); len(r.Refused) != 1 || !strings.Contains(r.Refused[0].Reason, "still being sent") || len(r.Forgotten) != 0 {
		t.Errorf("while a copy waits: %+v", r)
	}
	in(`UPDATE jobs SET state = 'done' WHERE key = $1`, sent.Key)
	in(`UPDATE jobs SET state = 'running' WHERE key = $1`, upload.Key)
	if r := forget(); len(r.Refused) != 1 {
		t.Errorf("while an upload runs: %+v", r)
	}
	in(`UPDATE jobs SET state = 'waiting' WHERE key = $1`, upload.Key)
	in(`INSERT INTO uploaded (job, target, sha256, size, mail, owner, wanted, path, done) VALUES ($1, 'assets', $2, 1, $3, 'bob@acmecorp.test', 'a.pdf', 'a.pdf', 1)`,
		upload.Key+"0", sum, key[:]) // made before
	if r := forget(); len(r.Forgotten) != 1 || r.Files.Deleted != 1 {
		t.Errorf("when it only waits: %+v", r)
	}
	if n := count("uploaded"); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
	if n := count("jobs"); n != 1 {
		t.Errorf("%d jobs are left, want that of the other mail", n)
	}
	for _, r := range restoreAll(t, s, nil, nil) {
		t.Errorf("restored: %+v", r)
	}
}

func TestAPersonIsForgottenWithoutTakingFilesFromOthers(t *testing.T) {
	_, s, engine := newShop(t, "")
	take(t, engine, sample("1")) // alice@ext.test to bob and carol
	all := func(address string, whole bool) *ForgetResult {
		t.Helper()
		keys, err := s.SelectMails(t.Context(), nil, ledger.Filter{Address: address})
		if err != nil || len(keys) != 1 {
			t.Fatalf("%s: %d mails, %v", address, len(keys), err)
		}
		r, err := s.Forget(t.Context(), Forgetting{Keys: keys, Address: address, Whole: whole}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := all("bob@acmecorp.test", false); len(r.Struck) != 1 || len(r.Forgotten) != 0 {
		t.Errorf("one of two recipients: %+v", r)
	}
	if r := restoreAll(t, s, nil, nil); len(r) != 1 || r[0].Error != "" {
		t.Errorf("the other's original: %+v", r)
	}
	if r := all("carol@acmecorp.test", false); len(r.Forgotten) != 1 {
		t.Errorf("the last recipient: %+v", r)
	}
	take(t, engine, sample("2"))
	if r := all("alice@ext.test", false); len(r.Forgotten) != 1 {
		t.Errorf("the sender: %+v", r)
	}
	take(t, engine, sample("3"))
	if r := all("bob@acmecorp.test", true); len(r.Forgotten) != 1 || len(r.Struck) != 0 {
		t.Errorf("one of two recipients, wholly: %+v", r)
	}
}

func TestADomainIsForgotten(t *testing.T) {
	_, s, engine := newShop(t, "")
	env := &flow.Envelope{Received: time.Now(), QueueID: "4XYZ", Sender: "alice@ext.test",
		Recipients: []flow.Recipient{{Address: "bob@acmecorp.test"}, {Address: "Carol@ACMEcorp.test"}, {Address: "x@notacmecorp.test"}}}
	if _, err := Filter(t.Context(), engine, env, bytes.NewReader(sample("1")), io.Discard); err != nil {
		t.Fatal(err)
	}
	find := func(address string) Forgetting {
		t.Helper()
		keys, err := s.SelectMails(t.Context(), nil, ledger.Filter{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		return Forgetting{Keys: keys, Address: address}
	}
	domain := find("@acmecorp.test")
	if r, err := s.WouldForget(t.Context(), domain); err != nil || !r.DryRun || len(r.Struck) != 1 || len(r.Forgotten) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := s.Forget(t.Context(), domain, quiet); err != nil || len(r.Struck) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	m, err := ledger.Get(t.Context(), s.DB.Read(), domain.Keys[0])
	if err != nil || !slices.Equal(m.Recipients, []string{"", "", "x@notacmecorp.test"}) {
		t.Errorf("recipients %q, %v", m.Recipients, err)
	}
	if r, err := s.Forget(t.Context(), domain, quiet); err != nil || len(r.Struck) != 0 || len(r.Refused) != 1 || !strings.Contains(r.Refused[0].Reason, "not among its recipients") {
		t.Errorf("again: %+v, %v", r, err)
	}
	if left := find("@acmecorp.test"); len(left.Keys) != 0 {
		t.Errorf("%d mails still name the domain", len(left.Keys))
	}
	if r, err := s.Forget(t.Context(), find("@EXT.test"), quiet); err != nil || len(r.Forgotten) != 1 {
		t.Errorf("the sender's: %+v, %v", r, err)
	}
}
