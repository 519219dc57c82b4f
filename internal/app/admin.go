package app

// The listener for administrators: what it counts, checks and can do, put
// together from the pieces of the daemon.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"cloakroom/admin"
	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/diskspace"
	"cloakroom/internal/jobs"
)

// newAdmin makes the listener; nil where the configuration wants none.
func (d *daemon) newAdmin(store *Store, engine *flow.Engine, meters *admin.Meters) (*admin.Server, error) {
	cfg := d.live.Current()
	if cfg.Admin.Listen == "" {
		return nil, nil
	}
	s, err := admin.Open(cfg.Admin, admin.Parts{
		Meters: meters, DB: store.DB, Jobs: store.Jobs, Links: store.Links,
		Acts:    administrator{store, d.live},
		Checks:  append(d.check.checks(d.users), admin.Check{Name: "pause", Run: d.brake.check}),
		Targets: func() []admin.Target { return configuredTargets(d.live.Current()) },
		Disk: func() (free, size int64, low bool, err error) {
			u, err := diskspace.Of(store.Dir)
			return u.Free, u.Size, store.Space.Low() != "", err
		},
		Loops:  engine.Loops.Load,
		Build:  thisBuild(),
		Node:   cfg.Hostname,
		Mode:   func() string { return d.live.Current().Mode },
		Paused: d.brake.words,
		Now:    time.Now, Log: d.log,
	})
	if err != nil {
		return nil, fmt.Errorf("admin.%w", err)
	}
	return s, nil
}

// counted makes the meters, and has mail and commits counted.
func counted(store *Store, engine *flow.Engine) *admin.Meters {
	m := admin.NewMeters()
	engine.Observe = m.Message
	store.DB.Observe(m.Commit)
	return m
}

// checks are what must be well for mail to be handled.
func (c *selfCheck) checks(users *Users) []admin.Check {
	return []admin.Check{
		{Name: "database", Run: func(ctx context.Context) (string, error) { return "", c.database(ctx) }},
		{Name: "store", Run: func(context.Context) (string, error) { return "", c.writable() }},
		{Name: "milter", Run: func(ctx context.Context) (string, error) {
			if c.closing.Load() {
				return "", errors.New("stopping: no more mail is taken")
			}
			return "", c.listener(ctx)
		}},
		{Name: "disk", Run: func(context.Context) (string, error) { return c.space() }},
		{Name: "directory", Run: func(context.Context) (string, error) { return users.trouble(), nil }},
	}
}

// writable writes a little into the blob store, and leaves nothing.
func (c *selfCheck) writable() error {
	draft, err := c.store.Blobs.Draft()
	if err != nil {
		return err
	}
	defer draft.Discard()
	_, err = draft.Write([]byte("cloakroom"))
	return err
}

// trouble says why the directory did not answer when it was asked last; "" when
// it did.
func (u *Users) trouble() string {
	cached, ok := u.source.(interface{ Away() error })
	if !ok {
		return ""
	}
	if err := cached.Away(); err != nil {
		return "it did not answer when it was asked last: " + err.Error()
	}
	return ""
}

// thisBuild is what the binary says of itself.
func thisBuild() admin.Build {
	b := admin.Build{Version: "devel", Commit: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Commit = s.Value
		}
	}
	return b
}

func configuredTargets(cfg *config.Config) []admin.Target {
	var out []admin.Target
	for _, name := range slices.Sorted(maps.Keys(cfg.Vault.Targets)) {
		kind, address := serverOf(cfg.Vault.Targets[name])
		out = append(out, admin.Target{Name: name, Kind: kind, Address: address})
	}
	return out
}

// administrator does what the dashboard asks for, as the commands do it.
type administrator struct {
	store *Store
	live  *config.Live
}

var _ admin.Acts = administrator{}

func which(j admin.Jobs) Which {
	w := Which{Keys: j.Keys, Kind: j.Kind, Target: j.Target, Owner: j.Owner}
	if j.State != "" {
		w.States = []jobs.State{jobs.State(j.State)}
	}
	return w
}

