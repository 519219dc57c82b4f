package sisa

// The store section of the configuration.

import (
	"fmt"
	"time"
)

const (
	// defaultGrace is how long bytes stay after the last link to them ended.
	defaultGrace = 30 * 24 * time.Hour
	// minGrace is the least that an administrator can set: a link that was
	// revoked by mistake is noticed within a day.
	minGrace     = 24 * time.Hour
	defaultEvery = 24 * time.Hour
	minEvery     = time.Minute // more often it would only keep the disk busy
	// defaultDownloads is how long the log of downloads is kept.
	defaultDownloads = 365 * 24 * time.Hour
	minDownloads     = 24 * time.Hour
	// defaultLowSpace leaves room for what is under way when links stop: some
	// dozens of the largest messages that MTAs commonly take (50 MB), database and
	// journal.
	defaultLowSpace = 1 << 30
)

// What `when_low` can be.
const (
	LowPass  = "pass"
	LowDefer = "defer"
)

// Config says how long what is stored stays.
type Config struct {
	// GC is how files go that no link needs any more.
	GC GCConfig `yaml:"gc"`

	// KeepDownloads is how long the log of downloads (who, when, which file) is
	// kept. That of mails under a legal hold stays until it is released.
	KeepDownloads time.Duration `yaml:"keep_downloads"`

	// LowSpace is the free space on the disk of `data` below which nothing more
	// is stored: no links are made, and mail fares as `when_low` says, until a
	// quarter more is free. Too few free inodes (1 in 100, at most 10,000) count
	// the same. 0 turns it off: then a full disk defers mail.
	LowSpace int64 `yaml:"low_space"`

	// WhenLow says what becomes of mail with attachments that would be stored
	// while the disk is nearly full: pass (it is delivered unchanged) or defer
	// (the sender tries again later, 451 4.3.1). A mail of which copies must be
	// kept, for a vault or for other recipients, is deferred either way; other
	// rules hold as ever.
	WhenLow string `yaml:"when_low"`
}

// GCConfig is about garbage collection.
type GCConfig struct {
	// Every is how often the daemon looks for files that nothing needs; 0 leaves
	// that to `cloakroom store gc`.
	Every time.Duration `yaml:"every"`

	// Grace is how long files and the originals of mails are kept after their
	// last link was revoked or has expired. Make it longer than your oldest
	// backup: a database that is restored from it names files of that time.
	Grace time.Duration `yaml:"grace"`
}

// DefaultConfig looks once a day, keeps files for 30 days after their links and
// the log of downloads for a year, and lets mail pass while less than 1 GB is free.
func DefaultConfig() Config {
	return Config{GC: GCConfig{Every: defaultEvery, Grace: defaultGrace}, KeepDownloads: defaultDownloads,
		LowSpace: defaultLowSpace, WhenLow: LowPass}
}

// Validate tells the first setting that cannot work; the error begins with its
// key.
func (c Config) Validate() error {
	switch {
	case c.GC.Every != 0 && c.GC.Every < minEvery:
		return fmt.Errorf("gc.every: %v is less than %v; 0 turns it off", c.GC.Every, minEvery)
	case c.GC.Grace < minGrace:
		return fmt.Errorf("gc.grace: %v is less than %v: what was revoked by mistake would be gone", c.GC.Grace, minGrace)
	case c.KeepDownloads < minDownloads:
		return fmt.Errorf("keep_downloads: %v is less than %v", c.KeepDownloads, minDownloads)
	case c.WhenLow != LowPass && c.WhenLow != LowDefer:
		return fmt.Errorf("when_low: %q is not known; write %s or %s", c.WhenLow, LowPass, LowDefer)
	}
	return nil
}
