package ledger

// How records end and begin again, and how they are found.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/testserver/pgtest"
)

func within(t *testing.T, d *db.DB, f func(ctx context.Context, tx db.Tx) error) {
	t.Helper()
	if err := d.Commit(t.Context(), nil, f); err != nil {
		t.Fatal(err)
	}
}

func TestARecordWithoutItsOriginalIsWrittenAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		later := time.UnixMilli(1783500966123)
		for n, end := range []func(ctx context.Context, tx db.Tx, key Key) error{
			func(ctx context.Context, tx db.Tx, key Key) error { return Retire(ctx, tx, key, later) },
			func(ctx context.Context, tx db.Tx, key Key) error { return Forget(ctx, tx, key, later) },
		} {
			m := sample(byte(n + 1))
			m.Skeleton.HeaderSum = Hash{8}
			put(t, d, m)
			within(t, d, func(ctx context.Context, tx db.Tx) error {
				if err := Lock(ctx, tx, m.Key); err != nil {
					return err
				}
				return end(ctx, tx, m.Key)
			})
			ended := get(t, d, m.Key)
			if !ended.Retired.Equal(later) || ended.Skeleton.Inline != nil || ended.Skeleton.Stored != 0 {
				t.Errorf("ended: %+v", ended)
			}
			if err := Rebuild(t.Context(), io.Discard, ended, nil); !errors.Is(err, ErrRetired) {
				t.Errorf("rebuilt: %v", err)
			}
			again := sample(byte(n + 1))
			again.QueueID, again.Received = "again", later.Add(time.Hour)
			again.Parts[2].Linked, again.Parts[2].Cut = true, true
			if !put(t, d, again) {
				t.Error("the record is said to be new")
			}
			if got := get(t, d, m.Key); !reflect.DeepEqual(got, again) {
				t.Errorf("got\n%+v\nwant\n%+v", got, again)
			}
		}
		bare := sample(9)
		bare.Skeleton = Skeleton{}
		put(t, d, bare)
		if err := Rebuild(t.Context(), io.Discard, get(t, d, bare.Key), nil); !errors.Is(err, ErrNoOriginal) {
			t.Errorf("rebuilt: %v", err)
		}
		put(t, d, sample(9))
		if got := get(t, d, bare.Key); !reflect.DeepEqual(got, sample(9)) {
			t.Errorf("a record that has an original now: %+v", got)
		}
		err := d.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error { return Lock(ctx, tx, Key{77}) })
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("locked a record that is none: %v", err)
		}
	})
}

func TestAForgottenRecordNamesNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		m := sample(1)
		m.Recipients = append(m.Recipients, "m\xfc\xdf\xe4l@ext.test", "Bob@EXT.test")
		put(t, d, m)
		at := time.UnixMilli(1783500966123)
		within(t, d, func(ctx context.Context, tx db.Tx) error { return Forget(ctx, tx, m.Key, at) })
		var left int
		if err := d.Read().QueryRow(`SELECT COUNT(*) FROM recipients`).Scan(&left); err != nil || left != 0 {
			t.Errorf("%d recipients can still be found by, %v", left, err)
		}
		want := &Mail{Key: m.Key, Recipients: []string{}, Received: m.Received, Retired: at, Forgotten: at}
		if got := get(t, d, m.Key); !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v\nwant\n%+v", got, want)
		}
	})
}

