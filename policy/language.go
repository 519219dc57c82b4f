package policy

import (
	"fmt"
	"maps"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Limits on one rule's condition. They are far above what rules need and keep
// a mistake (or a hostile mail) from holding up the queue.
const (
	// maxExpressionSize is in code points, room for a list of some thousand file extensions.
	maxExpressionSize = 16 << 10
	// maxExpressionNodes is the size of the syntax tree after macros are expanded.
	maxExpressionNodes = 10_000
	// maxExpressionDepth is how deep brackets and calls may be nested.
	maxExpressionDepth = 64
	// maxLoopDepth is how deep exists, all, filter and map may be nested.
	maxLoopDepth = 2
	// maxRegexSize is in instructions of the compiled RE2 program.
	maxRegexSize = 20_000
	// maxCost is in CEL cost units (about one per step or per 10 bytes of text
	// looked at), for one evaluation of a condition that loops. Conditions
	// without a loop look at each node once and are bounded by their size.
	maxCost = 200_000
)

// newLanguage is CEL with our vocabulary. Every name is typed, so that a
// misspelt field is an error when the configuration is read.
func newLanguage() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.EnableMacroCallTracking(), // operands are shown as they were written
		cel.ParserExpressionSizeLimit(maxExpressionSize),
		cel.ExpressionNodeLimit(maxExpressionNodes),
		cel.ParserRecursionLimit(maxExpressionDepth),
		cel.RegexProgramSizeLimit(maxRegexSize),
		cel.Variable(directionName, cel.StringType),
		cel.Macros(inGroup()),
		cel.ASTValidators(
			cel.ValidateComprehensionNestingLimit(maxLoopDepth),
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(),
			literalChecks{},
		),
		withObjects,
	}
	for variable, typ := range objectTypes {
		options = append(options, cel.Variable(variable, cel.ObjectType(typ)))
	}
	for _, f := range mailFacts {
		options = append(options, cel.Variable(f.name, f.typ))
	}
	for _, u := range units {
		options = append(options, cel.Constant(u.name, cel.IntType, types.Int(u.value)))
	}
	env, err := cel.NewEnv(append(options, declareFunctions()...)...)
	if err != nil {
		return nil, fmt.Errorf("set up the rule language: %w", err)
	}
	return env, nil
}

// foldingRounds is how deep a constant such as 5 * MB may be nested to be
// computed at compile time; beyond it the evaluation does. CEL tries every
// variable again in each round, so its default of 100 takes milliseconds a rule.
const foldingRounds = 4

// newFolding computes what is constant, such as 5 * MB, at compile time.
func newFolding() (*cel.StaticOptimizer, error) {
	constants := make(map[string]any, len(units))
	for _, u := range units {
		constants[u.name] = types.Int(u.value)
	}
	known, err := cel.NewActivation(constants)
	if err != nil {
		return nil, fmt.Errorf("set up the rule language: %w", err)
	}
	folding, err := cel.NewConstantFoldingOptimizer(cel.FoldKnownValues(known), cel.MaxConstantFoldIterations(foldingRounds))
	if err != nil {
		return nil, fmt.Errorf("set up the rule language: %w", err)
	}
	optimizer, err := cel.NewStaticOptimizer(folding)
	if err != nil {
		return nil, fmt.Errorf("set up the rule language: %w", err)
	}
	return optimizer, nil
}

// withObjects adds the types of the variables that have fields.
func withObjects(env *cel.Env) (*cel.Env, error) {
	p := objects{Provider: env.CELTypeProvider(), fields: map[string]map[string]*types.FieldType{}}
	set := func(any) bool { return true }
	add := func(variable, name string, typ *cel.Type, get func(any) ref.Val) {
		object := objectTypes[variable]
		if p.fields[object] == nil {
			p.fields[object] = map[string]*types.FieldType{}
		}
		p.fields[object][name] = &types.FieldType{Type: typ, IsSet: set,
			GetFrom: func(object any) (any, error) {
				value := get(object)
				if failed, ok := value.(*types.Err); ok {
					return nil, failed
				}
				return value, nil
			}}
	}
	for i, f := range personFacts {
		add(recipientName, f.name, f.typ, func(object any) ref.Val { return object.(*personValues).field(i) })
	}
	for i, f := range attachmentFacts {
		add(attachmentName, f.name, f.typ, func(object any) ref.Val { return object.(*attachmentValues).field(i) })
	}
	for _, f := range authFacts {
		add(authName, f.name, cel.StringType, func(object any) ref.Val { return types.String(f.get(object.(*AuthResults))) })
	}
	return cel.CustomTypeProvider(p)(env)
}

// objects tells CEL the fields of each type.
type objects struct {
	types.Provider
	fields map[string]map[string]*types.FieldType
}

func (o objects) FindStructType(name string) (*types.Type, bool) {
	if _, ok := o.fields[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return o.Provider.FindStructType(name)
}

func (o objects) FindStructFieldNames(name string) ([]string, bool) {
	if fields, ok := o.fields[name]; ok {
		return slices.Sorted(maps.Keys(fields)), true
	}
	return o.Provider.FindStructFieldNames(name)
}

func (o objects) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if fields, ok := o.fields[name]; ok {
		f, ok := fields[field]
		return f, ok
	}
	return o.Provider.FindStructFieldType(name, field)
}

// personValues is a person as CEL sees it: each field is converted at its first
// use and kept for the other rules.
type personValues struct {
	of     User
	values [len(personFacts)]ref.Val
}

func (p *personValues) field(i int) ref.Val {
	if p.values[i] == nil {
		p.values[i] = personFacts[i].get(&p.of)
	}
	return p.values[i]
}

// attachmentValues is the same for an attachment.
type attachmentValues struct {
	of     *Attachment
	begun  bool // only its header has come
	values [len(attachmentFacts)]ref.Val
}

func (a *attachmentValues) field(i int) ref.Val {
	if a.begun && !knownEarly[attachmentFacts[i].name] {
		return types.NewUnknown(0, nil)
	}
	if a.values[i] == nil {
		a.values[i] = attachmentFacts[i].get(a.of)
	}
	return a.values[i]
}
