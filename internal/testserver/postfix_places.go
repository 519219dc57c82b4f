package testserver

// Postfix's commands for tests of programs that run them, and configurations that
// they take for an instance of Postfix.

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// PostfixCommands is the folder of postconf(1), postfix(1) and their like, and
// what they need in their environment.
func PostfixCommands(ctx context.Context) (folder string, env []string, err error) {
	programs, err := findPostfix(ctx)
	if err != nil {
		return "", nil, err
	}
	return programs.commands, programs.env(), nil
}

// PostfixInstance makes folder/etc a configuration that "postfix check" accepts,
// of an instance that never runs: main and master are its files, before which
// main.cf gets what every instance here needs. Queue and data are in folder too.
func PostfixInstance(ctx context.Context, folder, main, master string) (etc string, err error) {
	programs, err := findPostfix(ctx)
	if err != nil {
		return "", err
	}
	accounts, err := choosePostfixAccounts()
	if err != nil {
		return "", err
	}
	etc = filepath.Join(folder, "etc")
	settings := programs.settings(folder, accounts)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s = %s\n", name, settings[name])
	}
	for _, name := range []string{etc, settings["queue_directory"], settings["data_directory"]} {
		if err := os.MkdirAll(name, 0o755); err != nil {
			return "", fmt.Errorf("instance of Postfix: %w", err)
		}
	}
	for name, content := range map[string]string{"main.cf": text.String() + main, "master.cf": master} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(content), 0o644); err != nil {
			return "", fmt.Errorf("instance of Postfix: %w", err)
		}
	}
	return etc, programs.giveFiles(etc)
}

// settings are the parameters of main.cf that tell an instance in folder where
// everything is, and whose.
func (p *postfixPrograms) settings(folder string, accounts *postfixAccounts) map[string]string {
	s := map[string]string{
		"compatibility_level": "3.6",
		"queue_directory":     filepath.Join(folder, "queue"),
		"data_directory":      filepath.Join(folder, "data"),
		"command_directory":   p.commands,
		"daemon_directory":    p.daemons,
		"mail_owner":          accounts.owner.name,
		"setgid_group":        accounts.group,
	}
	if len(p.libraries) > 0 {
		// An unpacked copy: its libraries are not where they were built to be.
		s["shlib_directory"] = p.path("/usr/lib/postfix")
		s["meta_directory"] = filepath.Join(folder, "etc")
		s["import_environment"] = "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH"
		s["export_environment"] = "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH"
	}
	return s
}

// giveFiles copies the list by which "postfix check" looks for an unpacked
// Postfix's files; an installed one has its own.
func (p *postfixPrograms) giveFiles(etc string) error {
	if len(p.libraries) == 0 {
		return nil
	}
	list, err := os.ReadFile(p.path("/etc/postfix/postfix-files"))
	if err == nil {
		err = os.WriteFile(filepath.Join(etc, "postfix-files"), list, 0o644)
	}
	if err != nil {
		return fmt.Errorf("list of Postfix's files: %w", err)
	}
	return nil
}
