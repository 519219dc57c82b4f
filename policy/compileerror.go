package policy

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
)

// maxErrorsPerRule bounds what one broken condition reports: after a syntax
// error the parser mostly repeats itself.
const maxErrorsPerRule = 3

// CompileError is one mistake in one rule.
type CompileError struct {
	Rule       string // the rule's name; "" when it has none
	Index      int    // of the rule in the list, from 0
	Key        string // of the rule's mapping: "if", "name", "link.expires", …; "" for the rule as a whole
	Line       int    // in Expression, from 1; 0 when the mistake has no place
	Column     int    // in characters, from 1
	Expression string // the condition; "" when the mistake is elsewhere
	Message    string
}

// Error begins with the configuration key and shows the line of the expression
// with a caret under the place.
func (e *CompileError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rules[%d]", e.Index)
	if e.Key != "" {
		b.WriteString("." + e.Key)
	}
	b.WriteString(": ")
	if e.Rule != "" {
		fmt.Fprintf(&b, "rule %q: ", e.Rule)
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
	}
	b.WriteString(e.Message)
	lines := strings.Split(e.Expression, "\n")
	if e.Line < 1 || e.Line > len(lines) || e.Column < 1 {
		return b.String()
	}
	line := strings.TrimSuffix(lines[e.Line-1], "\r")
	b.WriteString("\n    " + line + "\n    ")
	before := []rune(line)
	for i := 0; i < e.Column-1; i++ {
		if i < len(before) && before[i] == '\t' {
			b.WriteByte('\t') // so that the caret stands right whatever a tab's width
		} else {
			b.WriteByte(' ')
		}
	}
	b.WriteByte('^')
	return b.String()
}

// compileErrors turns what CEL found into errors of the rule.
func compileErrors(index int, r Rule, issues *cel.Issues) []*CompileError {
	var out []*CompileError
	for _, issue := range issues.Errors() {
		if len(out) == maxErrorsPerRule {
			break
		}
		e := &CompileError{Rule: r.Name, Index: index, Key: "if", Expression: r.If, Message: issue.Message}
		if line := issue.Location.Line(); line > 0 {
			e.Line, e.Column = line, issue.Location.Column()+1
		}
		e.explain()
		out = append(out, e)
	}
	return out
}

// explain adds to the two commonest mistakes, a misspelt variable or field,
// which names there are.
func (e *CompileError) explain() {
	if name, ok := strings.CutPrefix(e.Message, "undeclared reference to "); ok {
		name, hint, _ := strings.Cut(name, " (in container '')")
		known := variableNames()
		if e.character() == '(' {
			known = functionNames()
		}
		e.Message = fmt.Sprintf("undeclared reference to %s%s; there are %s", name, hint, strings.Join(known, ", "))
	}
	if strings.HasPrefix(e.Message, "undefined field ") {
		object := e.objectBefore()
		if fields := fieldNames(object); fields != nil {
			e.Message = fmt.Sprintf("%s; %s has %s", e.Message, object, strings.Join(fields, ", "))
		}
	}
}

// character is what stands at the place of the mistake; 0 past the end.
func (e *CompileError) character() rune {
	lines := strings.Split(e.Expression, "\n")
	if e.Line < 1 || e.Line > len(lines) {
		return 0
	}
	line := []rune(lines[e.Line-1])
	if e.Column < 1 || e.Column > len(line) {
		return 0
	}
	return line[e.Column-1]
}

// objectBefore finds the object whose field is at fault. CEL points at the dot;
// the place is moved on to the field.
func (e *CompileError) objectBefore() string {
	if e.character() != '.' {
		return ""
	}
	line := []rune(strings.Split(e.Expression, "\n")[e.Line-1])
	before := strings.TrimRight(string(line[:e.Column-1]), " \t")
	start := strings.LastIndexFunc(before, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') })
	e.Column++
	return before[start+1:]
}
