package config

// Where each key stands in the file. Decoding and every later check name keys
// by their dotted path; this index turns such a path back into line and column.

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// entry is one key or list element of the file.
type entry struct {
	key   place    // of the key; for a list element, of the element
	at    place    // of the value if that is a single one, else the same as key
	value ast.Node // what was written
}

// index maps dotted paths (milter.listen, rules[0].if) to the file.
type index map[string]entry

// find gives the place of path, or of the nearest section around it that is in
// the file: a missing key is reported where it should have been.
func (ix index) find(path string) place {
	for path != "" {
		if e, ok := ix[path]; ok {
			return e.at
		}
		path = parentPath(path)
	}
	return place{}
}

// pathAt gives the innermost path under parent whose key or value is at a place;
// parent itself when there is none.
func (ix index) pathAt(at place, parent string) string {
	best := parent
	for path, e := range ix {
		inside := strings.HasPrefix(path, parent+".") || strings.HasPrefix(path, parent+"[")
		if inside && (e.key == at || e.at == at) && len(path) > len(best) {
			best = path
		}
	}
	return best
}

func parentPath(path string) string {
	if strings.HasSuffix(path, "]") {
		return path[:strings.LastIndexByte(path, '[')]
	}
	return path[:max(0, strings.LastIndexByte(path, '.'))]
}

func joinPath(parent, key string) string {
	switch {
	case parent == "":
		return key
	case key == "" || key[0] == '[':
		return parent + key
	}
	return parent + "." + key
}

// parse reads the YAML text into its one document's top mapping and the index
// of all keys. It reports syntax errors, further documents, duplicate keys and
// the YAML features that a configuration file has no use for. A file without
// any key gives a nil mapping.
func parse(text string, ps *problems) (ast.Node, index) {
	file, err := parser.ParseBytes([]byte(text), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		reportSyntax(err, ps)
		return nil, nil
	}
	if len(file.Docs) > 1 {
		ps.add(tokenPlace(file.Docs[1].Start), "", "a second YAML document begins here; the configuration is one document")
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, nil
	}
	top := file.Docs[0].Body
	mapping, ok := top.(ast.MapNode)
	if !ok {
		ps.add(nodePlace(top), "", "%s where `key: value` lines are expected", describe(top))
		return nil, nil
	}
	ix := make(index)
	ix.addMapping(mapping, "", ps)
	return top, ix
}

func reportSyntax(err error, ps *problems) {
	at, message := place{}, err.Error()
	if located, ok := asYAMLError(err); ok {
		at, message = tokenPlace(located.GetToken()), located.GetMessage()
	}
	hint := ""
	if at.line > 0 && at.line <= len(ps.source.lines) {
		line := strings.TrimLeft(string(ps.source.lines[at.line-1]), " -")
		if strings.HasPrefix(line, "if:") {
			hint = "; an expression that begins with a quote or contains `: ` goes into quotes as a whole, or on its own lines below `if: |`"
		}
		if strings.HasPrefix(strings.TrimLeft(line, " "), "\t") {
			hint = "; indent with spaces"
		}
	}
	ps.add(at, "", "not valid YAML: %s%s", message, hint)
}

func asYAMLError(err error) (yaml.Error, bool) {
	for err != nil {
		if located, ok := err.(yaml.Error); ok && located.GetToken() != nil {
			return located, true
		}
		wrapper, ok := err.(interface{ Unwrap() error })
		if !ok {
			return nil, false
		}
		err = wrapper.Unwrap()
	}
	return nil, false
}

func (ix index) addMapping(m ast.MapNode, parent string, ps *problems) {
	for it := m.MapRange(); it.Next(); {
		at := nodePlace(it.Key())
		name, ok := keyName(it.Key())
		if !ok {
			ps.add(at, parent, "a key is one plain word; merge keys (<<) and complex keys (?) are not supported")
			continue
		}
		path := joinPath(parent, name)
		if first, dup := ix[path]; dup {
			ps.add(at, path, "given twice; the first is on line %d", first.at.line)
			continue
		}
		ix.addValue(it.Value(), path, at, ps)
	}
}

func (ix index) addValue(value ast.Node, path string, keyAt place, ps *problems) {
	ix[path] = entry{key: keyAt, at: keyAt, value: value}
	switch v := value.(type) {
	case ast.MapNode:
		ix.addMapping(v, path, ps)
	case *ast.SequenceNode:
		for i, element := range v.Values {
			ix.addValue(element, fmt.Sprintf("%s[%d]", path, i), nodePlace(element), ps)
		}
	case *ast.AliasNode:
		ps.add(nodePlace(value), path, "a value that begins with * is a YAML alias, which is not supported; if it is meant as text, put it into quotes")
	case *ast.AnchorNode:
		ps.add(nodePlace(value), path, "a value that begins with & is a YAML anchor, which is not supported; if it is meant as text, put it into quotes")
	case *ast.TagNode:
		ps.add(nodePlace(value), path, "a value that begins with ! is a YAML tag, which is not supported; if it is meant as text, put it into quotes")
	case *ast.NullNode: // has no place of its own when nothing is written
	default:
		ix[path] = entry{key: keyAt, at: nodePlace(value), value: value}
	}
}

func keyName(key ast.MapKeyNode) (string, bool) {
	switch key.(type) {
	case *ast.MappingKeyNode, *ast.MergeKeyNode, *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "", false
	}
	return key.GetToken().Value, true
}

// nodePlace is where a node begins. Block mappings give their first key: the
// library's own token is the colon after it.
func nodePlace(node ast.Node) place {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return nodePlace(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return nodePlace(n.Key)
	}
	return tokenPlace(node.GetToken())
}

func tokenPlace(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{line: t.Position.Line, column: max(1, t.Position.Column)}
}

// describe names what was written in an admin's words.
func describe(node ast.Node) string {
	switch node.(type) {
	case ast.MapNode:
		return "a section (`key: value` lines)"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return "true/false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	}
	return "text"
}