func TestMailsAreFoundByWhatPeopleKnowOfThem(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		one, two, three := sample(1), sample(2), sample(3)
		two.MessageID, two.Sender, two.QueueID, two.Received = "<2@ext.test>", "", "OTHER", one.Received.Add(time.Hour)
		two.Recipients = []string{"100%@ext.test", "tab@sub.ext.test"}
		two.Parts[1].Name = "50%_off.PDF"
		three.Received = one.Received.Add(2 * time.Hour)
		for _, m := range []*Mail{three, two, one} {
			put(t, d, m)
		}
		within(t, d, func(ctx context.Context, tx db.Tx) error {
			put := sample(4)
			if _, err := Put(ctx, tx, put); err != nil {
				return err
			}
			return Forget(ctx, tx, put.Key, put.Received)
		})
		for _, c := range []struct {
			name string
			f    Filter
			want []*Mail
		}{
			{"all, the oldest first, without the forgotten", Filter{}, []*Mail{one, two, three}},
			{"queue id", Filter{Mail: "OTHER"}, []*Mail{two}},
			{"message id", Filter{Mail: "<2@ext.test>"}, []*Mail{two}},
			{"message id without brackets", Filter{Mail: "2@ext.test"}, []*Mail{two}},
			{"key", Filter{Mail: three.Key.String()}, []*Mail{three}},
			{"sender in another case", Filter{Sender: "Alice@ACMEcorp.test"}, []*Mail{one, three}},
			{"sender's domain", Filter{Sender: "@acmecorp.test"}, []*Mail{one, three}},
			{"part of a sender's domain", Filter{Sender: "@corp.test"}, nil},
			{"null sender", Filter{Sender: NullSender}, []*Mail{two}},
			{"recipient", Filter{Recipient: "BOB@ext.test"}, []*Mail{one, three}},
			{"recipient with quotes", Filter{Recipient: `"odd, one"@ext.test`}, []*Mail{one, three}},
			{"recipient that looks like a pattern", Filter{Recipient: "1%@ext.test"}, nil},
			{"recipient with a sign of patterns", Filter{Recipient: "100%@ext.test"}, []*Mail{two}},
			{"part of a recipient", Filter{Recipient: "ob@ext.test"}, nil},
			{"recipients' domain", Filter{Recipient: "@sub.ext.test"}, []*Mail{two}},
			{"either", Filter{Address: "tab@sub.ext.test"}, []*Mail{two}},
			{"either, the sender", Filter{Address: "alice@acmecorp.test"}, []*Mail{one, three}},
			{"file", Filter{File: "50%_o??.pdf"}, []*Mail{two}},
			{"file that is not linked", Filter{File: "b.pdf"}, nil},
			{"before", Filter{Before: two.Received}, []*Mail{one}},
			{"since", Filter{Since: two.Received}, []*Mail{two, three}},
			{"both", Filter{Since: two.Received, Sender: "alice@acmecorp.test"}, []*Mail{three}},
		} {
			keys, err := Find(t.Context(), d.Read(), c.f)
			var want []Key
			for _, m := range c.want {
				want = append(want, m.Key)
			}
			if err != nil || !slices.Equal(keys, want) {
				t.Errorf("%s: %v, %v; want %v", c.name, keys, err, want)
			}
		}
	})
}

func TestARebuiltHeaderIsComparedToo(t *testing.T) {
	header, body := []byte("Subject: x\r\n\r\n"), "hello\r\n"
	var skeleton bytes.Buffer
	if err := WriteSkeleton(&skeleton, header, strings.NewReader(body), int64(len(body)), nil); err != nil {
		t.Fatal(err)
	}
	m := &Mail{Skeleton: Skeleton{Inline: skeleton.Bytes(), Stored: int64(skeleton.Len()), Header: int64(len(header))}}
	for _, c := range []struct {
		sum  Hash
		says string
	}{{sha256.Sum256(header), "the result differs"}, {Hash{1}, "the header differs"}} {
		m.Skeleton.HeaderSum = c.sum // the digest of the body is wrong in both
		if err := Rebuild(t.Context(), io.Discard, m, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}

func TestAnOldDatabaseIsOpenedAndKeepsItsRecords(t *testing.T) {
	for name, o := range map[string]db.Options{"sqlite": {Path: filepath.Join(t.TempDir(), "test.db")}, "postgres": {URL: ""}} {
		t.Run(name, func(t *testing.T) {
			if o.Path == "" {
				o.URL = pgtest.Database(t)
			}
			o.Log = slog.New(slog.DiscardHandler)
			old, err := db.Open(t.Context(), o, Migrations[0])
			if err != nil {
				t.Fatal(err)
			}
			within(t, old, func(ctx context.Context, tx db.Tx) error {
				_, err := tx.ExecContext(ctx, `INSERT INTO mails (key, queue_id, message_id, subject, sender, recipients, auth_user, client, received,
					size, digest, skeleton, skeleton_stored, skeleton_header) VALUES ($1, 'q', '<1@ext.test>', 's', 'a@ext.test', '["b@ext.test"]', '', '', 5, 6, $1, $1, 32, 7)`,
					bytes.Repeat([]byte{1}, 32))
				return err
			})
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			d, err := db.Open(t.Context(), o, Migrations...)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			m := get(t, d, Key(bytes.Repeat([]byte{1}, 32)))
			if m.Sender != "a@ext.test" || !m.Retired.IsZero() || !m.Skeleton.HeaderSum.IsZero() {
				t.Errorf("%+v", m)
			}
			if keys, err := Find(t.Context(), d.Read(), Filter{Recipient: "b@ext.test"}); err != nil || len(keys) != 1 {
				t.Errorf("%v, %v", keys, err)
			}
		})
	}
}
