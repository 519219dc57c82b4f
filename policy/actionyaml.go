package policy

// How the actions are read from YAML: each is a mapping, a text or a plain
// true or false. What they hold is checked when rules are compiled.

import (
	"github.com/goccy/go-yaml/ast"
)

const (
	rejectForms     = "write `reject: {}` (options: code, enhanced, text) to refuse the mail or `reject: false` to let it pass"
	quarantineForms = "write `quarantine: \"reason\"` or true to hold the mail, or false to let it pass"
	headerForms     = "write `header: {add: {X-Name: \"value\"}, remove: [X-Other]}`, or `header: false` to leave the header alone"
	tagForms        = "write `tag: '[EXTERNAL]'`, with the quotes, or `tag: false` for no tag"
)

// UnmarshalYAML reads `false`, `true` (the same as `{}`) or a mapping of options.
func (a *RejectAction) UnmarshalYAML(unmarshal func(any) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	switch n := node.(type) {
	case *ast.BoolNode:
		*a = RejectAction{Never: !n.Value}
		return nil
	case *ast.MappingNode, *ast.MappingValueNode:
		*a = RejectAction{}
		return unmarshal(&a.Options)
	}
	return yamlError(node, "reject: not understood; "+rejectForms)
}

// UnmarshalYAML reads `false`, `true` or the reason.
func (a *QuarantineAction) UnmarshalYAML(unmarshal func(any) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	switch n := node.(type) {
	case *ast.BoolNode:
		*a = QuarantineAction{Never: !n.Value}
		return nil
	case *ast.StringNode:
		if n.Value != "" {
			*a = QuarantineAction{Reason: n.Value}
			return nil
		}
	}
	return yamlError(node, "quarantine: not understood; "+quarantineForms)
}

// UnmarshalYAML reads `false` or a mapping of options.
func (a *HeaderAction) UnmarshalYAML(unmarshal func(any) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	switch n := node.(type) {
	case *ast.BoolNode:
		if !n.Value {
			*a = HeaderAction{Never: true}
			return nil
		}
	case *ast.MappingNode, *ast.MappingValueNode:
		*a = HeaderAction{}
		return unmarshal(&a.Options)
	}
	return yamlError(node, "header: not understood; "+headerForms)
}

// UnmarshalYAML reads `name: value` lines in their order.
func (f *HeaderFields) UnmarshalYAML(unmarshal func(any) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	mapping, ok := node.(ast.MapNode)
	if !ok {
		return yamlError(node, "header.add: write `{X-Name: \"value\"}`")
	}
	*f = nil
	for entry := mapping.MapRange(); entry.Next(); {
		name := entry.Key().GetToken().Value
		value, ok := yamlText(entry.Value())
		if !ok {
			return yamlError(entry.Value(), "header.add.%s: the value is one text; put it into quotes", name)
		}
		*f = append(*f, HeaderField{Name: name, Value: value})
	}
	return nil
}

// UnmarshalYAML reads `false` or the text.
func (a *TagAction) UnmarshalYAML(unmarshal func(any) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	switch n := node.(type) {
	case *ast.BoolNode:
		if !n.Value {
			*a = TagAction{Never: true}
			return nil
		}
	case *ast.StringNode:
		*a = TagAction{Text: n.Value}
		return nil
	case *ast.SequenceNode:
		return yamlError(node, "tag: what stands in brackets is a list to YAML; "+tagForms)
	}
	return yamlError(node, "tag: not understood; "+tagForms)
}

// yamlText is what was written for a text, be it a number or a word to YAML.
func yamlText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return "", false
}
