package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

const (
	headerFunction    = "header"
	headersFunction   = "headers"
	inNetworkFunction = "in_network"
	inGroupFunction   = "in_group"
)

// functionDocs documents the functions that are ours, and matches, which rules
// need most of what CEL brings along.
var functionDocs = []Fact{
	{"header(name)", "string", "decoded value of the first header field of this name, in any case; empty when there is none"},
	{"headers(name)", "list(string)", "decoded values of all header fields of this name"},
	{"text.matches(pattern)", "bool", "whether the RE2 regular expression is found in the text; (?i) ignores case"},
	{"glob(text, pattern)", "bool", "whether the whole text fits the pattern, in any case: * is any run of characters, ? is one"},
	{"domain(address)", "string", "domain of an address in lower case, internationalised names in ASCII form; empty without @"},
	{"in_network(address, network)", "bool", "whether an IP address lies in a network such as 10.0.0.0/8; an empty address lies in none"},
	{"in_group(user, name)", "bool", "whether recipient or sender is in a group of the directory; the same as name in recipient.groups"},
}

// declareFunctions declares our functions. header and headers are bound for
// each evaluation, as they read the mail at hand.
func declareFunctions() []cel.EnvOption {
	text := cel.StringType
	return []cel.EnvOption{
		cel.Function(headerFunction,
			cel.Overload("header_string", []*cel.Type{text}, text, cel.LateFunctionBinding())),
		cel.Function(headersFunction,
			cel.Overload("headers_string", []*cel.Type{text}, stringList, cel.LateFunctionBinding())),
		cel.Function("glob",
			cel.Overload("glob_string_string", []*cel.Type{text, text}, cel.BoolType,
				cel.BinaryBinding(func(s, pattern ref.Val) ref.Val {
					return types.Bool(glob(string(s.(types.String)), string(pattern.(types.String))))
				}))),
		cel.Function("domain",
			cel.Overload("domain_string", []*cel.Type{text}, text,
				cel.UnaryBinding(func(address ref.Val) ref.Val {
					return types.String(Domain(string(address.(types.String))))
				}))),
		cel.Function(inNetworkFunction,
			cel.Overload("in_network_string_string", []*cel.Type{text, text}, cel.BoolType,
				cel.BinaryBinding(func(address, network ref.Val) ref.Val {
					prefix, err := parseNetwork(string(network.(types.String)))
					if err != nil {
						return types.WrapErr(err)
					}
					addr, err := netip.ParseAddr(string(address.(types.String)))
					if err != nil {
						return types.False // what is no address lies in no network
					}
					return types.Bool(prefix.Contains(addr.Unmap().WithZone("")))
				}))),
	}
}

// inGroup makes in_group(recipient, 'x') another way to write
// 'x' in recipient.groups.
func inGroup() cel.Macro {
	return cel.GlobalMacro(inGroupFunction, 2, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		if args[0].Kind() != ast.IdentKind || objectTypes[strings.TrimPrefix(args[0].AsIdent(), ".")] != personType {
			return nil, f.NewError(args[0].ID(), "the first argument of in_group is recipient or sender")
		}
		return f.NewCall(operators.In, args[1], f.NewSelect(args[0], "groups")), nil
	})
}

// functionCosts prices our functions for conditions with loops; without it CEL
// takes each call as one step however long the text is.
func functionCosts() []cost.TrackerOption {
	length := func(v ref.Val) uint64 {
		s, _ := v.(types.String)
		return uint64(len(s))
	}
	price := func(overload string, of func(args []ref.Val) uint64) cost.TrackerOption {
		return cost.OverloadTracker(overload, func(args []ref.Val, _ ref.Val) *uint64 {
			n := 1 + of(args)
			return &n
		})
	}
	// CEL counts a tenth of a unit for each byte looked at.
	reads := func(args []ref.Val) uint64 { return length(args[0]) / 10 }
	return []cost.TrackerOption{
		price("glob_string_string", func(args []ref.Val) uint64 { return length(args[0]) * (1 + length(args[1])/10) / 10 }),
		price("domain_string", reads),
		price("in_network_string_string", reads),
	}
}

// parseNetwork reads a prefix, or a single address as the network of itself.
func parseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network: write one like 10.0.0.0/8 or 2001:db8::/32", s)
	}
	if prefix.Masked() != prefix {
		return netip.Prefix{}, fmt.Errorf("%q has bits set beyond its length: did you mean %s?", s, prefix.Masked())
	}
	return prefix, nil
}

// glob matches the whole of s against a pattern of * and ?, ignoring case.
// It goes back only to the last *, so it takes at most len(s)*len(pattern) steps.
func glob(s, pattern string) bool {
	s, pattern = strings.ToLower(s), strings.ToLower(pattern)
	star, retry := -1, 0
	i, j := 0, 0
	for i < len(s) {
		if j < len(pattern) && pattern[j] == '*' {
			star, retry = j, i
			j++
			continue
		}
		if j < len(pattern) && pattern[j] == '?' {
			_, n := utf8.DecodeRuneInString(s[i:])
			i, j = i+n, j+1
			continue
		}
		if j < len(pattern) && pattern[j] == s[i] {
			i, j = i+1, j+1
			continue
		}
		if star < 0 {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[retry:])
		retry += n
		i, j = retry, star+1
	}
	return strings.Trim(pattern[j:], "*") == ""
}
