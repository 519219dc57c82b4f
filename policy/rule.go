package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Config is the `rules:` list, read from top to bottom: per slot, the first
// rule that speaks decides.
type Config = []Rule

// Rule says what happens to the mails, recipients and attachments it matches.
type Rule struct {
	// Name is what logs, explanations and the audit call the rule. Unique.
	Name string `yaml:"name"`
	// If is the condition, an expression over the facts. Left out: always.
	If string `yaml:"if"`
	// Link is `{}` (with options, if any) to put a link in the attachment's
	// place, or `false` to keep the attachment in the mail. Left out: this rule
	// does not speak about links, and later rules are asked.
	Link *LinkAction `yaml:"link"`
	// Vault is `{target: NAME}` (with options, if any) to keep a copy of the
	// attachment in a space of its owner's, or `false` to keep none whatever later
	// rules say. It is decided for each owner of the mail: the recipients who are
	// ours, and the sender if he demonstrably is; conditions ask for `owner`
	// instead of `recipient`. For each target the first rule that speaks decides.
	// Left out: this rule does not speak about it.
	Vault *VaultAction `yaml:"vault"`
	// Forward is `{alternate: DOMAIN}` to send the recipient's mail to the
	// mailbox of the same name in that other mail system, or `false` to keep it
	// here, whatever the directory says; see `coexistence`. It is decided for
	// each recipient when the header is known: conditions cannot ask for
	// attachments or the size. Left out: this rule does not speak about it.
	Forward *ForwardAction `yaml:"forward"`
	// Reject is `{}` (with options, if any) to refuse the mail, or `false` to let
	// it pass whatever later rules say. Left out: this rule does not speak about it.
	//
	// Reject, quarantine, header and tag are decided for the mail as a whole, as
	// all its recipients get the same message: for each recipient the first rule
	// that speaks is taken, and the mail is refused (held, marked) only when that
	// comes out for every one of them; in the words of the topmost rule, where
	// they differ. A recipient for whom the envelope alone decides is refused at
	// once, by himself, when the sender names him (RCPT TO): refusing some of
	// several recipients is possible there only. A condition on the attachment
	// holds when it holds for at least one; `!=` and `!` are about one, too.
	//
	// When the condition of such a rule fails, the mail is refused for the time
	// being (4xx), whatever `on_error` says.
	Reject *RejectAction `yaml:"reject"`
	// Quarantine is the reason to hold the mail in the MTA's queue (or `true` for
	// a reason that names the rule) until an admin releases or deletes it, or
	// `false` to let it pass. Left out: this rule does not speak about it.
	Quarantine *QuarantineAction `yaml:"quarantine"`
	// Header is a section of header fields to add and remove, or `false` to leave
	// the header alone. Left out: this rule does not speak about it.
	Header *HeaderAction `yaml:"header"`
	// Tag is a text to put before the subject, unless it is there already, or
	// `false` for none. Left out: this rule does not speak about it.
	Tag *TagAction `yaml:"tag"`
}

// plannedActions are the rule keys of the documented design that this version
// cannot carry out. Accepting one silently would lose what it promises.
var plannedActions = []string{"archive"}

// UnmarshalYAML reads a rule; strictness is that of the decoder around it.
func (r *Rule) UnmarshalYAML(unmarshal func(any) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	if err := checkRuleKeys(node); err != nil {
		return err
	}
	type plain Rule
	return unmarshal((*plain)(r))
}

func checkRuleKeys(node ast.Node) error {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		return nil // the decoder itself says what it expected
	}
	for entry := mapping.MapRange(); entry.Next(); {
		key := entry.Key()
		name := key.GetToken().Value
		if slices.Contains(plannedActions, name) {
			return yamlError(key, "action `%s` is not built yet", name)
		}
		if entry.Value().Type() != ast.NullType {
			continue
		}
		if forms := actionForms[name]; forms != "" {
			return yamlError(key, "%s: nothing is said; %s", name, forms)
		}
		if name == "if" {
			return yamlError(key, "if: nothing is said; write a condition, or leave the key out for a rule that always speaks")
		}
	}
	return nil
}

