package vault

// Uploads: what is to be put where, and what was. Before it is made an upload is
// its job, so that the mail path writes one row; what was made outlives the job.

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
)

// JobKind is the kind of the jobs that upload.
const JobKind = "vault"

// Migrations make the table of this package.
//
//	uploaded_sha   where a target has a blob already
//
// A mail's uploads are found by their jobs' keys, which begin with the mail's.
//
// What was made has a table of another name than before: in a fleet that is
// upgraded node by node an older program may still collect garbage, and would find
// in a table that it knows that nothing waits.
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
`}, {Name: "vault-4", SQL: `
UPDATE jobs SET due = created, label = u.wanted, sha256 = u.sha256, size = u.size, sent = u.sent FROM uploads u WHERE u.job = jobs.key;
CREATE TABLE uploaded (
	job TEXT PRIMARY KEY,
	target TEXT NOT NULL,
	sha256 BYTEA NOT NULL,
	size BIGINT NOT NULL,
	mail BYTEA NOT NULL,
	owner TEXT NOT NULL,
	wanted TEXT NOT NULL,
	path TEXT NOT NULL,
	done BIGINT NOT NULL
);
INSERT INTO uploaded (job, target, sha256, size, mail, owner, wanted, path, done)
	SELECT job, target, sha256, size, mail, owner, wanted, path, done FROM uploads WHERE done > 0 ORDER BY job;
DROP TABLE uploads;
CREATE INDEX uploaded_sha ON uploaded (sha256, target, done);
`}}

// Needed is the SQL condition that a blob, whose hash is $1, waits for its
// upload: a collector must leave it.
const Needed = `EXISTS (SELECT 1 FROM jobs j WHERE j.sha256 = $1 AND j.state <> 'done')`

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

// keyRange are the keys between which those of a mail's uploads lie.
func keyRange(mail ledger.Key) (from, to string) {
	begin := keysOf(mail)
	return begin, begin + "g" // behind every hex digit
}

// Job is the upload's job, due after a delay from now.
func (u *Upload) Job(notBefore time.Time) (jobs.Job, error) {
	payload, err := json.Marshal(&u.About)
	if err != nil {
		return jobs.Job{}, fmt.Errorf("upload of part %d: %w", u.About.Part, err)
	}
	return jobs.Job{Key: u.Key(), Kind: JobKind, Target: u.Target, Owner: u.Owner, Payload: payload, NotBefore: notBefore,
		Label: u.Path, Blob: u.SHA256[:], Size: u.Size}, nil
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

// ErrNoUpload is returned for a job that uploads nothing.
var ErrNoUpload = errors.New("no such upload")

// Open is the upload of a job, and what it is about, while it is not made.
// ErrNoUpload.
func Open(j *jobs.Job) (*Record, *About, error) {
	var about About
	if err := json.Unmarshal(j.Payload, &about); err != nil {
		return nil, nil, fmt.Errorf("payload: %w", err)
	}
	if len(j.Blob) != len(ledger.Hash{}) {
		return nil, &about, fmt.Errorf("%w: job %s names no content", ErrNoUpload, j.Key)
	}
	return &Record{Job: j.Key, Target: j.Target, SHA256: ledger.Hash(j.Blob), Size: j.Size, Mail: about.Mail, Owner: j.Owner, Wanted: j.Label, Sent: j.Sent}, &about, nil
}

// Of is the upload of a job as it stands, and what it is about. ErrNoUpload.
func Of(ctx context.Context, q db.Tx, j *jobs.Job) (*Record, *About, error) {
	r, about, err := Open(j)
	if err != nil || j.State != jobs.Done {
		return r, about, err
	}
	made, err := list(ctx, q, `WHERE job = $1`, j.Key)
	if err == nil && len(made) == 1 {
		r = &made[0]
	}
	return r, about, err
}

// Known tells whether the upload of a job was made, or is to be made.
func Known(ctx context.Context, q db.Tx, job string) (bool, error) {
	var n int
	err := q.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM jobs WHERE key = $1) + (SELECT COUNT(*) FROM uploaded WHERE job = $1)`, job).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for upload %s: %w", job, err)
	}
	return n > 0, nil
}

