package sftp

// Files that the configuration names: keys, passwords, known hosts.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const (
	// maxSecretFile bounds the size of a file with a key or password, in bytes:
	// an RSA key of 16,384 bits has 13 KB.
	maxSecretFile = 64 << 10
	// agentTimeout bounds the talk with an SSH agent, which is on this host but
	// may ask a human.
	agentTimeout = 30 * time.Second
)

// CheckFiles tells which of the files cannot be used; each error begins with the
// key of its setting. It does not connect to the server.
func (c Config) CheckFiles() error {
	var errs []error
	if c.KeyFile != "" {
		_, err := c.key()
		errs = append(errs, err)
	}
	if c.PasswordFile != "" {
		_, err := secretFile("password_file", c.PasswordFile)
		errs = append(errs, err)
	}
	if c.Agent != "" {
		_, done, err := c.agentKeys()
		if err == nil {
			done()
		}
		errs = append(errs, err)
	}
	if c.KnownHosts != "" {
		_, err := c.hostKeys()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// key reads key_file.
func (c Config) key() (ssh.Signer, error) {
	text, err := secretFile("key_file", c.KeyFile)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey([]byte(text + "\n"))
	var missing *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &missing) && c.KeyPassphraseFile == "":
		return nil, fmt.Errorf("key_passphrase_file: is required: %s has a passphrase", c.KeyFile)
	case errors.As(err, &missing):
		passphrase, err := secretFile("key_passphrase_file", c.KeyPassphraseFile)
		if err != nil {
			return nil, err
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(text+"\n"), []byte(passphrase))
		if err != nil {
			return nil, fmt.Errorf("key_passphrase_file: %s is not the passphrase of %s: %w", c.KeyPassphraseFile, c.KeyFile, err)
		}
		return signer, nil
	case err != nil:
		return nil, fmt.Errorf("key_file: %s holds no private key: %w", c.KeyFile, err)
	}
	return signer, nil
}

// agentKeys asks the agent for its keys. They sign as long as done is not called.
func (c Config) agentKeys() (keys []ssh.Signer, done func(), err error) {
	socket := c.Agent
	if socket == agentFromEnv {
		if socket = os.Getenv("SSH_AUTH_SOCK"); socket == "" {
			return nil, nil, errors.New("agent: there is none in the environment (SSH_AUTH_SOCK); write the path of its socket")
		}
	}
	conn, err := net.DialTimeout("unix", socket, agentTimeout)
	if err != nil {
		return nil, nil, fmt.Errorf("agent: %w", err)
	}
	fail := func(err error) ([]ssh.Signer, func(), error) {
		conn.Close()
		return nil, nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(agentTimeout)); err != nil {
		return fail(fmt.Errorf("agent: %w", err))
	}
	keys, err = agent.NewClient(conn).Signers()
	if err != nil {
		return fail(fmt.Errorf("agent: ask %s for its keys: %w", socket, err))
	}
	if len(keys) == 0 {
		return fail(fmt.Errorf("agent: %s has no keys: add one with ssh-add", socket))
	}
	return keys, func() { conn.Close() }, nil
}

// secretFile reads a file that only we should be able to read, without the line
// end at its end. Errors begin with key.
func secretFile(key, path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", key, err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: %s is not a file", key, path)
	case info.Mode().Perm()&0o007 != 0:
		return "", fmt.Errorf("%s: others can use %s (mode %v): chmod o= it", key, path, info.Mode().Perm())
	case info.Size() > maxSecretFile:
		return "", fmt.Errorf("%s: %s is longer than %d bytes", key, path, maxSecretFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%s: %s is empty", key, path)
	}
	return secret, nil
}

// answerWith gives the password to a server that asks one hidden question (PAM
// does), and nothing to one that asks more.
func answerWith(password string) ssh.KeyboardInteractiveChallenge {
	return func(_, _ string, questions []string, echos []bool) ([]string, error) {
		switch {
		case len(questions) == 0: // only told something
			return nil, nil
		case len(questions) == 1 && !echos[0]:
			return []string{password}, nil
		}
		return nil, fmt.Errorf("the server asks for more than a password: %q", questions)
	}
}
