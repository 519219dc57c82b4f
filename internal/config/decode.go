package config

// From the YAML tree into the structs, strictly: each value by the type of its
// field, every problem kept, none stopping the rest.
//
// The sections belong to packages that must not import this one, so their
// fields are plain Go types and the type alone says how a value is written:
// time.Duration as 15m, int64 as a size in bytes (10MB), int as a count,
// netip.Prefix as a network.

import (
	"encoding"
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[int64]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	fileModeType = reflect.TypeFor[fs.FileMode]()
)

type decoder struct {
	ps    *problems
	index index
}

// value sets dst from node. path names the key in messages.
func (d *decoder) value(node ast.Node, dst reflect.Value, path string) {
	if hasUnmarshaler(dst) {
		d.custom(node, dst, path)
		return
	}
	if _, null := node.(*ast.NullNode); null {
		d.null(dst, path)
		return
	}
	switch {
	case isScalarType(dst.Type()):
		d.scalar(node, dst, path)
	case dst.Kind() == reflect.Pointer:
		target := reflect.New(dst.Type().Elem())
		start, _ := newElement(dst.Type().Elem())
		target.Elem().Set(start)
		d.value(node, target.Elem(), path)
		dst.Set(target)
	case dst.Kind() == reflect.Struct:
		d.structure(node, dst, path)
	case dst.Kind() == reflect.Slice:
		d.list(node, dst, path)
	case dst.Kind() == reflect.Map:
		d.table(node, dst, path)
	default:
		d.ps.add(d.index.find(path), path, "the program cannot read a value of type %s; this is a bug", dst.Type())
	}
}

// null is a key without a value: fine for a section whose keys are all
// commented out and for a list that is empty anyway. Anywhere else it would
// leave open whether the default or nothing is meant.
func (d *decoder) null(dst reflect.Value, path string) {
	empty := dst.Kind() == reflect.Struct ||
		(dst.Kind() == reflect.Slice || dst.Kind() == reflect.Map) && dst.Len() == 0
	if (!empty || isScalarType(dst.Type())) && !required(path) { // what is required is asked for later
		d.ps.add(d.index.find(path), path, "has no value; remove the key to get its default")
	}
}

func (d *decoder) structure(node ast.Node, dst reflect.Value, path string) {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		d.ps.add(nodePlace(node), path, "is a section of `key: value` lines, not %s", describe(node))
		return
	}
	fields := fieldsOf(dst.Type())
	seen := make(map[string]bool)
	for it := mapping.MapRange(); it.Next(); {
		name, ok := keyName(it.Key())
		if !ok || seen[name] || unsupported(it.Value()) { // the index has reported it
			continue
		}
		seen[name] = true
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if at < 0 {
			key := joinPath(path, name)
			d.ps.add(nodePlace(it.Key()), key, "%s", unknownKey(key, names(fields)))
			continue
		}
		d.value(it.Value(), dst.FieldByIndex(fields[at].index), joinPath(path, name))
	}
}

func (d *decoder) list(node ast.Node, dst reflect.Value, path string) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		d.ps.add(nodePlace(node), path, "is a list, not %s; write [a, b] or one `- a` line for each", describe(node))
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(sequence.Values), len(sequence.Values))
	for i, element := range sequence.Values {
		if !unsupported(element) {
			d.value(element, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	}
	dst.Set(out)
}

func (d *decoder) table(node ast.Node, dst reflect.Value, path string) {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		d.ps.add(nodePlace(node), path, "is a section of `name: value` lines, not %s", describe(node))
		return
	}
	out := reflect.MakeMap(dst.Type())
	for it := mapping.MapRange(); it.Next(); {
		name, ok := keyName(it.Key())
		if !ok || unsupported(it.Value()) {
			continue
		}
		element, _ := newElement(dst.Type().Elem())
		d.value(it.Value(), element, joinPath(path, name))
		out.SetMapIndex(reflect.ValueOf(name).Convert(dst.Type().Key()), element)
	}
	dst.Set(out)
}

