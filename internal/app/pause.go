package app

// The brake: while it is on, mail passes untouched. It is a file in the data
// directory, so that it holds over restarts, and works when little else does.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/db"
	"cloakroom/policy"
)

const (
	// pauseName is the brake's file in the data directory. Its being there is
	// what counts; what is in it tells who, why, and until when.
	pauseName = "paused"
	// lookEvery is how long a mail may still go the old way after the brake was
	// touched: a look is one stat(2).
	lookEvery = 250 * time.Millisecond
	// maxPauseFile bounds what is read of the file, in bytes.
	maxPauseFile = 16 << 10
)

// Pause says since when mail passes untouched, and why.
type Pause struct {
	Who   string    `json:"who,omitempty"`
	Why   string    `json:"why,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"` // zero: until somebody resumes
}

// over tells whether a pause has ended by itself.
func (p *Pause) over(now time.Time) bool { return !p.Until.IsZero() && !now.Before(p.Until) }

// String tells of a pause in one line.
func (p *Pause) String() string {
	words := "mail passes untouched"
	if !p.Since.IsZero() {
		words += " since " + when(p.Since, "")
	}
	if p.Who != "" {
		words += ", by " + p.Who
	}
	if !p.Until.IsZero() {
		words += ", until " + when(p.Until, "")
	}
	if p.Why != "" {
		words += ": " + p.Why
	}
	return plain(words)
}

// Brake looks at the file, as often as somebody asks, and seldom enough for
// everybody to ask.
type Brake struct {
	path string

	looking sync.Mutex
	next    atomic.Int64 // when to look again: time.Time's Unix milliseconds
	stamp   stamp        // of the file that was read
	seen    atomic.Pointer[Pause]
	trouble atomic.Pointer[error] // of the last look
}

// stamp tells a file from the one that was there before.
type stamp struct {
	inode    uint64
	size     int64
	modified time.Time
}

// NewBrake takes the brake of a data directory.
func NewBrake(data string) *Brake { return &Brake{path: filepath.Join(data, pauseName)} }

// On gives the pause that is in force; nil for none.
func (b *Brake) On() *Pause {
	now := time.Now()
	if due := b.next.Load(); now.UnixMilli() >= due || due > now.Add(2*lookEvery).UnixMilli() { // or the clock was set back
		if due == 0 {
			b.looking.Lock() // nothing was ever seen: everybody waits
			b.look(now)
			b.looking.Unlock()
		} else if b.looking.TryLock() {
			b.look(now)
			b.looking.Unlock()
		}
	}
	if p := b.seen.Load(); p != nil && !p.over(now) {
		return p
	}
	return nil
}

// look reads the file where it is another than before. Where that cannot be
// known, what was seen last holds.
func (b *Brake) look(now time.Time) {
	defer b.next.Store(now.Add(lookEvery).UnixMilli())
	info, err := os.Stat(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		b.stamp, err = stamp{}, nil
		b.seen.Store(nil)
	} else if err == nil {
		is := stamp{size: info.Size(), modified: info.ModTime()}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			is.inode = st.Ino
		}
		if is != b.stamp {
			b.seen.Store(readPause(b.path, info))
			b.stamp = is
		}
	}
	if err != nil {
		b.trouble.Store(&err)
		return
	}
	b.trouble.Store(nil)
}

// readPause reads the file. One that says nothing is a pause all the same.
func readPause(path string, info fs.FileInfo) *Pause {
	p := new(Pause)
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		err = json.NewDecoder(io.LimitReader(f, maxPauseFile)).Decode(p)
	}
	if err != nil {
		p = new(Pause)
		if !errors.Is(err, io.EOF) { // empty, as touch makes it
			p.Why = "what " + path + " says cannot be read: " + err.Error()
		}
	}
	if p.Since.IsZero() {
		p.Since = info.ModTime()
	}
	return p
}

// watch tells of the brake until ctx ends: also when no mail comes. changed is
// called each time it was put on, changed, or taken off.
func (b *Brake) watch(ctx context.Context, log *slog.Logger, changed func()) {
	var last *Pause
	failing := false
	beat := time.NewTicker(lookEvery)
	defer beat.Stop()
	for {
		if now := b.On(); now != last {
			switch {
			case now != nil:
				log.Warn("paused: mail passes untouched, co-existence, links and uploads go on", "who", now.Who, "why", now.Why, "since", now.Since, "until", now.Until)
			case last.over(time.Now()):
				log.Info("the pause ended by itself: mail goes by the rules again", "until", last.Until)
			default:
				log.Info("resumed: mail goes by the rules again")
			}
			last = now
			changed()
		}
		if err := b.trouble.Load(); (err != nil) != failing {
			if failing = err != nil; failing {
				log.Error("whether there is a pause cannot be seen: what was seen last holds", "paused", last != nil, "err", *err)
			}
		}
		select {
		case <-beat.C:
		case <-ctx.Done():
			return
		}
	}
}

// status is what systemctl status shows of it.
func (b *Brake) status() string {
	if p := b.On(); p != nil {
		return "PAUSED, " + p.String() + "; "
	}
	return ""
}

// check asks for attention while the brake is on.
func (b *Brake) check(context.Context) (attention string, err error) {
	return b.words(), nil
}

// words tell of a pause in one line; "" while there is none.
func (b *Brake) words() string {
	if p := b.On(); p != nil {
		return p.String()
	}
	return ""
}

// Put puts the brake on, durably. It also works on a full disk, where the file
// stays empty; told says whether who and why are in it.
func (b *Brake) Put(p Pause) (told bool, err error) {
	err = writeWhole(b.path, func(w io.Writer) error { return json.NewEncoder(w).Encode(p) }, nil)
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err == nil, err
	}
	f, again := os.OpenFile(b.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, exportMode)
	if again != nil {
		return false, errors.Join(err, again)
	}
	return false, errors.Join(f.Sync(), f.Close(), syncFolder(filepath.Dir(b.path)))
}

// Release takes the brake off, durably. was is nil where it was not on.
func (b *Brake) Release() (was *Pause, err error) {
	b.next.Store(0)
	was = b.On()
	if err := os.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	b.next.Store(0)
	return was, syncFolder(filepath.Dir(b.path))
}

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
