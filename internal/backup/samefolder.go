package backup

// Whether a folder of backups is that of a data folder: those of an empty one, in
// the place of one that was lost, would push the good ones out.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cloakroom/internal/db"
)

// ErrOtherFolder is returned where the generations are of another data folder.
var ErrOtherFolder = errors.New("the backups there are of another data folder")

// sameFolder compares the data folder with a generation by what it has for good:
// its secret, unless that lies elsewhere, and its journal.
func (r *run) sameFolder(ctx context.Context, generation string) error {
	is, err := os.ReadFile(r.src.Secret)
	if err != nil {
		return fmt.Errorf("backup: the secret: %w", err)
	}
	was, err := os.ReadFile(r.f.Path(generation, SecretName))
	if err == nil && len(was) > 0 && !bytes.Equal(bytes.TrimSpace(is), bytes.TrimSpace(was)) {
		return fmt.Errorf("%w: %s was made with another secret than %s has", ErrOtherFolder, generation, r.src.Data)
	}
	same, err := r.sameJournal(ctx, generation)
	if err == nil && !same {
		err = fmt.Errorf("%w: nothing of the journal in %s is in %s", ErrOtherFolder, generation, r.src.Data)
	}
	return err
}

// sameJournal tells whether a generation and the data folder have something of a
// journal in common. One segment is enough: after a restore of an older generation
// it goes on with others. So is one that the database has, and that was lost since.
func (r *run) sameJournal(ctx context.Context, generation string) (bool, error) {
	have, err := db.Positions(ctx, r.src.DB.Read())
	if err != nil {
		return false, err
	}
	saved, err := filepath.Glob(r.f.Path(generation, JournalName, "*"+segmentSuffix))
	if err != nil {
		return false, err
	}
	none := true
	for _, path := range saved {
		was, err := os.Stat(path)
		if err != nil {
			return false, fmt.Errorf("backup: %w", err)
		}
		if was.Size() == 0 {
			continue
		}
		none = false
		name := filepath.Base(path)
		is, err := os.Stat(filepath.Join(r.src.Data, JournalName, name))
		if err != nil && have[strings.TrimSuffix(name, segmentSuffix)] >= was.Size() {
			return true, nil
		}
		if err == nil && is.Size() > 0 && sameBytes(path, filepath.Join(r.src.Data, JournalName, name), 0, min(endSize, is.Size(), was.Size())) {
			return true, nil
		}
	}
	return none, nil
}

// endSize is how many bytes of the ends of two segments are compared.
const endSize = 4 << 10

// sameEnds compares the first and the last bytes of two segments: after a restore
// of an older backup others have the names that newer ones had.
func sameEnds(a, b string, size int64) bool {
	length := min(endSize, size)
	return sameBytes(a, b, 0, length) && sameBytes(a, b, size-length, length)
}

func sameBytes(a, b string, at, length int64) bool {
	one, err := readAt(a, at, length)
	two, err2 := readAt(b, at, length)
	return err == nil && err2 == nil && bytes.Equal(one, two)
}

func readAt(path string, at, length int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := make([]byte, length)
	_, err = f.ReadAt(out, at)
	return out, err
}
