package config

// docs/config.md: every key with its type, default and description.

import (
	"bytes"
	"fmt"
	"strings"

	"cloakroom/policy"
)

const markdownHead = `# The configuration file

<!-- Generated from the program by "go generate ./internal/config". Do not edit. -->

Cloakroom reads one YAML file, /etc/cloakroom/cloakroom.yaml unless --config or the environment
variable CLOAKROOM_CONFIG names another. "cloakroom config example" writes one to start from,
"cloakroom config check" reports every mistake in it with line and column, and
"cloakroom config show" prints what is in effect, defaults filled in.

The file is read strictly: an unknown key, a key given twice or a value of the wrong type is an
error, and nothing starts with an error in it.

How values are written:

- **duration**: a number with its unit, ms, s, m, h or d: ` + "`90s`, `15m`, `12h`, `90d`, `1h30m`" + `. A day is 24 hours.
- **size**: bytes, or a number with KB, MB, GB or TB: ` + "`256KB`, `10MB`, `1.5GB`" + `. Units are powers of 1,024.
- **network**: ` + "`192.0.2.0/24`, `2001:db8::/32`" + `, or one address.
- **file mode**: octal, such as ` + "`0660`" + `.
- **text**: anything; put it into quotes where YAML would read something else.

A relative path starts at the folder of the configuration file. No key takes a secret: secrets are in
files of their own, and the configuration names the file.

A key marked *reload* takes effect when the daemon gets SIGHUP, for the mails that begin
afterwards. Every other change waits for a restart; a reload names the keys concerned.
`

const markdownTail = `
## What it does not do

- There is one file: no includes, no variables, no environment values inside it.
- YAML anchors, aliases, merge keys and tags are refused.
- A running daemon never writes the file.
`

// Markdown gives the text of docs/config.md.
func Markdown() ([]byte, error) {
	keys, err := Keys()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(markdownHead)
	b.WriteString("\n## Top level\n")
	for _, k := range keys {
		if k.Section && !strings.Contains(k.Path, ".") {
			fmt.Fprintf(&b, "\n## %s\n\n", k.Path)
			b.WriteString(facts(k))
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s", k.Path, facts(k))
	}
	b.WriteString(vocabulary())
	b.WriteString(markdownTail)
	return b.Bytes(), nil
}

const vocabularyHead = `
## What a condition may name

A condition is an expression in CEL, the Common Expression Language: ` + "`==` `!=` `<` `>` `&&` `||` `!` `in`" + `,
brackets, ` + "`text.contains('x')`, `text.startsWith('x')`, `text.endsWith('x')`, `list.exists(x, …)`, `list.all(x, …)`, `size(list)`" + `
and these:

| name | type | what it is |
|---|---|---|
`

// vocabulary lists the facts and functions of conditions.
func vocabulary() string {
	var b strings.Builder
	b.WriteString(vocabularyHead)
	for _, f := range policy.Vocabulary() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Type, strings.ReplaceAll(f.Doc, "|", `\|`))
	}
	return b.String()
}

func facts(k Key) string {
	facts := []string{k.Type}
	switch {
	case k.Required:
		facts = append(facts, "required")
	case k.Default != "":
		facts = append(facts, "default `"+k.Default+"`")
	}
	if k.Reload {
		facts = append(facts, "*reload*")
	}
	text := strings.Join(facts, ", ")
	if k.Doc != "" {
		text += "\n\n" + k.Doc
	}
	return text + "\n"
}
