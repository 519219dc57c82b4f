package ledger

// Sums over all records. Each is kept by the transaction that changes what it sums
// up, so that nobody has to read millions of records for it.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"cloakroom/internal/db"
)

// totals makes the table with the sums, which has one row. On PostgreSQL it has
// none, and sums are counted: there all mail would wait for the lock of that row,
// where SQLite lets nobody else write anyway.
var totals = db.Migration{Name: "ledger-4", SQL: totalsTable + `
INSERT INTO ledger_totals (mails, bytes, skeleton, linked, received)
	SELECT m.n, m.bytes, m.skeleton, p.n, p.bytes FROM
	(SELECT COUNT(*) AS n, COALESCE(SUM(size), 0) AS bytes, COALESCE(SUM(skeleton_stored), 0) AS skeleton FROM mails) AS m,
	(SELECT COUNT(*) AS n, COALESCE(SUM(size), 0) AS bytes FROM parts WHERE linked = 1) AS p;
CREATE TRIGGER mails_inserted AFTER INSERT ON mails BEGIN
	UPDATE ledger_totals SET mails = mails + 1, bytes = bytes + NEW.size, skeleton = skeleton + NEW.skeleton_stored;
END;
CREATE TRIGGER mails_updated AFTER UPDATE OF size, skeleton_stored ON mails
	WHEN NEW.size <> OLD.size OR NEW.skeleton_stored <> OLD.skeleton_stored BEGIN
	UPDATE ledger_totals SET bytes = bytes + NEW.size - OLD.size, skeleton = skeleton + NEW.skeleton_stored - OLD.skeleton_stored;
END;
CREATE TRIGGER mails_deleted AFTER DELETE ON mails BEGIN
	UPDATE ledger_totals SET mails = mails - 1, bytes = bytes - OLD.size, skeleton = skeleton - OLD.skeleton_stored;
END;
CREATE TRIGGER parts_inserted AFTER INSERT ON parts WHEN NEW.linked = 1 BEGIN
	UPDATE ledger_totals SET linked = linked + 1, received = received + NEW.size;
END;
CREATE TRIGGER parts_updated AFTER UPDATE OF linked, size ON parts WHEN NEW.linked <> OLD.linked OR NEW.size <> OLD.size BEGIN
	UPDATE ledger_totals SET linked = linked + (NEW.linked = 1) - (OLD.linked = 1),
		received = received + NEW.size * (NEW.linked = 1) - OLD.size * (OLD.linked = 1);
END;
CREATE TRIGGER parts_deleted AFTER DELETE ON parts WHEN OLD.linked = 1 BEGIN
	UPDATE ledger_totals SET linked = linked - 1, received = received - OLD.size;
END;
`, Postgres: totalsTable}

const totalsTable = `
CREATE TABLE ledger_totals (
	mails BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	skeleton BIGINT NOT NULL,
	linked BIGINT NOT NULL,
	received BIGINT NOT NULL
);
`

// Stats sums up what came in.
type Stats struct {
	Mails    int64 `json:"mails"`
	Bytes    int64 `json:"bytes"`    // of these mails as they came
	Linked   int64 `json:"linked"`   // attachments that became links
	Received int64 `json:"received"` // decoded bytes of these attachments, every copy counted
	Skeleton int64 `json:"skeleton"` // bytes kept to build the originals again, compressed
}

// Count gives the sums over all records.
func Count(ctx context.Context, q db.Tx) (s Stats, err error) {
	err = q.QueryRowContext(ctx, `SELECT mails, bytes, skeleton, linked, received FROM ledger_totals`).
		Scan(&s.Mails, &s.Bytes, &s.Skeleton, &s.Linked, &s.Received)
	if errors.Is(err, sql.ErrNoRows) {
		return countAnew(ctx, q)
	}
	if err != nil {
		return s, fmt.Errorf("sums of mails: %w", err)
	}
	return s, nil
}

// countAnew reads all records.
func countAnew(ctx context.Context, q db.Tx) (s Stats, err error) {
	err = q.QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT),
		CAST(COALESCE(SUM(skeleton_stored), 0) AS BIGINT) FROM mails`).
		Scan(&s.Mails, &s.Bytes, &s.Skeleton)
	if err == nil {
		err = q.QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM parts WHERE linked = 1`).
			Scan(&s.Linked, &s.Received)
	}
	if err != nil {
		return s, fmt.Errorf("count mails: %w", err)
	}
	return s, nil
}
