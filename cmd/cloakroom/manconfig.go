package main

// cloakroom.yaml(5): the page about the configuration, made from what the
// program knows about its keys.

import (
	"strings"

	"cloakroom/internal/config"
	"cloakroom/internal/roff"
	"cloakroom/policy"
)

const configIntro = `One YAML file configures everything. It is read strictly: an unknown key, a key given twice or
a value of the wrong type is an error, and nothing starts with an error in it.
cloakroom config check reports every mistake with line and column, cloakroom config show prints
what is in effect, and cloakroom config example writes a file to start from.

A relative path starts at the folder of this file. No key takes a secret: secrets are in files of
their own, and the configuration names the file.`

const configCredentials = `The service of the package is given each file of /etc/cloakroom/secrets, which only root can
read, as /run/credentials/cloakroom.service/secrets_FILE. A key of this file that takes the name
of a secret's file can name that, for instance in a target of the vault:

  password_file: /run/credentials/cloakroom.service/secrets_vault.password

These files are there while the service runs, for it and for root.`

func configPage() (string, error) {
	keys, err := config.Keys()
	if err != nil {
		return "", err
	}
	p := roff.New("cloakroom.yaml", 5, "cloakroom "+thisBuild().Version, manual)
	p.Name("cloakroom.yaml", "configuration of cloakroom")
	p.Section("Synopsis")
	p.Text(config.DefaultPath)
	p.Section("Description")
	p.Text(configIntro)
	p.Section("Values")
	p.Term("duration", "A number with its unit, ms, s, m, h or d: 90s, 15m, 12h, 90d, 1h30m. A day is 24 hours.")
	p.Term("size", "Bytes, or a number with KB, MB, GB or TB, which are powers of 1,024: 256KB, 10MB, 1.5GB.")
	p.Term("network", "192.0.2.0/24, 2001:db8::/32, or one address.")
	p.Term("file mode", "Octal, such as 0660.")
	p.Section("Keys")
	p.Text("\"Reload\" marks those whose change takes effect when the daemon gets SIGHUP.")
	for _, k := range keys {
		p.Term(k.Path, keyText(k))
	}
	p.Section("Conditions")
	p.Text("A condition is an expression in CEL, the Common Expression Language. Besides the operators, functions and macros of CEL it may name:")
	for _, fact := range policy.Vocabulary() {
		p.Term(fact.Name, fact.Type+". "+plain(fact.Doc))
	}
	p.Section("Secrets")
	p.Text(configCredentials)
	p.Section("See also")
	p.Text("cloakroom(1), cloakroom-config-check(1), cloakroom-policy-explain(1)")
	return p.String(), nil
}

// keyText is the type of a key, its default, and what it means.
func keyText(k config.Key) string {
	facts := []string{k.Type}
	switch {
	case k.Required:
		facts = append(facts, "required")
	case k.Default != "":
		facts = append(facts, "default "+k.Default)
	}
	if k.Reload {
		facts = append(facts, "reload")
	}
	text := strings.Join(facts, ", ")
	text = strings.ToUpper(text[:1]) + text[1:] + "."
	if k.Doc != "" {
		text += "\n\n" + plain(k.Doc)
	}
	return text
}

// plain takes the marks of code out of a text.
func plain(text string) string { return strings.ReplaceAll(text, "`", "") }