// jobsOf are the jobs that are to make, or made, a mail's uploads.
func jobsOf(ctx context.Context, q db.Tx, mail ledger.Key) ([]jobs.Job, error) {
	from, to := keyRange(mail)
	found, err := jobs.Between(ctx, q, from, to)
	if err != nil {
		return nil, fmt.Errorf("uploads of mail %s: %w", mail, err)
	}
	return slices.DeleteFunc(found, func(j jobs.Job) bool {
		_, about, _ := Open(&j) // also one that names no content
		return about == nil || about.Mail != mail
	}), nil
}

// ForgetMail deletes the rows of a mail's uploads, and their jobs.
func ForgetMail(ctx context.Context, tx db.Tx, mail ledger.Key) error {
	open, err := jobsOf(ctx, tx, mail)
	if err != nil {
		return err
	}
	for _, j := range open {
		if _, err := tx.ExecContext(ctx, `DELETE FROM jobs WHERE key = $1`, j.Key); err != nil {
			return fmt.Errorf("uploads of mail %s: %w", mail, err)
		}
	}
	from, to := keyRange(mail)
	if _, err := tx.ExecContext(ctx, `DELETE FROM uploaded WHERE `+ofMail, mail[:], from, to); err != nil {
		return fmt.Errorf("uploads of mail %s: %w", mail, err)
	}
	return nil
}

// UnderWay counts a mail's uploads that a worker has taken.
func UnderWay(ctx context.Context, tx db.Tx, mail ledger.Key) (n int, err error) {
	open, err := jobsOf(ctx, tx, mail)
	for _, j := range open {
		if j.State == jobs.Running {
			n++
		}
	}
	return n, err
}

// OfMail lists the uploads of a mail: those that were made, and those whose jobs
// are not done.
func OfMail(ctx context.Context, q db.Tx, mail ledger.Key) ([]Record, error) {
	from, to := keyRange(mail)
	out, err := list(ctx, q, `WHERE `+ofMail, mail[:], from, to)
	if err != nil {
		return nil, err
	}
	open, err := jobsOf(ctx, q, mail)
	if err != nil {
		return nil, err
	}
	for i := range open {
		if r, _, err := Open(&open[i]); err == nil && !slices.ContainsFunc(out, func(made Record) bool { return made.Job == r.Job }) {
			out = append(out, *r)
		}
	}
	slices.SortFunc(out, func(a, b Record) int { return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Wanted, b.Wanted)) })
	return out, nil
}

// ofMail is the SQL condition that an upload that was made is of the mail $1,
// whose keys lie between $2 and $3.
const ofMail = `job BETWEEN $2 AND $3 AND mail = $1`

// maxElsewhere is how many other places of the same content are tried as the
// source of a copy.
const maxElsewhere = 3

// elsewhere lists where a target has the content already, latest first.
func elsewhere(ctx context.Context, q db.Tx, r *Record) ([]Record, error) {
	return list(ctx, q, `WHERE sha256 = $1 AND target = $2 AND job <> $3 ORDER BY done DESC LIMIT $4`,
		r.SHA256[:], r.Target, r.Job, maxElsewhere)
}

func list(ctx context.Context, q db.Tx, where string, args ...any) ([]Record, error) {
	rows, err := q.QueryContext(ctx, `SELECT job, target, sha256, size, mail, owner, wanted, path, done FROM uploaded `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	defer rows.Close()
	var out []Record
	for rows.Next() {
		var r Record
		var sum, mail []byte
		var done int64
		if err := rows.Scan(&r.Job, &r.Target, &sum, &r.Size, &mail, &r.Owner, &r.Wanted, &r.Path, &done); err != nil {
			return nil, fmt.Errorf("list uploads: %w", err)
		}
		copy(r.SHA256[:], sum)
		copy(r.Mail[:], mail)
		r.Sent, r.Done = r.Size, time.UnixMilli(done)
		out = append(out, r)
	}
	return out, rows.Err()
}

// finish notes where the file lies now.
func finish(r *Record, path string, now time.Time) jobs.Effect {
	return func(ctx context.Context, tx db.Tx) error {
		made := Made{Job: r.Job, Path: path, At: now, Target: r.Target, SHA256: r.SHA256, Size: r.Size, Mail: r.Mail, Owner: r.Owner, Wanted: r.Wanted}
		db.Also(ctx, db.Fact{Kind: factMade, Data: made})
		return insert(ctx, tx, &made)
	}
}
