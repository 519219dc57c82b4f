package backup

// What a generation says of itself.

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloakroom/sisa/blob"
)

// Manifest says what a generation has.
type Manifest struct {
	Generation string    `json:"generation"`
	Version    string    `json:"version"` // of the program that made it
	Hostname   string    `json:"hostname"`
	Data       string    `json:"data"` // the folder that was saved
	Begun      time.Time `json:"begun"`
	Ended      time.Time `json:"ended"`
	Files      []File    `json:"files"` // all but this one
	Blobs      int64     `json:"blobs"`
	Bytes      int64     `json:"bytes"` // of them
	// Missing and Damaged are files of the pool that were not there, or were not
	// what their names say, when they were to be copied.
	Missing []string `json:"missing,omitempty"`
	Damaged []string `json:"damaged,omitempty"`
}

// File is one file of a generation.
type File struct {
	Name   string `json:"name"` // with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Whole tells whether everything was there that was to be saved.
func (m *Manifest) Whole() bool { return len(m.Missing)+len(m.Damaged) == 0 }

// file finds a file by its name; nil for none.
func (m *Manifest) file(name string) *File {
	i := slices.IndexFunc(m.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &m.Files[i]
}

// Manifest reads what a generation says of itself; "" is the newest one.
func (f *Folder) Manifest(generation string) (*Manifest, error) {
	all, err := f.Generations()
	if err != nil {
		return nil, err
	}
	if generation == "" && len(all) > 0 {
		generation = all[len(all)-1]
	}
	if !slices.Contains(all, generation) {
		return nil, fmt.Errorf("%w: %s in %s", ErrNone, cmp.Or(generation, "none at all"), f.path)
	}
	text, err := os.ReadFile(f.Path(generation, manifestName))
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", generation, err)
	}
	m := new(Manifest)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("backup %s: %s: %w", generation, manifestName, err)
	}
	return m, nil
}

// finish writes the manifest, the sums for sha256sum(1), and the generation's own
// name.
func (f *Folder) finish(part string, m *Manifest, blobs []blob.Ref) error {
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	sums := new(bytes.Buffer)
	for _, one := range m.Files {
		fmt.Fprintf(sums, "%s  %s/%s/%s\n", one.SHA256, generationsName, m.Generation, one.Name)
	}
	for _, ref := range blobs {
		name := hex.EncodeToString(ref.SHA256[:])
		fmt.Fprintf(sums, "%s  %s/%s/%s\n", name, blobsName, name[:2], name)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = writeFile(filepath.Join(part, sumsName), sums.Bytes())
	}
	if err == nil {
		err = writeFile(filepath.Join(part, manifestName), append(text, '\n'))
	}
	if err == nil {
		err = errors.Join(syncDir(filepath.Join(part, JournalName)), syncDir(part))
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return rename(part, f.Path(m.Generation))
}

// writeBlobs writes the list of a generation's files in the pool.
func writeBlobs(path string, refs []blob.Ref) (File, error) {
	var b bytes.Buffer
	for _, ref := range refs {
		fmt.Fprintf(&b, "%x %d\n", ref.SHA256, ref.Size)
	}
	return File{blobsName, int64(b.Len()), sumOf(b.Bytes())}, writeFile(path, b.Bytes())
}

// Blobs reads the list of a generation's files in the pool.
func (f *Folder) Blobs(generation string) (refs []blob.Ref, err error) {
	file, err := os.Open(f.Path(generation, blobsName))
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", generation, err)
	}
	defer file.Close()
	in := bufio.NewScanner(file)
	for in.Scan() {
		name, size, _ := strings.Cut(in.Text(), " ")
		raw, err := hex.DecodeString(name)
		n, numErr := strconv.ParseInt(size, 10, 64)
		if err != nil || numErr != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("backup %s: %s: line %q", generation, blobsName, in.Text())
		}
		refs = append(refs, blob.Ref{SHA256: [32]byte(raw), Size: n})
	}
	return refs, in.Err()
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// hashFile reads at most limit bytes of a file; below zero all of them.
func hashFile(path string, limit int64) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	var in io.Reader = f
	if limit >= 0 {
		in = io.LimitReader(f, limit)
	}
	h := sha256.New()
	n, err := io.Copy(h, in)
	return File{Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}