// from are the states of the jobs that an act changes.
var from = map[string][]jobs.State{
	"hold":    {jobs.Waiting},
	"release": {jobs.Held},
	"retry":   {jobs.Failed, jobs.Waiting},
}

// CountJobs implements admin.Acts.
func (a administrator) CountJobs(ctx context.Context, act string, j admin.Jobs) (n int, lost string, until time.Time, err error) {
	w := which(j)
	if act == "drop" {
		l, err := a.store.CountLost(ctx, w)
		if err != nil {
			return 0, "", time.Time{}, err
		}
		var b strings.Builder
		err = PrintLost(&b, l)
		return l.Uploads + l.Copies + l.Done, b.String(), l.Until, err
	}
	states := from[act]
	if len(w.States) > 0 {
		states = slices.DeleteFunc(slices.Clone(states), func(s jobs.State) bool { return !slices.Contains(w.States, s) })
	}
	if len(states) == 0 {
		return 0, "", time.Time{}, nil
	}
	w.States = states
	for _, f := range w.filters() {
		found, newest, err := a.store.Jobs.Count(ctx, f)
		if err != nil {
			return 0, "", time.Time{}, err
		}
		n += found
		if newest.After(until) {
			until = newest
		}
	}
	return n, "", until, nil
}

// ChangeJobs implements admin.Acts.
func (a administrator) ChangeJobs(ctx context.Context, act string, j admin.Jobs, until time.Time) (string, error) {
	w := which(j)
	var done *QueueChange
	var err error
	switch act {
	case "hold":
		done, err = a.store.HoldJobs(ctx, w)
	case "release":
		done, err = a.store.ReleaseJobs(ctx, w)
	case "retry":
		done, err = a.store.RetryJobs(ctx, w)
	case "drop":
		done, err = a.store.DropJobs(ctx, w, until)
	default:
		return "", fmt.Errorf("there is no act %q for jobs", act)
	}
	return ChangeWords(done), err
}

// SetTarget implements admin.Acts.
func (a administrator) SetTarget(ctx context.Context, kind, target string, hold bool) (string, error) {
	done, err := a.store.SetTarget(ctx, a.live.Current(), kind, target, hold)
	return ChangeWords(done), err
}

// ChangeWords tells what was done to the queue in one line.
func ChangeWords(done *QueueChange) string {
	if done == nil {
		return ""
	}
	var b strings.Builder
	if err := PrintQueueChange(&b, done); err != nil {
		return done.Did
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// TestTarget implements admin.Acts.
func (a administrator) TestTarget(ctx context.Context, target string) (string, error) {
	t, found := a.live.Current().Vault.Targets[target]
	if !found {
		return "", &ErrNoTarget{target}
	}
	steps, err := TestTarget(ctx, t, func(TestStep) {})
	if err != nil {
		return "", err
	}
	var words []string
	for _, step := range steps {
		switch {
		case step.OK:
			words = append(words, fmt.Sprintf("%s: %.0f ms", step.Name, step.Time))
		case !step.Skipped:
			words = append(words, step.Name)
			err = errors.New(strings.TrimSpace(step.Error + " " + step.Hint))
		}
		if err != nil {
			break
		}
	}
	return strings.Join(words, "; "), err
}

// countedKinds has the attempts of the kinds' jobs counted.
func countedKinds(m *admin.Meters, kinds []jobs.Kind) {
	for i := range kinds {
		kinds[i].Handle = m.Job(kinds[i].Handle)
	}
}

// serveAdmin runs the listener until stop is called; mail does not depend on it.
func serveAdmin(ctx context.Context, s *admin.Server, log *slog.Logger) (stop func()) {
	if s == nil {
		log.Info("no listener for health, metrics and dashboard: admin.listen is empty")
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	<-s.Tried()
	return func() { cancel(); <-done }
}
