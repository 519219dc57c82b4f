package policy

import (
	"regexp"

	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// constantRegex puts a compiled expression in the place of matches with a
// constant pattern. CEL's own does so too, but allocates at every call; names
// are matched once per rule and attachment, so it adds up. It keeps no count of
// cost and is for conditions without loops only.
func constantRegex(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || call.Function() != overloads.Matches || len(call.Args()) != 2 {
		return i, nil
	}
	pattern, ok := call.Args()[1].(interpreter.InterpretableConst)
	if !ok {
		return i, nil
	}
	text, ok := pattern.Value().(types.String)
	if !ok {
		return i, nil
	}
	re, err := regexp.Compile(string(text))
	if err != nil {
		return nil, err
	}
	return &regexMatch{id: call.ID(), text: call.Args()[0], re: re}, nil
}

type regexMatch struct {
	id   int64
	text interpreter.InterpretableV2
	re   *regexp.Regexp
}

func (m *regexMatch) ID() int64 { return m.id }

func (m *regexMatch) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, m.Exec)
}

func (m *regexMatch) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	value := m.text.Exec(frame)
	if s, ok := value.(types.String); ok {
		return types.Bool(m.re.MatchString(string(s)))
	}
	if types.IsUnknownOrError(value) {
		return value
	}
	return types.MaybeNoSuchOverloadErr(value)
}
