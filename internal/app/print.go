package app

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/message"
	"cloakroom/sisa"
	"cloakroom/sisa/web"
)

// table writes rows in columns.
func table(w io.Writer, f func(t io.Writer)) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	f(t)
	return t.Flush()
}

// plain keeps what came with a mail from driving a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\uFFFD'
		}
		return r
	}, s)
}

// PrintLinks writes links as a table.
func PrintLinks(w io.Writer, rows []sisa.Row) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "no links")
		return err
	}
	return table(w, func(t io.Writer) {
		fmt.Fprintln(t, "ID\tCREATED\tEXPIRES\tFILES\tSIZE\tDOWNLOADS\tSENDER\tSUBJECT")
		for _, r := range rows {
			expires := when(r.Expires, "never")
			if r.State != sisa.Active {
				expires = string(r.State)
			}
			if !r.Forgotten.IsZero() {
				r.Sender = "(forgotten)"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\n", r.ID[:12], when(r.Created, ""), expires, r.Files,
				message.FormatSize(r.Bytes), r.Downloads, plain(r.Sender), plain(r.Subject))
		}
	})
}

// PrintLinkDetail writes one link with its mail.
func PrintLinkDetail(w io.Writer, d *LinkDetail) error {
	m := d.Record
	err := table(w, func(t io.Writer) {
		fmt.Fprintf(t, "link\t%s\n", d.ID)
		fmt.Fprintf(t, "created\t%s\n", when(d.Created, ""))
		fmt.Fprintf(t, "expires\t%s\n", when(d.Expires, "never"))
		if !d.Revoked.IsZero() {
			fmt.Fprintf(t, "revoked\t%s\n", when(d.Revoked, ""))
		}
		printLinkState(t, d)
		fmt.Fprintf(t, "mail\t%s\n", d.Mail)
		fmt.Fprintf(t, "queue id\t%s\n", plain(m.QueueID))
		fmt.Fprintf(t, "message-id\t%s\n", plain(m.MessageID))
		fmt.Fprintf(t, "from\t%s\n", plain(m.Sender))
		fmt.Fprintf(t, "to\t%s\n", plain(strings.Join(m.Recipients, ", ")))
		fmt.Fprintf(t, "subject\t%s\n", plain(m.Subject))
		fmt.Fprintf(t, "size\t%s\n", message.FormatSize(m.Size))
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	err = table(w, func(t io.Writer) {
		fmt.Fprintln(t, "PART\tSIZE\tTYPE\tNAME\tSHA-256\tLINKED BY, OR WHY NOT")
		for _, p := range m.Parts {
			verdict := p.Rule
			if !p.Linked {
				verdict = "stays: " + p.Rule
			}
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%.12s\t%s\n", p.Index, message.FormatSize(p.Size), plain(p.Type), plain(p.Name), p.SHA256.String(), plain(verdict))
		}
	})
	if err != nil || len(d.Downloads) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return table(w, func(t io.Writer) {
		fmt.Fprintln(t, "DOWNLOADED\tPART\tPROVEN\tCLIENT\tAGENT")
		for _, x := range d.Downloads {
			part := strconv.Itoa(x.Part)
			if x.Part == web.AllParts {
				part = "all"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", when(x.At, ""), part, plain(proven(x.Proven)), plain(x.Client), plain(x.Agent))
		}
	})
}

// PrintStats writes the sums of the store.
func PrintStats(w io.Writer, s Stats) error {
	return table(w, func(t io.Writer) {
		fmt.Fprintf(t, "mails changed\t%d\t%s\n", s.Mails, message.FormatSize(s.Bytes))
		fmt.Fprintf(t, "attachments linked\t%d\t%s\n", s.Linked, message.FormatSize(s.Received))
		fmt.Fprintf(t, "kept in the store\t%d\t%s\n", s.Store.Blobs, message.FormatSize(s.Store.Bytes))
		fmt.Fprintf(t, "saved by single instance\t\t%s\n", message.FormatSize(max(0, s.Saved)))
		fmt.Fprintf(t, "kept to rebuild originals\t\t%s\n", message.FormatSize(s.Skeleton))
		fmt.Fprintf(t, "links\t%d\t\n", s.Store.Links)
		fmt.Fprintf(t, "free on the disk\t\t%s of %s%s\n", message.FormatSize(s.Disk.Free), message.FormatSize(s.Disk.Size), s.Disk.words())
	})
}

// words tell when links stop, or that they have.
func (d Disk) words() string {
	switch {
	case d.Low != "":
		return "; no links are made (" + d.Low + ")"
	case d.LowSpace == 0:
		return ""
	}
	return "; links stop below " + message.FormatSize(d.LowSpace)
}

// mailLines tells what would be done to the mail as a whole.
func mailLines(ex *flow.Explanation) []string {
	var out []string
	for _, e := range ex.Errors {
		out = append(out, "Error: "+e)
	}
	for _, r := range ex.Recipients {
		if reply := ex.Refused[r.Address]; reply != nil {
			out = append(out, fmt.Sprintf("Recipient %s would be refused: %d %s %s", r.Address, reply.Code, reply.Enhanced, reply.Text))
		}
	}
	switch {
	case ex.Fails:
		return append(out, "The mail would be put off (4xx): a rule about it failed.")
	case ex.Reject != nil:
		return append(out, fmt.Sprintf("The mail would be refused: %d %s %s", ex.Reject.Code, ex.Reject.Enhanced, ex.Reject.Text))
	}
	if ex.Quarantine != "" {
		out = append(out, "The mail would be held in the MTA's queue: "+ex.Quarantine)
	}
	for _, name := range ex.Remove {
		out = append(out, "Header field removed: "+name)
	}
	for _, name := range slices.Sorted(maps.Keys(ex.Add)) {
		out = append(out, "Header field added: "+name+": "+ex.Add[name])
	}
	if ex.Tag != "" {
		out = append(out, "Subject tagged: "+ex.Tag)
	}
	return out
}

// PrintExplanation writes what would become of a message.
func PrintExplanation(w io.Writer, ex *flow.Explanation) error {
	sender := "not ours (another domain, or neither authenticated nor from a trusted network)"
	if ex.Ours {
		sender = "ours"
	}
	fmt.Fprintf(w, "sender: %s\n", sender)
	for _, r := range ex.Recipients {
		fmt.Fprintf(w, "recipient %s: %s\n", plain(r.Address), r.Direction)
	}
	fmt.Fprintln(w, "\nparts")
	if err := table(w, func(t io.Writer) {
		for _, p := range ex.Parts {
			size := ""
			if p.Role != "multipart" {
				size = message.FormatSize(p.Size)
			}
			fmt.Fprintf(t, "  %s%d %s\t%s\t%s\t%s\t%s\n", strings.Repeat("  ", p.Depth), p.Index, plain(p.Type), p.Role, size, plain(p.Name), plain(p.Fate))
		}
	}); err != nil {
		return err
	}
	if len(ex.Decisions)+len(ex.Slots) > 0 {
		fmt.Fprintln(w, "\nrules")
	}
	printDecisions(w, ex)
	printSlots(w, ex)
	printWays(w, ex)
	printCopies(w, ex)
	fmt.Fprintln(w)
	for _, line := range mailLines(ex) {
		fmt.Fprintln(w, plain(line))
	}
	var err error
	switch {
	case ex.Reject != nil, ex.Fails:
	case ex.Changes:
		expires := "without a time limit"
		if ex.Expires > 0 {
			expires = "for " + config.FormatDuration(ex.Expires)
		}
		fmt.Fprintf(w, "The link would be there %s.\n", expires)
		printLinkOptions(w, ex)
		_, err = fmt.Fprintf(w, "The body would go from %s to %s.\n", message.FormatSize(ex.BodySize), message.FormatSize(ex.NewSize))
	case ex.Passes != "":
		_, err = fmt.Fprintf(w, "The mail passes unchanged: %s.\n", ex.Passes)
	case ex.Alone != "":
		_, err = fmt.Fprintf(w, "The mail is left alone: %s.\n", ex.Alone)
	default:
		_, err = fmt.Fprintln(w, "Nothing would change.")
	}
	return err
}

// printWays tells where co-existence sends the mail.
func printWays(w io.Writer, ex *flow.Explanation) {
	if len(ex.Ways) > 0 {
		fmt.Fprintln(w, "\nforwarding")
	}
	for _, one := range ex.Ways {
		text := fmt.Sprintf("%s: %s", one.Recipient, one.Way)
		if one.To != "" {
			text += " to " + one.To
		}
		text += ", " + one.Reason
		if one.Copy {
			text += "; in a copy of its own"
		}
		if one.Sender != "" {
			text += "; from <" + one.Sender + ">"
		}
		fmt.Fprintf(w, "  %s\n", plain(text))
	}
}

// printCopies tells what is kept in the vault.
func printCopies(w io.Writer, ex *flow.Explanation) {
	if len(ex.Vault) > 0 {
		fmt.Fprintln(w, "\nvault")
	}
	for _, c := range ex.Vault {
		part := fmt.Sprintf("part %d", c.Part)
		switch {
		case c.Part < 0:
			part = "the whole mail"
		case c.Inner > 0:
			part = fmt.Sprintf("file %d inside part %d", c.Inner, c.Part)
		}
		fmt.Fprintf(w, "  %s for %s: to %s as %s, by rule %q\n", plain(part+" "+c.File), plain(c.Owner), c.Target, plain(c.Path), c.Rule)
	}
}

// printDecisions tells which rule decides about each attachment, once where
// that is the same for all recipients.
func printDecisions(w io.Writer, ex *flow.Explanation) {
	parts := make(map[int]flow.ExplainedPart, len(ex.Parts))
	for _, p := range ex.Parts {
		parts[p.Index] = p
	}
	for rest := ex.Decisions; len(rest) > 0; {
		n := 1
		same := true
		for n < len(rest) && rest[n].Part == rest[0].Part {
			same = same && rest[n].Link == rest[0].Link && rest[n].Rule == rest[0].Rule && slices.Equal(rest[n].Before, rest[0].Before)
			n++
		}
		part := parts[rest[0].Part]
		for i, d := range rest[:n] {
			who := plain(d.Recipient)
			if same && n > 1 {
				who = fmt.Sprintf("all %d recipients", n)
			}
			name := ""
			if part.Name != "" {
				name = " " + plain(part.Name)
			}
			fmt.Fprintf(w, "  part %d%s for %s: %s\n", d.Part, name, who, decisionVerdict(d, part))
			printSteps(w, d.Before)
			if same && i == 0 {
				break
			}
		}
		rest = rest[n:]
	}
}

func decisionVerdict(d flow.ExplainedDecision, part flow.ExplainedPart) string {
	switch {
	case d.Rule == "":
		return "keep, no rule speaks"
	case d.Leaves:
		return fmt.Sprintf("keep, since this mail goes on to the other mail system; rule %q links elsewhere", d.Rule)
	case !d.Link:
		return fmt.Sprintf("keep, by rule %q", d.Rule)
	case part.Keep != "": // whatever rules say
		return fmt.Sprintf("link, by rule %q; but it stays: %s", d.Rule, plain(part.Keep))
	}
	return fmt.Sprintf("link, by rule %q", d.Rule)
}

// printSlots tells which rule decides about the mail as a whole. Where it would
// act for some recipients only, it says that it does not.
func printSlots(w io.Writer, ex *flow.Explanation) {
	acts := make(map[string]int)
	for _, d := range ex.Slots {
		if d.Acts {
			acts[d.Slot]++
		}
	}
	for i, d := range ex.Slots {
		verdict := "no rule speaks"
		switch {
		case d.Failed:
			verdict = fmt.Sprintf("rule %q failed", d.Rule)
		case d.Rule != "" && d.Acts:
			verdict = fmt.Sprintf("yes, by rule %q", d.Rule)
		case d.Rule != "":
			verdict = fmt.Sprintf("no, by rule %q", d.Rule)
		}
		who := ""
		if d.Recipient != "" && len(ex.Recipients) > 1 {
			who = " for " + plain(d.Recipient)
		}
		fmt.Fprintf(w, "  %s%s: %s\n", d.Slot, who, verdict)
		printSteps(w, d.Before)
		last := i == len(ex.Slots)-1 || ex.Slots[i+1].Slot != d.Slot
		if last && d.Recipient != "" && acts[d.Slot] > 0 && acts[d.Slot] < len(ex.Recipients) {
			fmt.Fprintf(w, "  %s: no, since all get the same message, and not every recipient's rules say yes\n", d.Slot)
		}
	}
}

func printSteps(w io.Writer, before []flow.ExplainedStep) {
	for _, s := range before {
		fmt.Fprintf(w, "    not %q: %s\n", s.Rule, plain(s.Why))
	}
}
