package policy

// The vault slot: whose copies of which attachments are kept, where. It is
// decided for each owner, attachment and target.

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"cloakroom/vault/name"
)

// VaultAction is what a rule says in the vault slot.
type VaultAction struct {
	Never   bool // `vault: false`: nothing is kept, whatever later rules say
	Options VaultOptions
}

// VaultOptions are the options of `vault: {…}`.
type VaultOptions struct {
	// Target names the destination, one of `vault.targets`.
	Target string `yaml:"target"`
	// Space is the folder tree that the file belongs to: `user` (the owner's
	// address), `department` (the owner's), or a template such as
	// `customers/{sender.domain}`. Default: `user`.
	Space string `yaml:"space"`
	// Inline keeps pictures that the text shows, and signatures of mail, too.
	Inline bool `yaml:"inline"`
}

// Spaces that have a name.
const (
	SpaceUser       = "user"
	SpaceDepartment = "department"
)

const vaultForms = "write `vault: {target: NAME}` (options: space, inline) to keep a copy, or `vault: false` to keep none"

// UnmarshalYAML reads `false` or a mapping of options.
func (a *VaultAction) UnmarshalYAML(unmarshal func(any) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	switch n := node.(type) {
	case *ast.BoolNode:
		if !n.Value {
			*a = VaultAction{Never: true}
			return nil
		}
	case *ast.MappingNode, *ast.MappingValueNode:
		*a = VaultAction{}
		return unmarshal(&a.Options)
	}
	return yamlError(node, "vault: not understood; "+vaultForms)
}

func (a *VaultAction) check() []mistake {
	if a.Never {
		return nil
	}
	if a.Options.Target == "" {
		return mistakef("vault.target", "is required: %s", vaultForms)
	}
	if err := CheckSpace(a.Options.Space); err != nil {
		return mistakef("vault.space", "%v", err)
	}
	return nil
}

// CheckSpace tells what is wrong with a space as it is written; nil for none.
func CheckSpace(space string) error {
	if space == "" || space == SpaceUser || space == SpaceDepartment {
		return nil
	}
	t, err := name.Parse(space)
	switch {
	case err != nil:
		return fmt.Errorf("is neither user nor department nor a template: %w", err)
	case t.Uses("space"):
		return errors.New("cannot name {space} itself")
	}
	return nil
}

// SpaceTemplate is the template of the space.
func (o VaultOptions) SpaceTemplate() string {
	switch o.Space {
	case "", SpaceUser:
		return "{owner}"
	case SpaceDepartment:
		return "{department}"
	}
	return o.Space
}

// aboutPeople tells what is wrong with the people that a rule asks for: a vault
// rule is asked for each owner, every other for each recipient.
func (r *rule) aboutPeople() (at place, message string) {
	other := r.link != nil || r.forward != nil || r.reject != nil || r.quarantine != nil || r.headers != nil || r.tag != nil
	for i, o := range r.operands {
		asks := func(object string) bool {
			return slices.ContainsFunc(o.facts, func(f string) bool { return strings.HasPrefix(f, object+".") })
		}
		switch {
		case asks(ownerName) && r.vault == nil:
			return r.places[i], "'owner' is for vault rules; there are recipient and sender"
		case asks(ownerName) && other:
			return r.places[i], "'owner' is for vault rules, and this rule has other actions too: make two rules"
		case asks(recipientName) && r.vault != nil:
			return r.places[i], "a vault rule is asked for each owner (the recipients who are ours, and the sender who is): write owner instead of recipient"
		}
	}
	return place{}, ""
}

// VaultChoice is a copy to be kept.
type VaultChoice struct {
	Owner      int // in the list of owners
	Attachment int // in the facts' list; -1 is the mail as a whole
	Target     string
	Space      string // a template
	Rule       string
}

// Vaults tells whether any rule keeps copies.
func (s *Set) Vaults() bool { return s.vaults }

// VaultTargets lists where rules keep copies, by the index of each rule.
func (s *Set) VaultTargets() map[int]VaultOptions {
	out := make(map[int]VaultOptions)
	for i := range s.rules {
		if v := s.rules[i].vault; v != nil && !v.Never {
			out[i] = v.Options
		}
	}
	return out
}

// MayVault tells, when only envelope and header are known, whether a copy of
// anything in the mail could be kept. False is certain.
func (s *Set) MayVault(f *Facts, owners []Recipient) bool {
	choices, err := s.VaultWhole(f, owners)
	return err != nil || len(choices) > 0
}

// VaultWhole decides about a mail whose attachments cannot be told: the whole
// mail is kept wherever a rule might want one of them. An error means that a
// rule failed: answer 4xx.
func (s *Set) VaultWhole(f *Facts, owners []Recipient) ([]VaultChoice, error) {
	return s.decideVault(f, owners, atHeader)
}

// DecideVault decides about every attachment for every owner. An error means
// that a rule failed: answer 4xx, since nothing that it wants kept may be missed.
func (s *Set) DecideVault(f *Facts, owners []Recipient) ([]VaultChoice, error) {
	return s.decideVault(f, owners, atEnd)
}

var errTooManyOwners = errors.New("too many owners and attachments to look at in one mail")

func (s *Set) decideVault(f *Facts, owners []Recipient, at stage) ([]VaultChoice, error) {
	if !s.vaults || len(owners) == 0 {
		return nil, nil
	}
	n := len(f.Attachments)
	if at < atEnd {
		n = 1
	}
	if len(owners)*n*len(s.rules) > maxTries {
		return nil, errTooManyOwners
	}
	of := *f
	of.Recipients = owners
	e := s.evaluation(&of, at)
	var out []VaultChoice
	for o := range owners {
		for a := range n {
			e.stand(o, a)
			chosen, err := e.vault(at)
			if err != nil {
				return nil, err
			}
			for _, c := range chosen {
				c.Owner, c.Attachment = o, a
				if at < atEnd {
					c.Attachment = -1
				}
				out = append(out, c)
			}
		}
	}
	return out, nil
}

// vault decides where the evaluation stands: for each target the first rule that
// speaks. What is not known counts as wanted.
func (e *evaluation) vault(at stage) ([]VaultChoice, error) {
	var out []VaultChoice
	for i := range e.set.rules {
		r := &e.set.rules[i]
		if r.vault == nil {
			continue
		}
		decided := func(c VaultChoice) bool { return c.Target == r.vault.Options.Target }
		if !r.vault.Never && slices.ContainsFunc(out, decided) {
			continue
		}
		switch v := e.ask(r); {
		case v == failed:
			err, _ := e.report(SlotVault, r)
			return nil, fmt.Errorf("rules about the vault: %w", err)
		case v == no:
		case r.vault.Never && v == yes:
			return out, nil
		case r.vault.Never || at == atEnd && !r.vault.Options.Inline && e.isTrimming():
		default:
			out = append(out, VaultChoice{Target: r.vault.Options.Target, Space: r.vault.Options.SpaceTemplate(), Rule: r.name})
		}
	}
	return out, nil
}

// isTrimming tells attachments that are no documents: pictures that the text
// shows, and signatures.
func (e *evaluation) isTrimming() bool {
	a := &e.facts.Attachments[e.attachment]
	switch strings.ToLower(a.Type) {
	case "application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature":
		return true
	}
	return a.Inline
}
