package mtasetup

// Reading sendmail.mc as far as milters and listeners need: calls of macros at
// the top level, with what m4 takes for quotes and comments.

import (
	"slices"
	"strings"
)

// call is a macro with its arguments, one layer of quotes taken off.
type call struct {
	name       string
	args       []string
	start, end int // bytes of the lines it stands on
}

// arg gives an argument; "" where there are fewer.
func (c call) arg(i int) string {
	if i < len(c.args) {
		return c.args[i]
	}
	return ""
}

// calls lists the macros that sendmail.mc calls outside of quotes. Those that m4
// would only call by way of others, or in included files, are not seen.
func calls(text string) []call {
	var out []call
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '#' && (i == 0 || text[i-1] == '\n'):
			i = lineEnd(text, i)
		case c == '`':
			i = quoteEnd(text, i)
		case isWord(c):
			end := i
			for end < len(text) && isWord(text[end]) {
				end++
			}
			name := text[i:end]
			if name == "dnl" {
				i = lineEnd(text, i)
				continue
			}
			found := call{name: name, start: lineStart(text, i)}
			if end < len(text) && text[end] == '(' {
				found.args, end = arguments(text, end)
			}
			found.end = lineEnd(text, max(i, end-1))
			out = append(out, found)
			i = end
		default:
			i++
		}
	}
	return out
}

// arguments reads from an opening parenthesis to the closing one.
func arguments(text string, i int) (args []string, end int) {
	depth, start := 0, i+1
	take := func(to int) {
		arg := strings.TrimLeft(text[start:to], " \t\n")
		if len(arg) > 1 && arg[0] == '`' && quoteEnd(arg, 0) == len(arg) {
			arg = arg[1 : len(arg)-1]
		}
		args = append(args, arg)
	}
	for i < len(text) {
		switch text[i] {
		case '`':
			i = quoteEnd(text, i)
			continue
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				take(i)
				return args, i + 1
			}
		case ',':
			if depth == 1 {
				take(i)
				start = i + 1
			}
		}
		i++
	}
	take(len(text))
	return args, len(text)
}

// quoteEnd is behind the quote that closes the one at i.
func quoteEnd(text string, i int) int {
	depth := 0
	for ; i < len(text); i++ {
		switch text[i] {
		case '`':
			depth++
		case '\'':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func lineStart(text string, i int) int { return strings.LastIndexByte(text[:i], '\n') + 1 }

func lineEnd(text string, i int) int {
	if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
		return i + n + 1
	}
	return len(text)
}

// The lines around our block in sendmail.mc.
const (
	blockBegin = "dnl ### Cloakroom begins. Made by cloakroom setup sendmail: run that again instead of changing it.\n"
	blockEnd   = "dnl ### Cloakroom ends.\n"
)

// CutBlock takes our block out of sendmail.mc.
func CutBlock(text string) (rest, block string, found bool) {
	start := strings.Index(text, blockBegin)
	if start < 0 {
		return text, "", false
	}
	n := strings.Index(text[start:], blockEnd)
	if n < 0 {
		return text, "", false
	}
	end := start + n + len(blockEnd)
	return text[:start] + text[end:], text[start:end], true
}

// PutBlock puts our block into a sendmail.mc without it: behind all that it builds
// on, and before the mailers.
func PutBlock(text, block string) string {
	all := calls(text)
	at := len(text)
	if i := slices.IndexFunc(all, func(c call) bool {
		return slices.Contains([]string{"MAILER_DEFINITIONS", "MAILER", "LOCAL_CONFIG", "LOCAL_RULESETS", "LOCAL_RULE_0"}, c.name)
	}); i >= 0 {
		at = all[i].start
	}
	for _, c := range all {
		if settles(c) {
			at = max(at, c.end)
		}
	}
	if at == len(text) && at > 0 && text[at-1] != '\n' {
		block = "\n" + block
	}
	return text[:at] + block + text[at:]
}

// settles tells a macro that our block has to stand behind.
func settles(c call) bool {
	switch c.name {
	case "INPUT_MAIL_FILTER", "MAIL_FILTER":
		return true
	case "define", "undefine":
		return c.arg(0) == "confINPUT_MAIL_FILTERS" || strings.HasPrefix(c.arg(0), "confMILTER_MACROS_")
	}
	return false
}
