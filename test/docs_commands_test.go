package test

// All documents: each command of ours that they show exists, with the flags it is
// shown with; each piece of configuration is accepted; each parameter of Postfix
// is known to Postfix.

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"cloakroom/internal/testserver"
	"cloakroom/sisa"
)

// allDocuments are the documents that people write. docs/config.md is generated,
// and compared with the program elsewhere.
func allDocuments(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, name := range repositoryFiles(t, ".md") {
		if name != "docs/config.md" {
			out = append(out, name)
		}
	}
	if len(out) < 10 {
		t.Fatalf("only %v were found", out)
	}
	return out
}

// blocks lists the fenced blocks of a document, in lists too, and the indented
// ones, whose language is "indented".
func blocks(text string) (out []snippet) {
	var open *snippet
	indent, fence := "", ""
	before := "" // the line above
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimLeft(line, " ")
		switch {
		case open != nil && open.language != "indented":
			if strings.HasPrefix(trimmed, fence) {
				out, open = append(out, *open), nil
			} else {
				open.text += strings.TrimPrefix(line, indent) + "\n"
			}
		case strings.HasPrefix(trimmed, "```"):
			if open != nil {
				out = append(out, *open)
			}
			fence = "```"
			indent = line[:len(line)-len(trimmed)]
			open = &snippet{language: strings.TrimSpace(trimmed[3:]), line: i + 2}
		case open != nil && (strings.HasPrefix(line, "    ") || trimmed == ""):
			open.text += strings.TrimPrefix(line, "    ") + "\n"
		case open != nil:
			out, open = append(out, *open), nil
		case strings.HasPrefix(line, "    ") && strings.TrimSpace(before) == "":
			open = &snippet{language: "indented", text: line[4:] + "\n", line: i + 1}
		}
		before = line
	}
	if open != nil {
		out = append(out, *open)
	}
	return out
}

// ownCommands finds our commands in a line of a shell.
func ownCommands(line string) (out []string) {
	if at := strings.Index(line, " #"); at >= 0 {
		line = line[:at]
	}
	for _, part := range regexp.MustCompile(`&&|\|\||[|;<>]|\$\(`).Split(line, -1) {
		part = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(part), "sudo "))
		if part == "cloakroom" || strings.HasPrefix(part, "cloakroom ") {
			out = append(out, strings.TrimRight(part, ")\""))
		}
	}
	return out
}

var (
	inlineCommand = regexp.MustCompile("`(cloakroom [a-z][^`]*)`")
	flagPattern   = regexp.MustCompile(`(?:^|[\s\[])(--[a-z][a-z-]*)`)
)

// helps remembers what commands say of themselves.
type helps map[string]string

// of gives the help of the command that words begin with; "" if there is none.
func (h helps) of(t *testing.T, words []string) string {
	t.Helper()
	for n := min(len(words), 3); n > 0; n-- {
		path := strings.Join(words[:n], " ")
		if _, known := h[path]; !known {
			stdout, _, code := cloakroom(t, append(slices.Clone(words[:n]), "--help")...)
			if !regexp.MustCompile(`(?m)^\s+cloakroom `+regexp.QuoteMeta(path)+`( |$)`).MatchString(stdout) || code != 0 {
				stdout = ""
			}
			h[path] = stdout
		}
		if h[path] != "" {
			return h[path]
		}
	}
	return ""
}

// wrong says what is wrong with a command line; "" for nothing.
func (h helps) wrong(t *testing.T, command string) string {
	t.Helper()
	var words []string
	for _, w := range strings.Fields(command)[1:] {
		if w == "--config" && len(words) == 0 {
			continue
		}
		if !wordPattern.MatchString(w) {
			if len(words) == 0 && strings.HasSuffix(w, ".yaml") {
				continue // the file of --config
			}
			break
		}
		words = append(words, w)
	}
	if len(words) == 0 || words[0] == "help" {
		return ""
	}
	help := h.of(t, words)
	if help == "" {
		return "there is no such command"
	}
	// A group takes nothing but its commands.
	if strings.Contains(help, "Available Commands:") && len(words) > 1 && h[strings.Join(words[:min(len(words), 3)], " ")] == "" && h[strings.Join(words[:2], " ")] == "" {
		return "there is no such command"
	}
	for _, f := range flagPattern.FindAllStringSubmatch(command, -1) {
		if !regexp.MustCompile(`(?m)^\s+(-\w, )?` + f[1] + `\b`).MatchString(help) {
			return "it has no flag " + f[1]
		}
	}
	return ""
}

