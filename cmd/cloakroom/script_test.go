package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run this test binary as cloakroom: the real main.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cloakroom": main})
}

// TestScripts runs testdata/script/*.txtar. With UPDATE_SCRIPTS=1 the expected
// outputs in them are written anew.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
	})
}
