package app

// Who has a file: mails, links, and copies for vaults.

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"cloakroom/sisa"
)

// maxListedUploads bounds the uploads that are listed for one file.
const maxListedUploads = 1000

// Place is all that is known of a file.
type Place struct {
	*sisa.Place
	Uploads []UploadRef `json:"uploads"`
}

// UploadRef is a copy of the file for a vault.
type UploadRef struct {
	Job    string `json:"job"`
	State  string `json:"state"` // of the job; "done" also when it is not remembered any more
	Target string `json:"target"`
	Owner  string `json:"owner"`
	Path   string `json:"path"`
}

// Where tells who has a file.
func (s *Store) Where(ctx context.Context, sum [32]byte, log *slog.Logger) (*Place, error) {
	place, err := s.Keeper(log).Where(ctx, sum)
	if err != nil {
		return nil, err
	}
	p := &Place{Place: place, Uploads: []UploadRef{}}
	rows, err := s.DB.Read().QueryContext(ctx, `SELECT u.job AS job, COALESCE(j.state, 'done') AS state, u.target AS target, u.owner AS owner, u.path AS path
		FROM uploaded u LEFT JOIN jobs j ON j.key = u.job WHERE u.sha256 = $1
		UNION ALL SELECT w.key, w.state, w.target, w.owner, w.label FROM jobs w
		WHERE w.sha256 = $1 AND w.state <> 'done' AND NOT EXISTS (SELECT 1 FROM uploaded m WHERE m.job = w.key)
		ORDER BY target, job LIMIT $2`, sum[:], maxListedUploads)
	if err != nil {
		return nil, fmt.Errorf("uploads of %x: %w", sum, err)
	}
	defer rows.Close()
	for rows.Next() {
		var u UploadRef
		if err := rows.Scan(&u.Job, &u.State, &u.Target, &u.Owner, &u.Path); err != nil {
			return nil, fmt.Errorf("uploads of %x: %w", sum, err)
		}
		p.Uploads = append(p.Uploads, u)
	}
	return p, rows.Err()
}

func printUploads(w io.Writer, list []UploadRef) {
	for _, u := range list {
		fmt.Fprintf(w, "  vault %s for %s: %s, %s\n", plain(u.Target), plain(u.Owner), plain(u.Path), u.State)
	}
}
