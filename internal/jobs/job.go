// Package jobs does later, and exactly as often as needed, what a mail's
// commit decided: vault uploads, re-injected copies. A job is a row beside the
// links, inserted in the transaction that makes them, so that there is never
// one without the other.
//
// A worker that takes a job gets a lease, measured by the database's clock,
// and a fence, a number that no earlier worker on this job had. Whoever comes
// back after its lease went to another finds its fence stale and cannot
// complete the job; the fence also belongs into every temporary name that a
// worker makes elsewhere. What a job does outside of the database can still
// happen twice, when a process dies between the deed and its completion:
// handlers must make a repetition harmless.
//
// Jobs for one target stop while that target is down: one job at a time finds
// out whether it is back. Targets are configured destinations, a few dozen;
// they are not meant to be domains or addresses.
//
// Limits: an owner with very many jobs delays the others of the same target,
// there are no priorities; parallelism is bounded per process, not for a fleet.
package jobs

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// State is where a job stands.
type State string

// The states of a job. Only waiting ones are taken by workers.
const (
	Waiting State = "waiting" // until NotBefore, then for a worker
	Running State = "running" // a worker has a lease on it
	Done    State = "done"    // kept for a while, so that a repeated mail finds it
	Failed  State = "failed"  // given up; stays until an administrator decides
	Held    State = "held"    // an administrator said so
)

// States lists all of them.
var States = []State{Waiting, Running, Done, Failed, Held}

// ParseState reads the name of a state.
func ParseState(name string) (State, error) {
	if s := State(name); slices.Contains(States, s) {
		return s, nil
	}
	return "", fmt.Errorf("%q is no state of a job; there are %v", name, States)
}

const (
	// maxName bounds key, kind and target in bytes: an index page of either
	// database holds several of them.
	maxName = 512
	// maxPayload bounds the payload in bytes. It says where things are; it
	// does not carry them.
	maxPayload = 256 << 10
	// maxLabel bounds the label in bytes: an index has it beside the names, in at
	// most 2,700 bytes on PostgreSQL.
	maxLabel = 1000
	// maxErrorText bounds the kept text of a failure in bytes.
	maxErrorText = 2000
)

var (
	// ErrFenced says that the job is no longer the caller's: its lease ran out
	// and another worker took it, or it was dropped.
	ErrFenced = errors.New("the job is not ours any more")
	// ErrNotFound is returned for a key that no job has.
	ErrNotFound = errors.New("no such job")
)

// Job is one piece of work. Enqueue reads Key, Kind, Target, Owner, Payload, Label,
// Blob, Size and NotBefore; the store keeps the rest. Times are by the database's
// clock.
type Job struct {
	Key     string // unique, made by the caller from what the job is about
	Kind    string // which handler: "vault", "submit"
	Target  string // which configured destination; "" is one too
	Owner   string // whose: an address, for lists
	Payload json.RawMessage
	Label   string `json:",omitempty"` // what it is about, for people who search
	Blob    Sum    `json:",omitempty"` // the content it needs, which is kept until it is done; nil: none
	Size    int64  `json:",omitzero"`  // of that, in bytes

	State      State     `json:",omitzero"`
	Attempts   int       `json:",omitzero"` // how often a worker took it since it was made or retried
	NotBefore  time.Time `json:",omitzero"` // zero in Enqueue: at once
	Due        time.Time `json:",omitzero"` // NotBefore as it was first; lists are in this order
	LeaseUntil time.Time `json:",omitzero"` // zero unless running
	Node       string    `json:",omitzero"` // who runs it, or ran it last
	Sent       int64     `json:",omitzero"` // of Size, as far as was written down
	Fence      int64     `json:",omitzero"` // of the last claim; never falls
	LastError  string    `json:",omitzero"` // why the last attempt failed; "" before
	Created    time.Time `json:",omitzero"`
	Since      time.Time `json:",omitzero"` // begin of this series of attempts: Created, or the last Retry
	Updated    time.Time `json:",omitzero"`
}

// Sum is the SHA-256 of a blob; hex in JSON.
type Sum []byte

// MarshalText writes the hash as hex.
func (s Sum) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Sum) UnmarshalText(text []byte) (err error) {
	*s, err = hex.AppendDecode(nil, text)
	return err
}

// value is what the database keeps.
func (s Sum) value() any {
	if len(s) == 0 {
		return nil
	}
	return []byte(s)
}

// Ref names one claim of a job.
type Ref struct {
	Key   string
	Fence int64
}

// Ref is what completes this claim of the job.
func (j *Job) Ref() Ref { return Ref{j.Key, j.Fence} }

func (j *Job) check() error {
	for _, f := range []struct{ name, value string }{{"key", j.Key}, {"kind", j.Kind}, {"target", j.Target}} {
		switch {
		case f.value == "" && f.name != "target":
			return fmt.Errorf("job without %s", f.name)
		case len(f.value) > maxName:
			return fmt.Errorf("%s of a job has %d bytes, the limit is %d", f.name, len(f.value), maxName)
		case !utf8.ValidString(f.value) || strings.ContainsRune(f.value, 0):
			return fmt.Errorf("%s of a job is no text: %q", f.name, f.value)
		}
	}
	if len(j.Label) > maxLabel || !utf8.ValidString(j.Label) || strings.ContainsRune(j.Label, 0) {
		return fmt.Errorf("label of job %s is no text of at most %d bytes: %q", j.Key, maxLabel, j.Label)
	}
	if len(j.Payload) > maxPayload {
		return fmt.Errorf("payload of job %s has %d bytes, the limit is %d", j.Key, len(j.Payload), maxPayload)
	}
	if len(j.Payload) > 0 && !json.Valid(j.Payload) {
		return fmt.Errorf("payload of job %s is not JSON", j.Key)
	}
	return nil
}

// clean makes s storable as text in both databases, at most limit bytes long.
func clean(s string, limit int) string {
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks a failure that no repetition will cure: the job becomes
// failed at once.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

type downError struct{ error }

func (e downError) Unwrap() error { return e.error }

// TargetDown marks a failure that says nothing about the job and everything
// about its target: it cannot be reached, or refuses our credentials. Other
// jobs of the target wait until one of them finds it well again.
func TargetDown(err error) error {
	if err == nil {
		return nil
	}
	return downError{err}
}

func isPermanent(err error) bool {
	_, ok := errors.AsType[permanentError](err)
	return ok
}

func isDown(err error) bool {
	_, ok := errors.AsType[downError](err)
	return ok
}
