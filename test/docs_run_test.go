package test

// Every document is walked as its reader does: block after block, in its order,
// on a host of its own (docs_host_test.go). What a block is, its first line says:
//
//	sh         commands, which are run; each has to succeed
//	text       what the commands above it print; numbers, names and places may differ
//	yaml       a configuration, or the keys of one that differ from the one before:
//	           put into force, and its vault tried; or cases, run against it
//	sketch: …  not for running; what it is instead stands behind the colon
//
// and what docs_pieces_test.go has: pieces of other programs' files, which those
// programs are asked about. A block of anything else is a mistake, and so none is
// added to a document that nothing runs. What has to happen between two blocks, a
// mail or an accident, is told by the story of that document (docs_stories_test.go).

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// snippet is a block of a document.
type snippet struct {
	language, about string // "sketch: about"
	section         string // the heading above it
	text            string
	line            int // of its first line
}

// blocks lists the fenced blocks of a document, in lists too, and the indented
// ones, whose language is "indented".
func blocks(text string) (out []snippet) {
	var open *snippet
	indent, section := "", ""
	before := "" // the line above
	begin := func(info string, line int) *snippet {
		language, about, _ := strings.Cut(info, ": ")
		return &snippet{language: language, about: about, section: section, line: line}
	}
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimLeft(line, " ")
		fence, isFence := strings.CutPrefix(trimmed, "```")
		switch {
		case open != nil && open.language != "indented" && isFence:
			out, open = append(out, *open), nil
		case open != nil && open.language != "indented":
			open.text += strings.TrimPrefix(line, indent) + "\n"
		case isFence:
			if open != nil {
				out = append(out, *open)
			}
			indent = line[:len(line)-len(trimmed)]
			open = begin(strings.TrimSpace(fence), i+2)
		case open != nil && (strings.HasPrefix(line, "    ") || trimmed == ""):
			open.text += strings.TrimPrefix(line, "    ") + "\n"
		case strings.HasPrefix(line, "    ") && strings.TrimSpace(before) == "":
			open = begin("indented", i+1)
			open.text = line[4:] + "\n"
		default:
			if open != nil {
				out, open = append(out, *open), nil
			}
			if m := heading.FindStringSubmatch(line); m != nil {
				section = m[1]
			}
		}
		before = line
	}
	if open != nil {
		out = append(out, *open)
	}
	return out
}

// document is one that is being walked.
type document struct {
	t      *testing.T
	h      *host
	name   string
	blocks []snippet
	at     int          // the next one
	ran    []ran        // the commands of the block that was run last
	codes  []toleration // of commands that need not succeed
	stale  bool         // the configuration is written, and not yet in force
}

// ran is a command that was run.
type ran struct {
	line, out string
	code      int
}

type toleration struct {
	command *regexp.Regexp
	codes   []int
}

func TestEveryBlockOfTheDocumentsRuns(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	told := 0
	for _, name := range allDocuments(t) {
		all := blocks(mustRead(t, filepath.Join(root, name)))
		story := stories[name]
		if story != nil {
			told++
		}
		if len(all) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			d := h.open(t, name, all)
			if story != nil {
				story(d)
			}
			d.rest()
		})
	}
	if told != len(stories) {
		t.Errorf("there are %d stories, and documents for %d", len(stories), told)
	}
}

// rest runs what is left of a document.
func (d *document) rest() {
	d.t.Helper()
	for d.at < len(d.blocks) {
		d.step()
	}
	d.settle()
}

// next runs the document up to the end of the next commands in a section, and
// gives what they print.
func (d *document) next(section string) string {
	d.t.Helper()
	for d.at < len(d.blocks) {
		s := d.blocks[d.at]
		d.step()
		if s.section == section && s.language == "sh" {
			return d.said()
		}
	}
	d.t.Fatalf("%s has no more commands in %q", d.name, section)
	return ""
}

// take gives the next block, of a language, to a story that sees to it itself.
func (d *document) take(language string) string {
	d.t.Helper()
	if d.at == len(d.blocks) || d.blocks[d.at].language != language {
		d.t.Fatalf("%s: the next block is not of %q", d.where(), language)
	}
	d.at++
	return d.blocks[d.at-1].text
}

