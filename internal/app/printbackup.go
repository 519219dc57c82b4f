package app

// What rebuilding, saving and restoring tell people.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"cloakroom/message"
)

// OK tells whether all that there was is there again.
func (r *Rebuilt) OK() bool { return r.Damaged == 0 && len(r.Lost) == 0 && r.Store.OK() }

// PrintRebuilt writes what a database was made of.
func PrintRebuilt(w io.Writer, r *Rebuilt) error {
	if r.Details != "" {
		fmt.Fprintf(w, "lines that were passed over:\n%s\n", plainLines(r.Details))
	}
	for _, name := range r.Lost {
		fmt.Fprintf(w, "MISSING segment of the journal: %s\n", plain(name))
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Unknown)) {
		fmt.Fprintf(w, "passed over: %d lines %q, which a newer version wrote\n", r.Unknown[kind], plain(kind))
	}
	for _, t := range r.Store.Missing {
		printTrouble(w, "MISSING", t)
	}
	for _, t := range r.Store.Damaged {
		printTrouble(w, "DAMAGED", t)
	}
	err := table(w, func(t io.Writer) {
		fmt.Fprintf(t, "lines of the journal\t%d\t\n", total(r.Lines))
		for _, row := range r.Rows {
			fmt.Fprintf(t, "%s\t%d\t\n", row.What, row.Rows)
		}
		fmt.Fprintf(t, "files there\t%d\t%s\n", r.Store.Blobs, message.FormatSize(r.Store.Bytes))
		fmt.Fprintf(t, "files missing\t%d\t\n", len(r.Store.Missing))
		fmt.Fprintf(t, "files that nothing needs\t%d\t%s\n", r.Store.Unreferenced, message.FormatSize(r.Store.UnreferencedBytes))
	})
	if r.Aside != "" {
		fmt.Fprintf(w, "the database that was there is %s; delete it when all is well\n", plain(r.Aside))
	}
	return err
}

func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = "  " + plain(line)
	}
	return strings.Join(lines, "\n")
}