func TestDocumentsNameCommandsAndFlagsThatExist(t *testing.T) {
	known := helps{}
	checked := 0
	for _, name := range allDocuments(t) {
		text := mustRead(t, filepath.Join(root, name))
		var commands []string
		for _, s := range blocks(text) {
			for line := range strings.Lines(s.text) {
				commands = append(commands, ownCommands(strings.TrimSpace(line))...)
			}
		}
		for _, m := range inlineCommand.FindAllStringSubmatch(text, -1) {
			commands = append(commands, ownCommands(m[1])...)
		}
		for _, c := range commands {
			checked++
			if wrong := known.wrong(t, c); wrong != "" {
				t.Errorf("%s: %s: %s", name, c, wrong)
			}
		}
		checkLinks(t, name, text)
	}
	if checked < 80 {
		t.Errorf("only %d commands were found", checked)
	}
	for command, want := range map[string]bool{"cloakroom links list --newer 7d": true, "cloakroom links lsit": false, "cloakroom links list --nower 7d": false,
		"cloakroom --config c.yaml config check": true, "cloakroom frobnicate": false, "cloakroom vault test assets": true} {
		if (known.wrong(t, command) == "") != want {
			t.Errorf("%q is taken for right: %v", command, !want)
		}
	}
}

// fileKeys are keys whose value is a file that must be there.
var fileKeys = regexp.MustCompile(`\b(key_file|known_hosts|password_file|secret_file|srs_key_file|ca_file): *"?([^\s,}"]+)`)

// linkPassword is the hash of a link's password.
var linkPassword = sync.OnceValue(func() string {
	hash, err := sisa.HashPassword("five random words")
	if err != nil {
		panic(err)
	}
	return hash
})

// authority is a certificate that signs others.
func authority(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// topLevel begins a configuration, localFolder is a folder of this machine in it.
var (
	topLevel    = regexp.MustCompile(`^(?:hostname|domains|vault|rules|store|log|directory|coexistence|milter|web|admin|submit|notice): ?`)
	localFolder = regexp.MustCompile(`dir:\s+base: (/\S+)`)
)

// filesFor makes the files that a configuration names, in a folder, and gives the
// configuration that names them there.
func filesFor(t *testing.T, folder, config string) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return fileKeys.ReplaceAllStringFunc(config, func(line string) string {
		m := fileKeys.FindStringSubmatch(line)
		text := map[string]string{
			"key_file":      string(pem.EncodeToMemory(block)),
			"known_hosts":   "vault.acmecorp.com,vault.example.com " + string(ssh.MarshalAuthorizedKey(host)),
			"password_file": linkPassword() + "\n", // a password for others
			"secret_file":   strings.Repeat("5e", 32) + "\n",
			"srs_key_file":  strings.Repeat("57", 32) + "\n",
			"ca_file":       string(authority(t)),
		}[m[1]]
		file := filepath.Join(folder, filepath.Base(m[2]))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return m[1] + ": " + file
	})
}

func TestDocumentsShowConfigurationThatIsAccepted(t *testing.T) {
	checked := 0
	for _, name := range allDocuments(t) {
		for _, s := range blocks(mustRead(t, filepath.Join(root, name))) {
			// Those of documents are run with their cases by TestDocumentsShowWhatRuns,
			// but for what needs files.
			if s.language == "yaml" == slices.Contains(documents, name) || !topLevel.MatchString(s.text) {
				continue
			}
			checked++
			config := completed(s.text)
			if base := localFolder.FindStringSubmatch(config); base != nil {
				folder := t.TempDir()
				if m := regexp.MustCompile(`marker: (\S+)`).FindStringSubmatch(config); m != nil {
					if err := os.WriteFile(filepath.Join(folder, m[1]), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				config = strings.Replace(config, base[1], folder, 1)
			}
			if !strings.Contains("\n"+config, "\nrules:") {
				config += linkAll
			}
			_, file := configFolder(t, filesFor(t, t.TempDir(), config))
			if _, stderr, code := cloakroom(t, "--config", file, "config", "check"); code != 0 || stderr != "" {
				t.Errorf("%s:%d: exit code %d\n%s", name, s.line, code, stderr)
			}
		}
	}
	if checked < 7 {
		t.Errorf("only %d pieces of configuration were found", checked)
	}
}

// parameterLine is a line of main.cf, or one that is commented out.
var parameterLine = regexp.MustCompile(`^#?([a-z][a-z0-9_]*_[a-z0-9_]+) *= ?\S`)

func TestDocumentsNamePostfixParametersThatExist(t *testing.T) {
	known, err := testserver.PostfixParameters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	look := func(name, text string) {
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			m := parameterLine.FindStringSubmatch(line)
			if m == nil {
				m = regexp.MustCompile(`^postconf -e '?([a-z0-9_]+) *=`).FindStringSubmatch(line)
			}
			if m == nil {
				continue
			}
			if checked++; !known[m[1]] {
				t.Errorf("%s: Postfix has no parameter %s", name, m[1])
			}
		}
	}
	for _, name := range allDocuments(t) {
		for _, s := range blocks(mustRead(t, filepath.Join(root, name))) {
			if s.language != "yaml" {
				look(name, s.text)
			}
		}
	}
	examples, err := filepath.Glob(filepath.Join(root, "deploy/postfix/*.example"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range examples {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		look(filepath.Base(file), string(text))
	}
	if checked < 8 {
		t.Errorf("only %d parameters were found", checked)
	}
}
