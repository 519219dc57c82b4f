package dir

// The settings of a folder.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Config describes a folder of this machine, on a disk of its own or mounted
// from a file server, as a target.
type Config struct {
	// Base is the folder that the paths of the target start in. It must exist: it
	// is never made, as it may be the place of a volume that is not mounted.
	Base string `yaml:"base"`

	// Marker is the name of a file or folder in base that must be there whenever
	// something is put. Make one on a mounted volume: a volume that is not mounted
	// is then noticed also where an empty folder lies under it. Empty: no check.
	Marker string `yaml:"marker"`

	// Staging is the name of the folder in base in which files are prepared. It is
	// made when missing, readable by our account only. It begins with a dot so
	// that people do not see it, and must be on the file system of base.
	Staging string `yaml:"staging"`

	// FileMode is the mode of files, in octal and quotes, whatever the umask. A file in a
	// folder with the set-group-ID bit gets the group of that folder, where we
	// may give it away.
	FileMode string `yaml:"file_mode"`

	// DirMode is the mode of folders that are made, as file_mode, such as "2770" to
	// hand down the group.
	// A set-group-ID bit that they inherit stays.
	DirMode string `yaml:"dir_mode"`

	// Verify is what is checked before a file gets its name: content reads it
	// back from the disk or file server and compares its SHA-256, size only looks
	// how large it is.
	Verify string `yaml:"verify"`

	// Move is how a file gets its name: atomic never replaces a file, and stops
	// the target where the file system can neither rename without replacing nor
	// link. checked looks first and then renames: a file that somebody else makes
	// under the same name in that moment is replaced. Use it only where nobody
	// else writes.
	Move string `yaml:"move"`

	// Connections is how many files are read or written at a time.
	Connections int `yaml:"connections"`

	// Timeout is how long the file system may take for one step, such as a write
	// or the sync of a file, before the target counts as out of order.
	Timeout time.Duration `yaml:"timeout"`
}

// What is verified.
const (
	verifyContent = "content"
	verifySize    = "size"
)

// How files get their names.
const (
	moveAtomic  = "atomic"
	moveChecked = "checked"
)

// Limits of the settings.
const (
	minTimeout     = time.Second // a disk that wakes up takes longer
	maxTimeout     = time.Hour
	maxConnections = 256 // each may hold a thread that waits for the disk
	maxName        = 255 // bytes of a name, NAME_MAX of Linux
	// ownerAccess is what we need ourselves: to write and to verify.
	ownerAccess = 0o600
	maxFileMode = 0o777
	maxDirMode  = 0o3777 // with the set-group-ID and the sticky bit
)

// DefaultConfig fits a local disk and NFS once base is set.
func DefaultConfig() Config {
	return Config{
		Staging:     ".cloakroom-upload",
		FileMode:    "0640",
		DirMode:     "0750",
		Verify:      verifyContent,
		Move:        moveAtomic,
		Connections: 4,
		Timeout:     5 * time.Minute, // the sync of a large file on a slow file server
	}
}

// Resolve gives the settings with paths that start at folder where they are
// relative.
func (c Config) Resolve(folder string) Config {
	if c.Base != "" && !filepath.IsAbs(c.Base) {
		c.Base = filepath.Join(folder, c.Base)
	}
	return c
}

// Validate tells the settings that cannot work; each error begins with its key.
// Files are not looked at.
func (c Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Base == "" {
		fail("base: is required: the folder that paths start in")
	}
	if err := hiddenName(c.Staging); err != nil {
		fail("staging: %w", err)
	}
	if c.Marker != "" && !oneName(c.Marker) {
		fail("marker: %q is not a name in base", c.Marker)
	}
	if _, err := parseMode(c.FileMode, maxFileMode, ownerAccess); err != nil {
		fail("file_mode: %w", err)
	}
	if _, err := parseMode(c.DirMode, maxDirMode, ownerAccess|0o100); err != nil {
		fail("dir_mode: %w", err)
	}
	if c.Verify != verifyContent && c.Verify != verifySize {
		fail("verify: %q is not known; write %s or %s", c.Verify, verifyContent, verifySize)
	}
	if c.Move != moveAtomic && c.Move != moveChecked {
		fail("move: %q is not known; write %s or %s", c.Move, moveAtomic, moveChecked)
	}
	if c.Connections < 1 || c.Connections > maxConnections {
		fail("connections: %d is not between 1 and %d", c.Connections, maxConnections)
	}
	if c.Timeout < minTimeout || c.Timeout > maxTimeout {
		fail("timeout: %v is not between %v and %v", c.Timeout, minTimeout, maxTimeout)
	}
	return errors.Join(errs...)
}

// CheckFiles looks at the folder; each error begins with its key. A volume may
// be mounted later: what is wrong here is not wrong for ever.
func (c Config) CheckFiles() error {
	if c.Base == "" {
		return nil // Validate says so
	}
	info, err := os.Stat(c.Base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("base: %w; make the folder, or mount it", err)
	case err != nil:
		return fmt.Errorf("base: %w", err)
	case !info.IsDir():
		return fmt.Errorf("base: %s is not a folder", c.Base)
	}
	if c.Marker != "" {
		if _, err := os.Lstat(filepath.Join(c.Base, c.Marker)); err != nil {
			return fmt.Errorf("marker: %w; is the volume mounted?", err)
		}
	}
	return nil
}

func oneName(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.ContainsAny(name, "/\x00") && len(name) <= maxName
}

func hiddenName(name string) error {
	if !oneName(name) || !strings.HasPrefix(name, ".") {
		return fmt.Errorf("%q is not the name of a hidden folder, such as .cloakroom-upload", name)
	}
	return nil
}

// parseMode reads an octal mode up to most that includes the bits of least. YAML
// gives 0640 without quotes as 416: no such number is a mode that lets the owner
// in, so it is refused.
func parseMode(text string, most, least uint32) (uint32, error) {
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || uint32(mode) > most {
		return 0, fmt.Errorf("%q is not a mode; write it in quotes, such as \"0750\"", text)
	}
	if uint32(mode)&least != least {
		return 0, fmt.Errorf("%q leaves us out, the owner needs %#o; write it in quotes, such as \"0750\"", text, least)
	}
	return uint32(mode), nil
}
