package config

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestDurationsAreReadAndWrittenInShortUnits(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		text  string
		want  time.Duration
		shown string // "" when the same as text
	}{
		{"0", 0, "0s"},
		{"90s", 90 * time.Second, "1m30s"},
		{"15m", 15 * time.Minute, ""},
		{"12h", 12 * time.Hour, ""},
		{"90d", 90 * day, ""},
		{"1h30m", 90 * time.Minute, ""},
		{"36h", 36 * time.Hour, "1d12h"},
		{"1d2h3m4s5ms", day + 2*time.Hour + 3*time.Minute + 4*time.Second + 5*time.Millisecond, ""},
		{"250ms", 250 * time.Millisecond, ""},
		{"106751d", 106751 * day, ""},
	}
	for _, test := range tests {
		got, err := ParseDuration(test.text)
		if err != nil || got != test.want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", test.text, got, err, test.want)
		}
		shown := test.shown
		if shown == "" {
			shown = test.text
		}
		if text := FormatDuration(test.want); text != shown {
			t.Errorf("FormatDuration(%v) = %q, want %q", test.want, text, shown)
		}
		if back, err := ParseDuration(FormatDuration(test.want)); err != nil || back != test.want {
			t.Errorf("what FormatDuration writes for %v reads as %v, %v", test.want, back, err)
		}
	}
}

func TestBadDurationsSayWhatIsAccepted(t *testing.T) {
	for _, text := range []string{"", "90", "m", "-5m", "1.5h", "5 m", "5M", "5w", "30m1h", "1h2h", "5m3", "1us", "∞"} {
		_, err := ParseDuration(text)
		if err == nil || !strings.Contains(err.Error(), "90s, 15m, 12h, 90d") {
			t.Errorf("ParseDuration(%q): %v; want an error that shows what is accepted", text, err)
		}
	}
	for _, text := range []string{"106752d", "99999999999999999999s", "106751d24h"} {
		if got, err := ParseDuration(text); err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("ParseDuration(%q) = %v, %v; want it to be too long", text, got, err)
		}
	}
}

func TestSizesArePowersOf1024(t *testing.T) {
	tests := []struct {
		text  string
		want  int64
		shown string
	}{
		{"0", 0, "0"},
		{"1000", 1000, "1000"},
		{"1024", 1 << 10, "1KB"},
		{"256KB", 256 << 10, "256KB"},
		{"10MB", 10 << 20, "10MB"},
		{"10 mb", 10 << 20, "10MB"},
		{"1.5GB", 3 << 29, "1536MB"},
		{"0.5KB", 512, "512"},
		{"2TB", 2 << 40, "2TB"},
		{"7B", 7, "7"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"},
	}
	for _, test := range tests {
		got, err := ParseSize(test.text)
		if err != nil || got != test.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", test.text, got, err, test.want)
		}
		if shown := FormatSize(test.want); shown != test.shown {
			t.Errorf("FormatSize(%d) = %q, want %q", test.want, shown, test.shown)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1e3", "10XB", "1.MB", ".5MB", "1.5", "0.3KB", "1_000", "1..5MB", "1.1234567GB",
		"9223372036854775808", "8388608TB", "8388607.9999999TB", "1MBMB"} {
		if got, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), "256KB, 10MB or 1.5GB") {
			t.Errorf("ParseSize(%q) = %d, %v; want an error that shows what is accepted", text, got, err)
		}
	}
}
