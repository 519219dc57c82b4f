package milter

// The milter section of the configuration.

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"
)

// Config says where MTAs connect and how long they may take.
type Config struct {
	// Where the MTA connects: inet:HOST:PORT, inet:PORT@HOST (as the MTAs write
	// it), inet6:… likewise, or unix:/PATH. The protocol has no authentication:
	// never listen where others than the MTA can connect.
	Listen string `yaml:"listen"`

	// Permissions of the UNIX socket, in octal. The MTA's user must be able to
	// write to it: put it into the socket's group, or choose 0666 in a folder
	// that only it can enter.
	SocketMode string `yaml:"socket_mode"`

	// How many MTA connections are served at a time. More wait for up to 5 s and
	// are then closed: the MTA does what it does without a milter (Postfix:
	// milter_default_action). An MTA holds one connection for each SMTP session,
	// so this should be no less than the number of SMTP sessions it admits. An
	// idle connection takes about 15 KB.
	MaxConnections int `yaml:"max_connections"`

	// How long an MTA may say nothing before its connection is closed. The
	// silence is that of the SMTP client, so it should be no shorter than the
	// MTA's own limit (Postfix: 5m, Sendmail: 1h).
	IdleTimeout time.Duration `yaml:"idle_timeout"`

	// How long one message may take from MAIL FROM to the answer. It covers the
	// time in which a slow SMTP client sends its data.
	MessageTimeout time.Duration `yaml:"message_timeout"`
}

// Limits of the settings.
const (
	minTimeout     = time.Second // shorter ones break every session
	maxConnections = 100_000     // beyond any file descriptor limit in use
)

// DefaultConfig fits one MTA on the same host.
func DefaultConfig() Config {
	return Config{
		Listen:         "inet:127.0.0.1:8891",
		SocketMode:     "0660",
		MaxConnections: 512,
		IdleTimeout:    time.Hour,
		MessageTimeout: 2 * time.Hour,
	}
}

// Validate tells the first setting that cannot work; the error begins with its
// key.
func (c Config) Validate() error {
	if _, err := parseListen(c.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if _, err := c.socketMode(); err != nil {
		return fmt.Errorf("socket_mode: %w", err)
	}
	if c.MaxConnections < 1 || c.MaxConnections > maxConnections {
		return fmt.Errorf("max_connections: %d is not between 1 and %d", c.MaxConnections, maxConnections)
	}
	if c.IdleTimeout < minTimeout {
		return fmt.Errorf("idle_timeout: %v is shorter than %v", c.IdleTimeout, minTimeout)
	}
	if c.MessageTimeout < minTimeout {
		return fmt.Errorf("message_timeout: %v is shorter than %v", c.MessageTimeout, minTimeout)
	}
	return nil
}

func (c Config) socketMode() (fs.FileMode, error) {
	n, err := strconv.ParseUint(c.SocketMode, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("%q is not an octal file mode such as 0660", c.SocketMode)
	}
	if n&0o222 == 0 {
		return 0, errors.New("nobody could connect: a socket needs write permission")
	}
	return fs.FileMode(n), nil
}
