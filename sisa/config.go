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
)

// Config says how long what is stored stays.
type Config struct {
	// GC is how files go that no link needs any more.
	GC GCConfig `yaml:"gc"`

	// KeepDownloads is how long the log of downloads (who, when, which file) is
	// kept. That of mails under a legal hold stays until it is released.
	KeepDownloads time.Duration `yaml:"keep_downloads"`
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

// DefaultConfig looks once a day, and keeps files for 30 days after their links
// and the log of downloads for a year.
func DefaultConfig() Config {
	return Config{GC: GCConfig{Every: defaultEvery, Grace: defaultGrace}, KeepDownloads: defaultDownloads}
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
	}
	return nil
}
