package db

// What SQLite and PostgreSQL spell differently.

import (
	"regexp"
	"slices"
	"strings"
)

var (
	bytesType = regexp.MustCompile(`(?i)\bBYTEA\b`)
	blobType  = regexp.MustCompile(`(?i)\bBLOB\b`)
	oneTree   = regexp.MustCompile(`(?i)\s+WITHOUT\s+ROWID\b`)
	jsonTexts = regexp.MustCompile(`(?i)\bjson_each\(([\w.]+)\) AS (\w+)`)
	rowLock   = regexp.MustCompile(`(?i)\s+FOR\s+(NO\s+KEY\s+)?(UPDATE|SHARE)(\s+OF\s+\w+)?(\s+(SKIP\s+LOCKED|NOWAIT))?`)
)

// sqliteSchema translates a migration. BYTEA would give a column the affinity
// NUMERIC, BLOB gives none.
func sqliteSchema(text string) string { return bytesType.ReplaceAllString(text, "BLOB") }

// postgresSchema translates a migration that was spelled for SQLite: its types,
// its tables that are one tree, and the elements of a JSON array of texts.
func postgresSchema(text string) string {
	text = oneTree.ReplaceAllString(blobType.ReplaceAllString(text, "BYTEA"), "")
	return jsonTexts.ReplaceAllString(text, "json_array_elements_text(CAST($1 AS JSON)) AS $2 (value)")
}

// postgresSteps are the migrations as PostgreSQL takes them.
func postgresSteps(migrations []Migration) []Migration {
	out := slices.Clone(migrations)
	for i, m := range out {
		if m.Postgres != "" {
			out[i].SQL = m.Postgres
		}
	}
	return out
}

// sqliteQuery takes the row locks out of a statement: a SQLite transaction
// that writes is alone anyway.
func sqliteQuery(text string) string {
	if !strings.Contains(text, "FOR ") && !strings.Contains(text, "for ") {
		return text
	}
	return rowLock.ReplaceAllString(text, "")
}
