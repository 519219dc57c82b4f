package config

// The configuration to start from: every key explained, what must be filled in
// filled with an example, everything else at its default and commented out.

import (
	"bytes"
	"fmt"
	"strings"
)

// exampleWidth is the line length of the comments, in characters.
const exampleWidth = 88

const exampleHead = `# The configuration of Cloakroom. Fill in hostname, domains and web.url, then run
# "cloakroom config check". Keys that are commented out show their defaults; remove
# the # to change one. Durations: 90s 15m 12h 90d. Sizes: 256KB 10MB (powers of 1,024).
`

// exampleRules are the rules that the example begins with: careful ones.
const exampleRules = `rules:
  # What people have to sign stays in the mail.
  - name: contracts stay in the mail
    if: attachment.name.matches(r'(?i)\bnda\b|contract') && direction == 'outbound'
    link: false

  # Large files become links. A link in mail to your own users never expires: the
  # stored file is then the only copy.
  - name: large files become links
    if: attachment.size > 5 * MB
    link: {}
`

// exampleTargets shows a target beside the default, which has none.
const exampleTargets = `  #
  #   targets:
  #     assets:
  #       sftp: {address: vault.example.com, user: cloakroom, key_file: vault.key, known_hosts: vault.hosts, base: spaces}
  #       path: "{space}/{yyyy}/{mm}/{name}"
  #targets: {}
`

// exampleCoexistence shows a route beside the default, which has none.
const exampleCoexistence = `#
#   coexistence:
#     - domain: example.com
#       alternate: gapps.example.com
#       group: gapps
#       gateways: {networks: [192.0.2.0/24], daemon: gapps-in}
#coexistence: []
`

// exampleValues stand for what only the admin knows.
func exampleValues() map[string]string {
	return map[string]string{
		"hostname": "mx.example.com",
		"domains":  "[example.com]",
		"web.url":  "https://files.example.com",
	}
}

// Example gives a configuration file that is complete: it passes Parse as it is.
func Example() ([]byte, error) {
	keys, err := Keys()
	if err != nil {
		return nil, err
	}
	values := exampleValues()
	var b bytes.Buffer
	b.WriteString(exampleHead)
	firstInSection := false
	for _, k := range keys {
		if strings.Contains(k.Path, "[]") || strings.Contains(k.Path, ".NAME") {
			continue // shown by an example of the whole list
		}
		depth := strings.Count(k.Path, ".")
		name := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
		indent := strings.Repeat("  ", depth)
		if !firstInSection {
			b.WriteByte('\n')
		}
		firstInSection = k.Section && !strings.Contains(k.Type, " of ")
		writeComment(&b, indent, k.Doc)
		value, fillIn := values[k.Path]
		switch {
		case k.Path == "rules":
			b.WriteString(exampleRules)
		case k.Path == "coexistence":
			b.WriteString(exampleCoexistence)
		case k.Path == "vault.targets":
			b.WriteString(exampleTargets)
		case fillIn:
			fmt.Fprintf(&b, "%s%s: %s\n", indent, name, value)
		case k.Section && depth == 0:
			fmt.Fprintf(&b, "%s%s:\n", indent, name)
		case k.Section:
			fmt.Fprintf(&b, "%s#%s:\n", indent, name)
		case k.Default == "":
			fmt.Fprintf(&b, "%s#%s: %s\n", indent, name, emptyValue(k.Type))
		default:
			fmt.Fprintf(&b, "%s#%s: %s\n", indent, name, k.Default)
		}
	}
	return b.Bytes(), nil
}

// emptyValue is how nothing is written for a key without a default.
func emptyValue(kind string) string {
	switch {
	case strings.HasPrefix(kind, "list"):
		return "[]"
	case strings.HasPrefix(kind, "section"):
		return "{}"
	}
	return `""`
}

// writeComment breaks a description into comment lines. Code marks are for
// Markdown and are left out.
func writeComment(b *bytes.Buffer, indent, text string) {
	for paragraph := range strings.SplitSeq(strings.ReplaceAll(text, "`", ""), "\n\n") {
		line := indent + "#"
		for word := range strings.FieldsSeq(paragraph) {
			if len([]rune(line))+1+len([]rune(word)) > exampleWidth {
				b.WriteString(line + "\n")
				line = indent + "#"
			}
			line += " " + word
		}
		if line != indent+"#" {
			b.WriteString(line + "\n")
		}
	}
}
