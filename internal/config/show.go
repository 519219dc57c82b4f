package config

// The effective configuration as text: defaults filled in, in the file's own
// way of writing durations and sizes, so that it can be read back.

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
)

// YAML writes the whole configuration as the file would say it. There is
// nothing in it to hide: secrets are named by their files only.
func (c *Config) YAML() ([]byte, error) {
	out, err := yaml.MarshalWithOptions(tree(reflect.ValueOf(*c)),
		yaml.UseLiteralStyleIfMultiline(true), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("write the configuration as YAML: %w", err)
	}
	return out, nil
}

// JSON is YAML for programs: the same keys and values, in the same order.
func (c *Config) JSON() ([]byte, error) {
	var compact, indented bytes.Buffer
	if err := writeJSON(&compact, tree(reflect.ValueOf(*c))); err != nil {
		return nil, fmt.Errorf("write the configuration as JSON: %w", err)
	}
	if err := json.Indent(&indented, compact.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("write the configuration as JSON: %w", err)
	}
	indented.WriteByte('\n')
	return indented.Bytes(), nil
}

// tree turns a section into ordered keys with values of the kinds that YAML and
// JSON share. Lists are never nil: what is empty is shown as empty.
func tree(v reflect.Value) any {
	if text, ok := scalarValue(v); ok {
		return text
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return tree(v.Elem())
	case reflect.Struct:
		if action, ok := actionTree(v.Interface()); ok {
			return action
		}
		out := yaml.MapSlice{}
		for _, f := range fieldsOf(v.Type()) {
			value := v.FieldByIndex(f.index)
			if value.Kind() == reflect.Pointer && value.IsNil() {
				continue // left out in the file: there is no way to write it
			}
			out = append(out, yaml.MapItem{Key: f.name, Value: tree(value)})
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = tree(v.Index(i))
		}
		return out
	case reflect.Map:
		out := yaml.MapSlice{}
		for _, name := range sortedKeys(v) {
			out = append(out, yaml.MapItem{Key: name.String(), Value: tree(v.MapIndex(name))})
		}
		return out
	}
	return v.Interface()
}

func scalarValue(v reflect.Value) (any, bool) {
	switch {
	case v.Type() == durationType:
		return FormatDuration(time.Duration(v.Int())), true
	case v.Type() == sizeType:
		return FormatSize(v.Int()), true
	case v.Type() == fileModeType:
		return fmt.Sprintf("%#o", v.Interface().(fs.FileMode).Perm()), true
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		return string(text), err == nil
	}
	return nil, false
}

func sortedKeys(m reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(m.MapKeys()), func(a, b reflect.Value) int {
		return bytes.Compare([]byte(a.String()), []byte(b.String()))
	})
}

func writeJSON(b *bytes.Buffer, value any) error {
	switch v := value.(type) {
	case yaml.MapSlice:
		b.WriteByte('{')
		for i, item := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, item.Key); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, item.Value); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, element := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, element); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	default:
		encoder := json.NewEncoder(b)
		encoder.SetEscapeHTML(false) // rules are full of < > &
		return encoder.Encode(v)
	}
	return nil
}
