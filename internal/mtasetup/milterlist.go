package mtasetup

// Lists of milters as Postfix writes them (MILTER_README): addresses separated by
// commas or blanks, and since Postfix 3.0 { address, option=value, { option = value } … }.

import (
	"slices"
	"strconv"
	"strings"
)

// option is one of a milter's own settings.
type option struct{ name, value string }

// element is one milter of a list.
type element struct {
	text    string // as written
	name    string // Sendmail's own; "" with Postfix
	address string
	options []option
}

// splitList separates at commas and blanks outside of braces.
func splitList(s string) []string {
	var out []string
	depth, start := 0, -1
	for i := 0; i <= len(s); i++ {
		if i == len(s) || depth == 0 && strings.IndexByte(", \t\r\n", s[i]) >= 0 {
			if start >= 0 {
				out = append(out, s[start:i])
			}
			start = -1
			continue
		}
		if start < 0 {
			start = i
		}
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
	}
	return out
}

func parseElement(text string) element {
	e := element{text: text, address: text}
	inner, braced := strings.CutPrefix(text, "{")
	if !braced {
		return e
	}
	for i, part := range splitList(strings.TrimSuffix(inner, "}")) {
		if i == 0 {
			e.address = part
			continue
		}
		// A value with blanks is { name = value }.
		name, value, _ := strings.Cut(strings.Trim(part, "{}"), "=")
		e.options = append(e.options, option{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return e
}

// newElement writes a milter with its options.
func newElement(address string, options []option) element {
	e := element{text: address, address: address, options: options}
	if len(options) > 0 {
		e.text = "{ " + address
		for _, o := range options {
			e.text += ", " + o.name + "=" + o.value
		}
		e.text += " }"
	}
	return e
}

// tight is an element without blanks: postconf -P takes none.
func (e element) tight() string {
	if len(e.options) == 0 {
		return e.address
	}
	t := "{" + e.address
	for _, o := range e.options {
		t += "," + o.name + "=" + o.value
	}
	return t + "}"
}

// option gives the value of one of its settings.
func (e element) option(name string) (string, bool) {
	for _, o := range e.options {
		if o.name == name {
			return o.value, true
		}
	}
	return "", false
}

// endpoint is the place behind an address, so that two ways to write it are the
// same.
type endpoint struct {
	path string // of a UNIX socket, as seen from the queue folder, without a leading slash
	host string
	port string
}

// parseEndpoint reads inet:HOST:PORT, inet:PORT@HOST, inet6:…, unix:PATH and
// local:PATH.
func parseEndpoint(address, queue string) (endpoint, bool) {
	kind, rest, ok := strings.Cut(address, ":")
	switch {
	case !ok:
		return endpoint{}, false
	case kind == "unix" || kind == "local":
		if inside, ok := strings.CutPrefix(rest, strings.TrimSuffix(queue, "/")+"/"); ok && queue != "" {
			rest = inside
		}
		return endpoint{path: strings.TrimPrefix(rest, "/")}, true
	case kind != "inet" && kind != "inet6":
		return endpoint{}, false
	}
	host, port := "", ""
	if p, h, ok := strings.Cut(rest, "@"); ok {
		host, port = h, p
	} else if host, port, ok = splitHostPort(rest); !ok {
		return endpoint{}, false
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if host == "localhost" {
		host = "127.0.0.1"
	}
	return endpoint{host: host, port: port}, true
}

// splitHostPort cuts at the last colon; brackets stay.
func splitHostPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return "", "", false
	}
	if _, err := strconv.ParseUint(s[i+1:], 10, 16); err != nil {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// same tells whether two addresses are of one milter.
func same(a, b, queue string) bool {
	if a == b {
		return true
	}
	x, ok := parseEndpoint(a, queue)
	y, both := parseEndpoint(b, queue)
	return ok && both && x == y
}

// ofListen is the address by which an MTA on the same host reaches a
// milter.listen, in Postfix's words.
func ofListen(listen, queue string) string {
	e, ok := parseEndpoint(listen, "")
	if !ok {
		return listen
	}
	if e.path != "" {
		path := "/" + e.path
		if inside, ok := strings.CutPrefix(path, strings.TrimSuffix(queue, "/")+"/"); ok && queue != "" {
			path = inside // the same inside a chroot and outside: every daemon works in the queue folder
		}
		return "unix:" + path
	}
	switch e.host {
	case "0.0.0.0":
		e.host = "127.0.0.1"
	case "::":
		e.host = "::1"
	}
	if strings.Contains(e.host, ":") {
		e.host = "[" + e.host + "]"
	}
	return "inet:" + e.host + ":" + e.port
}

// token is a piece of a list as it is written: one milter, or a $reference to any
// number of them.
type token struct {
	text     string
	elements []element
}

// tokens reads a raw value; expand resolves references.
func tokens(raw string, expand func(string) string) []token {
	var out []token
	for _, text := range splitList(raw) {
		t := token{text: text}
		if !strings.Contains(text, "$") {
			t.elements = []element{parseElement(text)}
		} else {
			for _, one := range splitList(expand(text)) {
				t.elements = append(t.elements, parseElement(one))
			}
		}
		out = append(out, t)
	}
	return out
}

func elementsOf(list []token) []element {
	var out []element
	for _, t := range list {
		out = append(out, t.elements...)
	}
	return out
}

// spread writes out the references for which open holds.
func spread(list []token, open func(token) bool) []token {
	var out []token
	for _, t := range list {
		if !strings.Contains(t.text, "$") || !open(t) {
			out = append(out, t)
			continue
		}
		for _, e := range t.elements {
			out = append(out, token{e.text, []element{e}})
		}
	}
	return out
}

// without takes milters out of a list; a reference that has one is written out.
func without(list []token, unwanted func(element) bool) []token {
	list = spread(list, func(t token) bool { return slices.ContainsFunc(t.elements, unwanted) })
	return slices.DeleteFunc(list, func(t token) bool { return len(t.elements) == 1 && unwanted(t.elements[0]) })
}

// insert puts a milter before the i-th of a list; a reference that spans the
// place is written out.
func insert(list []token, i int, e element) []token {
	n := 0
	for at, t := range list {
		if i <= n {
			return slices.Insert(slices.Clone(list), at, token{e.text, []element{e}})
		}
		if i < n+len(t.elements) {
			return insert(spread(list, func(x token) bool { return x.text == t.text }), i, e)
		}
		n += len(t.elements)
	}
	return append(slices.Clone(list), token{e.text, []element{e}})
}

// write gives the list as main.cf has it, and tight as an override in master.cf.
func write(list []token, tight bool) string {
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = t.text
		if tight && strings.ContainsAny(t.text, " \t\r\n") && len(t.elements) == 1 {
			texts[i] = t.elements[0].tight()
		}
	}
	if tight {
		return strings.Join(texts, ",")
	}
	return strings.Join(texts, ", ")
}

// Reached is the address by which a program on this host reaches a
// milter.listen: inet:HOST:PORT or unix:/PATH.
func Reached(listen string) string { return ofListen(listen, "") }
