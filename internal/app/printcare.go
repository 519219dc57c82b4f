package app

// What the commands about the store tell people.

import (
	"fmt"
	"io"
	"strings"

	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/sisa"
)

// printLinkState tells what else is to be known of a link.
func printLinkState(t io.Writer, d *LinkDetail) {
	if d.URL != "" {
		fmt.Fprintf(t, "address\t%s\n", d.URL)
	}
	if d.Held {
		fmt.Fprintln(t, "legal hold\tyes")
	}
	if !d.Retired.IsZero() {
		fmt.Fprintf(t, "files deleted\t%s\n", when(d.Retired, ""))
	}
	if !d.Forgotten.IsZero() {
		fmt.Fprintf(t, "forgotten\t%s\n", when(d.Forgotten, ""))
	}
	printAccess(t, d)
}

// PrintGC writes what a collection did.
func PrintGC(w io.Writer, r sisa.GCResult) error {
	did := ""
	if r.DryRun {
		did = "would be "
	}
	return table(w, func(t io.Writer) {
		fmt.Fprintf(t, "originals %sgiven up\t%d\t\n", did, r.Retired)
		fmt.Fprintf(t, "files %sdeleted\t%d\t%s\n", did, r.Blobs, message.FormatSize(r.Bytes))
		if r.Adopted > 0 {
			fmt.Fprintf(t, "files of no mail, whose time of grace begins\t%d\t%s\n", r.Adopted, message.FormatSize(r.AdoptedBytes))
		}
	})
}

// PrintVerification writes what a check found.
func PrintVerification(w io.Writer, v *sisa.Verification) error {
	for _, list := range []struct {
		word string
		bad  []sisa.Trouble
	}{{"MISSING", v.Missing}, {"DAMAGED", v.Damaged}} {
		for _, t := range list.bad {
			printTrouble(w, list.word, t)
		}
	}
	return table(w, func(t io.Writer) {
		fmt.Fprintf(t, "files read\t%d\t%s\n", v.Blobs, message.FormatSize(v.Bytes))
		fmt.Fprintf(t, "missing\t%d\t\n", len(v.Missing))
		fmt.Fprintf(t, "damaged\t%d\t\n", len(v.Damaged))
		fmt.Fprintf(t, "needed by nothing\t%d\t%s\n", v.Unreferenced, message.FormatSize(v.UnreferencedBytes))
	})
}

func printTrouble(w io.Writer, word string, t sisa.Trouble) {
	need := "nothing needs it"
	if len(t.Needed) > 0 {
		need = "needed by " + strings.Join(t.Needed, ", ")
	}
	fmt.Fprintf(w, "%s %s: %s; %s\n", word, t.SHA256, t.Problem, need)
	if t.Quarantined {
		fmt.Fprintln(w, "  moved to blobs/damaged in the data folder")
	}
	for _, u := range t.Mails {
		printUsage(w, u)
	}
	if t.More {
		fmt.Fprintf(w, "  and more: cloakroom store where %s\n", t.SHA256)
	}
}

func printUsage(w io.Writer, u sisa.Usage) {
	what := fmt.Sprintf("part %d %s", u.Part, plain(u.Name))
	if u.Part < 0 {
		what = "its original without the attachments"
	}
	fmt.Fprintf(w, "  mail %s of %s from %s to %s: %s\n", u.Mail.String()[:12], when(u.Received, ""), sender(u.Sender),
		plain(strings.Join(u.Recipients, ", ")), what)
	for _, l := range u.Links {
		fmt.Fprintf(w, "    link %s: %s\n", l.ID[:12], l.State)
	}
	if u.Held {
		fmt.Fprintln(w, "    under legal hold")
	}
	if u.Retired {
		fmt.Fprintln(w, "    given up: the mail does not need it any more")
	}
}

func sender(address string) string {
	if address == "" {
		return "<>"
	}
	return plain(address)
}

// PrintPlace writes who has a blob.
func PrintPlace(w io.Writer, p *Place) error {
	err := table(w, func(t io.Writer) {
		fmt.Fprintf(t, "SHA-256\t%s\n", p.SHA256)
		if p.Stored {
			fmt.Fprintf(t, "stored\t%s\n", message.FormatSize(p.Size))
		} else {
			fmt.Fprintln(t, "stored\tno")
		}
		if !p.Created.IsZero() {
			fmt.Fprintf(t, "first came\t%s\nlast came\t%s\n", when(p.Created, ""), when(p.Used, ""))
		}
		need := "nothing"
		if len(p.Needed) > 0 {
			need = strings.Join(p.Needed, ", ")
		}
		fmt.Fprintf(t, "needed by\t%s\n", need)
	})
	for _, u := range p.Uses {
		printUsage(w, u)
	}
	if p.More {
		fmt.Fprintf(w, "  and more: these are the last %d\n", len(p.Uses))
	}
	printUploads(w, p.Uploads)
	return err
}

// PrintDownloads writes the log of downloads.
func PrintDownloads(w io.Writer, rows []sisa.DownloadRow) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "no downloads")
		return err
	}
	return table(w, func(t io.Writer) {
		fmt.Fprintln(t, "AT\tLINK\tFILE\tPROVEN\tCLIENT\tSENDER\tAGENT")
		for _, r := range rows {
			name := plain(r.Name)
			switch {
			case r.Part < 0:
				name = "(all files)"
			case name == "":
				name = fmt.Sprintf("part %d", r.Part)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", when(r.At, ""), r.LinkID[:12], name, plain(proven(r.Proven)), plain(r.Client), sender(r.Sender), plain(r.Agent))
		}
	})
}

// PrintMatters writes what is under legal hold.
func PrintMatters(w io.Writer, rows []sisa.MatterRow) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "nothing is under legal hold")
		return err
	}
	return table(w, func(t io.Writer) {
		fmt.Fprintln(t, "MATTER\tMAILS\tSINCE\tBY\tREASON")
		for _, r := range rows {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", plain(r.Matter), r.Mails, when(r.Since, ""), plain(r.By), plain(r.Reason))
		}
	})
}

// PrintMails writes mails as a table.
func PrintMails(w io.Writer, mails []*ledger.Mail) error {
	return table(w, func(t io.Writer) {
		fmt.Fprintln(t, "MAIL\tRECEIVED\tSIZE\tSENDER\tRECIPIENTS\tSUBJECT")
		for _, m := range mails {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Key.String()[:12], when(m.Received, ""), message.FormatSize(m.Size), sender(m.Sender),
				plain(strings.Join(m.Recipients, ", ")), plain(m.Subject))
		}
	})
}
