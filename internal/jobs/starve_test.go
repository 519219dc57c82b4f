package jobs

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/db"
)

// As many mails at once as the database has connections, and more: none may want
// a second one for its job. Each has a target that nobody has seen before.
func TestManyEnqueueAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		const mails = 40
		var ended sync.WaitGroup
		ended.Add(mails)
		errs := make(chan error, mails)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for i := range mails {
			go func() {
				defer ended.Done()
				errs <- s.db.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
					if _, err := tx.ExecContext(ctx, `INSERT INTO effects (key, fence) VALUES ($1, 0)`, fmt.Sprint(i)); err != nil {
						return err
					}
					return s.Enqueue(ctx, tx, Job{Key: fmt.Sprint(i), Kind: "vault", Target: fmt.Sprintf("target-%d", i)})
				})
			}()
		}
		ended.Wait()
		for range mails {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}