// where is the place of the next block.
func (d *document) where() string {
	if d.at == len(d.blocks) {
		return d.name
	}
	return fmt.Sprintf("%s:%d", d.name, d.blocks[d.at].line)
}

// step runs the next block.
func (d *document) step() {
	d.t.Helper()
	s := d.blocks[d.at]
	began := time.Now()
	switch look := pieces[s.language]; {
	case s.language == "sh":
		d.commands(s.text)
	case s.language == "text":
		d.printed(s.text)
	case s.language == "yaml":
		d.yaml(s.text)
	case s.language == "sketch" && s.about != "":
	case look != nil:
		look(d, s.text)
	default:
		d.t.Errorf("%s: nothing runs a block of %q; see test/docs_run_test.go", d.where(), s.language)
	}
	if took := time.Since(began); took > time.Second {
		d.t.Logf("%s took %v", d.where(), took.Round(10*time.Millisecond))
	}
	d.at++
}

// tolerate lets commands end with other exit codes than 0.
func (d *document) tolerate(command string, codes ...int) {
	d.codes = append(d.codes, toleration{regexp.MustCompile(command), codes})
}

// said is what the commands of the last block printed.
func (d *document) said() string {
	var all strings.Builder
	for _, r := range d.ran {
		all.WriteString(r.out)
	}
	return all.String()
}

// intoForce are commands that put a configuration into force.
var intoForce = regexp.MustCompile(`systemctl (?:enable --now|start|restart|reload) cloakroom`)

// commands runs commands in one shell, and looks how each of them ends.
func (d *document) commands(text string) {
	d.t.Helper()
	if !intoForce.MatchString(text) {
		d.settle()
	}
	d.ran = d.h.shell(text)
	if intoForce.MatchString(text) {
		d.stale = false
	}
	for _, r := range d.ran {
		allowed := []int{0}
		for _, c := range d.codes {
			if c.command.MatchString(r.line) {
				allowed = c.codes
			}
		}
		if strings.Contains(r.line, "cloakroom doctor") && r.code <= 2 && !strings.Contains(r.line, "--json") {
			d.doctored(r.out)
		} else if !slices.Contains(allowed, r.code) {
			d.t.Errorf("%s: %s: exit code %d\n%.4000s", d.where(), r.line, r.code, r.out)
		}
	}
}

// notOK is a line of the doctor about what is not as it should be.
var notOK = regexp.MustCompile(`(?m)^(?:warning|wrong) +([a-z]+) .*$`)

// doctored looks at what the doctor found: the host is well, but for the clock and
// the disk of this machine, and for what a story has broken.
func (d *document) doctored(out string) {
	d.t.Helper()
	for _, m := range notOK.FindAllStringSubmatch(out, -1) {
		if !slices.Contains([]string{"clock", "fsync"}, m[1]) && !slices.Contains(d.h.ill, m[1]) {
			d.t.Errorf("%s: the doctor finds: %s", d.where(), m[0])
		}
	}
}

// printed compares a block with what one of the commands above it printed. A line of …
// stands for any number of lines.
func (d *document) printed(want string) {
	d.t.Helper()
	want, one := d.h.here(want), false
	for _, r := range d.ran {
		one = one || matches(shapes(want), shapes(r.out))
	}
	if !one {
		d.t.Errorf("%s shows\n%s\nthe commands print\n%s\ntheir shapes are\n%s\nand\n%s", d.where(), want, d.said(),
			strings.Join(shapes(want), "\n"), strings.Join(shapes(d.said()), "\n"))
	}
}

// matches compares lines; "…" stands for any number of them.
func matches(want, got []string) bool {
	switch {
	case len(want) == 0:
		return len(got) == 0
	case want[0] == "…":
		return matches(want[1:], got) || len(got) > 0 && matches(want, got[1:])
	}
	return len(got) > 0 && (want[0] == got[0] || strings.HasSuffix(want[0], " …") && strings.HasPrefix(got[0], strings.TrimSuffix(want[0], "…"))) && matches(want[1:], got[1:])
}

