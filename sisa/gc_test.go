package sisa

// Collection, holds and deletion, on both databases with a real blob store.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
	"cloakroom/sisa/blob"
)

const day = 24 * time.Hour

// yard is a store with blobs and a keeper.
type yard struct {
	*store
	t      *testing.T
	dir    string
	blobs  *blob.Local
	keeper *Keeper
}

func inYard(t *testing.T, f func(t *testing.T, y *yard)) {
	onBoth(t, func(t *testing.T, s *store) {
		dir := filepath.Join(t.TempDir(), "blobs")
		blobs, err := blob.OpenLocal(dir)
		if err != nil {
			t.Fatal(err)
		}
		y := &yard{store: s, t: t, dir: dir, blobs: blobs}
		y.keeper = &Keeper{DB: s.db, Blobs: blobs, Recent: 14 * day, Now: func() time.Time { return s.now }}
		f(t, y)
	})
}

func (y *yard) put(content string) blob.Ref {
	y.t.Helper()
	ref := blob.Ref{SHA256: sha256.Sum256([]byte(content)), Size: int64(len(content))}
	_, err := y.blobs.Put(y.t.Context(), ref, func(w io.Writer) error {
		_, err := io.WriteString(w, content)
		return err
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return ref
}

// deliver makes a mail with linked files, as the mail path does.
func (y *yard) deliver(n byte, life time.Duration, contents ...string) Grant {
	y.t.Helper()
	skeleton := y.put(fmt.Sprint("skeleton of ", n))
	m := &ledger.Mail{Key: ledger.Key{n}, QueueID: fmt.Sprint("q", n), MessageID: fmt.Sprintf("<%d@acmecorp.test>", n), Sender: "alice@acmecorp.test",
		Recipients: []string{"bob@ext.test", "carol@ext.test"}, Received: y.now, Subject: "s",
		Skeleton: ledger.Skeleton{Blob: skeleton.SHA256, Stored: skeleton.Size}}
	w := Wish{Mail: m.Key, Life: life, Now: y.now}
	refs := []blob.Ref{skeleton}
	for i, c := range contents {
		ref := y.put(c)
		refs = append(refs, ref)
		m.Parts = append(m.Parts, ledger.Part{Index: i, Name: fmt.Sprint(i, ".pdf"), Size: ref.Size, SHA256: ref.SHA256, Cut: true, Linked: true})
		w.Parts = append(w.Parts, i)
	}
	slices.SortFunc(refs, func(a, b blob.Ref) int { return bytes.Compare(a.SHA256[:], b.SHA256[:]) })
	var g Grant
	y.commit(y.t, func(ctx context.Context, tx db.Tx) (err error) {
		if _, err = ledger.Put(ctx, tx, m); err != nil {
			return err
		}
		for _, ref := range refs {
			if err := Use(ctx, tx, ref.SHA256, ref.Size, y.now); err != nil {
				return err
			}
		}
		g, err = Issue(ctx, tx, linkKey, w)
		return err
	})
	return g
}

func (y *yard) gc() GCResult {
	y.t.Helper()
	r, err := y.keeper.Collect(y.t.Context(), GCOptions{Grace: 30 * day})
	if err != nil {
		y.t.Fatal(err)
	}
	return r
}

func (y *yard) has(content string) bool {
	y.t.Helper()
	_, err := y.blobs.Stat(y.t.Context(), sha256.Sum256([]byte(content)))
	if err != nil && !errors.Is(err, blob.ErrNotExist) {
		y.t.Fatal(err)
	}
	return err == nil
}

func (y *yard) check(when string, want map[string]bool) {
	y.t.Helper()
	for content, there := range want {
		if y.has(content) != there {
			y.t.Errorf("%s: %q is there: %v, want %v", when, content, !there, there)
		}
	}
}

func TestFilesGoWhenTheGraceAfterTheLastLinkIsOver(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		forever := y.deliver(1, 0, "shared", "only of the first")
		y.deliver(2, 10*day, "shared", "only of the second")
		revoked := y.deliver(3, 0, "of the third")
		y.put("never committed")

		y.now = y.now.Add(39 * day) // the second expired 29 days ago
		if n, err := y.links.Revoke(t.Context(), []string{revoked.ID.String()}, Act{By: "root"}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if r := y.gc(); r.Retired != 0 || r.Blobs != 0 || r.Adopted != 1 {
			t.Errorf("within the grace: %+v", r)
		}
		y.now = y.now.Add(2 * day)
		dry, err := y.keeper.Collect(t.Context(), GCOptions{Grace: 30 * day, DryRun: true})
		if err != nil || dry.Retired != 1 || dry.Blobs != 0 {
			t.Errorf("what would be done: %+v, %v", dry, err)
		}
		if r := y.gc(); r.Retired != 1 || r.Blobs != 2 || r.Bytes != int64(len("only of the second")+len("skeleton of 2")) {
			t.Errorf("after the grace of the second: %+v", r)
		}
		y.check("after the second", map[string]bool{"shared": true, "only of the first": true, "only of the second": false,
			"skeleton of 2": false, "of the third": true, "never committed": true})
		y.now = y.now.Add(29 * day)
		if r := y.gc(); r.Retired != 1 || r.Blobs != 3 {
			t.Errorf("after the grace of the third: %+v", r)
		}
		y.check("after the third", map[string]bool{"shared": true, "of the third": false, "skeleton of 3": false, "never committed": false})
		y.now = y.now.Add(10000 * day)
		if r := y.gc(); r != (GCResult{}) {
			t.Errorf("a link without end ended: %+v", r)
		}
		if _, err := y.links.ByToken(t.Context(), forever.Token); err != nil {
			t.Error(err)
		}
		if again := y.deliver(2, 0, "shared", "only of the second"); again.Generation != 1 {
			t.Errorf("the mail came again: %+v", again)
		}
		if m, err := ledger.Get(t.Context(), y.db.Read(), ledger.Key{2}); err != nil || !m.Retired.IsZero() || m.Skeleton.Blob.IsZero() || len(m.Parts) != 2 {
			t.Errorf("its record: %+v, %v", m, err)
		}
	})
}

func TestAHoldKeepsFilesUntilItIsReleased(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		g := y.deliver(1, day, "evidence")
		if err := y.links.Downloaded(t.Context(), Download{LinkID: g.ID.String(), At: y.now}); err != nil {
			t.Fatal(err)
		}
		for _, matter := range []string{"case 7", "case 8"} {
			if n, gone, err := y.keeper.Hold(t.Context(), matter, []ledger.Key{{1}}, Act{By: "counsel", Reason: "suit"}); n != 1 || len(gone) != 0 || err != nil {
				t.Fatal(n, gone, err)
			}
		}
		y.now = y.now.Add(1000 * day)
		if r := y.gc(); r != (GCResult{}) {
			t.Errorf("collected under a hold: %+v", r)
		}
		if n, err := y.keeper.PurgeDownloads(t.Context(), y.now); n != 0 || err != nil {
			t.Errorf("%d downloads purged under a hold, %v", n, err)
		}
		var held *HeldError
		if _, err := y.keeper.Forget(t.Context(), ledger.Key{1}, Act{}); !errors.As(err, &held) || !slices.Equal(held.Matters, []string{"case 7", "case 8"}) {
			t.Errorf("forgotten under a hold: %v", err)
		}
		if _, err := y.keeper.Strike(t.Context(), ledger.Key{1}, "bob@ext.test", Act{}); !errors.As(err, &held) {
			t.Errorf("struck under a hold: %v", err)
		}
		if matters, err := y.keeper.Matters(t.Context()); err != nil || len(matters) != 2 || matters[0].Mails != 1 || matters[0].Reason != "suit" {
			t.Errorf("%+v, %v", matters, err)
		}
		for i, matter := range []string{"case 7", "case 8"} {
			if n, err := y.keeper.Release(t.Context(), matter, []ledger.Key{{1}, {9}}, Act{}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if r := y.gc(); r.Retired != int64(i) {
				t.Errorf("after the release of %s: %+v", matter, r)
			}
		}
		if n, err := y.keeper.PurgeDownloads(t.Context(), y.now); n != 1 || err != nil {
			t.Errorf("%d downloads purged, %v", n, err)
		}
		if _, gone, err := y.keeper.Hold(t.Context(), "late", []ledger.Key{{1}}, Act{}); len(gone) != 1 || err != nil {
			t.Errorf("a hold on what is gone: %v, %v", gone, err)
		}
	})
}

