package app

// A file that remembers which mails were handed out, for a restore that is
// repeated.

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"cloakroom/ledger"
)

// DoneList is such a file: a line for each mail, with where it went. A nil list
// knows nothing and remembers nothing.
type DoneList struct {
	f     *os.File
	where string
	done  map[string]bool
}

// OpenDoneList reads a file, which is made when it is missing, for mails that go
// to one place. A last line that was cut off counts for nothing.
func OpenDoneList(path, where string) (*DoneList, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &DoneList{f: f, where: strings.Join(strings.Fields(where), " "), done: make(map[string]bool)}
	if err := l.read(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

func (l *DoneList) read() error {
	in := bufio.NewReader(l.f)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if err == io.EOF && line != "" {
			_, err := l.f.WriteString("\n")
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		key, where, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if len(key) == 2*len(ledger.Key{}) && where == l.where {
			l.done[key] = true
			continue
		}
		cut := where == "" && key != "" && len(key) < 2*len(ledger.Key{}) && strings.Trim(key, "0123456789abcdef") == ""
		if n == 1 && len(key) != 2*len(ledger.Key{}) && !cut {
			return fmt.Errorf("this is no list of restored mails: its first line is %.80q", line)
		}
	}
}

// Name is the file's.
func (l *DoneList) Name() string { return l.f.Name() }

// Has tells whether a mail went to this place.
func (l *DoneList) Has(key ledger.Key) bool { return l != nil && l.done[key.String()] }

// Add remembers a mail.
func (l *DoneList) Add(key ledger.Key) error {
	if l == nil {
		return nil
	}
	if _, err := fmt.Fprintf(l.f, "%s %s\n", key, l.where); err != nil {
		return &StopError{fmt.Errorf("it was restored, but that could not be noted: %w", err)}
	}
	l.done[key.String()] = true
	return nil
}

// Close makes durable what was added.
func (l *DoneList) Close() error {
	if l == nil {
		return nil
	}
	if err := l.f.Sync(); err != nil {
		l.f.Close()
		return err
	}
	return l.f.Close()
}
