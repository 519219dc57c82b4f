package app

// What is done apart from the mail path: the queue's workers.

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"cloakroom/admin"
	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/jobs"
	"cloakroom/internal/submit"
	"cloakroom/sisa"
	"cloakroom/sisa/blob"
	"cloakroom/vault"
)

const (
	// copyWorkers send copies at the same time: the MTA takes them from a queue
	// of its own.
	copyWorkers = 4
	// receiptWorkers tell senders of downloads at the same time.
	receiptWorkers = 2
	// maxUploads are under way at the same time, over all targets.
	maxUploads = 64
	// keepDone is how long jobs are remembered that are done: a mail that comes
	// again within the days for which MTAs try finds them.
	keepDone = 7 * 24 * time.Hour
	// purgeEvery is how often older ones are deleted.
	purgeEvery = time.Hour
	// staleTemp is the age from which a temporary file in the blob store is a
	// leftover of a process that died.
	staleTemp = 24 * time.Hour
)

// work runs the queue's workers.
type work struct {
	store  *jobs.Store
	blobs  *blob.Local
	pool   *jobs.Pool
	copies bool          // are sent
	vault  *vault.Worker // nil without targets
	keeper *sisa.Keeper  // of what is stored
	care   sisa.Config
	log    *slog.Logger
	ctx    context.Context
	end    context.CancelFunc
	done   chan error
}

// newWork makes the workers; start begins. Without work to do there is no pool.
func newWork(s *Store, engine *flow.Engine, sender *submit.Sender, receipts *flow.Receipts, meters *admin.Meters, cfg *config.Config, log *slog.Logger) (*work, error) {
	w := &work{store: s.Jobs, blobs: s.Blobs, keeper: s.Keeper(log), care: StoreConfig(cfg), log: log, done: make(chan error, 1)}
	w.ctx, w.end = context.WithCancel(context.Background())
	var kinds []jobs.Kind
	if w.copies = sender != nil; w.copies {
		courier := &flow.Courier{DB: s.DB, Jobs: s.Jobs, Blobs: s.Blobs, Spool: engine.Spool, Sender: sender,
			Hostname: cfg.Hostname, Onward: engine.Onward, Now: time.Now, Log: log}
		kinds = append(kinds, jobs.Kind{Name: flow.JobCopy, Workers: copyWorkers, Handle: courier.Handle})
	}
	if receipts != nil {
		kinds = append(kinds, jobs.Kind{Name: flow.JobReceipt, Workers: receiptWorkers, Handle: receipts.Handle})
	}
	var err error
	if w.vault, err = newVault(s, cfg, log); err != nil {
		return nil, err
	}
	if w.vault != nil {
		parallel := 0
		for name := range w.vault.Targets {
			parallel += w.vault.Parallel(name)
		}
		kinds = append(kinds, jobs.Kind{Name: vault.JobKind, Workers: min(parallel, maxUploads), Limit: w.vault.Parallel, Handle: w.vault.Handle})
	}
	if len(kinds) == 0 {
		return w, nil
	}
	countedKinds(meters, kinds)
	w.pool, err = jobs.NewPool(s.Jobs, jobs.PoolOptions{Log: log}, kinds...)
	return w, err
}

// start frees what an earlier run left under way, and begins.
func (w *work) start() error {
	n, err := w.store.FreeOwn(w.ctx)
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if n > 0 {
		w.log.Info("jobs of an earlier run go on", "jobs", n)
	}
	w.stranded()
	go w.purge()
	go w.sweep()
	go w.keeper.Run(w.ctx, w.care)
	if w.vault != nil {
		go w.vault.Run(w.ctx)
	}
	go func() {
		if w.pool == nil {
			<-w.ctx.Done()
			w.done <- nil
			return
		}
		w.done <- w.pool.Run(w.ctx)
	}()
	return nil
}

// sweep removes temporary files of earlier runs. A million blobs take a second
// to look through: mail does not wait for that.
func (w *work) sweep() {
	n, err := w.blobs.Sweep(w.ctx, time.Now().Add(-staleTemp))
	switch {
	case w.ctx.Err() != nil:
	case err != nil:
		w.log.Warn("sweep of temporary files failed", "err", err)
	case n > 0:
		w.log.Info("temporary files of an earlier run removed", "files", n)
	}
}

// stranded tells of jobs that nobody works any more, as the configuration lost
// what they are for.
func (w *work) stranded() {
	for _, left := range []struct {
		kind, what string
		worked     bool
	}{
		{flow.JobCopy, "copies of mail wait to be sent, and there is no MTA to take them: set submit.smtp, and start again", w.copies},
		{flow.JobReceipt, "senders wait to be told of downloads, and there is no MTA to take the mail: set submit.smtp, and start again, or drop these jobs", w.copies},
		{vault.JobKind, "files wait for the vault, and it has no target any more: configure vault.targets, and start again, or drop them", w.vault != nil},
	} {
		if left.worked {
			continue
		}
		f := jobs.Filter{Kind: left.kind, States: []jobs.State{jobs.Waiting, jobs.Running, jobs.Held}}
		oldest, err := w.store.List(w.ctx, f, jobs.Cursor{}, 1)
		if err != nil {
			w.log.Warn("queue", "err", err)
		} else if len(oldest) > 0 {
			w.log.Error(left.what, "oldest", oldest[0].Created, "owner", oldest[0].Owner)
		}
	}
}

// wait returns when the workers have ended.
func (w *work) wait() error {
	err := <-w.done
	w.done <- err
	return err
}

// stop ends the workers; jobs under way have a moment to finish.
func (w *work) stop() {
	w.end()
	if err := w.wait(); err != nil {
		w.log.Warn("queue", "err", err)
	}
	if w.vault != nil {
		if err := w.vault.Close(); err != nil {
			w.log.Debug("connections to targets", "err", err)
		}
	}
}

func (w *work) purge() {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		if n, err := w.store.Purge(w.ctx, keepDone); err != nil && w.ctx.Err() == nil {
			w.log.Warn("jobs that are done could not be deleted", "err", err)
		} else if n > 0 {
			w.log.Info("jobs that were done long ago deleted", "jobs", n)
		}
		select {
		case <-tick.C:
		case <-w.ctx.Done():
			return
		}
	}
}