// custom leaves the value to the type's own UnmarshalYAML, with the file's
// ways of writing durations and sizes inside it.
func (d *decoder) custom(node ast.Node, dst reflect.Value, path string) {
	err := yaml.NodeToValue(node, dst.Addr().Interface(), yaml.Strict(),
		yaml.CustomUnmarshaler(func(out *time.Duration, raw []byte) (err error) {
			*out, err = ParseDuration(bareScalar(raw))
			return err
		}),
		yaml.CustomUnmarshaler(func(out *int64, raw []byte) (err error) {
			*out, err = ParseSize(bareScalar(raw))
			return err
		}))
	if err == nil {
		return
	}
	at, message := d.index.find(path), err.Error()
	if located, ok := asYAMLError(err); ok {
		at, message = tokenPlace(located.GetToken()), located.GetMessage()
		path = d.index.pathAt(at, path)
		if strings.HasPrefix(message, "unknown field ") { // the YAML library's words
			message = unknownKey(path, siblings(path))
		}
		message = withoutKey(message, path)
	}
	d.ps.add(at, path, "%s", message)
}

// withoutKey takes the end of path off the beginning of a message that names
// its key itself, as `link.expires: …`.
func withoutKey(message, path string) string {
	if m := keyPrefix.FindStringSubmatch(message); m != nil && strings.HasSuffix(path, m[1]) {
		return m[2]
	}
	return message
}

func bareScalar(raw []byte) string { return strings.Trim(strings.TrimSpace(string(raw)), `"'`) }

// scalar sets a single value: text, number, duration, size, network. A value
// that cannot be read leaves the default, so that later checks do not report
// the same key again.
func (d *decoder) scalar(node ast.Node, dst reflect.Value, path string) {
	text, ok := scalarText(node)
	if !ok {
		d.ps.add(nodePlace(node), path, "is one value, not %s", describe(node))
		return
	}
	if err := setScalar(dst, node, text); err != nil {
		d.ps.add(nodePlace(node), path, "%v", err)
	}
}

func setScalar(dst reflect.Value, node ast.Node, text string) error {
	switch {
	case dst.Type() == durationType:
		v, err := ParseDuration(text)
		if err != nil {
			return err
		}
		dst.SetInt(int64(v))
		return nil
	case dst.Type() == sizeType:
		v, err := ParseSize(text)
		if err != nil {
			return err
		}
		dst.SetInt(v)
		return nil
	case dst.Type() == prefixType:
		v, err := parseNetwork(text)
		if err != nil {
			return err
		}
		dst.Set(reflect.ValueOf(v))
		return nil
	case dst.Type() == fileModeType:
		v, err := strconv.ParseUint(text, 8, 9)
		if err != nil {
			return fmt.Errorf("%q is not a file mode; write it in octal, such as 0660", text)
		}
		dst.SetUint(v)
		return nil
	case dst.Addr().Type().Implements(textUnmarshalerType):
		if err := dst.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("%q cannot be used: %w", text, err)
		}
		return nil
	}
	return setBasic(dst, node, text)
}

var textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()

func setBasic(dst reflect.Value, node ast.Node, text string) error {
	switch dst.Kind() {
	case reflect.String:
		dst.SetString(text)
	case reflect.Bool:
		b, ok := node.(*ast.BoolNode)
		if !ok {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		dst.SetBool(b.Value)
	case reflect.Int, reflect.Int32, reflect.Int16, reflect.Int8:
		v, err := strconv.ParseInt(text, 10, dst.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number, such as 20", text)
		}
		dst.SetInt(v)
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		v, err := strconv.ParseUint(text, 10, dst.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number from 0, such as 20", text)
		}
		dst.SetUint(v)
	default:
		v, err := strconv.ParseFloat(text, dst.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a number, such as 0.5", text)
		}
		dst.SetFloat(v)
	}
	return nil
}

// scalarText is what was written for a single value, as text: an admin need
// not know that 8080 is a number to YAML and yes is not a boolean.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func unsupported(node ast.Node) bool {
	switch node.(type) {
	case *ast.AliasNode, *ast.AnchorNode, *ast.TagNode:
		return true
	}
	return false
}

// unknownKey says so, and what may have been meant.
func unknownKey(path string, known []string) string {
	name := path[strings.LastIndexByte(path, '.')+1:]
	best, distance := "", 3 // two slips of the finger; more is another word
	for _, k := range known {
		if n := editDistance(strings.ToLower(name), k); n < distance && n < len(k) {
			best, distance = k, n
		}
	}
	switch {
	case best != "":
		return "unknown key; did you mean " + best + "?"
	case len(known) == 0:
		return "unknown key"
	}
	return "unknown key; there are " + strings.Join(known, ", ")
}

// editDistance counts the insertions, deletions and exchanges between two words.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
