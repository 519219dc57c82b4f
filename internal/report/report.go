// Package report sums up what rules did to mail, or in mode: observe would have
// done.
package report

import (
	"context"
	"slices"
	"strings"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/db"
	"cloakroom/ledger/tally"
)

// topPeople are listed in a report.
const topPeople = 10

// Report is what was counted, for each mode that mail was handled in.
type Report struct {
	From  time.Time `json:"from"`  // the first day that is asked for
	Until time.Time `json:"until"` // now
	Days  int       `json:"days"`  // with any mail
	Modes []*Mode   `json:"modes"`
}

// Mode is what was done to mail in one mode; with observe, what would have
// been.
type Mode struct {
	Name     string `json:"mode"` // observe or enforce
	Mails    int64  `json:"mails"`
	Looked   int64  `json:"body_bytes"` // of the bodies that were looked at
	Deferred int64  `json:"deferred"`
	Paused   int64  `json:"passed_in_a_pause"`

	Links Linked `json:"links"`
	// Lines are by rule and action, the most bytes first.
	Lines   []RuleLine       `json:"rules"`
	Vault   []VaultLine      `json:"vault"`
	Forward []ForwardLine    `json:"forward"`
	Stays   []StayLine       `json:"stays"`
	From    []tally.Person   `json:"senders"`
	To      []tally.Person   `json:"recipients"`
	ByDay   []DayLine        `json:"by_day"`
	By      map[string]int64 `json:"mails_by_verdict"`
}

// Linked sums up the links. Where nothing was stored, Repeated are the bytes of
// files that had come before; where it was, Stored are those that were new.
type Linked struct {
	Mails      int64 `json:"mails"`
	Parts      int64 `json:"parts"`
	Bytes      int64 `json:"bytes"`
	Repeated   int64 `json:"repeated_bytes,omitempty"`
	Uncompared int64 `json:"uncompared_bytes,omitempty"`
	Stored     int64 `json:"stored_bytes,omitempty"`
}

// RuleLine is what one rule did.
type RuleLine struct {
	Rule      string           `json:"rule"`
	Action    string           `json:"action"`
	Detail    string           `json:"detail,omitempty"`
	Mails     int64            `json:"mails"`
	Parts     int64            `json:"parts,omitempty"`
	Bytes     int64            `json:"bytes,omitempty"`
	Direction map[string]int64 `json:"mails_by_direction"`
}

// VaultLine is what went to one target.
type VaultLine struct {
	Target string `json:"target"`
	Copies int64  `json:"copies"`
	Bytes  int64  `json:"bytes"`
}

// ForwardLine is what went to one other system.
type ForwardLine struct {
	To         string `json:"to"`
	Mails      int64  `json:"mails"`
	Recipients int64  `json:"recipients"`
}

// StayLine is why files stay that a rule links.
type StayLine struct {
	Reason string `json:"reason"`
	Parts  int64  `json:"parts"`
	Bytes  int64  `json:"bytes"`
}

// DayLine is one day, in UTC.
type DayLine struct {
	Day   string `json:"day"`
	Mails int64  `json:"mails"`
	Parts int64  `json:"links"`
	Bytes int64  `json:"link_bytes"`
}

// Read reads what was counted from the day of a time on.
func Read(ctx context.Context, q db.Tx, from, now time.Time) (*Report, error) {
	rows, err := tally.Since(ctx, q, from)
	if err != nil {
		return nil, err
	}
	days, err := tally.Days(ctx, q, from)
	if err != nil {
		return nil, err
	}
	r := &Report{From: from.UTC().Truncate(24 * time.Hour), Until: now, Modes: []*Mode{}}
	for _, observed := range []bool{true, false} {
		m := modeOf(observed, rows, days)
		if m == nil {
			continue
		}
		if m.From, err = tally.Top(ctx, q, from, observed, tally.From, topPeople); err != nil {
			return nil, err
		}
		if m.To, err = tally.Top(ctx, q, from, observed, tally.To, topPeople); err != nil {
			return nil, err
		}
		r.Modes = append(r.Modes, m)
	}
	var seen []time.Time
	for _, d := range days {
		if d.Action == tally.Seen && !slices.ContainsFunc(seen, d.Begin.Equal) {
			seen = append(seen, d.Begin)
		}
	}
	r.Days = len(seen)
	return r, nil
}

// Observed tells that nothing was changed: what is told would have been done.
func (m *Mode) Observed() bool { return m.Name == observe }

// observe is the mode in which nothing is changed.
const observe = "observe"

