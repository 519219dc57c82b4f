package mtasetup

// The plan as text: lines for main.cf and master.cf with their reasons as
// comments, so that what is printed can be pasted.

import (
	"fmt"
	"strings"
)

// textWidth is the length of a comment line.
const textWidth = 80

// comment writes text as comment lines.
func comment(b *strings.Builder, text string) {
	for _, line := range wrap("#", text) {
		b.WriteString(line + "\n")
	}
}

// wrap breaks text into lines that begin with a mark.
func wrap(mark, text string) []string {
	var out []string
	line := mark
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > textWidth && line != mark {
			out = append(out, line)
			line = mark
		}
		line += " " + word
	}
	return append(out, line)
}

// section separates what has its own reason.
func section(b *strings.Builder, text string) {
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	comment(b, text)
}

func was(b *strings.Builder, c Change) {
	if c.Old != nil && *c.Old == "" {
		comment(b, "It was empty.")
	} else if c.Old != nil {
		comment(b, "It was: "+*c.Old)
	}
}

// MainText is what main.cf gets. Lines that have to wait for a table are
// commented out.
func (p *Plan) MainText() string {
	var b strings.Builder
	for _, c := range p.Changes {
		if c.Kind == Parameter {
			section(&b, c.Reason)
			was(&b, c)
			fmt.Fprintf(&b, "%s = %s\n", c.Name, c.New)
		}
	}
	for _, s := range p.Steps {
		if len(s.Lines) == 0 {
			continue
		}
		section(&b, s.Reason)
		if s.Command != "" {
			b.WriteString("#   " + s.Command + "\n")
		}
		for _, l := range s.Lines {
			b.WriteString("#" + l + "\n")
		}
	}
	return b.String()
}

// MasterText is what master.cf gets: new services as they are, and parameters of
// services that are there as comments that name the service.
func (p *Plan) MasterText() string {
	var b strings.Builder
	for _, c := range p.Changes {
		switch c.Kind {
		case Override:
			section(&b, c.Reason)
			was(&b, c)
			fmt.Fprintf(&b, "#   in the service %s:\n#  -o %s=%s\n", strings.ReplaceAll(c.Service, "/", " "), c.Name, c.New)
		case Service:
			section(&b, c.Reason)
			b.WriteString(MasterEntry(c.New))
		}
	}
	return b.String()
}

// masterColumns are where the fields of master.cf begin.
var masterColumns = []int{0, 10, 16, 24, 32, 40, 48, 56}

// MasterEntry lays out a service of one line, each parameter on a line of its own.
func MasterEntry(line string) string {
	head, options, _ := strings.Cut(line, " -o ")
	out := ""
	for i, field := range strings.Fields(head) {
		if i > 0 {
			out += " "
		}
		if i < len(masterColumns) {
			out += strings.Repeat(" ", max(0, masterColumns[i]-len(out)))
		}
		out += field
	}
	out += "\n"
	if options == "" {
		return out
	}
	for _, o := range strings.Split(options, " -o ") {
		out += "  -o " + o + "\n"
	}
	return out
}

// Text is the whole plan.
func (p *Plan) Text() string {
	var b strings.Builder
	comment(&b, fmt.Sprintf("%s in %s, for the milter at %s.", p.MTA, p.Folder, p.Milter))
	if len(p.Changes) == 0 {
		comment(&b, "Nothing to change.")
	}
	part := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "\n#### %s\n\n%s", name, text)
		}
	}
	sendmail := strings.HasPrefix(p.MTA, "Sendmail")
	if !sendmail {
		part(p.Folder+"/main.cf", p.MainText())
		part(p.Folder+"/master.cf", p.MasterText())
	}
	for _, c := range p.Changes {
		if c.Kind == File || c.Kind == Block {
			part(c.Name, c.New)
		}
	}
	if sendmail {
		part("to do", p.stepText())
	}
	part("the same as commands", p.commandText())
	part("who sees mail, in this order", p.listenerText())
	part("to know", p.remarkText())
	return b.String()
}

// stepText is what a person has to do, as Sendmail has it.
func (p *Plan) stepText() string {
	var b strings.Builder
	for _, s := range p.Steps {
		section(&b, s.Reason)
		for _, l := range s.Lines {
			b.WriteString(l + "\n")
		}
		if s.Command != "" {
			b.WriteString("#   " + s.Command + "\n")
		}
	}
	return b.String()
}

func (p *Plan) commandText() string {
	var b strings.Builder
	for _, argv := range p.Commands() {
		fmt.Fprintf(&b, "postconf -c %s\n", Shell(append([]string{p.Folder}, argv...)))
	}
	return b.String()
}

func (p *Plan) listenerText() string {
	var b strings.Builder
	for _, l := range p.Listeners {
		who := strings.Join(l.Milters, ", ")
		if who == "" {
			who = "no milter"
		}
		fmt.Fprintf(&b, "# %-24s %-24s %s\n", l.Service, l.Purpose, who)
	}
	return b.String()
}

func (p *Plan) remarkText() string {
	var b strings.Builder
	for _, level := range []Level{Problem, Warning, Info} {
		for _, r := range p.Remarks {
			if r.Level == level {
				comment(&b, string(r.Level)+": "+r.Text)
			}
		}
	}
	return b.String()
}
