package test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

const (
	longFileLines = 400 // a file above this is asked why
	maxFileLines  = 500 // a file above this is split
)

// unfinished are the words of work left for later; spelled so that this file does not have them.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

func TestNothingIsLeftForLater(t *testing.T) {
	for _, name := range repositoryFiles(t, ".go", ".sh", "Makefile") {
		for i, line := range bytes.Split(mustReadFile(t, name), []byte("\n")) {
			if word := unfinished.Find(line); word != nil {
				t.Errorf("%s:%d: %s: finish it, or file an issue", name, i+1, word)
			}
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, name := range repositoryFiles(t, ".go") {
		switch lines := bytes.Count(mustReadFile(t, name), []byte("\n")); {
		case lines > maxFileLines:
			t.Errorf("%s has %d lines, the limit is %d: split it", name, lines, maxFileLines)
		case lines > longFileLines:
			t.Logf("%s has %d lines: is it one thing?", name, lines)
		}
	}
}

func mustReadFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
