package vault

import (
	"path"
	"strings"
)

// leastName is the shortest name in bytes that is looked for in other words.
const leastName = 4

// namedError is an error whose text may name the file of somebody's mail.
type namedError struct {
	error
	wanted string // the path that was asked for
}

func (e *namedError) Unwrap() error { return e.error }

// Private are the names in the text that a log need not have, longest first: the
// path as it was asked for, its folders, and the file's name, which variants of
// it begin with.
func (e *namedError) Private() []string {
	names := []string{e.wanted}
	folder, file := path.Split(e.wanted)
	if folder = strings.TrimSuffix(folder, "/"); folder != "" {
		names = append(names, folder)
	}
	names = append(names, file)
	if stem := strings.TrimSuffix(file, path.Ext(file)); len(stem) >= leastName && stem != file {
		names = append(names, stem)
	}
	return names
}
