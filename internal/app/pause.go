package app

// A pause, seen from whoever orders it: what rests meanwhile, what goes on, and
// that it is remembered.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/db"
	"cloakroom/policy"
)

// coasting are the settings while the brake is on: nothing is left but where a
// recipient's mailbox is, as his mail would otherwise be lost, or go in circles.
func coasting(s *flow.Settings, rules []policy.Rule) (*flow.Settings, error) {
	var ways []policy.Rule
	for _, r := range rules {
		if r.Forward != nil {
			ways = append(ways, policy.Rule{Name: r.Name, If: r.If, Forward: r.Forward})
		}
	}
	out := *s
	var err error
	if out.Policy, err = policy.Compile(ways); err != nil {
		return nil, fmt.Errorf("rules about forwarding: %w", err)
	}
	out.Paused, out.Vault = true, nil
	return &out, nil
}

// Missed is what mail misses that passes during a pause: the rules, by what
// they do.
type Missed struct {
	Link    []string `json:"link,omitempty"`
	Vault   []string `json:"vault,omitempty"`
	Reject  []string `json:"reject,omitempty"`
	Hold    []string `json:"quarantine,omitempty"`
	Mark    []string `json:"header_and_tag,omitempty"`
	Forward bool     `json:"forwarding_goes_on,omitempty"`
	Observe bool     `json:"mode_observe,omitempty"`
}

// MissedBy tells what a configuration's mail misses.
func MissedBy(cfg *config.Config) Missed {
	m := Missed{Forward: len(cfg.Coexistence) > 0, Observe: cfg.Mode == config.ModeObserve}
	add := func(to *[]string, r *policy.Rule, acts bool) {
		if acts {
			*to = append(*to, r.Name)
		}
	}
	for i := range cfg.Rules {
		r := &cfg.Rules[i]
		add(&m.Link, r, r.Link != nil && !r.Link.Keep)
		add(&m.Vault, r, r.Vault != nil && !r.Vault.Never)
		add(&m.Reject, r, r.Reject != nil && !r.Reject.Never)
		add(&m.Hold, r, r.Quarantine != nil && !r.Quarantine.Never)
		add(&m.Mark, r, r.Header != nil && !r.Header.Never || r.Tag != nil && !r.Tag.Never)
	}
	return m
}

// lines tells it to a person, one thing a line.
func (m Missed) lines() []string {
	var out []string
	say := func(rules []string, one, many, means string) {
		if len(rules) == 0 {
			return
		}
		words := fmt.Sprintf("%d %s", len(rules), many)
		if len(rules) == 1 {
			words = "1 " + one
		}
		out = append(out, words+" "+means+": "+strings.Join(rules, ", "))
	}
	say(m.Link, "link rule rests", "link rules rest", "(attachments stay in the mail)")
	say(m.Vault, "vault rule misses", "vault rules miss", "the mail that passes meanwhile; it is not on record, and `vault backfill` cannot bring it")
	say(m.Reject, "rule that refuses mail rests", "rules that refuse mail rest", "(what they would refuse is let in)")
	say(m.Hold, "rule that holds mail rests", "rules that hold mail rest", "(what they would hold is delivered)")
	say(m.Mark, "rule that marks mail rests", "rules that mark mail rest", "(header fields and subjects stay as they come)")
	if m.Forward {
		out = append(out, "co-existence goes on: mail for the other system is forwarded, loops are refused, by the same rules")
	}
	if m.Observe {
		out = append(out, "mode is observe: nothing was changed anyway; what passes now is not counted for `cloakroom report`")
	}
	return out
}

// PausePlan is what `pause` did.
type PausePlan struct {
	Pause
	Running bool   `json:"daemon_runs"`
	Missed  Missed `json:"missed"`
}

// PrintPause writes what a pause means.
func PrintPause(w io.Writer, p PausePlan) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", p.Pause.String())
	if p.Running {
		fmt.Fprintln(&b, "the daemon obeys from the next mail on; links, uploads and copies under way go on")
	} else {
		fmt.Fprintln(&b, "no daemon runs on this data folder: the pause begins when one is started. Until then the MTA does what its default action says")
	}
	for _, line := range p.Missed.lines() {
		fmt.Fprintf(&b, "  %s\n", plain(line))
	}
	fmt.Fprintln(&b, "to end it: cloakroom resume")
	_, err := io.WriteString(w, b.String())
	return err
}

// auditTime is how long the audit may keep a command about the brake waiting.
const auditTime = 10 * time.Second

// PauseMail puts the brake on. That it could not be written into the audit, as
// the database may be what is broken, is told apart: the brake holds all the same.
func PauseMail(ctx context.Context, cfg *config.Config, p Pause, log *slog.Logger) (done PausePlan, unaudited, err error) {
	if err := dataThere(cfg); err != nil {
		return done, nil, err
	}
	told, err := NewBrake(cfg.Data).Put(p)
	if err != nil {
		return done, nil, fmt.Errorf("put the brake on: %w", err)
	}
	if !told {
		log.Warn("the disk is full: who paused, why and until when could not be written down; the pause lasts until `cloakroom resume`")
		p = Pause{Since: p.Since}
	}
	outcome := p.String()
	unaudited = auditBrake(ctx, cfg, p.Who, "pause", p.Why, outcome, log)
	return PausePlan{Pause: p, Running: daemonRuns(cfg.Data), Missed: MissedBy(cfg)}, unaudited, nil
}

// ResumeMail takes the brake off; was is nil where it was not on.
func ResumeMail(ctx context.Context, cfg *config.Config, who string, log *slog.Logger) (was *Pause, unaudited, err error) {
	if err := dataThere(cfg); err != nil {
		return nil, nil, err
	}
	if was, err = NewBrake(cfg.Data).Release(); err != nil {
		return nil, nil, fmt.Errorf("take the brake off: %w", err)
	}
	if was == nil {
		return nil, nil, nil
	}
	return was, auditBrake(ctx, cfg, who, "resume", "", "paused since "+when(was.Since, "?"), log), nil
}

func dataThere(cfg *config.Config) error {
	if _, err := os.Stat(cfg.Data); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

// auditBrake remembers what was done to the brake.
func auditBrake(ctx context.Context, cfg *config.Config, who, action, object, outcome string, log *slog.Logger) error {
	if !HasStore(cfg) {
		return nil // no daemon ever ran here
	}
	ctx, cancel := context.WithTimeout(ctx, auditTime)
	defer cancel()
	s, err := OpenBeside(ctx, cfg, false, log)
	if err != nil {
		return err
	}
	err = s.Audited(ctx, who, action, object, func(context.Context) (string, error) { return outcome, nil })
	return errors.Join(err, s.Close())
}

// daemonRuns tells whether a daemon holds a data directory.
func daemonRuns(data string) bool {
	lock, err := db.Lock(data)
	if err == nil {
		lock.Unlock() // it was free
	}
	return errors.Is(err, db.ErrLocked)
}

// PrintResume tells what a resume ended.
func PrintResume(w io.Writer, was *Pause, now time.Time) error {
	if was == nil {
		_, err := fmt.Fprintln(w, "there was no pause: mail goes by the rules")
		return err
	}
	text := "mail goes by the rules again"
	if took := now.Sub(was.Since); !was.Since.IsZero() && took > 0 {
		text += ", after a pause of " + config.FormatDuration(took.Round(time.Second))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
