package config

// What the structs of the sections say about themselves: their keys, in order,
// and which types are read and written as one value.

import (
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// field is one key of a section.
type field struct {
	name  string       // yaml key
	typ   reflect.Type // of the value
	index []int        // for reflect.Value.FieldByIndex
	owner reflect.Type // the struct that declares it; differs from the section's for inlined structs
	field string       // its Go name there
}

// fieldsOf lists the keys of a struct type in the order of declaration, those
// of inlined structs in place.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || tag == "-":
		case strings.Contains(options, "inline"):
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				out = append(out, inner)
			}
		default:
			if tag == "" {
				tag = strings.ToLower(f.Name)
			}
			out = append(out, field{name: tag, typ: f.Type, index: []int{i}, owner: t, field: f.Name})
		}
	}
	return out
}

func names(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.name
	}
	return out
}

// siblings lists the keys that may stand beside the one at path.
func siblings(path string) []string {
	t := reflect.TypeFor[Config]()
	for _, step := range strings.Split(parentPath(path), ".") {
		step, _, _ = strings.Cut(step, "[")
		fields := fieldsOf(t)
		at := slices.Index(names(fields), step)
		if at < 0 {
			return nil
		}
		if t, _ = innerStruct(fields[at].typ); t == nil {
			return nil
		}
	}
	return names(fieldsOf(t))
}

// isScalarType tells the types that are written as one value.
func isScalarType(t reflect.Type) bool {
	if t == prefixType || reflect.PointerTo(t).Implements(textUnmarshalerType) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

// hasUnmarshaler tells the types that read YAML themselves.
func hasUnmarshaler(v reflect.Value) bool {
	switch v.Addr().Interface().(type) {
	case yaml.BytesUnmarshaler, yaml.BytesUnmarshalerContext,
		yaml.InterfaceUnmarshaler, yaml.InterfaceUnmarshalerContext,
		yaml.NodeUnmarshaler, yaml.NodeUnmarshalerContext:
		return true
	}
	return false
}
