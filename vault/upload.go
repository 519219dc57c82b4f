package vault

// Uploads: what is to be put where, and what was. A row stands beside its job,
// which says how the work goes; the row outlives the job.

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
)

// JobKind is the kind of the jobs that upload.
const JobKind = "vault"

// Migrations make the table of this package.
//
//	uploads_sha   whether a blob is still needed; where a target has it already
//	uploads_open  what is to be done, by its path
//
// A mail's uploads are found by their jobs' keys, which begin with the mail's:
// an index less to write in the mail path.
var Migrations = []db.Migration{{Name: "vault-1", SQL: `
CREATE TABLE uploads (
	job TEXT PRIMARY KEY,
	target TEXT NOT NULL,
	sha256 BYTEA NOT NULL,
	size BIGINT NOT NULL,
	mail BYTEA NOT NULL,
	owner TEXT NOT NULL,
	wanted TEXT NOT NULL,
	path TEXT NOT NULL,
	sent BIGINT NOT NULL,
	done BIGINT NOT NULL
);
CREATE INDEX uploads_sha ON uploads (sha256, target, done);
CREATE INDEX uploads_mail ON uploads (mail);
`}, {Name: "vault-2", SQL: `
DROP INDEX uploads_mail;
`}, {Name: "vault-3", SQL: `
CREATE INDEX uploads_open ON uploads (LOWER(wanted), job) WHERE done = 0;
`}}

// Needed is the SQL condition that a blob, whose hash is $1, waits for its
// upload: a collector must leave it.
const Needed = `EXISTS (SELECT 1 FROM uploads u JOIN jobs j ON j.key = u.job WHERE u.sha256 = $1 AND j.state <> 'done')`

// Upload is one file for one space.
type Upload struct {
	Target string
	Path   string // as the template gives it, from the facts of first sight
	Place  string // the same without what the time of arrival adds to it
	SHA256 [32]byte
	Size   int64
	Owner  string // address
	About  About
}

// About is what is told of a file beside it, and in lists.
type About struct {
	Mail      ledger.Key `json:"mail"`
	Part      int        `json:"part"`            // in the mail; -1 is the mail as a whole
	Inner     int        `json:"inner,omitempty"` // from 1: the file inside winmail.dat
	Name      string     `json:"name"`
	Type      string     `json:"type"`
	Sender    string     `json:"sender"`
	To        []string   `json:"to"`
	Subject   string     `json:"subject"`
	MessageID string     `json:"message_id"`
	QueueID   string     `json:"queue_id"`
	Received  time.Time  `json:"received"`
	Direction string     `json:"direction"`
	Rule      string     `json:"rule"`
	Sidecar   bool       `json:"sidecar,omitempty"`
}

// Key names the upload's job: one for each mail, part, target and place, so that
// a mail that comes again does not make another, also in another month.
func (u *Upload) Key() string {
	place := fmt.Sprintf("%s\x00%d\x00%d\x00%s\x00%s", u.About.Mail, u.About.Part, u.About.Inner, u.Target, u.Place)
	return keysOf(u.About.Mail) + hex.EncodeToString(digest(place))
}

// keysOf is how the keys of a mail's jobs begin.
func keysOf(mail ledger.Key) string { return JobKind + "-" + mail.String()[:16] + "-" }

// ofMail is the SQL condition that an upload is of the mail $1, whose keys lie
// between $2 and $3.
const ofMail = `job BETWEEN $2 AND $3 AND mail = $1`

// keyRange are the arguments of ofMail.
func keyRange(mail ledger.Key) []any { return []any{mail[:], keysOf(mail), keysOf(mail) + "g"} } // behind every hex digit

// Job is the upload's job, due after a delay from now.
func (u *Upload) Job(notBefore time.Time) (jobs.Job, error) {
	payload, err := json.Marshal(u.About)
	if err != nil {
		return jobs.Job{}, fmt.Errorf("upload of part %d: %w", u.About.Part, err)
	}
	return jobs.Job{Key: u.Key(), Kind: JobKind, Target: u.Target, Owner: u.Owner, Payload: payload, NotBefore: notBefore}, nil
}

// Enqueue records the upload with its job in the caller's transaction. What is
// recorded already stays as it is.
func Enqueue(ctx context.Context, tx db.Tx, queue *jobs.Store, u *Upload, j jobs.Job) error {
	if err := queue.Enqueue(ctx, tx, j); err != nil {
		return err
	}
	q := Queued{Job: j.Key, Target: u.Target, SHA256: u.SHA256, Size: u.Size, Mail: u.About.Mail, Owner: u.Owner, Wanted: u.Path}
	db.Also(ctx, db.Fact{Kind: factQueued, Data: q})
	return insert(ctx, tx, &q)
}

