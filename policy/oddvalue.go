package policy

// Values that a fact never has, so that a comparison with them says nothing:
// 'PDF' for an extension, which is in lower case.

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"golang.org/x/net/idna"
)

// authWords are the results of RFC 8601 section 2.7.
var authWords = map[string][]string{
	authName + ".spf":   {"none", "pass", "fail", "softfail", "policy", "neutral", "temperror", "permerror"},
	authName + ".dkim":  {"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"},
	authName + ".dmarc": {"none", "pass", "fail", "temperror", "permerror"},
}

// otherAuthWords are what old and large verifiers write beside them.
var otherAuthWords = []string{"", "hardfail", "bestguesspass"}

// place is where something stands in a condition, from 1; columns are characters.
type place struct{ line, column int }

// remark is something doubtful at a place of a condition.
type remark struct {
	place
	message string
}

// start is where an expression begins: that of a call is known by its operator.
func start(info *ast.SourceInfo, e ast.Expr) place {
	out := place{}
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		at := info.GetStartLocation(e.ID())
		p := place{at.Line(), at.Column() + 1}
		if p.line > 0 && (out.line == 0 || p.line < out.line || p.line == out.line && p.column < out.column) {
			out = p
		}
	}))
	return out
}

// oddValues looks through a condition for comparisons with values that the fact
// never has.
func oddValues(tree *ast.AST) []remark {
	var out []remark
	reader := formulaReader{tree.SourceInfo()}
	look := func(subject, value ast.Expr) {
		name, printed := reader.text(subject)
		text, isLiteral := stringLiteral(value)
		if !printed || !isLiteral {
			return
		}
		message := ""
		if why := neverIs(name, text); why != "" {
			message = fmt.Sprintf("%s is never %q: %s", name, text, why)
		} else if words := authWords[name]; words != nil && !slices.Contains(words, text) && !slices.Contains(otherAuthWords, text) {
			message = fmt.Sprintf("%s is hardly ever %q: results are %s, or empty when no verifier told one", name, text, strings.Join(words, ", "))
		}
		if message != "" {
			at := tree.SourceInfo().GetStartLocation(value.ID())
			out = append(out, remark{place{at.Line(), at.Column() + 1}, message})
		}
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || len(e.AsCall().Args()) != 2 {
			return
		}
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() {
		case operators.Equals, operators.NotEquals:
			look(args[0], args[1])
			look(args[1], args[0])
		case operators.In:
			if args[1].Kind() == ast.ListKind {
				for _, element := range args[1].AsList().Elements() {
					look(args[0], element)
				}
			}
		}
	}))
	return out
}

// neverIs says why a fact cannot have a value; "" when it can.
func neverIs(subject, value string) string {
	object, field, _ := strings.Cut(subject, ".")
	isDomain := strings.HasPrefix(subject, "domain(") && !strings.Contains(subject, ") ") ||
		objectTypes[object] == personType && field == "domain"
	switch {
	case isDomain:
		return neverDomain(value)
	case subject == "client" && strings.Contains(value, "/"):
		return "it is one address; write in_network(client, '" + value + "')"
	case object == authName && value != strings.ToLower(value),
		object == attachmentName && slices.Contains([]string{"extension", "type", "sniffed", "disposition", "sha256"}, field) && value != strings.ToLower(value):
		return "it is in lower case"
	case subject == attachmentName+".extension" && strings.Contains(value, "."):
		return "it is what follows the last dot, without the dot"
	case subject == attachmentName+".type" && !strings.Contains(value, "/"):
		return "a media type is written like application/pdf"
	case subject == attachmentName+".sha256" && (len(value) != 64 || strings.Trim(value, "0123456789abcdef") != ""):
		return "it is 64 hex digits"
	}
	return ""
}

func neverDomain(value string) string {
	if strings.Contains(value, "@") {
		return "it is what follows the @"
	}
	if value != strings.ToLower(value) {
		return "it is in lower case"
	}
	if ascii, err := idna.Lookup.ToASCII(value); err == nil && ascii != value {
		return "internationalised names are in ASCII form; write " + ascii
	}
	if strings.HasSuffix(value, ".") {
		return "it has no dot at the end"
	}
	return ""
}
