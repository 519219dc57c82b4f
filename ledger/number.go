package ledger

import (
	"context"
	"fmt"

	"cloakroom/internal/db"
)

// Number counts the records. It reads an index from end to end: some seconds for
// ten million, for now and then and not for every page view.
func Number(ctx context.Context, q db.Tx) (n int64, err error) {
	if err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM mails`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count mails: %w", err)
	}
	return n, nil
}
