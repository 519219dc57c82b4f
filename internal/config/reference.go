package config

// What the program knows about its own keys: type, default and description of
// each, from the structs and from the doc comments of their fields. The
// comments are not there at run time; reference.json holds them, made by
// `go generate` and kept true by a test.

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:generate go test -run "^TestGenerated" -update .

//go:embed reference.json
var referenceJSON []byte

// Key describes one key of the file.
type Key struct {
	Path     string // such as milter.listen or rules[].if
	Type     string // in words: duration, size, list of networks, …
	Default  string // as written in the file; "" for none
	Doc      string // one or more sentences, backticks around code
	Required bool
	Section  bool // keys of its own follow
	Reload   bool // a change takes effect with a reload, without a restart
}

// required are the keys that have no usable default.
func required(path string) bool { return path == "domains" || path == "web.url" }

// Keys lists all keys in the order of the file, each section before its keys.
func Keys() ([]Key, error) {
	comments := make(map[string]string)
	if err := json.Unmarshal(referenceJSON, &comments); err != nil {
		return nil, fmt.Errorf("the built-in description of the configuration: %w", err)
	}
	defaults := Default()
	l := lister{comments: comments}
	l.section("", reflect.ValueOf(defaults), true)
	return l.keys, nil
}

type lister struct {
	comments map[string]string
	keys     []Key
}

// section lists the keys of v. known tells whether its values are defaults; those
// of a new list element are not: what a missing key means there is in its description.
func (l *lister) section(path string, v reflect.Value, known bool) {
	for _, f := range fieldsOf(v.Type()) {
		l.key(joinPath(path, f.name), f, v.FieldByIndex(f.index), known)
	}
}

func (l *lister) key(path string, f field, v reflect.Value, known bool) {
	inner, suffix := innerStruct(f.typ)
	shown := ""
	if known {
		shown = defaultText(v)
	}
	l.keys = append(l.keys, Key{
		Path:     path,
		Type:     typeName(f.typ),
		Default:  shown,
		Doc:      describeField(l.comments[commentKey(f.owner, f.field)], f),
		Required: required(path),
		Section:  inner != nil,
		Reload:   reloadable(path),
	})
	switch {
	case inner == nil:
	case v.Kind() == reflect.Struct:
		l.section(path, v, known)
	default: // list elements and optional sections
		element, known := newElement(inner)
		l.section(path+suffix, element, known)
	}
}

// innerStruct gives the struct whose keys stand below a key of type t, and how
// the path goes on to them; nil where there is none.
func innerStruct(t reflect.Type) (reflect.Type, string) {
	if action, ok := actionForms(t); ok {
		return action.keys, ""
	}
	switch {
	case isScalarType(t):
		return nil, ""
	case t.Kind() == reflect.Struct:
		return t, ""
	case t.Kind() == reflect.Pointer:
		return innerStruct(t.Elem())
	case t.Kind() == reflect.Slice:
		inner, suffix := innerStruct(t.Elem())
		return inner, "[]" + suffix
	case t.Kind() == reflect.Map:
		inner, suffix := innerStruct(t.Elem())
		return inner, ".NAME" + suffix
	}
	return nil, ""
}

func commentKey(owner reflect.Type, field string) string {
	return owner.PkgPath() + "." + owner.Name() + "." + field
}

// describeField makes a description of a Go doc comment: paragraphs on one line
// each, and the key's name where the comment begins with the field's.
func describeField(comment string, f field) string {
	if rest, found := strings.CutPrefix(comment, f.field+" "); found {
		comment = "`" + f.name + "` " + rest
	}
	return comment
}

func typeName(t reflect.Type) string {
	if action, ok := actionForms(t); ok {
		return action.words
	}
	switch {
	case t == durationType:
		return "duration"
	case t == sizeType:
		return "size"
	case t == prefixType:
		return "network"
	case t == fileModeType:
		return "file mode"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice:
		return "list of " + plural(typeName(t.Elem()))
	case reflect.Map:
		return "section of named " + plural(typeName(t.Elem()))
	case reflect.Bool:
		return "true or false"
	case reflect.Struct:
		if !isScalarType(t) {
			return "section"
		}
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "whole number"
	}
	return "text"
}

func plural(name string) string {
	if name == "text" {
		return "texts"
	}
	return name + "s"
}

// defaultText writes a default on one line, as the file would; "" for nothing.
func defaultText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Struct:
		if !isScalarType(v.Type()) {
			return ""
		}
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
	}
	if v.IsZero() && (v.Kind() == reflect.String || v.Kind() == reflect.Slice || v.Kind() == reflect.Map || v.Type() == prefixType) {
		return ""
	}
	return flowStyle(tree(v))
}

// flowStyle writes a value in YAML's one-line style.
func flowStyle(value any) string {
	switch v := value.(type) {
	case []any:
		parts := make([]string, len(v))
		for i, element := range v {
			parts[i] = flowStyle(element)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case yaml.MapSlice:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = flowStyle(item.Key) + ": " + flowStyle(item.Value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case string:
		// Inside brackets a comma or bracket would end a plain text.
		if strings.ContainsAny(v, ",[]{}") {
			return fmt.Sprintf("%q", v)
		}
	}
	out, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return strings.TrimSpace(string(out))
}
