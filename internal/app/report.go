package app

// What the report is made of is counted while the daemon runs.

import (
	"context"
	"log/slog"

	"cloakroom/flow"
	"cloakroom/ledger/tally"
)

// keepTally has what rules do counted and written down, until stop is called.
func keepTally(s *Store, engine *flow.Engine, log *slog.Logger) (stop func()) {
	c := tally.NewCounter()
	engine.Tally = c.Add
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx, s.DB, log) }()
	return func() { cancel(); <-done }
}