func TestWhatOthersNeedIsKept(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		y.deliver(1, day, "to be uploaded")
		y.commit(t, func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, `CREATE TABLE uploads (sha256 BYTEA)`)
			if err == nil {
				sum := sha256.Sum256([]byte("to be uploaded"))
				_, err = tx.ExecContext(ctx, `INSERT INTO uploads (sha256) VALUES ($1)`, sum[:])
			}
			return err
		})
		y.keeper.Needs = []Need{{"uploads", `EXISTS (SELECT 1 FROM uploads nu WHERE nu.sha256 = $1)`}}
		y.now = y.now.Add(100 * day)
		if r := y.gc(); r.Retired != 1 || r.Blobs != 1 {
			t.Errorf("%+v", r)
		}
		y.check("while the upload waits", map[string]bool{"to be uploaded": true, "skeleton of 1": false})
		place, err := y.keeper.Where(t.Context(), sha256.Sum256([]byte("to be uploaded")))
		if err != nil || !slices.Equal(place.Needed, []string{"uploads"}) || len(place.Uses) != 1 || !place.Uses[0].Retired {
			t.Errorf("%+v, %v", place, err)
		}
		y.commit(t, func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM uploads`)
			return err
		})
		y.gc()
		y.check("after the upload", map[string]bool{"to be uploaded": false})
	})
}

func TestAForgottenMailLeavesNothingButWhatOthersHave(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		g := y.deliver(1, 0, "shared", "private")
		other := y.deliver(2, 0, "shared")
		if err := y.links.Downloaded(t.Context(), Download{LinkID: g.ID.String(), Part: 1, At: y.now, Client: "192.0.2.77"}); err != nil {
			t.Fatal(err)
		}
		f, err := y.keeper.Forget(t.Context(), g.Mail, Act{By: "dpo"})
		if err != nil || f.Deleted != 2 || f.Kept != 1 {
			t.Errorf("%+v, %v", f, err)
		}
		y.check("forgotten", map[string]bool{"shared": true, "private": false, "skeleton of 1": false, "skeleton of 2": true})
		if _, err := y.links.ByToken(t.Context(), g.Token); !errors.Is(err, ErrNotFound) {
			t.Errorf("its link: %v", err)
		}
		if link, err := y.links.ByToken(t.Context(), other.Token); err != nil || len(link.Files) != 1 {
			t.Errorf("the other's link: %+v, %v", link, err)
		}
		for _, query := range []string{
			`SELECT COUNT(*) FROM mails WHERE key = $1 AND (sender <> '' OR message_id <> '' OR queue_id <> '' OR recipients <> '[]' OR subject <> '')`,
			`SELECT COUNT(*) FROM parts WHERE mail = $1`,
			`SELECT COUNT(*) FROM downloads d JOIN links l ON l.id = d.link WHERE l.mail = $1`,
		} {
			var n int
			if err := y.db.Read().QueryRow(query, g.Mail[:]).Scan(&n); err != nil || n != 0 {
				t.Errorf("%s: %d, %v", query, n, err)
			}
		}
		if keys, err := ledger.Find(t.Context(), y.db.Read(), ledger.Filter{}); err != nil || len(keys) != 1 {
			t.Errorf("mails that are left: %v, %v", keys, err)
		}
		again := y.deliver(1, 0, "shared", "private")
		if again.Token == g.Token || again.Generation != 1 {
			t.Errorf("the same mail again has the old link: %+v", again)
		}
		if _, err := y.keeper.Forget(t.Context(), ledger.Key{99}, Act{}); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("an unknown mail: %v", err)
		}
	})
}

func TestAStruckAddressIsGoneFromTheRecordOnly(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		g := y.deliver(1, 0, "a file")
		if ok, err := y.keeper.Strike(t.Context(), g.Mail, "BOB@ext.test", Act{}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		m, err := ledger.Get(t.Context(), y.db.Read(), g.Mail)
		if err != nil || !slices.Equal(m.Recipients, []string{"", "carol@ext.test"}) {
			t.Errorf("%v, %v", m.Recipients, err)
		}
		if _, err := y.links.ByToken(t.Context(), g.Token); err != nil {
			t.Error(err)
		}
		if ok, err := y.keeper.Strike(t.Context(), g.Mail, "bob@ext.test", Act{}); ok || err != nil {
			t.Error("struck twice", err)
		}
	})
}

func TestAnInterruptedCollectionLosesNothing(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		y.deliver(1, 0, "needed")
		sum := sha256.Sum256([]byte("needed"))
		y.put("stray")
		stray := sha256.Sum256([]byte("stray"))
		// As if the process had died before its commit, or after it.
		for _, s := range [][32]byte{sum, stray} {
			if err := y.blobs.SetAside(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		y.check("set aside", map[string]bool{"needed": false, "stray": false})
		y.gc()
		y.check("settled", map[string]bool{"needed": true, "stray": false})
		if left, err := y.blobs.Aside(t.Context()); len(left) != 0 || err != nil {
			t.Errorf("%d files are left aside, %v", len(left), err)
		}
		// A commit that fails puts back what it set aside.
		y.now = y.now.Add(1000 * day)
		y.keeper.Needs = []Need{{"broken", `EXISTS (SELECT 1 FROM no_such_table WHERE sha256 = $1)`}}
		if _, err := y.keeper.Collect(t.Context(), GCOptions{}); err == nil {
			t.Error("a need that cannot be asked is no error")
		}
		y.check("after an error", map[string]bool{"needed": true, "skeleton of 1": true})
	})
}

func TestExtendedLinksWorkAgainWhileTheirFilesAreKept(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		short, long, revoked := y.deliver(1, day, "1"), y.deliver(2, 0, "2"), y.deliver(3, day, "3")
		gone := y.deliver(4, day, "4")
		y.now = y.now.Add(40 * day)
		if _, err := y.links.Revoke(t.Context(), []string{revoked.ID.String()}, Act{}); err != nil {
			t.Fatal(err)
		}
		y.commit(t, func(ctx context.Context, tx db.Tx) error { return ledger.Retire(ctx, tx, gone.Mail, y.now) })
		ids := []string{short.ID.String(), long.ID.String(), revoked.ID.String(), gone.ID.String(), strings.Repeat("0", 64)}
		got, err := y.links.Extend(t.Context(), ids, Term{By: 5 * day}, Act{By: "admin"})
		if err != nil || len(got) != 5 {
			t.Fatal(got, err)
		}
		for i, want := range []string{"", "lasts as long already", "revoked", "its files were deleted", "no such link"} {
			if !strings.HasPrefix(got[i].Refused, want) || want == "" && got[i].Refused != "" {
				t.Errorf("link %d: %q, want %q", i, got[i].Refused, want)
			}
		}
		if link, err := y.links.ByToken(t.Context(), short.Token); err != nil || !link.Expires.Equal(y.now.Add(5*day)) {
			t.Errorf("%+v, %v", link, err)
		}
		for _, step := range []struct {
			term Term
			want time.Time
		}{
			{Term{By: day}, y.now.Add(6 * day)},
			{Term{Until: y.now.Add(3 * day)}, y.now.Add(6 * day)},
			{Term{Until: y.now.Add(9 * day)}, y.now.Add(9 * day)},
			{Term{Forever: true}, time.Time{}},
		} {
			if _, err := y.links.Extend(t.Context(), ids[:1], step.term, Act{}); err != nil {
				t.Fatal(err)
			}
			if link, err := y.links.ByToken(t.Context(), short.Token); err != nil || !link.Expires.Equal(step.want) {
				t.Errorf("%+v: expires %v, want %v (%v)", step.term, link.Expires, step.want, err)
			}
		}
	})
}

func TestVerifyFindsWhatIsMissingOrDamaged(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		y.deliver(1, 0, "whole", "will be damaged", "will be missing")
		y.put("unreferenced")
		path := func(content string) string {
			name := fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
			return filepath.Join(y.dir, name[:2], name)
		}
		v, err := y.keeper.Verify(t.Context(), VerifyOptions{})
		if err != nil || !v.OK() || v.Blobs != 5 || v.Unreferenced != 1 {
			t.Fatalf("%+v, %v", v, err)
		}
		if err := os.WriteFile(path("will be damaged"), []byte("WILL BE DAMAGED"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path("will be missing")); err != nil {
			t.Fatal(err)
		}
		var last Progress
		v, err = y.keeper.Verify(t.Context(), VerifyOptions{Progress: func(p Progress) { last = p }, Quarantine: true})
		if err != nil || v.OK() || len(v.Damaged) != 1 || len(v.Missing) != 1 {
			t.Fatalf("%+v, %v", v, err)
		}
		for _, bad := range []Trouble{v.Damaged[0], v.Missing[0]} {
			if !slices.Equal(bad.Needed, []string{"mails"}) || len(bad.Mails) != 1 || bad.Mails[0].Sender != "alice@acmecorp.test" ||
				len(bad.Mails[0].Links) != 1 || bad.Mails[0].Links[0].State != Active {
				t.Errorf("%+v", bad)
			}
		}
		if v.Damaged[0].SHA256 != sha256.Sum256([]byte("will be damaged")) || v.Missing[0].SHA256 != sha256.Sum256([]byte("will be missing")) {
			t.Errorf("%+v", v)
		}
		if last.Blobs != 4 || last.Damaged != 1 || last.Missing != 1 || last.Idle != 1 {
			t.Errorf("progress: %+v", last)
		}
		y.check("quarantined", map[string]bool{"will be damaged": false, "whole": true})
		// The same mail again mends both.
		y.deliver(1, 0, "whole", "will be damaged", "will be missing")
		if v, err = y.keeper.Verify(t.Context(), VerifyOptions{}); err != nil || !v.OK() {
			t.Errorf("after the mail came again: %+v, %v", v, err)
		}
	})
}

func TestVerifyKeepsToItsRate(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		y.put(strings.Repeat("x", 30<<10))
		begin := time.Now()
		if _, err := y.keeper.Verify(t.Context(), VerifyOptions{Rate: 100 << 10}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d < 290*time.Millisecond {
			t.Errorf("30 KB at 100 KB/s took %v", d)
		}
	})
}
