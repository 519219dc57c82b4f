package mtasetup

// What is known of a machine with Postfix, and what its values mean.

import (
	"path"
	"strconv"
	"strings"
)

// Machine is a Postfix instance as postconf(1) tells it.
type Machine struct {
	Folder   string            // of main.cf and master.cf
	Version  string            // mail_version
	Main     map[string]string // every parameter, as written, defaults too
	Expanded map[string]string // the same with references resolved
	Explicit map[string]bool   // those that main.cf has
	Services []MasterService   // in the order of master.cf
	Ours     []string          // addresses that an earlier run of the set-up put in
	Maps     map[string]bool   // lookup tables, by path without suffix, that exist in a form that can be used
	Socket   *Socket           // where milter.listen is a UNIX socket
}

// MasterService is one line of master.cf.
type MasterService struct {
	Name, Type string
	Chroot     string // y, n or - for the default
	Program    string // smtpd, cleanup, …
	Overrides  map[string]string
}

// ID is NAME/TYPE, as postconf(1) has it.
func (s *MasterService) ID() string { return s.Name + "/" + s.Type }

// called tells whether an administrator means this service.
func (s *MasterService) called(names []string) bool {
	for _, n := range names {
		if n == s.Name || n == s.ID() {
			return true
		}
	}
	return false
}

// queue is Postfix's queue folder, which is also the root of its chroot.
func (m *Machine) queue() string { return m.Expanded["queue_directory"] }

// atLeast compares the version with MAJOR.MINOR.
func (m *Machine) atLeast(major, minor int) bool {
	parts := strings.FieldsFunc(m.Version, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) < 2 {
		return true // a version we cannot read is a new one
	}
	x, _ := strconv.Atoi(parts[0])
	y, _ := strconv.Atoi(parts[1])
	return x > major || x == major && y >= minor
}

// chrooted tells whether a service runs in the queue folder as its root.
func (m *Machine) chrooted(s *MasterService) bool {
	if s.Chroot != "-" {
		return s.Chroot == "y"
	}
	// The default is no since Postfix 3.0, unless the compatibility level says otherwise.
	level, _, _ := strings.Cut(m.Expanded["compatibility_level"], ".")
	n, err := strconv.Atoi(strings.TrimSpace(level))
	return !m.atLeast(3, 0) || err == nil && n < 1
}

// value is a parameter as a service has it, references resolved. nil: as
// main.cf has it.
func (m *Machine) value(s *MasterService, name string) string {
	if s != nil {
		if v, ok := s.Overrides[name]; ok {
			return m.expand(s, v)
		}
	}
	if v, ok := m.Expanded[name]; ok && s == nil {
		return v
	}
	return m.expand(s, m.Main[name])
}

// maxReferences is how deep references may lead to others: more than any that
// people write, and the end of a circle.
const maxReferences = 10

// expand resolves $name, ${name} and $(name). Conditions such as ${a?b} are what
// postconf -x makes of them in main.cf; elsewhere they stay.
func (m *Machine) expand(s *MasterService, value string) string {
	return m.resolve(s, value, 0)
}

func (m *Machine) resolve(s *MasterService, value string, depth int) string {
	if depth > maxReferences || !strings.Contains(value, "$") {
		return value
	}
	var b strings.Builder
	for i := 0; i < len(value); {
		name, length := reference(value[i:])
		switch {
		case length == 0:
			b.WriteByte(value[i])
			i++
			continue
		case name == "$":
			b.WriteByte('$')
		default:
			raw, known := "", false
			if s != nil {
				raw, known = s.Overrides[name]
			}
			if !known {
				raw, known = m.Main[name]
			}
			if !known {
				raw = m.Expanded[name]
			}
			b.WriteString(m.resolve(s, raw, depth+1))
		}
		i += length
	}
	return b.String()
}

// reference reads a reference at the beginning of s; length 0: there is none.
func reference(s string) (name string, length int) {
	if len(s) < 2 || s[0] != '$' {
		return "", 0
	}
	closing := byte(0)
	start := 1
	switch s[1] {
	case '$':
		return "$", 2
	case '{':
		closing, start = '}', 2
	case '(':
		closing, start = ')', 2
	}
	end := start
	for end < len(s) && (s[end] == '_' || s[end] >= '0' && s[end] <= '9' || s[end]|0x20 >= 'a' && s[end]|0x20 <= 'z') {
		end++
	}
	if end == start || closing != 0 && (end == len(s) || s[end] != closing) {
		return "", 0
	}
	if closing != 0 {
		return s[start:end], end + 1
	}
	return s[start:end], end
}

// mentions tells whether a raw value leads to a parameter of main.cf by its
// references.
func (m *Machine) mentions(raw, name string) bool {
	return m.leadsTo(raw, name, 0)
}

func (m *Machine) leadsTo(raw, wanted string, depth int) bool {
	for i := 0; i < len(raw); i++ {
		name, length := reference(raw[i:])
		if length == 0 {
			continue
		}
		if name == wanted || depth < maxReferences && m.leadsTo(m.Main[name], wanted, depth+1) {
			return true
		}
	}
	return false
}

// file is a path in Postfix's configuration folder.
func (m *Machine) file(name string) string { return path.Join(m.Folder, name) }

// port of an inet service, by number; 0 for what is none. SMTP's names are known.
func (s *MasterService) port() (host string, port int) {
	if s.Type != "inet" {
		return "", 0
	}
	name := s.Name
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		host, name = strings.Trim(name[:i], "[]"), name[i+1:]
	}
	switch name {
	case "smtp":
		return host, 25
	case "submission":
		return host, 587
	case "submissions", "smtps", "ssmtp":
		return host, 465
	}
	port, _ = strconv.Atoi(name)
	return host, port
}

// loopback tells whether a host in master.cf is this host alone.
func loopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}
