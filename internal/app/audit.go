package app

// The audit for people, and for commands that change something.

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"cloakroom/ledger"
	"cloakroom/ledger/audit"
)

// Audited does something that a command was asked for, and remembers it. What
// cannot be remembered is not done.
func (s *Store) Audited(ctx context.Context, actor, action, object string, f func(context.Context) (outcome string, err error)) error {
	return s.AuditedMails(ctx, actor, action, object, nil, f)
}

// AuditedMails is Audited about mails, by which the act is found later.
func (s *Store) AuditedMails(ctx context.Context, actor, action, object string, mails []ledger.Key, f func(context.Context) (outcome string, err error)) error {
	_, err := audit.Do(ctx, s.DB, audit.Act{Actor: actor, Door: audit.Command, Action: action, Object: object, Mails: mails}, time.Now, f)
	return err
}

// String says which jobs are meant, for the audit.
func (w *Which) String() string {
	if len(w.Keys) > 0 {
		return strings.Join(w.Keys, " ")
	}
	if w.IsZero() {
		return "all jobs"
	}
	words := []string{"all jobs with"}
	for _, s := range w.States {
		words = append(words, "state "+string(s))
	}
	for _, one := range [][2]string{{"kind", w.Kind}, {"target", w.Target}, {"owner", w.Owner}, {"error", w.Error}, {"file", w.File}} {
		if one[1] != "" {
			words = append(words, one[0]+" "+one[1])
		}
	}
	if w.Older > 0 {
		words = append(words, "age over "+w.Older.String())
	}
	return strings.Join(words, " ")
}

// PrintAudit writes acts as a table.
func PrintAudit(w io.Writer, acts []audit.Act) error {
	if len(acts) == 0 {
		_, err := fmt.Fprintln(w, "nothing was changed")
		return err
	}
	return table(w, func(t io.Writer) {
		fmt.Fprintln(t, "WHEN\tWHO\tBY\tWHAT\tTO WHAT\tOUTCOME")
		for _, a := range acts {
			outcome := plain(a.Outcome)
			if a.Ended.IsZero() {
				outcome = "(no end is known)"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", when(a.At, ""), plain(a.Actor), a.Door, a.Action, plain(a.Object), outcome)
		}
	})
}
