package policy

import (
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// literalChecks finds mistakes that types alone do not show: a direction that
// does not exist, a network or regular expression that is none, a whole object
// used as a value.
type literalChecks struct{}

func (literalChecks) Name() string { return "cloakroom.literals" }

func (literalChecks) Validate(_ *cel.Env, _ cel.ValidatorConfig, tree *ast.AST, issues *cel.Issues) {
	ast.PostOrderVisit(ast.NavigateAST(tree), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.StructKind:
			issues.ReportErrorAtID(e.ID(), "an object cannot be made in a rule")
		case ast.IdentKind:
			checkObject(e, issues)
		case ast.CallKind:
			checkCall(e.AsCall(), issues)
		}
	}))
}

// checkObject refuses objects without a field, and owner, which no action that
// is built yet knows.
func checkObject(e ast.Expr, issues *cel.Issues) {
	name := strings.TrimPrefix(e.AsIdent(), ".")
	fields := fieldNames(name)
	node, ok := e.(ast.NavigableExpr)
	if !ok || fields == nil {
		return
	}
	if parent, ok := node.Parent(); ok && parent.Kind() == ast.SelectKind {
		return
	}
	issues.ReportErrorAtID(e.ID(), "'%s' is not a value itself; take one of its fields: %s", name, strings.Join(fields, ", "))
}

func checkCall(call ast.CallExpr, issues *cel.Issues) {
	args := call.Args()
	if call.IsMemberFunction() {
		args = append([]ast.Expr{call.Target()}, args...)
	}
	if len(args) != 2 {
		return
	}
	switch call.FunctionName() {
	case overloads.Matches:
		if s, ok := stringLiteral(args[1]); ok {
			if _, err := regexp.Compile(s); err != nil {
				issues.ReportErrorAtID(args[1].ID(), "%v", err)
			}
		}
	case inNetworkFunction:
		if s, ok := stringLiteral(args[1]); ok {
			if _, err := parseNetwork(s); err != nil {
				issues.ReportErrorAtID(args[1].ID(), "%v", err)
			}
		}
	case operators.Equals, operators.NotEquals:
		for i := range args {
			if isDirection(args[i]) {
				checkDirection(args[1-i], issues)
			}
		}
	case operators.In:
		if isDirection(args[0]) && args[1].Kind() == ast.ListKind {
			for _, element := range args[1].AsList().Elements() {
				checkDirection(element, issues)
			}
		}
	}
}

func isDirection(e ast.Expr) bool {
	return e.Kind() == ast.IdentKind && strings.TrimPrefix(e.AsIdent(), ".") == directionName
}

func checkDirection(e ast.Expr, issues *cel.Issues) {
	if s, ok := stringLiteral(e); ok && !slices.Contains(Directions(), Direction(s)) {
		issues.ReportErrorAtID(e.ID(), "no such direction: %q; it is one of inbound, outbound, local, relay", s)
	}
}

func stringLiteral(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}
