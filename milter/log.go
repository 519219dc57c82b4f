package milter

import (
	"io"
	"log/slog"
)

// LibraryLogWriter is where the standard logger should write: go-milter reports
// malformed packets and its own panics there. Set it once, with log.SetFlags(0)
// and log.SetOutput.
func LibraryLogWriter(l *slog.Logger) io.Writer {
	return slog.NewLogLogger(l.With("library", "go-milter").Handler(), slog.LevelWarn).Writer()
}
