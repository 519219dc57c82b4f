package testserver

// What the Postfix at hand knows, to compare documents with.

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// PostfixParameters gives the names of all parameters that main.cf can have.
func PostfixParameters(ctx context.Context) (map[string]bool, error) {
	programs, err := findPostfix(ctx)
	if err != nil {
		return nil, err
	}
	cmd := programs.command(ctx, filepath.Join(programs.commands, "postconf"), "-d")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("postconf -d: %w", err)
	}
	known := make(map[string]bool)
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if name, _, ok := strings.Cut(lines.Text(), " ="); ok {
			known[name] = true
		}
	}
	return known, nil
}
