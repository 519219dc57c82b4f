package app

// Backfill: the vault for somebody who joins it later.

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/policy"
)

// Backfill says whose files are uploaded, and where to.
type Backfill struct {
	User       string // address
	Department string
	Since      time.Time
	Target     string // "": the rules decide
	Space      string
	Dry        bool
	// Each, if not nil, is told of every upload.
	Each func(BackfillUpload) error
}

// BackfillUpload is one upload that is made.
type BackfillUpload struct {
	Target   string    `json:"target"`
	Owner    string    `json:"owner"`
	Path     string    `json:"path"`
	Size     int64     `json:"size"`
	Received time.Time `json:"received"`
	Rule     string    `json:"rule"`
}

// BackfillSum is what came of it.
type BackfillSum struct {
	Mails   int   `json:"mails"` // that were looked at
	Uploads int   `json:"uploads"`
	Bytes   int64 `json:"bytes"`
	There   int   `json:"there_already"`    // uploads that were made before, or wait
	Gone    int   `json:"not_in_the_store"` // attachments
	Unread  int   `json:"mails_without_original"`
	Dry     bool  `json:"dry_run"`
}

// backfillRule is what uploads without a rule name as theirs.
const backfillRule = "backfill"

// AuditedBackfill is Backfill on somebody's order, which is remembered unless
// nothing is made.
func (s *Store) AuditedBackfill(ctx context.Context, cfg *config.Config, b Backfill, actor string, log *slog.Logger) (sum *BackfillSum, err error) {
	if b.Dry {
		return s.Backfill(ctx, cfg, b, log)
	}
	whose := "user " + b.User
	if b.Department != "" {
		whose = "department " + b.Department
	}
	if b.Target != "" {
		whose += ", to target " + b.Target
	}
	err = s.Audited(ctx, actor, "backfill", whose, func(ctx context.Context) (string, error) {
		var err error
		if sum, err = s.Backfill(ctx, cfg, b, log); sum == nil {
			return "", err
		}
		return fmt.Sprintf("%d uploads of %d mails", sum.Uploads, sum.Mails), err
	})
	return sum, err
}

// Backfill makes upload jobs of mail on record.
func (s *Store) Backfill(ctx context.Context, cfg *config.Config, b Backfill, log *slog.Logger) (*BackfillSum, error) {
	users, err := OpenUsers(cfg.Directory, log)
	if err != nil {
		return nil, err
	}
	defer users.Close()
	engine, err := NewEngine(s, func() *config.Config { return cfg }, users, log)
	if err != nil {
		return nil, err
	}
	addresses, err := b.addresses(ctx, users)
	if err != nil {
		return nil, err
	}
	keys, err := s.mailsOf(ctx, addresses, b.Since)
	if err != nil {
		return nil, err
	}
	do := flow.Backfill{Target: b.Target, Space: b.Space, Rule: backfillRule, Dry: b.Dry, Of: func(o *policy.Recipient) bool {
		if b.Department != "" {
			return o.Department == b.Department
		}
		return slices.Contains(addresses, strings.ToLower(o.Address))
	}}
	sum := &BackfillSum{Dry: b.Dry}
	for _, key := range keys {
		record, err := ledger.Get(ctx, s.DB.Read(), key)
		if err != nil {
			return sum, err
		}
		got, err := engine.Backfill(ctx, record, do)
		if err != nil {
			return sum, fmt.Errorf("mail %s: %w", key, err)
		}
		if err := sum.add(record, got, b.Each); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (sum *BackfillSum) add(record *ledger.Mail, got *flow.Backfilled, each func(BackfillUpload) error) error {
	sum.Mails++
	sum.There += got.There
	sum.Gone += got.Gone
	if got.Unread != nil {
		sum.Unread++
	}
	for _, u := range got.Uploads {
		sum.Uploads++
		sum.Bytes += u.Size
		if each == nil {
			continue
		}
		if err := each(BackfillUpload{u.Target, u.Owner, u.Path, u.Size, record.Received, u.About.Rule}); err != nil {
			return err
		}
	}
	return nil
}

// addresses are those of the user; nil for a department.
func (b *Backfill) addresses(ctx context.Context, users *Users) ([]string, error) {
	if b.User == "" {
		return nil, nil
	}
	user := strings.ToLower(b.User)
	known, err := users.Lookup(ctx, []string{user})
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", user, err)
	}
	out := []string{user}
	if u := known[user]; u != nil {
		out = append(append(out, u.Address), u.Aliases...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// mailsOf lists the mails on record that an address sent or got, oldest first;
// all of them where there is no address.
func (s *Store) mailsOf(ctx context.Context, addresses []string, since time.Time) ([]ledger.Key, error) {
	if addresses == nil {
		return ledger.Find(ctx, s.DB.Read(), ledger.Filter{Since: since})
	}
	var out []ledger.Key
	seen := make(map[ledger.Key]bool)
	for _, a := range addresses {
		found, err := ledger.Find(ctx, s.DB.Read(), ledger.Filter{Address: a, Since: since})
		if err != nil {
			return nil, err
		}
		for _, key := range found {
			if !seen[key] {
				seen[key] = true
				out = append(out, key)
			}
		}
	}
	return out, nil
}

// PrintBackfillUpload writes one upload as a line.
func PrintBackfillUpload(w io.Writer, u BackfillUpload) error {
	_, err := fmt.Fprintf(w, "%s  %s  %s  %s  %s\n", when(u.Received, ""), plain(u.Owner), u.Target, plain(u.Path), message.FormatSize(u.Size))
	return err
}

// PrintBackfill writes the sums.
func PrintBackfill(w io.Writer, s *BackfillSum) error {
	did := "made"
	if s.Dry {
		did = "would be made"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s %s; %d were there already\n", count(s.Uploads, "upload"), message.FormatSize(s.Bytes), did, s.There)
	fmt.Fprintf(&b, "%s looked at\n", count(s.Mails, "mail"))
	if s.Unread > 0 {
		fmt.Fprintf(&b, "%s could not be judged by the rules: their originals are not kept. --target takes what the store has of their files, whatever rules say.\n", count(s.Unread, "mail"))
	}
	if s.Gone > 0 {
		fmt.Fprintf(&b, "%s are not in the store\n", count(s.Gone, "attachment"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
