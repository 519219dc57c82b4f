package jobs

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
)

// mixed makes jobs in every state: of "a" 3 waiting, 1 running, 1 done, 1
// failed, 1 held; of "b" 2 waiting.
func mixed(t *testing.T, s *Store) {
	t.Helper()
	enqueue(t, s, numbered("a", 4)...)
	for i, j := range claimN(t, s, 4, time.Hour) {
		var err error
		switch i {
		case 0:
			err = s.Complete(t.Context(), j.Ref(), nil)
		case 1:
			err = s.Fail(t.Context(), j.Ref(), Permanent(errors.New(`Quota 100% of \a_b`)))
		case 3:
			err = s.GiveBack(t.Context(), j.Ref())
			if err == nil {
				_, err = s.Hold(t.Context(), Filter{Key: j.Key})
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	late := numbered("late", 3)
	for i := range late {
		late[i].Target = "a"
	}
	late[2].Owner = "carol@acmecorp.test"
	enqueue(t, s, append(late, numbered("b", 2)...)...)
}

func keys(found []Job) string {
	var out []string
	for _, j := range found {
		out = append(out, j.Key)
	}
	return strings.Join(out, " ")
}

func TestListsAreFiltered(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		mixed(t, s)
		for name, c := range map[string]struct {
			filter Filter
			want   int
		}{
			"all":             {Filter{}, 9},
			"state":           {Filter{States: []State{Waiting}}, 5},
			"states":          {Filter{States: []State{Done, Failed, Running}}, 3},
			"kind":            {Filter{Kind: "submit"}, 0},
			"target":          {Filter{Target: "b"}, 2},
			"target, state":   {Filter{Kind: "vault", Target: "a", States: []State{Waiting}}, 3},
			"owner":           {Filter{Owner: "carol@acmecorp.test"}, 1},
			"error":           {Filter{Error: `quota 100% OF \a_`}, 1},
			"no pattern":      {Filter{Error: "quota_100"}, 0},
			"key":             {Filter{Key: "b-00001"}, 1},
			"older":           {Filter{MinAge: time.Hour}, 0},
			"a little older":  {Filter{MinAge: time.Nanosecond}, 9},
			"all at the same": {Filter{Key: "b-00001", Kind: "vault", Target: "b", Owner: "bob@acmecorp.test", States: States}, 1},
		} {
			got, err := s.List(t.Context(), c.filter, Cursor{}, 100)
			if err != nil || len(got) != c.want {
				t.Errorf("%s: %d jobs (%s), %v; want %d", name, len(got), keys(got), err, c.want)
			}
		}
	})
}

func TestPagesMeetWithoutGapOrOverlap(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("a", 57)...)
		enqueue(t, s, numbered("b", 3)...)
		var got []Job
		pages := 0
		for after := (Cursor{}); ; pages++ {
			page, err := s.List(t.Context(), Filter{Target: "a"}, after, 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			after = Next(&page[len(page)-1])
		}
		if keys(got) != keys(numbered("a", 57)) || pages != 6 {
			t.Errorf("%d pages: %s", pages, keys(got))
		}
	})
}

func TestStatsCountByStateWithTheOldest(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		if got, err := s.Stats(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("empty: %+v, %v", got, err)
		}
		mixed(t, s)
		time.Sleep(30 * time.Millisecond)
		stats, err := s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		for _, one := range stats {
			got[one.Kind+" "+one.Target+" "+string(one.State)] = one.Count
			if one.OldestAge < 20*time.Millisecond || one.OldestAge > time.Minute || time.Since(one.Oldest) > time.Minute {
				t.Errorf("%+v", one)
			}
		}
		want := map[string]int64{"vault a waiting": 3, "vault a running": 1, "vault a done": 1, "vault a failed": 1, "vault a held": 1, "vault b waiting": 2}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestJobsAreHeldReleasedRetriedAndDropped(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		mixed(t, s)
		count := func(state State) int {
			got, err := s.List(t.Context(), Filter{States: []State{state}}, Cursor{}, 100)
			if err != nil {
				t.Fatal(err)
			}
			return len(got)
		}
		for _, step := range []struct {
			name  string
			do    func(context.Context, Filter) (int, error)
			f     Filter
			n     int
			state State
			left  int
		}{
			{"hold one target", s.Hold, Filter{Target: "a"}, 3, Held, 4},
			{"hold what is running", s.Hold, Filter{States: []State{Running}}, 0, Running, 1},
			{"release one owner's", s.Release, Filter{Owner: "carol@acmecorp.test"}, 1, Held, 3},
			{"retry what failed", s.Retry, Filter{States: []State{Failed}}, 1, Failed, 0},
			{"drop what is held", s.Drop, Filter{States: []State{Held}}, 3, Held, 0},
			{"drop all", s.Drop, Filter{}, 5, Running, 1},
		} {
			n, err := step.do(t.Context(), step.f)
			if err != nil || n != step.n || count(step.state) != step.left {
				t.Errorf("%s: changed %d, %v, %d are %s; want %d and %d", step.name, n, err, count(step.state), step.state, step.n, step.left)
			}
		}
	})
}

