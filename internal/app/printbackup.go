package app

// What rebuilding, saving and restoring tell people.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/backup"
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

// PrintBackup writes what a run of a backup did.
func PrintBackup(w io.Writer, r *backup.Result) error {
	for _, name := range r.Missing {
		fmt.Fprintf(w, "MISSING %s: it is not in the data folder\n", plain(name))
	}
	for _, name := range r.Damaged {
		fmt.Fprintf(w, "DAMAGED %s: it is not what its name says, and was not copied\n", plain(name))
	}
	return table(w, func(t io.Writer) {
		fmt.Fprintf(t, "backup\t%s\t\n", r.Generation)
		fmt.Fprintf(t, "took\t%s\t\n", r.Ended.Sub(r.Begun).Round(time.Millisecond))
		fmt.Fprintf(t, "files\t%d\t%s\n", r.Blobs, message.FormatSize(r.Bytes))
		fmt.Fprintf(t, "new of these\t%d\t%s\n", r.Copied, message.FormatSize(r.CopiedBytes))
		if r.Mended > 0 {
			fmt.Fprintf(t, "were damaged in the backup, and written anew\t%d\t\n", r.Mended)
		}
		if r.Deleted > 0 {
			fmt.Fprintf(t, "deleted while it ran\t%d\t\n", r.Deleted)
		}
		fmt.Fprintf(t, "older backups dropped\t%d\t\n", len(r.Dropped))
		fmt.Fprintf(t, "files that no backup needs removed\t%d\t%s\n", r.Removed, message.FormatSize(r.RemovedSize))
	})
}

// PrintBackups lists the backups in a folder.
func PrintBackups(w io.Writer, all []*backup.Manifest) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no backup is there that is whole")
		return err
	}
	return table(w, func(t io.Writer) {
		fmt.Fprintln(t, "BACKUP\tBEGUN\tFILES\tBYTES\tLACKS\tHOST\tVERSION")
		for _, m := range all {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%s\t%s\n", m.Generation, when(m.Begun, ""), m.Blobs, message.FormatSize(m.Bytes),
				len(m.Missing)+len(m.Damaged), plain(m.Hostname), plain(m.Version))
		}
	})
}

// PrintChecked writes what a check of a backup found.
func PrintChecked(w io.Writer, c *backup.Checked) error {
	printLacks(w, c.Absent, c.Damaged)
	return table(w, func(t io.Writer) {
		fmt.Fprintf(t, "backup\t%s\t\n", c.Manifest.Generation)
		fmt.Fprintf(t, "read\t%d files\t%s\n", int64(len(c.Manifest.Files))+c.Manifest.Blobs, message.FormatSize(c.Bytes))
		fmt.Fprintf(t, "missing\t%d\t\ndamaged\t%d\t\n", len(c.Absent), len(c.Damaged))
	})
}

func printLacks(w io.Writer, absent, damaged []string) {
	for _, name := range absent {
		fmt.Fprintf(w, "MISSING in the backup: %s\n", plain(name))
	}
	for _, name := range damaged {
		fmt.Fprintf(w, "DAMAGED in the backup: %s\n", plain(name))
	}
}

// PrintRestoredData writes what came back.
func PrintRestoredData(w io.Writer, r *DataRestored) error {
	absent := r.Absent
	if !r.lacksJournal() { // the files that mails need follow
		absent = nil
	}
	printLacks(w, absent, r.Restored.Damaged)
	for _, t := range r.Store.Missing {
		printTrouble(w, "MISSING", t)
	}
	err := table(w, func(t io.Writer) {
		fmt.Fprintf(t, "backup\t%s\t\n", r.Manifest.Generation)
		fmt.Fprintf(t, "files\t%d\t%s\n", r.Blobs, message.FormatSize(r.Bytes))
		fmt.Fprintf(t, "segments of the journal that went on\t%d\t\n", r.Journal)
		fmt.Fprintf(t, "mails forgotten since, and again now\t%d\t\n", r.Forgotten)
		fmt.Fprintf(t, "files missing\t%d\t\n", len(r.Store.Missing))
	})
	if r.Copies > 0 {
		fmt.Fprintf(w, "%d copies of mail wait to be sent. Those that were sent after the backup would be sent twice: look at\n"+
			"`cloakroom queue list --kind copy` before the start, and hold what you doubt with `cloakroom queue hold --kind copy`\n", r.Copies)
	}
	if r.Config != "" {
		fmt.Fprintf(w, "the configuration of that time is %s\n", plain(r.Config))
	}
	return err
}
