package testserver

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// standIn is a daemon in a few lines: ready at once, it logs a HUP and ends at
// TERM with the exit code that its configuration asks for.
const standIn = `#!/bin/sh
# standIn --config FILE COMMAND
if [ "$3" != serve ]; then
	echo "ran $3"
	exit 7
fi
trap 'echo reloaded' HUP
trap '. "$2.exit"; exit' TERM
echo level=INFO msg=ready
while :; do sleep 0.02; done
`

func writeStandIn(t *testing.T, exit string) (binary, folder string) {
	t.Helper()
	folder = t.TempDir()
	binary = filepath.Join(t.TempDir(), "stand-in")
	for name, text := range map[string]string{binary: standIn, filepath.Join(folder, "cloakroom.yaml.exit"): exit} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return binary, folder
}

func TestCloakroomIsToldSignalsAndItsExitCodeCounts(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for exit, wantErr := range map[string]bool{"exit 0": false, "exit 3": true} {
		binary, folder := writeStandIn(t, exit)
		c, err := StartCloakroom(ctx, CloakroomOptions{Binary: binary, Folder: folder, Config: "mode: observe\n"})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Signal("HUP"); err != nil {
			t.Error(err)
		}
		if err := c.WaitLog(ctx, "reloaded"); err != nil {
			t.Error(err)
		}
		if out, _, code := c.Run(ctx, nil, "look"); code != 7 || out != "ran look\n" {
			t.Errorf("Run: exit code %d, %q", code, out)
		}
		if err := c.Stop(); (err != nil) != wantErr {
			t.Errorf("%s: Stop says %v", exit, err)
		}
		text, err := os.ReadFile(c.ConfigFile())
		if err != nil || !strings.Contains(string(text), "listen: "+c.MilterAddr()+"\n") || !strings.HasSuffix(string(text), "mode: observe\n") {
			t.Errorf("a folder of the caller's stays as it was; its configuration: %q %v", text, err)
		}
	}
}

func TestCloakroomThatDoesNotStartTellsItsLogAndLeavesNothing(t *testing.T) {
	parent, err := os.MkdirTemp("", "cloakroom-parent-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(parent)
	if err := os.Chmod(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "broken")
	t.Setenv("TMPDIR", parent)
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho cannot open the data\nexit 69\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = StartCloakroom(context.Background(), CloakroomOptions{Binary: binary})
	if err == nil || !strings.Contains(err.Error(), "cannot open the data") {
		t.Errorf("a program that ends at once: %v", err)
	}
	left, err := os.ReadDir(parent)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