func TestManyJobsAreChangedInManyTransactions(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		const n = 2*changeBatch + 50
		s := open(t, o)
		enqueue(t, s, numbered("a", n)...)
		if got, err := s.Hold(t.Context(), Filter{}); got != n || err != nil {
			t.Errorf("held %d, %v", got, err)
		}
		if got := claimN(t, s, 10, time.Minute); len(got) != 0 {
			t.Errorf("%d held jobs were claimed", len(got))
		}
		if got, err := s.Release(t.Context(), Filter{}); got != n || err != nil {
			t.Errorf("released %d, %v", got, err)
		}
		if got := claimN(t, s, 2*maxClaim, time.Minute); len(got) != n {
			t.Errorf("claimed %d", len(got))
		}
	})
}

func TestDoneJobsAreKeptForAWhile(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("a", 3)...)
		time.Sleep(50 * time.Millisecond)
		for _, j := range claimN(t, s, 2, time.Minute) {
			if err := s.Complete(t.Context(), j.Ref(), nil); err != nil {
				t.Fatal(err)
			}
		}
		// They were made more than 40 ms ago, but done later.
		if n, err := s.Purge(t.Context(), time.Hour); n != 0 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
		time.Sleep(20 * time.Millisecond)
		if n, err := s.Purge(t.Context(), 10*time.Millisecond); n != 2 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
		if got, err := s.List(t.Context(), Filter{}, Cursor{}, 10); len(got) != 1 || err != nil {
			t.Errorf("left: %s, %v", keys(got), err)
		}
	})
}

func TestTheJournalSaysHowJobsEnded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, db.Options{Path: filepath.Join(dir, "test.db"), Journal: filepath.Join(dir, "journal")})
	enqueue(t, s, numbered("a", 3)...)
	got := claimN(t, s, 2, time.Minute)
	if err := s.Complete(t.Context(), got[0].Ref(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(t.Context(), Ref{got[1].Key, 1}, nil); !errors.Is(err, ErrFenced) {
		t.Fatal(err)
	}
	if _, err := s.Drop(t.Context(), Filter{States: []State{Waiting}}); err != nil {
		t.Fatal(err)
	}
	var lines []string
	err := db.ReadJournal(filepath.Join(dir, "journal"), func(r db.Record) error {
		lines = append(lines, r.Kind+string(r.Data))
		return nil
	})
	if want := `job{"key":"a-00000","how":"done"} job{"key":"a-00002","how":"dropped"}`; err != nil || strings.Join(lines, " ") != want {
		t.Errorf("got %s, %v\nwant %s", strings.Join(lines, " "), err, want)
	}
}

func TestADropTouchesOnlyWhatItWasAskedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("a", 4)...)
		err := s.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO effects (key, fence) VALUES ('a-00001', 0), ('a-00002', 0), ('a-00003', 0)`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		_, until, err := s.Count(t.Context(), Filter{States: []State{Waiting}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		enqueue(t, s, numbered("late", 1)...)
		f := Filter{Until: until, Also: &Condition{SQL: `EXISTS (SELECT 1 FROM effects e WHERE e.key = jobs.key AND e.key <> ?)`, Args: []any{"a-00003"}}}
		n, err := s.Drop(t.Context(), f)
		if n != 2 || err != nil {
			t.Errorf("dropped %d, %v", n, err)
		}
		left, err := s.List(t.Context(), Filter{}, Cursor{}, 10)
		if got := keys(left); got != "a-00000 a-00003 late-00000" || err != nil {
			t.Errorf("left %s, %v", got, err)
		}
		found, err := s.KeysEnding(t.Context(), "00000", 10)
		if len(found) != 2 || err != nil {
			t.Errorf("ending: %v, %v", found, err)
		}
		if found, err := s.KeysEnding(t.Context(), "%", 10); len(found) != 0 || err != nil {
			t.Errorf("a pattern: %v, %v", found, err)
		}
	})
}

func TestATargetThatIsDownIsTriedWhenAsked(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("a", 2)...)
		j := claimOne(t, s, time.Minute)
		if err := s.Fail(t.Context(), j.Ref(), TargetDown(errors.New("away"))); err != nil {
			t.Fatal(err)
		}
		if got := claimN(t, s, 2, time.Minute); len(got) != 0 {
			t.Fatalf("claimed %s of a target that is down", keys(got))
		}
		if err := s.TryTarget(t.Context(), "vault", "a"); err != nil {
			t.Fatal(err)
		}
		if got := claimN(t, s, 2, time.Minute); len(got) != 1 {
			t.Errorf("claimed %s, want one to try", keys(got))
		}
	})
}
