package config

// What the options of link rules rely on: mail of our own for codes and notices,
// and the files with passwords' hashes, read together with the configuration.

import (
	"bytes"
	"fmt"
	"path/filepath"

	"cloakroom/policy"
	"cloakroom/sisa"
)

// linkNeeds checks that what a link rule promises can be done.
func (c *checker) linkNeeds(rule string, o policy.LinkOptions) {
	if c.cfg.Submit.SMTP != "" {
		return
	}
	const needs = "needs `submit.smtp`: without an MTA that takes our own mail "
	if o.AsksRecipients() {
		c.fail(rule+".link.access", needs+"no code can be sent, and nobody could open the link")
	}
	if o.Notify {
		c.fail(rule+".link.notify", needs+"no sender can be told")
	}
}

// startsFirst refuses rules whose links would need our own mail before a daemon
// can send any: nobody could open them until its next start.
func startsFirst(running, next *Config) error {
	if running.Submit.SMTP != "" {
		return nil
	}
	for i := range next.Rules {
		link := next.Rules[i].Link
		if link == nil || link.Keep || !link.Options.AsksRecipients() && !link.Options.Notify {
			continue
		}
		key := "access"
		if !link.Options.AsksRecipients() {
			key = "notify"
		}
		return fmt.Errorf("rules[%d].link.%s (%q) needs submit.smtp, which was not set when the daemon started and takes effect at its next start: restart it (systemctl restart cloakroom), "+
			"which brings all of the file into force", i, key, next.Rules[i].Name)
	}
	return nil
}

// resolveRules makes the paths in rules start at folder.
func (c *Config) resolveRules(folder string) {
	for i := range c.Rules {
		if link := c.Rules[i].Link; link != nil && link.Options.PasswordFile != "" && !filepath.IsAbs(link.Options.PasswordFile) {
			link.Options.PasswordFile = filepath.Join(folder, link.Options.PasswordFile)
		}
	}
}

// linkPasswords reads the files that link rules name, once their paths are known.
func (c *checker) linkPasswords() {
	for i := range c.cfg.Rules {
		link, key := c.cfg.Rules[i].Link, fmt.Sprintf("rules[%d].link.password_file", i)
		if link == nil || link.Options.PasswordFile == "" || c.failed(key) {
			continue
		}
		content, err := readSecret(link.Options.PasswordFile)
		if err == nil {
			content, _, _ = bytes.Cut(content, []byte("\n"))
			content = bytes.TrimSpace(content)
			if err = sisa.CheckPasswordHash(string(content)); err != nil {
				err = fmt.Errorf("%s: its first line %w; write what `cloakroom links password` prints", link.Options.PasswordFile, err)
			}
		}
		if err != nil {
			c.fail(key, "%v", err)
			continue
		}
		if c.cfg.passwords == nil {
			c.cfg.passwords = make(map[string]string)
		}
		c.cfg.passwords[link.Options.PasswordFile] = string(content)
	}
}
