package app

// Who may open links, for people.

import (
	"fmt"
	"io"
	"strings"

	"cloakroom/flow"
	"cloakroom/policy"
	"cloakroom/sisa"
)

// printAccess tells who may open a link.
func printAccess(t io.Writer, d *LinkDetail) {
	a, by := &d.Access, ""
	if a.ByAdmin {
		by = " (said by an administrator)"
	}
	fmt.Fprintf(t, "opens to\t%s%s\n", a.Who, by)
	if len(a.Recipients) > 0 {
		fmt.Fprintf(t, "codes go to\t%s\n", plain(strings.Join(a.Recipients, ", ")))
	}
	if a.Downloads > 0 {
		var left []string
		for _, l := range a.Left {
			left = append(left, fmt.Sprintf("part %d: %d", l.Part, l.Left))
		}
		fmt.Fprintf(t, "downloads left\t%s (%d were allowed)\n", strings.Join(left, ", "), a.Downloads)
	}
	if a.Notify {
		fmt.Fprintf(t, "tells\t%s of the first download of each file\n", plain(d.Record.Sender))
	}
}

// PrintAllowances writes what became of links that should allow more downloads.
func PrintAllowances(w io.Writer, done []sisa.Allowance) {
	for _, d := range done {
		if d.Refused != "" {
			fmt.Fprintf(w, "%.12s stays: it %s\n", d.Link, d.Refused)
			continue
		}
		fmt.Fprintf(w, "%.12s allows %d more of each file\n", d.Link, d.More)
	}
}

// proven is what a visitor had to prove.
func proven(what string) string {
	if what == "" {
		return "-"
	}
	return what
}

// printLinkOptions tells who could open the link that a mail would get.
func printLinkOptions(w io.Writer, ex *flow.Explanation) {
	switch ex.Access {
	case policy.AccessAnyone: // as ever
	case policy.AccessPassword:
		fmt.Fprintln(w, "It would ask for the password.")
	default:
		also := ""
		if ex.Access != policy.AccessRecipients {
			also = ", and for the password"
		}
		fmt.Fprintf(w, "It would ask for a code that goes to one of %s%s.\n", strings.Join(ex.Codes, ", "), also)
	}
	if ex.Downloads > 0 {
		fmt.Fprintf(w, "Each file could be fetched %d times.\n", ex.Downloads)
	}
	if ex.Notify {
		fmt.Fprintln(w, "The sender would be told when a file is fetched for the first time.")
	}
}
