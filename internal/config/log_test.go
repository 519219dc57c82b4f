package config

import (
	"strings"
	"testing"
)

func TestTheLoggerIsWhatTheSectionSays(t *testing.T) {
	var out strings.Builder
	logger := Log{Level: "warn", Format: "json"}.Logger(&out)
	logger.Info("hidden")
	logger.Warn("shown")
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, `"level":"WARN","msg":"shown"`) {
		t.Errorf("logged %q", got)
	}
}
