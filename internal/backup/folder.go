// Package backup keeps copies of a data folder in another one: of each run the
// database, the journal, the secret and the configuration, and one pool of files
// that all runs share.
//
//	DIR/CLOAKROOM-BACKUP           says what the folder is
//	DIR/blobs/ab/abcdef…           every file once, named by its SHA-256
//	DIR/forgotten                  the mails that are not to come back
//	DIR/generations/20261128T130105Z/
//	        cloakroom.db  journal/  secret  cloakroom.yaml  blobs  SHA256SUMS  manifest.json
//
// A generation grows under a name that ends in ".part" and gets its own name when
// all of it is on disk: one that is there is whole.
package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What is in a backup folder.
const (
	markerName      = "CLOAKROOM-BACKUP"
	blobsName       = "blobs"
	generationsName = "generations"
	forgottenName   = "forgotten"
	lockName        = "lock"
	partSuffix      = ".part"
	oldSuffix       = ".old"
)

// What is in a generation, besides blobsName: the list of its files in the pool.
const (
	DatabaseName = "cloakroom.db"
	JournalName  = "journal"
	SecretName   = "secret"
	ConfigName   = "cloakroom.yaml"
	manifestName = "manifest.json"
	sumsName     = "SHA256SUMS"
)

// nameLayout is how a generation is called: when it was begun, in UTC.
const nameLayout = "20060102T150405Z"

const marker = `A backup of Cloakroom, format 1, made by "cloakroom backup". Give it back with "cloakroom restore".
It has attachments, addresses and the secret in clear: keep it where the data folder could be.
Check it without Cloakroom:  cd HERE && sha256sum --quiet -c generations/NAME/SHA256SUMS
`

// format is what the first line of the marker says.
const format = "A backup of Cloakroom, format 1,"

var (
	// ErrNotOurs is returned for a folder that has something else in it.
	ErrNotOurs = errors.New("the folder is not empty, and is no backup of Cloakroom")
	// ErrNewer is returned for a folder that a newer program wrote.
	ErrNewer = errors.New("the backup was made by a newer version")
	// ErrBusy is returned while another process writes into the folder.
	ErrBusy = errors.New("another backup runs into this folder")
	// ErrNone is returned where there is no such generation.
	ErrNone = errors.New("there is no such backup")
)

// Folder is an open backup folder.
type Folder struct {
	path string
	lock *os.File // nil: only for reading
}

// Create opens a folder to write into, and makes it where it is missing or empty.
// It is locked until Close, where the file system can do that.
func Create(path string) (*Folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("backup folder: %w", err)
	}
	switch err := checkMarker(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := begin(path); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	f := &Folder{path: path}
	var err error
	if f.lock, err = os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("backup folder: %w", err)
	}
	for {
		err = syscall.Flock(int(f.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.lock.Close()
		return nil, fmt.Errorf("%w: %s", ErrBusy, path)
	}
	return f, f.tidy() // a file system without locks is taken as it is
}

// Open opens a folder to read from.
func Open(path string) (*Folder, error) {
	err := checkMarker(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no backup of Cloakroom: it has no file %s", path, markerName)
	}
	if err != nil {
		return nil, err
	}
	return &Folder{path: path}, nil
}

// Close ends the lock.
func (f *Folder) Close() error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Close()
}

func checkMarker(path string) error {
	text, err := os.ReadFile(filepath.Join(path, markerName))
	switch {
	case err != nil:
		return err
	case !strings.HasPrefix(string(text), format):
		return fmt.Errorf("%w: %s", ErrNewer, path)
	}
	return nil
}

// begin makes an empty folder a backup folder. The marker comes last.
func begin(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("backup folder: %w", err)
	}
	for _, e := range entries {
		// What an earlier begin was cut off after, and what mkfs makes.
		if !slices.Contains([]string{blobsName, generationsName, "lost+found", "." + markerName}, e.Name()) {
			return fmt.Errorf("%w: %s", ErrNotOurs, path)
		}
	}
	for _, name := range []string{blobsName, generationsName} {
		if err := os.Mkdir(filepath.Join(path, name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("backup folder: %w", err)
		}
	}
	if err := writeFile(filepath.Join(path, "."+markerName), []byte(marker)); err != nil {
		return fmt.Errorf("backup folder: %w", err)
	}
	return rename(filepath.Join(path, "."+markerName), filepath.Join(path, markerName))
}

// tidy removes what runs that were cut off have left.
func (f *Folder) tidy() error {
	entries, err := os.ReadDir(filepath.Join(f.path, generationsName))
	if err != nil {
		return fmt.Errorf("backup folder: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), partSuffix) || strings.HasSuffix(e.Name(), oldSuffix) {
			if err := os.RemoveAll(filepath.Join(f.path, generationsName, e.Name())); err != nil {
				return fmt.Errorf("backup folder: %w", err)
			}
		}
	}
	return nil
}

// Generations lists the names of those that are whole, the oldest first.
func (f *Folder) Generations() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(f.path, generationsName))
	if err != nil {
		return nil, fmt.Errorf("backup folder: %w", err)
	}
	var out []string
	for _, e := range entries {
		if _, err := time.Parse(nameLayout, e.Name()); err == nil && e.IsDir() {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

// Path is where a file of a generation is.
func (f *Folder) Path(generation string, elements ...string) string {
	return filepath.Join(append([]string{f.path, generationsName, generation}, elements...)...)
}

// Dir is where the folder is.
func (f *Folder) Dir() string { return f.path }

// writeFile writes a file whole and syncs it.
func writeFile(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// rename gives a synced file its name, for good.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := syncDir(filepath.Dir(to)); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
