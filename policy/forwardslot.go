package policy

// The forward slot: rules that overrule, for one recipient, what the directory
// says about the system that has his mailbox.

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// ForwardAction is what a rule says in the forward slot.
type ForwardAction struct {
	Stay    bool // `forward: false`: the mail is for a mailbox here
	Options ForwardOptions
}

// ForwardOptions are the options of `forward: {…}`.
type ForwardOptions struct {
	// Alternate is the alternate domain of the other mail system that the
	// recipient's mail goes to, whatever his groups are. A route in
	// `coexistence` for the recipient's domain must have it.
	Alternate string `yaml:"alternate"`
}

const forwardForms = "write `forward: {alternate: gapps.example.com}` to send the recipient's mail to that system, or `forward: false` to keep it here"

// UnmarshalYAML reads `false` or a mapping of options.
func (a *ForwardAction) UnmarshalYAML(unmarshal func(any) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	switch n := node.(type) {
	case *ast.BoolNode:
		if !n.Value {
			*a = ForwardAction{Stay: true}
			return nil
		}
	case *ast.MappingNode, *ast.MappingValueNode:
		*a = ForwardAction{}
		return unmarshal(&a.Options)
	}
	return yamlError(node, "forward: not understood; "+forwardForms)
}

func (a *ForwardAction) check() []mistake {
	switch {
	case a.Stay:
		return nil
	case a.Options.Alternate == "":
		return mistakef("forward.alternate", "is required: %s", forwardForms)
	case Domain("@"+a.Options.Alternate) == "" || strings.ContainsAny(a.Options.Alternate, "@ /"):
		return mistakef("forward.alternate", "%q is not a domain name", a.Options.Alternate)
	}
	return nil
}

// tooEarly tells of terms that a rule about forwarding cannot ask for: where a
// recipient's mail goes is settled when the header is known.
func (r *rule) tooEarly(known map[string]int) string {
	for _, o := range r.operands {
		if o.scope&perAttachment != 0 {
			return fmt.Sprintf("`%s` is about attachments, and where mail goes is decided before they are known", o.text)
		}
		late := func(name string) bool {
			i, ok := known[name]
			return ok && mailFacts[i].known == atEnd
		}
		if slices.ContainsFunc(o.facts, late) {
			return fmt.Sprintf("`%s` is known at the end of the mail only, and where mail goes is decided before", o.text)
		}
	}
	return ""
}

// Forwarding is what the rules say of the way of one recipient's mail.
type Forwarding struct {
	Rule      string // the rule that decided; "" when none spoke
	Stay      bool   // the mailbox is here
	Alternate string // as Domain gives it; the mailbox is in the system behind it
	Unknown   bool   // a rule may yet speak, when the header is known
	Trace     []Step // the rules asked before that did not match
}

// Forwards tells whether any rule speaks about forwarding.
func (s *Set) Forwards() bool { return s.forwards }

// ForwardAlternates lists the alternate domains that rules name, with the index
// of each rule.
func (s *Set) ForwardAlternates() map[int]string {
	out := make(map[int]string)
	for i := range s.rules {
		if f := s.rules[i].forward; f != nil && !f.Stay {
			out[i] = f.Options.Alternate
		}
	}
	return out
}

// DecideForwards tells for every recipient what the rules say of his mail's way.
// header says whether the header is known. An error means that a rule failed:
// answer 4xx, since its answer could be either way.
func (s *Set) DecideForwards(f *Facts, header bool) ([]Forwarding, error) {
	out := make([]Forwarding, len(f.Recipients))
	if !s.forwards {
		return out, nil
	}
	at := atRecipient
	if header {
		at = atHeader
	}
	e := s.evaluation(f, at)
	for i := range out {
		e.stand(i, 0)
		if err := e.forward(&out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *evaluation) forward(out *Forwarding) error {
	for i := range e.set.rules {
		r := &e.set.rules[i]
		if r.forward == nil {
			continue
		}
		switch e.ask(r) {
		case yes:
			out.Rule, out.Stay, out.Alternate = r.name, r.forward.Stay, Domain("@"+r.forward.Options.Alternate)
			return nil
		case unknown:
			out.Unknown = true
			return nil
		case failed:
			err, _ := e.report(SlotForward, r)
			return err
		}
		out.Trace = append(out.Trace, Step{Rule: r.name, Why: e.why(r)})
	}
	return nil
}
