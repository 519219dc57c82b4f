package directory

// The plain style of YAML, read line by line. Whatever is not certain to mean
// the same to a complete YAML library is left to that.

import (
	"bufio"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLine bounds a line, in bytes.
const maxLine = 1 << 20

// otherStyle says where and why a file is not in the plain style.
type otherStyle struct {
	place
	reason string
}

// plainReader reads one file. Its methods return false after setting other.
type plainReader struct {
	b     *builder
	other *otherStyle
	entry entry
	open  bool // entry is not complete yet

	marked  bool // "---" has come
	started bool // "users:" has come
	indent  int  // of the dashes; -1 before the first
	inner   int  // of the keys of a user in block style

	line   string
	number int  // of line
	ascii  bool // line has one byte a character
	pos    int  // in line
	seen   uint8
}

// readPlain fills b. The style that ends it is nil if all was plain.
func readPlain(file io.Reader, b *builder) (*otherStyle, error) {
	r := &plainReader{b: b, indent: -1}
	scanner := bufio.NewScanner(file)
	scanner.Buffer(make([]byte, 64<<10), maxLine)
	for scanner.Scan() {
		r.line = scanner.Text()
		r.number++
		if r.number == 1 {
			r.line = strings.TrimPrefix(r.line, "\ufeff")
		}
		r.ascii = isASCII(r.line)
		if !r.take() {
			return r.other, nil
		}
	}
	if err := scanner.Err(); err == bufio.ErrTooLong {
		return &otherStyle{place{r.number + 1, 1}, "a line is longer than 1 MB"}, nil
	} else if err != nil {
		return nil, err
	}
	if r.indent < 0 {
		return &otherStyle{place{}, "has no `users:` list"}, nil
	}
	r.close()
	return nil, nil
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (r *plainReader) fail(reason string) bool {
	r.other = &otherStyle{r.here(), reason}
	return false
}

// here is the place of pos.
func (r *plainReader) here() place {
	if r.ascii {
		return place{r.number, r.pos + 1}
	}
	return place{r.number, utf8.RuneCountInString(r.line[:r.pos]) + 1}
}

// take reads one line.
func (r *plainReader) take() bool {
	r.pos = 0
	if !r.ascii && !utf8.ValidString(r.line) {
		return r.fail("is not UTF-8")
	}
	r.spaces()
	if r.atEnd() {
		return true
	}
	indent := r.pos
	switch {
	case !r.started:
		if indent == 0 && strings.HasPrefix(r.line, "users:") {
			r.pos = len("users:")
			r.started = true
			return r.end("is not the plain `users:`")
		}
		if r.line == "---" && !r.marked {
			r.marked = true
			return true
		}
		return r.fail("is not `users:`")
	case r.line[r.pos] == '-' && (r.indent < 0 || indent == r.indent):
		r.indent = indent
		r.close()
		return r.item()
	case r.open && indent == r.inner:
		return r.pair(false) && r.end("is more than one value")
	}
	return r.fail("is neither a user nor a key of one")
}

// item reads what stands behind a dash.
func (r *plainReader) item() bool {
	r.pos++
	if r.pos == len(r.line) || r.line[r.pos] != ' ' {
		return r.fail("is not `- {address: …}`")
	}
	r.spaces()
	if r.pos == len(r.line) || r.line[r.pos] == '#' {
		return r.fail("is not `- {address: …}`")
	}
	r.seen = 0
	if r.line[r.pos] != '{' {
		r.entry.reset(r.here())
		r.inner = r.pos
		r.open = true
		return r.pair(false) && r.end("is more than one value")
	}
	r.pos++
	r.spaces()
	r.entry.reset(r.here())
	for {
		if !r.pair(true) {
			return false
		}
		r.spaces()
		switch r.peek() {
		case ',':
			r.pos++
			r.spaces()
		case '}':
			r.pos++
			r.open = true
			r.inner = -1 // nothing can follow
			return r.end("stands behind the user")
		default:
			return r.fail("is neither a comma nor the closing brace")
		}
	}
}

// close hands over the user read last.
func (r *plainReader) close() {
	if r.open {
		r.b.add(&r.entry)
	}
	r.open = false
}

// pair reads `key: value`, inside braces (flow) or not.
func (r *plainReader) pair(flow bool) bool {
	start := r.pos
	for r.pos < len(r.line) && 'a' <= r.line[r.pos] && r.line[r.pos] <= 'z' {
		r.pos++
	}
	key := r.line[start:r.pos]
	bit := keyBit(key)
	if bit == 0 || r.seen&bit != 0 {
		r.pos = start
		return r.fail("is not a key that may stand here; there are " + keys)
	}
	r.seen |= bit
	if r.peek() != ':' {
		return r.fail("is not a colon")
	}
	r.pos++
	if r.peek() != ' ' {
		return r.fail("has no value in its line")
	}
	r.spaces()
	if single := r.entry.single(key); single != nil {
		v, ok := r.scalar(flow)
		*single = v
		return ok
	}
	return r.list(r.entry.list(key))
}

func keyBit(key string) uint8 {
	switch key {
	case "address":
		return 1
	case "aliases":
		return 2
	case "groups":
		return 4
	case "department":
		return 8
	case "system":
		return 16
	case "name":
		return 32
	}
	return 0
}

// list reads `[a, b]`.
func (r *plainReader) list(to *[]value) bool {
	if r.peek() != '[' {
		return r.fail("is not a list in brackets")
	}
	r.pos++
	r.spaces()
	if r.peek() == ']' {
		r.pos++
		return true
	}
	for {
		v, ok := r.scalar(true)
		if !ok {
			return false
		}
		*to = append(*to, v)
		r.spaces()
		switch r.peek() {
		case ',':
			r.pos++
			r.spaces()
		case ']':
			r.pos++
			return true
		default:
			return r.fail("is neither a comma nor the closing bracket")
		}
	}
}

// scalar reads a single value.
func (r *plainReader) scalar(flow bool) (value, bool) {
	v := value{place: r.here()}
	start := r.pos
	if quote := r.peek(); quote == '"' || quote == '\'' {
		return r.quoted(v, quote)
	}
	for r.pos < len(r.line) {
		c := r.line[r.pos]
		if c >= utf8.RuneSelf {
			letter, n := utf8.DecodeRuneInString(r.line[r.pos:])
			if !unicode.IsLetter(letter) && !unicode.IsMark(letter) {
				return v, r.fail("is a character that wants quotes")
			}
			r.pos += n
			continue
		}
		if plainByte[c] == never || plainByte[c] == inside && r.pos == start {
			break
		}
		r.pos++
	}
	v.text = strings.TrimRight(r.line[start:r.pos], " ")
	switch v.text {
	case "":
		return v, r.fail("is not a value")
	case "null", "Null", "NULL":
		return v, r.fail("is not a value")
	}
	if r.pos < len(r.line) && (!flow || !strings.ContainsRune(",]}", rune(r.line[r.pos]))) {
		if !strings.HasPrefix(r.line[r.pos-1:], " #") {
			return v, r.fail("is a character that wants quotes")
		}
	}
	return v, true
}

// quoted reads a text in quotes, without escapes.
func (r *plainReader) quoted(v value, quote byte) (value, bool) {
	n := strings.IndexByte(r.line[r.pos+1:], quote)
	if n < 0 {
		return v, r.fail("has no closing quote in its line")
	}
	v.text = r.line[r.pos+1 : r.pos+1+n]
	end := r.pos + 1 + n + 1
	escaped := quote == '"' && strings.IndexByte(v.text, '\\') >= 0 ||
		quote == '\'' && end < len(r.line) && r.line[end] == '\''
	if escaped || strings.IndexFunc(v.text, unicode.IsControl) >= 0 {
		return v, r.fail("holds an escape")
	}
	r.pos = end
	if r.pos < len(r.line) && !strings.ContainsRune(" ,]}", rune(r.line[r.pos])) {
		return v, r.fail("stands behind a quote")
	}
	return v, true
}

// What a byte may be in a plain value.
const (
	never  = iota // needs quotes, or ends the value
	inside        // not at the beginning
	always
)

var plainByte = func() (table [utf8.RuneSelf]uint8) {
	for c := range table {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			table[c] = always
		case strings.IndexByte(" .@_+-/'&=()", byte(c)) >= 0:
			table[c] = inside
		}
	}
	return table
}()

func (r *plainReader) peek() byte {
	if r.pos == len(r.line) {
		return 0
	}
	return r.line[r.pos]
}

func (r *plainReader) spaces() {
	for r.pos < len(r.line) && r.line[r.pos] == ' ' {
		r.pos++
	}
}

// atEnd tells whether only a comment may follow.
func (r *plainReader) atEnd() bool {
	return r.pos == len(r.line) || r.line[r.pos] == '#' && (r.pos == 0 || r.line[r.pos-1] == ' ')
}

// end fails with reason if anything but a comment follows.
func (r *plainReader) end(reason string) bool {
	r.spaces()
	if !r.atEnd() {
		return r.fail(reason)
	}
	return true
}