// actionForms tells how each action is written.
var actionForms = map[string]string{
	string(SlotLink): linkForms, string(SlotForward): forwardForms, string(SlotVault): vaultForms, string(SlotReject): rejectForms, string(SlotQuarantine): quarantineForms,
	string(SlotHeader): headerForms, string(SlotTag): tagForms,
}

const linkForms = "write `link: {}` to link the attachment or `link: false` to keep it in the mail"

// LinkAction is what a rule says in the link slot.
type LinkAction struct {
	Keep    bool // `link: false`: the attachment stays in the mail
	Options LinkOptions
}

// LinkOptions are the options of `link: {…}`.
type LinkOptions struct {
	// Expires is how long the link works: `90s`, `15m`, `12h`, `90d`. Left out:
	// forever. It applies where all recipients are outside or accept_loss is true.
	Expires time.Duration `yaml:"expires"`
	// AcceptLoss lets links expire for our own users too, to whom the stored
	// file is the only copy.
	AcceptLoss bool `yaml:"accept_loss"`
	// Forwarded lets links take the place of attachments in mail that leaves for
	// a co-existing mail system too. Without it such mail stays byte for byte as
	// it is, so that its signatures hold there.
	Forwarded bool `yaml:"forwarded"`
	// Access is who may open the link: anyone who has its address (the default),
	// recipients (whoever can read a code that is mailed to one of the recipients;
	// needs `submit`), or password. Where rules differ about one link, all that
	// they ask for is asked.
	Access string `yaml:"access"`
	// PasswordFile is the file with the line that `cloakroom links password`
	// prints, for `access: password`. You tell the password to those who shall
	// have it, by another way than mail. A change is for links made from then on.
	// A relative path starts at the folder of this file.
	PasswordFile string `yaml:"password_file"`
	// Downloads is how often each file can be fetched. Left out: without limit.
	// Like expires it applies where all recipients are outside or accept_loss is
	// true.
	Downloads int `yaml:"downloads"`
	// Notify tells the mail's sender, if he is one of ours, when a file is
	// fetched for the first time: one mail for each file at most (needs `submit`).
	Notify bool `yaml:"notify"`
}

// UnmarshalYAML reads `false`, `true` (the same as `{}`) or a mapping of options.
func (a *LinkAction) UnmarshalYAML(unmarshal func(any) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	switch n := node.(type) {
	case *ast.BoolNode:
		*a = LinkAction{Keep: !n.Value}
		return nil
	case *ast.MappingNode, *ast.MappingValueNode:
		var options struct {
			Expires    expiry `yaml:"expires"`
			AcceptLoss bool   `yaml:"accept_loss"`
			Forwarded  bool   `yaml:"forwarded"`

			Access       string `yaml:"access"`
			PasswordFile string `yaml:"password_file"`
			Downloads    count  `yaml:"downloads"`
			Notify       bool   `yaml:"notify"`
		}
		if err := unmarshal(&options); err != nil {
			return err
		}
		*a = LinkAction{Options: LinkOptions{Expires: time.Duration(options.Expires), AcceptLoss: options.AcceptLoss, Forwarded: options.Forwarded,
			Access: options.Access, PasswordFile: options.PasswordFile, Downloads: int(options.Downloads), Notify: options.Notify}}
		return nil
	}
	return yamlError(node, "link: not understood; "+linkForms)
}

// expiry is a duration that knows the place of its error.
type expiry time.Duration

func (e *expiry) UnmarshalYAML(node ast.Node) error {
	scalar, ok := node.(ast.ScalarNode)
	if !ok {
		return yamlError(node, "link.expires: expected a duration such as 90d")
	}
	d, err := ParseDuration(scalar.GetToken().Value)
	if err != nil {
		return yamlError(node, "link.expires: %v", err)
	}
	if d <= 0 {
		return yamlError(node, "link.expires: must be longer than 0; leave it out for links that never expire")
	}
	*e = expiry(d)
	return nil
}

// yamlError is an error at the node's line and column.
func yamlError(node ast.Node, format string, args ...any) error {
	return &yaml.SyntaxError{Message: fmt.Sprintf(format, args...), Token: node.GetToken()}
}