// Record is an upload as it stands.
type Record struct {
	Job    string
	Target string
	SHA256 ledger.Hash
	Size   int64
	Mail   ledger.Key
	Owner  string
	Wanted string // the path that was asked for
	Path   string // the path it has on the target; "" before it is done
	Sent   int64  // bytes, while it is under way
	Done   time.Time
}

const recordColumns = `job, target, sha256, size, mail, owner, wanted, path, sent, done`

// ErrNoUpload is returned for a job that uploads nothing.
var ErrNoUpload = errors.New("no such upload")

// Get reads the upload of a job. ErrNoUpload.
func Get(ctx context.Context, q db.Tx, job string) (*Record, error) {
	r, err := scan(q.QueryRowContext(ctx, `SELECT `+recordColumns+` FROM uploads WHERE job = $1`, job))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: %s", ErrNoUpload, job)
	}
	if err != nil {
		return nil, fmt.Errorf("read upload %s: %w", job, err)
	}
	return r, nil
}

// Forget deletes the row of an upload that will not be made; one that was made
// stays.
func Forget(ctx context.Context, tx db.Tx, job string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM uploads WHERE job = $1 AND done = 0`, job); err != nil {
		return fmt.Errorf("forget upload %s: %w", job, err)
	}
	return nil
}

// ForgetMail deletes the rows of a mail's uploads, and their jobs.
func ForgetMail(ctx context.Context, tx db.Tx, mail ledger.Key) error {
	for _, text := range []string{
		`DELETE FROM jobs WHERE key IN (SELECT job FROM uploads WHERE ` + ofMail + `)`,
		`DELETE FROM uploads WHERE ` + ofMail,
	} {
		if _, err := tx.ExecContext(ctx, text, keyRange(mail)...); err != nil {
			return fmt.Errorf("uploads of mail %s: %w", mail, err)
		}
	}
	return nil
}

// UnderWay counts a mail's uploads that a worker has taken.
func UnderWay(ctx context.Context, tx db.Tx, mail ledger.Key) (int, error) {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM jobs WHERE state = 'running' AND key IN (SELECT job FROM uploads WHERE `+ofMail+`)`,
		keyRange(mail)...).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("uploads of mail %s: %w", mail, err)
	}
	return n, nil
}

// PathContains chooses the jobs of uploads whose path, as it was asked for,
// contains a text, in whatever case. Where only jobs are asked for that are not
// done, an index knows the paths.
func PathContains(part string, open bool) *jobs.Condition {
	const contains = `LOWER(u.wanted) LIKE LOWER(?) ESCAPE '\'`
	c := &jobs.Condition{Args: []any{jobs.Containing(part)}, SQL: `EXISTS (SELECT 1 FROM uploads u WHERE u.job = key AND ` + contains + `)`}
	if open {
		c.Keys = `SELECT u.job FROM uploads u WHERE u.done = 0 AND ` + contains
	}
	return c
}

// OfMail lists the uploads of a mail.
func OfMail(ctx context.Context, q db.Tx, mail ledger.Key) ([]Record, error) {
	return list(ctx, q, `WHERE `+ofMail+` ORDER BY target, wanted`, keyRange(mail)...)
}

// maxElsewhere is how many other places of the same content are tried as the
// source of a copy.
const maxElsewhere = 3

// elsewhere lists where a target has the content already, latest first.
func elsewhere(ctx context.Context, q db.Tx, r *Record) ([]Record, error) {
	return list(ctx, q, `WHERE sha256 = $1 AND target = $2 AND done > 0 AND job <> $3 ORDER BY done DESC LIMIT $4`,
		r.SHA256[:], r.Target, r.Job, maxElsewhere)
}

func list(ctx context.Context, q db.Tx, where string, args ...any) ([]Record, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+recordColumns+` FROM uploads `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	defer rows.Close()
	var out []Record
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list uploads: %w", err)
		}
		out = append(out, *r)
	}
	return out, rows.Err()
}

func scan(row interface{ Scan(...any) error }) (*Record, error) {
	var r Record
	var sum, mail []byte
	var done int64
	if err := row.Scan(&r.Job, &r.Target, &sum, &r.Size, &mail, &r.Owner, &r.Wanted, &r.Path, &r.Sent, &done); err != nil {
		return nil, err
	}
	copy(r.SHA256[:], sum)
	copy(r.Mail[:], mail)
	if done > 0 {
		r.Done = time.UnixMilli(done)
	}
	return &r, nil
}

// finish notes where the file lies now.
func finish(path string, job string, now time.Time) jobs.Effect {
	return func(ctx context.Context, tx db.Tx) error {
		made := Made{Job: job, Path: path, At: now}
		db.Also(ctx, db.Fact{Kind: factMade, Data: made})
		return update(ctx, tx, &made)
	}
}
