// Package policy decides what shall happen to a mail: rules with a condition
// each, compiled once, are asked about facts and give a plan in which every
// choice names the rule that made it. It reads nothing and changes nothing.
package policy

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Set is a compiled list of rules. It does not change and may be used by many
// goroutines at once.
type Set struct {
	rules    []rule
	counts   [scopes]int    // operands by scope
	mailFact map[string]int // name to index in mailFacts
	links    bool           // whether any rule links at all
	forwards bool           // whether any rule speaks about forwarding
	vaults   bool           // whether any rule keeps copies
	speaking [len(mailSlots)][]speech
	acting   [len(mailSlots)]bool // whether any rule of the slot acts
}

// rule is a compiled Rule. Its condition holds when all operands do; a rule
// without operands always holds.
type rule struct {
	name string
	actions
	operands []*operand
	// attachments and pairs tell whether operands look at the attachment, and
	// at the recipient in the same term.
	attachments, pairs bool
	never              bool // the condition is false whatever the mail

	places  []place  // of the operands in the condition
	remarks []remark // about values in it
}

// operand is one term of a condition's top-level &&, shared by all rules that
// have the same one. Conditions are taken apart so that a term is evaluated
// once for everything that it cannot tell apart, and so that an explanation
// can say which term did not hold.
type operand struct {
	text    string // as CEL writes it
	scope   scope
	slot    int // among the operands of its scope
	program cel.Program
	facts   []string // facts it looks at, such as attachment.size
	// constant is its value where no mail can change it; notAsked otherwise.
	constant verdict
	formula  *formula // what it claims, for warnings
}

// scope is what an operand's value depends on.
type scope uint8

const (
	perMail       scope = 0
	perRecipient  scope = 1 << 0
	perAttachment scope = 1 << 1
	perPair       scope = perRecipient | perAttachment
	scopes              = 4
)

