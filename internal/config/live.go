package config

// The configuration of a running daemon: one snapshot at a time, exchanged as a
// whole by a reload.

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Live holds the snapshot in force. Whoever handles a mail takes Current once,
// at MAIL, and works with it to the end.
type Live struct {
	path    string
	started *Config // what keys that need a restart are compared with
	current atomic.Pointer[Config]
	reload  sync.Mutex
}

// NewLive begins with a configuration that Load has read from path.
func NewLive(path string, first *Config) *Live {
	l := &Live{path: path, started: first}
	l.current.Store(first)
	return l
}

// Current is the snapshot in force. It never changes; a reload puts another in
// its place.
func (l *Live) Current() *Config { return l.current.Load() }

// Reload reads the file again. A configuration with errors changes nothing, nor
// does one whose rules rely on what only another start brings: the one in force
// stays. Otherwise the new one is in force for every mail that
// begins from now on, and restart lists the keys that differ from those at the
// start of the daemon and that only another start brings into effect.
func (l *Live) Reload() (restart []string, warnings []Warning, err error) {
	l.reload.Lock()
	defer l.reload.Unlock()
	next, warnings, err := Load(l.path)
	if err != nil {
		return nil, warnings, err
	}
	if err := startsFirst(l.started, next); err != nil {
		return nil, warnings, err
	}
	restart = RestartKeys(l.started, next)
	l.current.Store(next)
	return restart, warnings, nil
}

// reloadable tells the keys whose readers take them from the snapshot for each
// mail. All others are read once, at start.
func reloadable(path string) bool {
	top, _, _ := strings.Cut(path, ".")
	top, _, _ = strings.Cut(top, "[")
	return slices.Contains([]string{"domains", "trusted", "verifiers", "mode", "notice", "coexistence", "rules"}, top) ||
		slices.Contains([]string{"milter.on_error", "store.low_space", "store.when_low"}, path)
}

// RestartKeys lists the keys that differ between two configurations and take
// effect only at a start.
func RestartKeys(running, next *Config) []string {
	return changed("", reflect.ValueOf(*running), reflect.ValueOf(*next))
}

func changed(path string, a, b reflect.Value) []string {
	if a.Kind() != reflect.Struct || isScalarType(a.Type()) {
		if reloadable(path) || reflect.DeepEqual(a.Interface(), b.Interface()) {
			return nil
		}
		return []string{path}
	}
	var out []string
	for _, f := range fieldsOf(a.Type()) {
		out = append(out, changed(joinPath(path, f.name), a.FieldByIndex(f.index), b.FieldByIndex(f.index))...)
	}
	return out
}
