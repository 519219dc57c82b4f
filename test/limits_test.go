package test

// The limits that docs/limits.md tells are those of the program.

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/flow"
	"cloakroom/message"
)

func TestLimitsAreWhatTheDocumentSays(t *testing.T) {
	text := mustRead(t, filepath.Join(root, "docs/limits.md"))
	for _, row := range []string{
		"| parts of a message | 1,000 |", "| nesting of multiparts | 32 |", "| header of one part / of all parts | 64 KiB / 1 MiB |",
		"| boundary | 200 bytes |", "| message body | 2 GiB |",
	} {
		if !strings.Contains(text, row+"\n") {
			t.Errorf("docs/limits.md has no row %q", row)
		}
	}
	is := fmt.Sprint(message.MaxParts, message.MaxDepth, message.MaxPartHeader>>10, message.MaxHeaders>>20, message.MaxBoundary, flow.MaxMessage>>30)
	if want := "1000 32 64 1 200 2"; is != want {
		t.Errorf("the limits are %s; docs/limits.md tells %s", is, want)
	}
}
