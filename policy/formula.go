package policy

// Conditions as warnings read them: claims joined by && and ||. What is not
// understood is left out, so that nothing false is concluded from it.

import (
	"math"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// formula is a claim, or all or any of several formulas, or nothing known.
type formula struct {
	claim *claim
	all   []*formula
	any   []*formula
}

// formulaReader reads formulas out of one compiled term.
type formulaReader struct{ info *ast.SourceInfo }

// read gives what an expression claims when it is true, or, negated, false.
func (r formulaReader) read(e ast.Expr, negated bool) *formula {
	if e.Kind() == ast.CallKind {
		call := e.AsCall()
		switch name := call.FunctionName(); name {
		case operators.LogicalNot:
			return r.read(call.Args()[0], !negated)
		case operators.LogicalAnd, operators.LogicalOr:
			var parts []*formula
			for _, arg := range call.Args() {
				parts = append(parts, r.read(arg, negated))
			}
			if (name == operators.LogicalAnd) != negated {
				return &formula{all: parts}
			}
			return anyOf(parts)
		}
		if c, known := r.comparison(call); known {
			if c != nil && negated {
				c = r.negated(call, c)
			}
			if c != nil {
				return &formula{claim: c}
			}
		}
	}
	if text, ok := r.text(e); ok {
		return &formula{claim: isTruth(text, !negated)}
	}
	return &formula{}
}

// negated is the opposite of a comparison's claim.
func (r formulaReader) negated(call ast.CallExpr, c *claim) *claim {
	if _, isBool := boolLiteral(call.Args()); isBool {
		return isTruth(c.subject, c.low == 0)
	}
	return c.opposite()
}

// anyOf joins alternatives; those about the texts of one subject are one claim.
func anyOf(parts []*formula) *formula {
	var flat []*formula
	for _, p := range parts {
		if p.any != nil {
			flat = append(flat, p.any...)
		} else {
			flat = append(flat, p)
		}
	}
	first := flat[0].claim
	union := map[string]bool{}
	for _, p := range flat {
		c := p.claim
		if c == nil || c.number || c.except || c.subject != first.subject {
			return &formula{any: flat}
		}
		for t := range c.texts {
			union[t] = true
		}
	}
	return &formula{claim: &claim{subject: first.subject, texts: union}}
}

// comparison reads subject OP literal, and subject in [literals]. known is false
// for other calls; the claim is nil where it cannot be said.
func (r formulaReader) comparison(call ast.CallExpr) (c *claim, known bool) {
	args := call.Args()
	if len(args) != 2 || call.IsMemberFunction() {
		return nil, false
	}
	operator := call.FunctionName()
	if operator == operators.In {
		values, ok := textList(args[1])
		subject, printed := r.text(args[0])
		if !ok || !printed {
			return nil, false
		}
		return isAmong(subject, values...), true
	}
	subject, literal := args[0], args[1]
	if subject.Kind() == ast.LiteralKind {
		subject, literal, operator = literal, subject, mirrored(operator)
	}
	if literal.Kind() != ast.LiteralKind {
		return nil, false
	}
	text, printed := r.text(subject)
	if !printed {
		return nil, false
	}
	switch v := literal.AsLiteral().(type) {
	case types.String:
		switch operator {
		case operators.Equals:
			return isText(text, string(v)), true
		case operators.NotEquals:
			return isText(text, string(v)).opposite(), true
		}
	case types.Bool:
		switch operator {
		case operators.Equals:
			return isTruth(text, bool(v)), true
		case operators.NotEquals:
			return isTruth(text, !bool(v)), true
		}
	case types.Int:
		c := numberClaim(text, operator, int64(v))
		return c, c != nil
	}
	return nil, false
}

func numberClaim(subject, operator string, n int64) *claim {
	switch operator {
	case operators.Equals:
		return isBetween(subject, n, n)
	case operators.GreaterEquals:
		return isBetween(subject, n, math.MaxInt64)
	case operators.LessEquals:
		return isBetween(subject, math.MinInt64, n)
	case operators.Greater:
		if n < math.MaxInt64 {
			return isBetween(subject, n+1, math.MaxInt64)
		}
	case operators.Less:
		if n > math.MinInt64 {
			return isBetween(subject, math.MinInt64, n-1)
		}
	}
	return nil
}

// mirrored is the operator with its sides exchanged.
func mirrored(operator string) string {
	switch operator {
	case operators.Less:
		return operators.Greater
	case operators.LessEquals:
		return operators.GreaterEquals
	case operators.Greater:
		return operators.Less
	case operators.GreaterEquals:
		return operators.LessEquals
	}
	return operator
}

// text is the expression as CEL writes it; in_group as what it stands for.
func (r formulaReader) text(e ast.Expr) (string, bool) {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.In {
		value, ok := r.text(e.AsCall().Args()[0])
		list, printed := r.text(e.AsCall().Args()[1])
		return value + " in " + list, ok && printed
	}
	text, err := cel.ExprToString(e, r.info)
	return strings.TrimPrefix(text, "."), err == nil && text != ""
}

func textList(e ast.Expr) ([]string, bool) {
	if e.Kind() != ast.ListKind {
		return nil, false
	}
	var out []string
	for _, element := range e.AsList().Elements() {
		s, ok := stringLiteral(element)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}

func boolLiteral(args []ast.Expr) (value, found bool) {
	for _, arg := range args {
		if arg.Kind() == ast.LiteralKind {
			if b, ok := arg.AsLiteral().(types.Bool); ok {
				return bool(b), true
			}
		}
	}
	return false, false
}
