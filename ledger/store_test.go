package ledger

// What must hold on both databases.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/testserver/pgtest"
	"cloakroom/message"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func onBoth(t *testing.T, f func(t *testing.T, d *db.DB)) {
	open := func(t *testing.T, o db.Options) *db.DB {
		o.Log = slog.New(slog.DiscardHandler)
		d, err := db.Open(context.WithoutCancel(t.Context()), o, Migrations...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	t.Run("sqlite", func(t *testing.T) { f(t, open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})) })
	t.Run("postgres", func(t *testing.T) {
		f(t, open(t, db.Options{URL: pgtest.Database(t)}))
	})
}

func put(t *testing.T, d *db.DB, m *Mail) (existed bool) {
	t.Helper()
	err := d.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) (err error) {
		existed, err = Put(ctx, tx, m)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return existed
}

func get(t *testing.T, d *db.DB, key Key) *Mail {
	t.Helper()
	m, err := Get(t.Context(), d.Read(), key)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sample is a record in which every field says something.
func sample(key byte) *Mail {
	return &Mail{
		Key: Key{key, 1}, QueueID: "4XYZ", MessageID: "<1@ext.test>", Subject: "Pläne 図", Sender: "alice@acmecorp.test",
		Recipients: []string{"bob@ext.test", `"odd, one"@ext.test`}, User: "alice", Client: "2001:db8::1",
		Received: time.UnixMilli(1773500966123), Size: 5 << 30, Digest: Hash{key, 2},
		Skeleton: Skeleton{Inline: []byte{0, 0xff, '\'', 'x'}, Stored: 4, Header: 321},
		Parts: []Part{
			{Index: 1, Type: "text/plain", Sniffed: "text/plain", Size: 12, SHA256: Hash{key, 3}, Start: 10, End: 22, Layout: "identity", Rule: "text of the message"},
			{Index: 2, Name: "日本語.pdf", Type: "application/pdf", Sniffed: "application/pdf", Size: 3 << 30, SHA256: Hash{key, 4}, Start: 100, End: 4 << 30,
				Layout: `base64 76 "\r\n" ""`, Cut: true, Linked: true, Rule: "large"},
			{Index: 7, Name: "b.pdf", Type: "application/pdf", Sniffed: "application/pdf", Size: 40, SHA256: Hash{key, 5}, Start: 5 << 30, End: 6 << 30,
				Layout: "irregular", Rule: "no rule speaks"},
		},
	}
}

func TestARecordComesBackAsItWasPut(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		inline, asBlob := sample(1), sample(2)
		asBlob.Skeleton = Skeleton{Blob: Hash{9}, Stored: 70000, Header: 12}
		bare := &Mail{Key: Key{3}, Received: time.UnixMilli(0), Skeleton: Skeleton{Inline: []byte{1}}}
		for _, m := range []*Mail{inline, asBlob, bare} {
			if put(t, d, m) {
				t.Errorf("mail %s is said to be there already", m.Key)
			}
			if got := get(t, d, m.Key); !reflect.DeepEqual(got, m) {
				t.Errorf("got\n%+v\nwant\n%+v", got, m)
			}
		}
		if _, err := Get(t.Context(), d.Read(), Key{4}); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown mail: %v", err)
		}
	})
}

func TestWhatWasFixedAtFirstSightStays(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		want := sample(1)
		put(t, d, sample(1))
		again := sample(1)
		again.QueueID, again.Received, again.Skeleton.Inline = "other", time.UnixMilli(5), nil
		again.Parts[1].Linked, again.Parts[1].Cut, again.Parts[1].Rule = false, false, "kept now"
		again.Parts[2].Linked, again.Parts[2].Rule = true, "small ones too"
		if !put(t, d, again) {
			t.Error("the second time the record is said to be new")
		}
		want.Parts[2].Linked, want.Parts[2].Rule = true, "small ones too"
		if got := get(t, d, want.Key); !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v\nwant\n%+v", got, want)
		}
	})
}

