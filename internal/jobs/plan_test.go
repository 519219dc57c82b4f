package jobs

// A million waiting jobs must not slow down the taking of one: every step
// searches an index, and none sorts.

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
)

// plan is how SQLite runs a statement.
func plan(t *testing.T, s *Store, text string, args ...any) string {
	t.Helper()
	var steps []string
	err := s.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		steps = nil
		rows, err := tx.QueryContext(ctx, "EXPLAIN QUERY PLAN "+s.sql(text), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				return err
			}
			steps = append(steps, step)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(steps, "\n")
}

func TestEveryStepSearchesAnIndex(t *testing.T) {
	s := open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})
	enqueue(t, s, numbered("a", 1)...)
	enqueue(t, s, numbered("b", 1)...)
	list := func(f Filter, after Cursor) (string, []any) {
		text, args, err := s.page(t.Context(), &f, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		return text, args
	}
	oneState, oneStateArgs := list(Filter{Kind: "vault", Target: "a", States: []State{Failed}}, Cursor{time.Now(), "k"})
	all, allArgs := list(Filter{}, Cursor{})
	old, oldArgs := list(Filter{States: []State{Waiting, Failed}, MinAge: time.Hour}, Cursor{})
	owner, ownerArgs := list(Filter{Owner: "bob"}, Cursor{})
	failure, failureArgs := list(Filter{Error: "refused", Kind: "vault", States: []State{Waiting, Failed}}, Cursor{})
	label, labelArgs := list(Filter{Label: "plan"}, Cursor{})
	// These sort what is on the page, or what is claimed, no more.
	pages := map[string]bool{"page": true, "page of all": true, "page of the old": true, "failed of a kind": true, "owner's": true, "with a label": true, "claim": true}
	const (
		first = "COVERING INDEX jobs_list (<expr>=? AND kind=? AND target=? AND due<?)"
		later = "jobs_again (kind=? AND target=? AND not_before<?)"
		place = "COVERING INDEX jobs_list (<expr>=? AND kind=? AND target=?)"
	)
	for name, c := range map[string]struct {
		text string
		args []any
		uses []string
	}{
		"look for work": {readyTargets, []any{"vault"}, []string{"SEARCH t USING INDEX", first, later}},
		"claim": {claimJobs, []any{"vault", "a", 10, "node", 1000, 0},
			[]string{"jobs_list (<expr>=? AND kind=? AND target=? AND due<?)", later, "sqlite_autoindex_jobs_1 (key=?)"}},
		"look for leases": {`SELECT 1 FROM jobs WHERE kind = $1 AND state = 'running' AND lease_until <= {now} LIMIT 1`, []any{"vault"},
			[]string{"jobs_lease (kind=? AND lease_until<?)"}},
		"look for times ahead": {timesAhead, []any{"vault", 1, 1, 1},
			[]string{"COVERING INDEX jobs_list (<expr>=? AND kind=? AND target=? AND due>?)", "jobs_again (kind=? AND target=? AND not_before>?)", "jobs_lease (kind=? AND lease_until>?)"}},
		"set times right": {resetWaiting, []any{"vault", 1}, []string{"jobs_list (<expr>=? AND kind=? AND target=?)"}},
		"free a node's":   {`UPDATE jobs SET state = 'waiting' WHERE node = $1 AND state = 'running'`, []any{"node"}, []string{"jobs_node (node=?)"}},
		"complete": {`UPDATE jobs SET state = 'done' WHERE key = $1 AND fence = $2 AND state <> 'done'`, []any{"k", 1},
			[]string{"sqlite_autoindex_jobs_1 (key=?)"}},
		"page":             {oneState, oneStateArgs, []string{"COVERING INDEX jobs_list (<expr>=? AND kind=? AND target=? AND (due,key)>(?,?))"}},
		"page of all":      {all, allArgs, []string{place}},
		"page of the old":  {old, oldArgs, []string{place}},
		"with a label":     {label, labelArgs, []string{place}},
		"failed of a kind": {failure, failureArgs, []string{"INDEX jobs_error"}},
		"owner's":          {owner, ownerArgs, []string{place}},
		"sum":              {countPlace, []any{"waiting", "vault", "a"}, []string{place}},
	} {
		got := plan(t, s, c.text, c.args...)
		for _, want := range c.uses {
			if !strings.Contains(got, want) {
				t.Errorf("%s: the plan lacks %q:\n%s", name, want, got)
			}
		}
		if !pages[name] && strings.Contains(got, "TEMP B-TREE") || strings.Contains(got, "SCAN jobs\n") {
			t.Errorf("%s: sorts, or reads everything:\n%s", name, got)
		}
	}
}

// fill makes n waiting jobs without Enqueue, in one statement.
func fill(t testing.TB, s *Store, target string, n int) {
	t.Helper()
	err := s.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		if err := s.addTarget(ctx, tx, "vault", target); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.sql(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
			INSERT INTO jobs (key, kind, target, owner, payload, state, attempts, not_before, lease_until, node, fence, last_error,
			created, since, updated, due)
			SELECT CAST($1 AS TEXT) || '-fill-' || i, 'vault', CAST($1 AS TEXT), 'bob', CAST('{"part":1}' AS BYTEA), 'waiting', 0, i, 0, '', 0, '', i, i, i, i FROM n`), target, n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestABacklogBehindADeadTargetDoesNotSlowDownOthers(t *testing.T) {
	fastest := func(backlog int) time.Duration {
		s := open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})
		if backlog > 0 {
			fill(t, s, "dead", backlog)
			if err := s.HoldTarget(t.Context(), "vault", "dead"); err != nil {
				t.Fatal(err)
			}
		}
		const n = 100
		enqueue(t, s, numbered("live", n)...)
		best := time.Hour
		for range n {
			begin := time.Now()
			if j := claimOne(t, s, time.Minute); j.Target != "live" {
				t.Fatalf("claimed %s", j.Key)
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	alone, behind := fastest(0), fastest(50_000)
	t.Logf("a claim takes %v alone, %v beside a backlog", alone, behind)
	// One that read the backlog would take ten times as long.
	if behind > 4*alone+time.Millisecond {
		t.Errorf("a claim takes %v beside a backlog, %v alone", behind, alone)
	}
}
