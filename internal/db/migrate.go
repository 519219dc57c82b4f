package db

// Schema steps: applied once, in order, recorded in schema_migrations.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Migration is one step of the schema. It is owned by the package whose
// tables it makes; Name is unique and never changes ("ledger-1"). SQL may hold
// several statements and takes no parameters. Constraints are not to be
// DEFERRABLE: on SQLite they would only be seen when a whole batch of commits
// is made durable, and fail all of it.
type Migration struct {
	Name string
	SQL  string
	// Postgres takes the place of SQL there, where the two say it in different words.
	Postgres string
}

// migrationLock is the key of the PostgreSQL advisory lock that keeps two
// nodes from migrating at once: "cloakrm" in ASCII.
const migrationLock int64 = 0x636c6f616b726d

const migrationTable = `CREATE TABLE IF NOT EXISTS schema_migrations (
	name TEXT PRIMARY KEY,
	applied BIGINT NOT NULL
)`

var deferrable = regexp.MustCompile(`(?i)\bDEFERR(ABLE|ED)\b`)

func checkMigrations(migrations []Migration) error {
	seen := make(map[string]bool, len(migrations))
	for _, m := range migrations {
		switch {
		case m.Name == "":
			return errors.New("db: a migration has no name")
		case seen[m.Name]:
			return fmt.Errorf("db: two migrations are named %q", m.Name)
		case deferrable.MatchString(m.SQL):
			return fmt.Errorf("db: migration %q uses a deferrable constraint", m.Name)
		}
		seen[m.Name] = true
	}
	return nil
}

// migrate brings the schema up to date in one transaction. lock is a
// statement that keeps other processes out until it ends; "" where beginning
// the transaction does that. spell translates a migration. A frozen schema is
// only looked at.
func migrate(ctx context.Context, db *sql.DB, lock string, spell func(string) string, o Options, migrations []Migration) error {
	if err := checkMigrations(migrations); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("db: begin migration: %w", err)
	}
	defer tx.Rollback() // after Commit it does nothing
	if lock != "" {
		if _, err := tx.ExecContext(ctx, lock, migrationLock); err != nil {
			return fmt.Errorf("db: lock schema: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, migrationTable); err != nil {
		return fmt.Errorf("db: create schema_migrations: %w", err)
	}
	applied, err := appliedMigrations(ctx, tx)
	if err != nil {
		return err
	}
	fresh := len(applied) == 0
	var missing []Migration
	for _, m := range migrations {
		if !applied[m.Name] {
			missing = append(missing, m)
		}
		delete(applied, m.Name)
	}
	for name := range applied {
		return fmt.Errorf("%w: it has the schema step %q, which this program does not know; install the newer version again, or restore the backup made before the upgrade", ErrNewer, name)
	}
	if o.Frozen && len(missing) > 0 {
		return fmt.Errorf("%w: it lacks the schema step %q; restart the daemon, so that it runs the new program too", ErrOlder, missing[0].Name)
	}
	for _, m := range missing {
		begin := time.Now()
		if !fresh {
			o.Log.Info("the database gets a step of a newer schema: with millions of mails that takes minutes", "step", m.Name)
		}
		if _, err := tx.ExecContext(ctx, spell(m.SQL)); err != nil {
			return fmt.Errorf("db: migration %q: %w", m.Name, err)
		}
		if m.Name == positionsStep && !fresh && o.Journal != "" {
			if err := havingAll(ctx, tx, o.Journal); err != nil {
				return fmt.Errorf("db: migration %q: %w", m.Name, err)
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO schema_migrations (name, applied) VALUES ($1, $2)`, m.Name, o.Now().UnixMilli()); err != nil {
			return fmt.Errorf("db: record migration %q: %w", m.Name, err)
		}
		if !fresh {
			o.Log.Info("the step is made", "step", m.Name, "seconds", int(time.Since(begin).Seconds()))
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("db: commit migrations: %w", err)
	}
	return nil
}

func appliedMigrations(ctx context.Context, tx *sql.Tx) (map[string]bool, error) {
	rows, err := tx.QueryContext(ctx, `SELECT name FROM schema_migrations`)
	if err != nil {
		return nil, fmt.Errorf("db: read schema_migrations: %w", err)
	}
	defer rows.Close()
	applied := make(map[string]bool)
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("db: read schema_migrations: %w", err)
		}
		applied[name] = true
	}
	return applied, rows.Err()
}
