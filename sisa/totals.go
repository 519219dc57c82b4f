package sisa

// Sums over all files and links, kept as those of the ledger are.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"cloakroom/internal/db"
)

// totals makes the table with the sums: see that of the ledger.
var totals = db.Migration{Name: "sisa-5", SQL: totalsTable + `
INSERT INTO sisa_totals (blobs, bytes, links)
	SELECT b.n, b.bytes, l.n FROM (SELECT COUNT(*) AS n, COALESCE(SUM(size), 0) AS bytes FROM blobs) AS b, (SELECT COUNT(*) AS n FROM links) AS l;
CREATE TRIGGER blobs_inserted AFTER INSERT ON blobs BEGIN
	UPDATE sisa_totals SET blobs = blobs + 1, bytes = bytes + NEW.size;
END;
CREATE TRIGGER blobs_updated AFTER UPDATE OF size ON blobs WHEN NEW.size <> OLD.size BEGIN
	UPDATE sisa_totals SET bytes = bytes + NEW.size - OLD.size;
END;
CREATE TRIGGER blobs_deleted AFTER DELETE ON blobs BEGIN
	UPDATE sisa_totals SET blobs = blobs - 1, bytes = bytes - OLD.size;
END;
CREATE TRIGGER links_inserted AFTER INSERT ON links BEGIN
	UPDATE sisa_totals SET links = links + 1;
END;
CREATE TRIGGER links_deleted AFTER DELETE ON links BEGIN
	UPDATE sisa_totals SET links = links - 1;
END;
`, Postgres: totalsTable}

const totalsTable = `
CREATE TABLE sisa_totals (
	blobs BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	links BIGINT NOT NULL
);
`

// StoreStats sums up what is kept.
type StoreStats struct {
	Blobs int64 `json:"blobs"`
	Bytes int64 `json:"bytes"`
	Links int64 `json:"links"`
}

// Stats gives the sums over all blobs and links.
func (l *Links) Stats(ctx context.Context) (s StoreStats, err error) {
	q := l.db.Read()
	err = q.QueryRowContext(ctx, `SELECT blobs, bytes, links FROM sisa_totals`).Scan(&s.Blobs, &s.Bytes, &s.Links)
	if errors.Is(err, sql.ErrNoRows) {
		return countAnew(ctx, q)
	}
	if err != nil {
		return s, fmt.Errorf("sums of the store: %w", err)
	}
	return s, nil
}

// countAnew reads all blobs and links.
func countAnew(ctx context.Context, q db.Tx) (s StoreStats, err error) {
	err = q.QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs`).Scan(&s.Blobs, &s.Bytes)
	if err == nil {
		err = q.QueryRowContext(ctx, `SELECT COUNT(*) FROM links`).Scan(&s.Links)
	}
	if err != nil {
		return s, fmt.Errorf("count the store: %w", err)
	}
	return s, nil
}
