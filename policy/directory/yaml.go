package directory

// A YAML file of users:
//
//	users:
//	  - {address: bob@acmecorp.example, aliases: [robert@acmecorp.example], groups: [research]}
//	  - address: eve@acmecorp.example
//	    department: sales
//
// Files in this plain style, one user a line or one key a line, are read line
// by line, whatever their size. As soon as something else turns up (anchors,
// escapes, texts over several lines …, but also every mistake in the YAML) the
// file is read again by a complete YAML library, which is slow and takes much
// memory, and whose messages are the better ones.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxGeneralYAML bounds the files that the YAML library reads, in bytes: it
// reads 2 MB a second, and allocates 120 times what it reads.
const maxGeneralYAML = 8 << 20

func readYAML(file io.ReadSeeker, size int64, like sizes, ps *problems) (*builder, error) {
	b := newBuilder(ps, like)
	other, err := readPlain(file, b)
	if err != nil || other == nil {
		return b, err
	}
	if size > maxGeneralYAML {
		*ps = problems{file: ps.file}
		ps.add(other.place, "%s; a file of more than %d MB must be in the plain style, each user as `- {address: …, groups: [a, b]}` in a line",
			other.reason, maxGeneralYAML>>20)
		return b, nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxGeneralYAML+1))
	if err != nil {
		return nil, err
	}
	*ps = problems{file: ps.file}
	b = newBuilder(ps, sizes{})
	return b, decodeYAML(text, b)
}

// decodeYAML reads YAML of any style.
func decodeYAML(text []byte, b *builder) (err error) {
	defer func() {
		// A library that stumbles over a file must not take the daemon with it.
		if failed := recover(); failed != nil {
			err = fmt.Errorf("the YAML library failed: %v", failed)
		}
	}()
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text) { // the library would put U+FFFD in its place
		at := 0
		for r, n := utf8.DecodeRune(text); r != utf8.RuneError || n != 1; r, n = utf8.DecodeRune(text[at:]) {
			at += n
		}
		line := text[bytes.LastIndexByte(text[:at], '\n')+1 : at]
		b.problems.add(place{bytes.Count(text[:at], []byte("\n")) + 1, utf8.RuneCount(line) + 1}, "is not UTF-8")
		return nil
	}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var located yaml.Error
		if errors.As(err, &located) {
			b.problems.add(tokenPlace(located.GetToken()), "%s", located.GetMessage())
		} else {
			b.problems.add(place{}, "%v", err)
		}
		return nil
	}
	d := yamlDecoder{b: b}
	d.documents(file)
	return nil
}

type yamlDecoder struct {
	b     *builder
	entry entry
}

func (d *yamlDecoder) fail(node ast.Node, format string, args ...any) {
	d.b.problems.add(nodePlace(node), format, args...)
}

func (d *yamlDecoder) documents(file *ast.File) {
	var top ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case top != nil:
			d.fail(doc.Body, "there is a second document; write all users into the first")
			return
		default:
			top = doc.Body
		}
	}
	mapping, ok := top.(ast.MapNode)
	if !ok {
		d.b.problems.add(place{}, "has no `users:` list")
		return
	}
	var users ast.Node
	for it := mapping.MapRange(); it.Next(); {
		switch key := keyName(it.Key()); {
		case key != "users":
			d.fail(it.Key(), "unknown key; there is only users")
		case users != nil:
			d.fail(it.Key(), "users is written twice")
		default:
			users = it.Value()
		}
	}
	sequence, ok := users.(*ast.SequenceNode)
	if !ok {
		if users != nil {
			d.fail(users, "users is a list; write one `- {address: …}` for each user")
		} else {
			d.b.problems.add(place{}, "has no `users:` list")
		}
		return
	}
	for _, node := range sequence.Values {
		d.user(node)
	}
}

func (d *yamlDecoder) user(node ast.Node) {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		d.fail(node, "a user is written `- {address: …}`")
		return
	}
	known := len(d.b.problems.list) + d.b.problems.more
	d.entry.reset(place{})
	seen := make(map[string]bool)
	for it := mapping.MapRange(); it.Next(); {
		key := keyName(it.Key())
		if d.entry.line == 0 {
			d.entry.place = nodePlace(it.Key())
		}
		if seen[key] {
			d.fail(it.Key(), "%s is written twice for this user", key)
			continue
		}
		seen[key] = true
		if single := d.entry.single(key); single != nil {
			*single, _ = d.scalar(it.Value())
		} else if list := d.entry.list(key); list != nil {
			d.list(it.Value(), list)
		} else {
			d.fail(it.Key(), "unknown key; there are %s", keys)
		}
	}
	if d.entry.line == 0 {
		d.entry.place = nodePlace(node)
	}
	if len(d.b.problems.list)+d.b.problems.more == known {
		d.b.add(&d.entry)
	}
}

func (d *yamlDecoder) list(node ast.Node, to *[]value) {
	if _, null := node.(*ast.NullNode); null {
		return
	}
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		d.fail(node, "is a list; write [a, b]")
		return
	}
	for _, element := range sequence.Values {
		if v, ok := d.scalar(element); ok {
			*to = append(*to, v)
		}
	}
}

// scalar is a single value as text, whatever type YAML sees in it: a group may
// be called 007. A key without a value is as none.
func (d *yamlDecoder) scalar(node ast.Node) (value, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return value{n.Value, nodePlace(n)}, true
	case *ast.LiteralNode:
		return value{n.Value.Value, nodePlace(n)}, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return value{n.GetToken().Value, nodePlace(n)}, true
	case *ast.NullNode:
		return value{}, false
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.fail(node, "anchors (&), aliases (*) and tags (!) are not supported; write the value itself, in quotes if it begins with such a character")
		return value{}, false
	}
	d.fail(node, "is one value, not a list or table")
	return value{}, false
}

func keyName(key ast.MapKeyNode) string {
	if n, ok := key.(*ast.StringNode); ok {
		return n.Value
	}
	return strings.TrimSuffix(key.String(), ":")
}

func nodePlace(node ast.Node) place { return tokenPlace(node.GetToken()) }

func tokenPlace(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}
