package jobs

import "cloakroom/internal/db"

// Migrations make the tables of this package. Every step of a worker has a
// partial index that holds only the rows it looks for:
//
//	jobs_due    the next waiting job of a target
//	jobs_lease  leases that ran out
//	jobs_node   leases of a node that starts
//	jobs_state  lists and sums, without touching the rows
//	jobs_owner  an owner's jobs
//	jobs_error  jobs that failed, by what was said
var Migrations = []db.Migration{{Name: "jobs-1", SQL: `
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
`}}