func TestTextThatIsNoTextIsRecordedReadably(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		const raw, clean = "a\x00b\xff\xfec", "a\uFFFDb\uFFFDc"
		m := sample(1)
		m.QueueID, m.MessageID, m.Subject, m.Sender, m.User = raw, raw, raw, raw, raw
		m.Recipients = []string{raw}
		m.Parts[0].Name, m.Parts[0].Type, m.Parts[0].Rule = raw, raw, raw
		put(t, d, m)
		got := get(t, d, m.Key)
		for i, s := range []string{got.QueueID, got.MessageID, got.Subject, got.Sender, got.User, got.Parts[0].Name, got.Parts[0].Type, got.Parts[0].Rule} {
			if s != clean {
				t.Errorf("text %d is %q, want %q", i, s, clean)
			}
		}
		if len(got.Recipients) != 1 || !strings.HasPrefix(got.Recipients[0], "a") || !strings.HasSuffix(got.Recipients[0], "c") {
			t.Errorf("recipients %q", got.Recipients)
		}
	})
}

func TestCountSumsUpAllRecords(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		if s, err := Count(t.Context(), d.Read()); err != nil || s != (Stats{}) {
			t.Errorf("empty: %+v, %v", s, err)
		}
		for i := range 3 {
			put(t, d, sample(byte(i)))
		}
		put(t, d, sample(0))
		s, err := Count(t.Context(), d.Read())
		if want := (Stats{Mails: 3, Bytes: 15 << 30, Linked: 3, Received: 9 << 30, Skeleton: 12}); err != nil || s != want {
			t.Errorf("got %+v, %v; want %+v", s, err, want)
		}
	})
}

func TestAFailedCommitLeavesNoRecord(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		m := sample(1)
		m.Parts[2].Index = m.Parts[1].Index // the table allows each part once
		err := d.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
			_, err := Put(ctx, tx, m)
			return err
		})
		if err == nil {
			t.Error("two parts with one index were recorded")
		}
		if s, err := Count(t.Context(), d.Read()); err != nil || s != (Stats{}) {
			t.Errorf("left behind: %+v, %v", s, err)
		}
	})
}

func TestTheSameMailAtOnceIsOneRecord(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		var made atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				var existed bool
				err := d.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) (err error) {
					existed, err = Put(ctx, tx, sample(1))
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if !existed {
					made.Add(1)
				}
			})
		}
		wg.Wait()
		if s, err := Count(t.Context(), d.Read()); err != nil || s.Mails != 1 || made.Load() != 1 {
			t.Errorf("%d records, made by %d of 8, %v", s.Mails, made.Load(), err)
		}
	})
}

func TestRebuildRefusesWhatIsNotTheOriginal(t *testing.T) {
	const header, body = "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n", "AAAA\r\nBBBB\r\nCA==\r\n"
	h, _ := message.ParseHeader([]byte(strings.TrimSuffix(header, "\r\n")))
	inspect := message.NewInspector()
	scan := message.NewScanner(h, inspect)
	io.WriteString(scan, body)
	root := scan.Close().Root
	m := &Mail{Key: Key{1}, Digest: inspect.Digest(), Parts: []Part{{
		Size: root.Content.Size, SHA256: root.Content.SHA256, Start: root.Body.Start, End: root.Body.End,
		Layout: root.Content.Layout.String(), Cut: true, Linked: true,
	}}}
	var skeleton bytes.Buffer
	if err := WriteSkeleton(&skeleton, []byte(header), strings.NewReader(body), int64(len(body)), m.Parts); err != nil {
		t.Fatal(err)
	}
	m.Skeleton = Skeleton{Inline: skeleton.Bytes(), Stored: int64(skeleton.Len()), Header: int64(len(header))}
	content := []byte{0, 0, 0, 4, 0x10, 0x41, 8}
	opener := func(content []byte, err error) Opener {
		return func(context.Context, [32]byte) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), err
		}
	}
	var out bytes.Buffer
	if err := Rebuild(t.Context(), &out, m, opener(content, nil)); err != nil || out.String() != header+body {
		t.Errorf("got %q, %v", out.String(), err)
	}
	lost := errors.New("lost")
	if err := Rebuild(t.Context(), io.Discard, m, opener(nil, lost)); !errors.Is(err, lost) {
		t.Errorf("a blob that is lost: %v", err)
	}
	for name, other := range map[string][]byte{"one bit differs": {0, 0, 0, 4, 0x10, 0x41, 9}, "a byte is missing": content[:6], "a byte too many": append(content[:7:7], 0)} {
		if err := Rebuild(t.Context(), io.Discard, m, opener(other, nil)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	broken := *m
	broken.Skeleton.Inline = broken.Skeleton.Inline[:len(broken.Skeleton.Inline)-3]
	if err := Rebuild(t.Context(), io.Discard, &broken, opener(content, nil)); err == nil {
		t.Error("a skeleton that is cut short: no error")
	}
}
