package sisa

// What the settings allow, and that the daemon acts on them.

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestSettingsThatWouldLoseFilesAreRefused(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key    string
		change func(*Config)
	}{
		{"gc.every: ", func(c *Config) { c.GC.Every = time.Second }},
		{"gc.grace: ", func(c *Config) { c.GC.Grace = 0 }},
		{"gc.grace: ", func(c *Config) { c.GC.Grace = 23 * time.Hour }},
		{"keep_downloads: ", func(c *Config) { c.KeepDownloads = time.Hour }},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.key) {
			t.Errorf("%+v: %v, want %q", cfg, err, c.key)
		}
	}
	off := DefaultConfig()
	off.GC.Every = 0
	if err := off.Validate(); err != nil {
		t.Error(err)
	}
}

func TestTheDaemonCollectsByItself(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		g := y.deliver(1, day, "goes")
		y.deliver(2, 0, "stays")
		if err := y.links.Downloaded(t.Context(), Download{LinkID: g.ID.String(), At: y.now}); err != nil {
			t.Fatal(err)
		}
		y.now = y.now.Add(400 * day)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			y.keeper.Run(ctx, Config{GC: GCConfig{Every: time.Millisecond, Grace: 30 * day}, KeepDownloads: 365 * day})
		}()
		downloads := func() int {
			list, err := y.links.Downloads(t.Context(), g.ID.String())
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
		for end := time.Now().Add(20 * time.Second); y.has("goes") || downloads() > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nothing was collected")
			}
		}
		stop()
		<-done
		y.check("collected", map[string]bool{"stays": true})
	})
}
