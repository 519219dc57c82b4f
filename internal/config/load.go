package config

// From the file to the snapshot: read, parse, decode, normalise, check.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"
)

// maxFileSize is the largest configuration file that is read, in bytes. A file
// with a thousand rules has some 200 KB; more than this is not a configuration.
const maxFileSize = 4 << 20

// Load reads the configuration file at path. A file that cannot be read gives
// the error of the operating system (errors.Is with fs.ErrNotExist and
// fs.ErrPermission works), one that is wrong an *Error with all its problems.
// Warnings come with and without an error.
func Load(path string) (*Config, []Warning, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads a configuration from memory. name stands for the file in
// messages, and its folder is where relative paths start.
func Parse(name string, data []byte) (*Config, []Warning, error) {
	if len(data) > maxFileSize {
		ps := &problems{source: newSource(name, "")}
		ps.add(place{}, "", "the file is larger than %s, which is not a configuration", FormatSize(maxFileSize))
		return nil, nil, ps.err()
	}
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	ps := &problems{source: newSource(name, text)}
	if at, why := unreadable(text); why != "" {
		ps.source = newSource(name, strings.ToValidUTF8(text, "?"))
		ps.add(at, "", "%s", why)
		return nil, nil, ps.err()
	}
	folder, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, nil, fmt.Errorf("configuration: the folder of %s: %w", name, err)
	}

	cfg := Default()
	top, index := parse(text, ps)
	if top == nil && len(ps.errors) > 0 { // not YAML: nothing further can be said
		return nil, nil, ps.err()
	}
	if top != nil {
		d := &decoder{ps: ps, index: index}
		d.structure(top, reflect.ValueOf(&cfg).Elem(), "")
	}
	c := &checker{cfg: &cfg, ps: ps, index: index}
	c.check()
	cfg.resolve(folder)
	c.secrets()
	c.linkPasswords()
	c.vaultFiles()
	c.webFiles()
	c.notice()
	c.adminFiles()
	if err := ps.err(); err != nil {
		return nil, ps.warnings(), err
	}
	return &cfg, ps.warnings(), nil
}

// unreadable finds what is not text at all, and says where.
func unreadable(text string) (place, string) {
	line, column := 1, 1
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			return place{line, column}, "not UTF-8 text; save the file as UTF-8"
		case r == 0:
			return place{line, column}, "contains a NUL byte; this is not a text file"
		case r == '\n':
			line, column = line+1, 0
		}
		column++
	}
	return place{}, ""
}

// splitErrors takes an error made by errors.Join apart. An error that words its
// causes itself stays whole.
func splitErrors(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if err == nil {
		return nil
	}
	if !ok || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, splitErrors(e)...)
	}
	return out
}
