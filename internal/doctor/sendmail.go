package doctor

// A Sendmail without Postfix: whether sendmail.cf has our milter, where it is, and
// what Sendmail does without it.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

const (
	sendmailFix = "cloakroom setup sendmail shows what to change and why, cloakroom setup sendmail --apply && systemctl restart sendmail does it"
	// maxSendmailConfig bounds what is read of sendmail.cf, in bytes; it commonly has 60 KB.
	maxSendmailConfig = 4 << 20
)

// Sendmail looks at a sendmail.cf, which is what Sendmail goes by, however it was
// made. milter is our address as inet:HOST:PORT or unix:PATH; open says that mail
// shall pass while Cloakroom is away.
func Sendmail(file, milter string, open bool) []Line {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxSendmailConfig {
		err = fmt.Errorf("%s has %d bytes, which is no configuration", file, info.Size())
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Line{ok("skipped: neither postconf nor %s is on this host", file)}
	case errors.Is(err, fs.ErrPermission):
		return []Line{warn("run this as root", "%v", err)}
	case err != nil:
		return []Line{wrong("look at the file", "%v", err)}
	}
	return sendmailLines(file, string(text), milter, open)
}

// mailFilter is one X line of sendmail.cf.
type mailFilter struct{ name, address, flags string }

// readFilters gives the filters, and the lists of those that are asked: that of
// InputMailFilters, and those of single listeners.
func readFilters(text string) (filters []mailFilter, lists [][]string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "X") {
			filters = append(filters, parseFilter(line[1:]))
		}
		// O InputMailFilters=a, b and O DaemonPortOptions=Name=MTA, InputMailFilters=a;b
		before, list, found := strings.Cut(line, "InputMailFilters=")
		if !found || !strings.HasPrefix(before, "O ") {
			continue
		}
		separators := ", "
		if before != "O " {
			list, _, _ = strings.Cut(list, ",")
			separators = "; "
		}
		lists = append(lists, strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(separators, r) }))
	}
	return filters, lists
}

func sendmailLines(file, text, milter string, open bool) []Line {
	filters, lists := readFilters(text)
	at := slices.IndexFunc(filters, func(f mailFilter) bool { return sameSendmail(f.address, milter) })
	if at < 0 {
		var there []string
		for _, f := range filters {
			there = append(there, f.name+" at "+f.address)
		}
		if there == nil {
			there = []string{"none"}
		}
		return []Line{wrong(sendmailFix, "mail does not pass Cloakroom: %s has no milter at %s, but %s", file, milter, strings.Join(there, ", "))}
	}
	ours := filters[at]
	in := slices.IndexFunc(lists, func(l []string) bool { return slices.Contains(l, ours.name) })
	switch {
	case in < 0:
		return []Line{wrong(sendmailFix, "mail does not pass Cloakroom: %s has the milter %s, but not in InputMailFilters", file, ours.name)}
	case !strings.ContainsAny(ours.flags, "T4") && !open: // 451, or 421 and the end of the connection
		without := "mail passes with its attachments, and past every rule"
		if strings.Contains(ours.flags, "R") {
			without = "mail is refused for good"
		}
		return []Line{warn(sendmailFix, "%s: without F=T, %s while Cloakroom is away", ours.name, without)}
	}
	order := lists[in]
	if signer := signerBefore(order, ours.name); signer != "" {
		return []Line{warn(sendmailFix, "InputMailFilters has %s before %s: what is signed already is left alone, without links", signer, ours.name)}
	}
	return []Line{ok("Sendmail, %s: %s is %s of InputMailFilters (%s)", file, ours.name, ordinal(slices.Index(order, ours.name), len(order)), strings.Join(order, ", "))}
}

// parseFilter reads NAME, S=ADDRESS, F=FLAGS, T=TIMES.
func parseFilter(line string) mailFilter {
	var f mailFilter
	for i, part := range strings.Split(line, ",") {
		part = strings.TrimSpace(part)
		switch {
		case i == 0:
			f.name = part
		case strings.HasPrefix(part, "S="):
			f.address = part[2:]
		case strings.HasPrefix(part, "F="):
			f.flags = part[2:]
		}
	}
	return f
}

// sameSendmail compares inet:PORT@HOST and local:PATH with our way to write it.
func sameSendmail(theirs, ours string) bool {
	kind, rest, _ := strings.Cut(theirs, ":")
	kindOurs, restOurs, _ := strings.Cut(ours, ":")
	if kind == "unix" || kind == "local" {
		return kindOurs == "unix" && rest == restOurs
	}
	port, host, _ := strings.Cut(rest, "@")
	i := strings.LastIndexByte(restOurs, ':')
	return kindOurs == "inet" && i >= 0 && port == restOurs[i+1:] && strings.Trim(localName(host), "[]") == strings.Trim(localName(restOurs[:i]), "[]")
}

func localName(host string) string {
	if host == "localhost" || host == "" {
		return "127.0.0.1"
	}
	return host
}

// signerBefore is a milter that signs by its name and is asked before ours.
// What only verifies is right there, and these names are of those that do both.
func signerBefore(order []string, ours string) string {
	for _, name := range order[:slices.Index(order, ours)] {
		if strings.Contains(strings.ToLower(name), "dkim") {
			return name
		}
	}
	return ""
}

func ordinal(i, of int) string {
	switch {
	case of == 1:
		return "all"
	case i == of-1:
		return "the last"
	}
	return fmt.Sprintf("number %d", i+1)
}