// modeOf sums up one mode; nil where no mail was handled in it.
func modeOf(observed bool, rows []tally.Row, days []tally.Day) *Mode {
	m := &Mode{Name: "enforce", By: map[string]int64{}, Lines: []RuleLine{}, Vault: []VaultLine{}, Forward: []ForwardLine{}, Stays: []StayLine{}}
	if observed {
		m.Name = observe
	}
	for i := range rows {
		if rows[i].Observed == observed {
			m.take(&rows[i])
		}
	}
	if m.Mails == 0 && len(m.Lines) == 0 {
		return nil
	}
	slices.SortStableFunc(m.Lines, func(a, b RuleLine) int { return compare(a.Bytes, b.Bytes, a.Mails, b.Mails) })
	slices.SortStableFunc(m.Vault, func(a, b VaultLine) int { return compare(a.Bytes, b.Bytes, a.Copies, b.Copies) })
	slices.SortStableFunc(m.Forward, func(a, b ForwardLine) int { return compare(a.Mails, b.Mails, a.Recipients, b.Recipients) })
	slices.SortStableFunc(m.Stays, func(a, b StayLine) int { return compare(a.Bytes, b.Bytes, a.Parts, b.Parts) })
	m.days(observed, days)
	return m
}

// compare puts the larger first.
func compare(a, b, then, other int64) int {
	switch {
	case a != b && a > b, a == b && then > other:
		return -1
	case a != b || then != other:
		return 1
	}
	return 0
}

// take adds a row.
func (m *Mode) take(r *tally.Row) {
	switch r.Action {
	case tally.Seen:
		m.Mails += r.Mails
		m.Looked += r.Bytes
		m.By[r.Detail] += r.Mails
		switch r.Detail {
		case flow.Deferred.String():
			m.Deferred += r.Mails
		case flow.PassedInPause:
			m.Paused += r.Mails
		}
		return
	case tally.Repeated:
		m.Links.Repeated += r.Bytes
		return
	case tally.Uncompared:
		m.Links.Uncompared += r.Bytes
		return
	case tally.Stored:
		m.Links.Stored += r.Bytes
		return
	case tally.Stays:
		sumUp(&m.Stays, func(l *StayLine) bool { return l.Reason == r.Detail }, StayLine{Reason: r.Detail}, func(l *StayLine) { l.Parts += r.Parts; l.Bytes += r.Bytes })
		return
	case tally.Forward:
		sumUp(&m.Forward, func(l *ForwardLine) bool { return l.To == r.Detail }, ForwardLine{To: r.Detail}, func(l *ForwardLine) { l.Mails += r.Mails; l.Recipients += r.Parts })
		return
	case tally.Linked:
		m.Links.Mails += r.Mails
		m.Links.Parts += r.Parts
		m.Links.Bytes += r.Bytes
		return
	case tally.Vault:
		sumUp(&m.Vault, func(l *VaultLine) bool { return l.Target == r.Detail }, VaultLine{Target: r.Detail}, func(l *VaultLine) { l.Copies += r.Parts; l.Bytes += r.Bytes })
	}
	same := func(l *RuleLine) bool { return l.Rule == r.Rule && l.Action == r.Action && l.Detail == r.Detail }
	sumUp(&m.Lines, same, RuleLine{Rule: r.Rule, Action: r.Action, Detail: r.Detail, Direction: map[string]int64{}}, func(l *RuleLine) {
		l.Mails, l.Parts, l.Bytes = l.Mails+r.Mails, l.Parts+r.Parts, l.Bytes+r.Bytes
		l.Direction[r.Direction] += r.Mails
	})
}

// sumUp adds to the line that is meant, which is made where it is missing.
func sumUp[T any](lines *[]T, same func(*T) bool, fresh T, add func(*T)) {
	for i := range *lines {
		if same(&(*lines)[i]) {
			add(&(*lines)[i])
			return
		}
	}
	add(&fresh)
	*lines = append(*lines, fresh)
}

func (m *Mode) days(observed bool, days []tally.Day) {
	m.ByDay = []DayLine{}
	for _, d := range days {
		if d.Observed != observed || d.Action != tally.Seen && d.Action != tally.Linked {
			continue
		}
		name := d.Begin.Format(time.DateOnly)
		sumUp(&m.ByDay, func(l *DayLine) bool { return l.Day == name }, DayLine{Day: name}, func(l *DayLine) {
			if d.Action == tally.Seen {
				l.Mails += d.Mails
				return
			}
			l.Parts += d.Parts
			l.Bytes += d.Bytes
		})
	}
	slices.SortFunc(m.ByDay, func(a, b DayLine) int { return strings.Compare(a.Day, b.Day) })
}
