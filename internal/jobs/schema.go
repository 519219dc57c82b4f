package jobs

import (
	"slices"

	"cloakroom/internal/db"
)

// shelf is the SQL of where a job stands in jobs_list: its state, but for those
// that wait for another time than the one they were made for. So what is due
// among the others is found in the order of lists, and a new job has its place in
// one index for both.
const shelf = `CASE WHEN state = 'waiting' AND not_before <> due THEN 'again' ELSE state END`

// again is the shelf of jobs that wait again.
const again State = "again"

// Migrations make the tables of this package and their indexes. Who adds to the
// jobs of an older version what is in the indexes does so in between.
var Migrations = slices.Concat(Tables, Indexes)

// Tables are the steps that make the tables.
var Tables = []db.Migration{{Name: "jobs-1", SQL: `
CREATE TABLE jobs (
	key TEXT PRIMARY KEY,
	kind TEXT NOT NULL,
	target TEXT NOT NULL,
	owner TEXT NOT NULL,
	payload BYTEA NOT NULL,
	state TEXT NOT NULL,
	attempts INTEGER NOT NULL,
	not_before BIGINT NOT NULL,
	lease_until BIGINT NOT NULL,
	node TEXT NOT NULL,
	fence BIGINT NOT NULL,
	last_error TEXT NOT NULL,
	created BIGINT NOT NULL,
	since BIGINT NOT NULL,
	updated BIGINT NOT NULL
);
CREATE INDEX jobs_due ON jobs (kind, target, not_before) WHERE state = 'waiting';
CREATE INDEX jobs_lease ON jobs (kind, lease_until) WHERE state = 'running';
CREATE INDEX jobs_node ON jobs (node) WHERE state = 'running';
CREATE INDEX jobs_state ON jobs (state, kind, target, created, key);
CREATE INDEX jobs_owner ON jobs (owner, created, key);
CREATE TABLE job_targets (
	kind TEXT NOT NULL,
	target TEXT NOT NULL,
	held INTEGER NOT NULL,
	failures INTEGER NOT NULL,
	probe TEXT NOT NULL,
	probe_at BIGINT NOT NULL,
	last_error TEXT NOT NULL,
	changed BIGINT NOT NULL,
	PRIMARY KEY (kind, target)
);
`}, {Name: "jobs-2", SQL: `
CREATE INDEX jobs_error ON jobs (created, key, last_error) WHERE last_error <> '';
`}, {Name: "jobs-3", SQL: `
DROP INDEX jobs_due;
DROP INDEX jobs_state;
DROP INDEX jobs_owner;
DROP INDEX jobs_error;
ALTER TABLE jobs ADD COLUMN due BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN sha256 BYTEA;
ALTER TABLE jobs ADD COLUMN size BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN sent BIGINT NOT NULL DEFAULT 0;
`}}

// Indexes are those of today. A new job, which is made in the mail path, is in as
// few as can be; every step of a worker has a partial one that holds only the rows
// it looks for:
//
//	jobs_list   what is due for the first time, lists and sums, without touching the rows
//	jobs_again  the next job of a target that was tried, or given back, before
//	jobs_lease  leases that ran out
//	jobs_node   leases of a node that starts
//	jobs_error  jobs that failed, by what was said
//	jobs_blob   whether a blob is still needed
//
// PostgreSQL reads no rows only where the index has the columns of its expressions.
var Indexes = []db.Migration{{Name: "jobs-4",
	SQL:      indexes + `CREATE INDEX jobs_list ON jobs (` + listed + `, LOWER(label));`,
	Postgres: indexes + `CREATE INDEX jobs_list ON jobs (` + listed + `, label) INCLUDE (state, not_before);`}}

const (
	indexes = `
UPDATE jobs SET due = created WHERE due = 0;
CREATE INDEX jobs_again ON jobs (kind, target, not_before) WHERE state = 'waiting' AND not_before <> due;
CREATE INDEX jobs_error ON jobs (due, key, last_error) WHERE last_error <> '';
CREATE INDEX jobs_blob ON jobs (sha256) WHERE sha256 IS NOT NULL AND state <> 'done';
`
	listed = `(` + shelf + `), kind, target, due, key, created, owner`
)
