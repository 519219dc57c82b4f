package config

import (
	"io"
	"log/slog"
	"sync/atomic"
)

// Logger makes the logger that the section describes, writing to w. One that
// hashes addresses needs its key, see GiveLogKey.
func (l Log) Logger(w io.Writer) *slog.Logger {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	options := &slog.HandlerOptions{Level: levels[l.Level]}
	var to slog.Handler = slog.NewTextHandler(w, options)
	if l.Format == "json" {
		to = slog.NewJSONHandler(w, options)
	}
	if l.Addresses == AddressesHashed {
		to = &hashing{to, new(atomic.Pointer[[]byte])}
	}
	return slog.New(to)
}
