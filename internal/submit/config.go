package submit

// The submit section of the configuration.

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"
)

// How the connection is protected.
const (
	tlsAuto     = "auto"
	tlsNone     = "none"
	tlsRequired = "starttls"
)

// Config says how we send mail ourselves.
type Config struct {
	// HOST:PORT of the MTA that takes our own mail: re-injected copies, codes
	// and notices. Best a service of the same MTA that has no milter of ours and
	// accepts connections from this host only. Empty: no mail is sent.
	SMTP string `yaml:"smtp"`

	// The address that codes for links and receipts come from. Replies go there.
	// Default: postmaster at the first of domains.
	From string `yaml:"from"`

	// Whether the connection is encrypted: starttls (and the certificate is
	// verified), none, or auto, which is none on a loopback address and
	// starttls otherwise.
	TLS string `yaml:"tls"`

	// The name in the MTA's certificate, where it is not the host of smtp.
	ServerName string `yaml:"server_name"`

	// A file with the certificates, in PEM, that the MTA's is verified with,
	// instead of the system's.
	CAFile string `yaml:"ca_file"`

	// The user as which we authenticate (SASL PLAIN); empty: not at all.
	User string `yaml:"user"`

	// The file whose first line is the password of user. It is read for each
	// connection.
	PasswordFile string `yaml:"password_file"`

	// How long connecting may take.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`

	// How long the MTA may take to answer a command, or to take the next piece
	// of a message.
	CommandTimeout time.Duration `yaml:"command_timeout"`

	// How long the MTA may take to answer to a whole message, which covers its
	// content filters. Too short a time sends mail twice.
	MessageTimeout time.Duration `yaml:"message_timeout"`
}

const (
	minTimeout     = time.Second // shorter ones break sessions on a busy host
	minFinal       = time.Minute // the same, for the whole message
	maxTimeout     = time.Hour
	minSubmitPort  = 1
	maxSubmitPort  = 65535
	defaultConnect = 30 * time.Second
	// RFC 5321, 4.5.3.2: five minutes for commands, ten after the final dot.
	defaultCommand = 5 * time.Minute
	defaultMessage = 10 * time.Minute
)

// DefaultConfig sends nothing until smtp is set.
func DefaultConfig() Config {
	return Config{TLS: tlsAuto, ConnectTimeout: defaultConnect, CommandTimeout: defaultCommand, MessageTimeout: defaultMessage}
}

// Validate tells the first setting that cannot work; the error begins with its
// key. Files are not looked at.
func (c Config) Validate() error {
	if c.SMTP != "" {
		host, port, err := net.SplitHostPort(c.SMTP)
		if err != nil || host == "" {
			return fmt.Errorf("smtp: %q is not HOST:PORT, such as 127.0.0.1:10026", c.SMTP)
		}
		if n, err := strconv.Atoi(port); err != nil || n < minSubmitPort || n > maxSubmitPort {
			return fmt.Errorf("smtp: %q is not a port between %d and %d", port, minSubmitPort, maxSubmitPort)
		}
	}
	if parsed, err := mail.ParseAddress(c.From); c.From != "" && (err != nil || parsed.Address != c.From) {
		return fmt.Errorf("from: %q is not an address such as postmaster@example.com, without a name", c.From)
	}
	switch c.TLS {
	case tlsAuto, tlsNone, tlsRequired:
	default:
		return fmt.Errorf("tls: %q is none of %s, %s, %s", c.TLS, tlsAuto, tlsNone, tlsRequired)
	}
	if !c.encrypted() && (c.CAFile != "" || c.ServerName != "") && c.SMTP != "" {
		return fmt.Errorf("tls: ca_file and server_name have no use without encryption; set tls: %s", tlsRequired)
	}
	if (c.User == "") != (c.PasswordFile == "") {
		return errors.New("user: user and password_file go together")
	}
	if c.User != "" && !c.encrypted() && !c.loopback() && c.SMTP != "" {
		return errors.New("user: a password would go over the network in the clear; set tls: " + tlsRequired)
	}
	for _, t := range []struct {
		key      string
		value    time.Duration
		shortest time.Duration
	}{{"connect_timeout", c.ConnectTimeout, minTimeout}, {"command_timeout", c.CommandTimeout, minTimeout}, {"message_timeout", c.MessageTimeout, minFinal}} {
		if t.value < t.shortest || t.value > maxTimeout {
			return fmt.Errorf("%s: %v is not between %v and %v", t.key, t.value, t.shortest, maxTimeout)
		}
	}
	return nil
}

// Resolve gives the settings with paths that start at folder where they are
// relative.
func (c Config) Resolve(folder string) Config {
	for _, path := range []*string{&c.CAFile, &c.PasswordFile} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
	return c
}

func (c Config) encrypted() bool {
	return c.TLS == tlsRequired || c.TLS == tlsAuto && !c.loopback()
}

func (c Config) loopback() bool {
	host, _, _ := net.SplitHostPort(c.SMTP)
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