// Compile checks and compiles rules. The error joins a *CompileError for
// everything that is wrong with any of them.
func Compile(rules []Rule) (*Set, error) {
	env, err := newLanguage()
	if err != nil {
		return nil, err
	}
	optimizer, err := newFolding()
	if err != nil {
		return nil, err
	}
	c := compiler{env: env, optimizer: optimizer, operands: map[string]*operand{}, set: &Set{mailFact: map[string]int{}}}
	for i, f := range mailFacts {
		c.set.mailFact[f.name] = i
	}
	names := map[string]int{}
	var errs []error
	for i, r := range rules {
		if first, taken := names[r.Name]; taken && r.Name != "" {
			errs = append(errs, &CompileError{Rule: r.Name, Index: i, Key: "name", Message: fmt.Sprintf("rules[%d] has this name already", first)})
		} else {
			names[r.Name] = i
		}
		for _, e := range c.rule(i, r) {
			errs = append(errs, e)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c.set, nil
}

type compiler struct {
	env       *cel.Env
	optimizer *cel.StaticOptimizer
	operands  map[string]*operand // by text
	set       *Set
}

func (c *compiler) rule(index int, r Rule) []*CompileError {
	var errs []*CompileError
	fail := func(key, message string) {
		errs = append(errs, &CompileError{Rule: r.Name, Index: index, Key: key, Message: message})
	}
	if r.Name == "" {
		fail("name", "missing; logs and explanations call the rule by it")
	}
	for _, m := range r.mistakes() {
		fail(m.key, m.message)
	}
	compiled := rule{name: r.Name, actions: r.compiled()}
	errs = append(errs, c.condition(index, r, &compiled)...)
	if len(errs) > 0 {
		return errs
	}
	for _, o := range compiled.operands {
		compiled.attachments = compiled.attachments || o.scope&perAttachment != 0
		compiled.pairs = compiled.pairs || o.scope == perPair
		compiled.never = compiled.never || o.constant == no
	}
	if why := compiled.tooEarly(c.set.mailFact); r.Forward != nil && why != "" {
		fail("if", why)
		return errs
	}
	if at, why := compiled.aboutPeople(); why != "" {
		return append(errs, &CompileError{Rule: r.Name, Index: index, Key: "if", Expression: r.If, Line: at.line, Column: at.column, Message: why})
	}
	c.set.forwards = c.set.forwards || r.Forward != nil
	c.set.vaults = c.set.vaults || r.Vault != nil && !r.Vault.Never
	c.set.rules = append(c.set.rules, compiled)
	c.set.links = c.set.links || r.Link != nil && !r.Link.Keep
	for slot, said := range r.speeches() {
		if said.speaks {
			c.set.speaking[slot] = append(c.set.speaking[slot], speech{rule: index, acts: said.acts})
			c.set.acting[slot] = c.set.acting[slot] || said.acts
		}
	}
	return nil
}

// condition compiles a rule's If into operands.
func (c *compiler) condition(index int, r Rule, compiled *rule) []*CompileError {
	if r.If == "" {
		return nil
	}
	tree, issues := c.env.Compile(r.If)
	if issues.Err() != nil {
		return compileErrors(index, r, issues)
	}
	fail := func(message string) []*CompileError {
		return []*CompileError{{Rule: r.Name, Index: index, Key: "if", Expression: r.If, Message: message}}
	}
	if !tree.OutputType().IsExactType(cel.BoolType) {
		e := fail(fmt.Sprintf("the condition is of type %s; it must be true or false", cel.FormatCELType(tree.OutputType())))
		e[0].Line, e[0].Column = 1, 1
		return e
	}
	for _, e := range conjuncts(tree.NativeRep().Expr(), nil) {
		o, err := c.operand(tree.NativeRep(), e)
		if err != nil {
			return fail(err.Error())
		}
		compiled.operands = append(compiled.operands, o)
		compiled.places = append(compiled.places, start(tree.NativeRep().SourceInfo(), e))
	}
	compiled.remarks = oddValues(tree.NativeRep())
	return nil
}

// conjuncts lists the terms of a chain of && from left to right.
func conjuncts(e ast.Expr, out []ast.Expr) []ast.Expr {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
		for _, arg := range e.AsCall().Args() {
			out = conjuncts(arg, out)
		}
		return out
	}
	return append(out, e)
}

func (c *compiler) operand(tree *ast.AST, e ast.Expr) (*operand, error) {
	text, err := cel.ExprToString(e, tree.SourceInfo())
	if err != nil {
		return nil, err
	}
	if known, ok := c.operands[text]; ok {
		return known, nil
	}
	checked, err := ast.ToProto(ast.NewCheckedAST(ast.NewAST(e, tree.SourceInfo()), tree.TypeMap(), tree.ReferenceMap()))
	if err != nil {
		return nil, err
	}
	folded, issues := c.optimizer.Optimize(c.env, cel.CheckedExprToAst(checked))
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	o := &operand{text: text}
	if v, ok := folded.NativeRep().Expr().AsLiteral().(types.Bool); ok && folded.NativeRep().Expr().Kind() == ast.LiteralKind {
		o.constant = no
		if v {
			o.constant = yes
		}
	}
	o.formula = formulaReader{folded.NativeRep().SourceInfo()}.read(folded.NativeRep().Expr(), false)
	loops := o.inspect(folded.NativeRep())
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if loops {
		options = append(options, cel.CostLimit(maxCost), cel.CostTrackerOptions(functionCosts()...))
	} else {
		options = append(options, cel.CustomDecoratorV2(constantRegex))
	}
	if o.program, err = c.env.Program(folded, options...); err != nil {
		return nil, err
	}
	o.slot = c.set.counts[o.scope]
	c.set.counts[o.scope]++
	c.operands[text] = o
	return o, nil
}

// inspect notes which facts the operand looks at, and tells whether it loops.
func (o *operand) inspect(tree *ast.AST) (loops bool) {
	seen := map[string]bool{}
	note := func(name string) {
		if !seen[name] {
			seen[name] = true
			o.facts = append(o.facts, name)
		}
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			loops = true
		case ast.SelectKind:
			if operand := e.AsSelect().Operand(); operand.Kind() == ast.IdentKind {
				if name := strings.TrimPrefix(operand.AsIdent(), "."); fieldNames(name) != nil {
					note(name + "." + e.AsSelect().FieldName())
				}
			}
		case ast.IdentKind:
			// A dot in front reaches past a loop's variable of the same name.
			name := strings.TrimPrefix(e.AsIdent(), ".")
			switch name {
			case recipientName, directionName, ownerName:
				o.scope |= perRecipient
			case attachmentName:
				o.scope |= perAttachment
			}
			if fieldNames(name) == nil {
				note(name)
			}
		}
	}))
	return loops
}