// differs is what a word has to have to be one that may differ: a number, a place,
// an address, an id.
var differs = regexp.MustCompile(`[0-9/@]|^[KMGT]?B[,;.]?$|^bytes[,;.]?$|^m?s[,;.]?$`)

// shapes are the lines of a text, without the words that may differ.
func shapes(text string) (out []string) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		for i, w := range words {
			if differs.MatchString(w) {
				words[i] = "#"
			}
		}
		// "61.3 GB" in one place is "512" in another.
		if line := strings.ReplaceAll(strings.Join(words, " "), "# #", "#"); line != "" {
			out = append(out, strings.ReplaceAll(line, "# #", "#"))
		}
	}
	return out
}

// yaml puts a configuration into force, or runs cases against it.
func (d *document) yaml(text string) {
	d.t.Helper()
	if strings.HasPrefix(text, "cases:") {
		d.settle()
		d.h.write("tests/cases.yaml", text)
		d.ran = d.h.shell("cloakroom policy test tests")
	} else {
		d.h.configure(text)
		d.stale = true
		d.ran = d.h.shell("cloakroom config check")
		if complaint := d.said(); strings.Contains(complaint, "warning") && strings.Contains(complaint, "\nrules:") {
			d.t.Errorf("%s: %s", d.where(), complaint)
		}
	}
	for _, r := range d.ran {
		if r.code != 0 {
			d.t.Errorf("%s: %s: exit code %d\n%s", d.where(), r.line, r.code, r.out)
		}
	}
}

// settle puts the configuration into force where no command of the document has,
// and tries each target of the vault in it.
func (d *document) settle() {
	d.t.Helper()
	if !d.stale {
		return
	}
	d.stale = false
	for _, r := range d.h.shell("systemctl restart cloakroom") {
		if r.code != 0 {
			d.t.Errorf("%s: the daemon does not start with the configuration above: %s", d.where(), r.out)
			return
		}
	}
	for _, target := range d.h.targets() {
		for _, r := range d.h.shell("cloakroom vault test " + target) {
			if r.code != 0 {
				d.t.Errorf("%s: the target %s: %s", d.where(), target, r.out)
			}
		}
	}
}

// exitCode separates what commands print: the exit code of the one before.
var exitCode = regexp.MustCompile("\x1e([0-9]+)\x1f")

// shellTimeout is how long a block of commands may take, in words of timeout(1).
const shellTimeout = "60s"

// shell runs lines in one shell as an administrator does, in the folder of the
// configuration. A command that asks gets an answer.
func (h *host) shell(text string) (out []ran) {
	h.t.Helper()
	var script strings.Builder
	script.WriteString("exec 2>&1\n")
	for line := range strings.Lines(h.here(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		answer := "yes"
		if strings.Contains(line, " password ") {
			answer = "password"
		}
		out = append(out, ran{line: line})
		fmt.Fprintf(&script, "{ %s\n} <%s\nprintf '\\036%%s\\037' $?\n", line, filepath.Join(h.dir, answer))
	}
	cmd := h.asRoot("timeout", shellTimeout, "sh", "-c", script.String())
	cmd.Dir = h.etc()
	text, code := h.output(cmd)
	for i := range out {
		m := exitCode.FindStringSubmatchIndex(text)
		if m == nil { // the shell itself ended
			out[i].out, out[i].code = text, max(code, 1)
			return out[:i+1]
		}
		out[i].out = text[:m[0]]
		out[i].code, _ = strconv.Atoi(text[m[2]:m[3]])
		text = text[m[1]:]
	}
	return out
}

// must runs lines that have to succeed.
func (h *host) must(text string) string {
	h.t.Helper()
	all := ""
	for _, r := range h.shell(text) {
		if all += r.out; r.code != 0 {
			h.t.Fatalf("%s: exit code %d\n%s", r.line, r.code, r.out)
		}
	}
	return all
}

// write writes a file into the folder of the configuration.
func (h *host) write(name, text string) {
	h.t.Helper()
	file := filepath.Join(h.etc(), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}
