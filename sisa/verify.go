package sisa

// Checking the store: every blob is read and hashed, and what is needed must be
// there.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"cloakroom/ledger"
	"cloakroom/sisa/blob"
)

const (
	// verifyBuffer is how much of a blob is in memory at a time, in bytes.
	verifyBuffer = 256 << 10
	// verifyAgain is how long a blob that seems to be missing has to come back:
	// mail that begins to use a blob while it is collected puts it again.
	verifyAgain = 2 * time.Second
	// maxConcerned bounds the mails that are named for one bad blob.
	maxConcerned = 20
	// maxListed bounds the blobs that are listed as unreferenced.
	maxListed = 1000
)

// VerifyOptions says how the store is checked.
type VerifyOptions struct {
	Rate       int64 // bytes read per second at most; 0 is no limit
	Quarantine bool  // take damaged blobs out of the store
	// Names compares names and sizes only: what is in the files is not read. No
	// mail may come in meanwhile.
	Names bool
	// Progress is called now and then, if set.
	Progress func(Progress)
}

// Progress is how far a check has come.
type Progress struct {
	Blobs, Bytes           int64 // done
	AllBlobs, AllBytes     int64 // about as many as there are
	Damaged, Missing, Idle int64 // found so far; Idle are those that nothing needs
}

// Trouble is a blob that is missing or damaged.
type Trouble struct {
	SHA256      ledger.Hash `json:"sha256"`
	Size        int64       `json:"size,omitempty"` // of the file that is there, bytes
	Problem     string      `json:"problem"`
	Needed      []string    `json:"needed_by"`
	Mails       []Usage     `json:"mails"`          // some of those that have it
	More        bool        `json:"more,omitempty"` // there are more of them
	Quarantined bool        `json:"quarantined,omitempty"`
}

// Verification is what a check found.
type Verification struct {
	Blobs   int64     `json:"blobs"` // read
	Bytes   int64     `json:"bytes"`
	Missing []Trouble `json:"missing"`
	Damaged []Trouble `json:"damaged"`
	// Unreferenced are blobs that nothing needs; the garbage collector takes
	// them when their time of grace is over.
	Unreferenced      int64         `json:"unreferenced"`
	UnreferencedBytes int64         `json:"unreferenced_bytes"`
	UnreferencedList  []ledger.Hash `json:"unreferenced_list"` // the first of them
}

// OK tells whether all that is needed is there and whole.
func (v *Verification) OK() bool { return len(v.Missing) == 0 && len(v.Damaged) == 0 }

// Verify reads all blobs and checks them, and that what is needed is there.
// Memory does not grow with the store. Mail may come in meanwhile.
func (k *Keeper) Verify(ctx context.Context, o VerifyOptions) (*Verification, error) {
	if err := k.settle(ctx); err != nil {
		return nil, err
	}
	v := &verifier{k: k, o: o, needs: allNeeds(k.Needs), buf: make([]byte, verifyBuffer), begin: time.Now(), taken: make(map[[32]byte]bool)}
	v.out = &Verification{Missing: []Trouble{}, Damaged: []Trouble{}, UnreferencedList: []ledger.Hash{}}
	err := k.DB.Read().QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs`).Scan(&v.at.AllBlobs, &v.at.AllBytes)
	if err != nil {
		return nil, fmt.Errorf("count blobs: %w", err)
	}
	if err := k.Blobs.Walk(ctx, func(ref blob.Ref) error { return v.one(ctx, ref) }); err != nil {
		return v.out, err
	}
	if err := v.missing(ctx); err != nil {
		return v.out, err
	}
	v.progress()
	return v.out, nil
}

type verifier struct {
	k     *Keeper
	o     VerifyOptions
	needs needs
	buf   []byte
	begin time.Time // by the wall clock, for the rate
	read  int64
	at    Progress
	out   *Verification
	taken map[[32]byte]bool // quarantined
}

func (v *verifier) progress() {
	if v.o.Progress != nil {
		v.o.Progress(v.at)
	}
}

// one checks a blob that is in the store.
func (v *verifier) one(ctx context.Context, ref blob.Ref) error {
	problem, err := v.check(ctx, ref)
	if errors.Is(err, blob.ErrNotExist) {
		return nil // collected meanwhile
	}
	if err != nil {
		return err
	}
	v.out.Blobs++
	v.at.Blobs++
	needed, err := v.needs.held(ctx, v.k.DB.Read(), ref.SHA256)
	if err != nil {
		return err
	}
	if !needed {
		v.at.Idle++
		v.out.Unreferenced++
		v.out.UnreferencedBytes += ref.Size
		if len(v.out.UnreferencedList) < maxListed {
			v.out.UnreferencedList = append(v.out.UnreferencedList, ref.SHA256)
		}
	}
	if problem != "" {
		v.at.Damaged++
		t, err := v.trouble(ctx, ref.SHA256, problem)
		if err != nil {
			return err
		}
		t.Size = ref.Size
		if v.o.Quarantine {
			if err := v.k.Blobs.Quarantine(ctx, ref.SHA256); err != nil {
				return err
			}
			t.Quarantined, v.taken[ref.SHA256] = true, true
		}
		v.out.Damaged = append(v.out.Damaged, t)
	}
	v.progress()
	return nil
}

// check reads a blob; problem says what is wrong with it.
func (v *verifier) check(ctx context.Context, ref blob.Ref) (problem string, err error) {
	if v.o.Names {
		return v.size(ctx, ref)
	}
	f, err := v.k.Blobs.Open(ctx, ref.SHA256)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(v.buf)
		h.Write(v.buf[:n])
		v.out.Bytes += int64(n)
		v.at.Bytes += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "cannot be read: " + err.Error(), nil
		}
		if err := v.pace(ctx, int64(n)); err != nil {
			return "", err
		}
		if v.at.Bytes%(64<<20) < int64(n) {
			v.progress() // within large blobs too
		}
	}
	if got := ledger.Hash(h.Sum(nil)); got != ref.SHA256 {
		return "its content has the SHA-256 " + got.String(), nil
	}
	return "", nil
}

// size compares the size of a blob with the one that is known; problem says what
// is wrong with it.
func (v *verifier) size(ctx context.Context, ref blob.Ref) (problem string, err error) {
	v.out.Bytes += ref.Size
	v.at.Bytes += ref.Size
	var want int64
	err = v.k.DB.Read().QueryRowContext(ctx, `SELECT COALESCE(MAX(size), -1) FROM blobs WHERE sha256 = $1`, ref.SHA256[:]).Scan(&want)
	if err != nil {
		return "", fmt.Errorf("look up blob %x: %w", ref.SHA256, err)
	}
	if want >= 0 && want != ref.Size {
		return fmt.Sprintf("has %d bytes instead of %d", ref.Size, want), nil
	}
	return "", nil
}

// pace waits where more was read than the rate allows.
func (v *verifier) pace(ctx context.Context, n int64) error {
	if v.o.Rate <= 0 {
		return nil
	}
	v.read += n
	due := v.begin.Add(time.Duration(float64(v.read) / float64(v.o.Rate) * float64(time.Second)))
	wait := time.Until(due)
	if wait <= 0 {
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *verifier) trouble(ctx context.Context, sum [32]byte, problem string) (Trouble, error) {
	t := Trouble{SHA256: sum, Problem: problem, Needed: []string{}}
	names, err := v.needs.of(ctx, v.k.DB.Read(), sum)
	if err != nil {
		return t, err
	}
	t.Needed = append(t.Needed, names...)
	if t.Mails, err = v.k.uses(ctx, v.k.DB.Read(), sum, maxConcerned+1); err != nil {
		return t, err
	}
	if t.More = len(t.Mails) > maxConcerned; t.More {
		t.Mails = t.Mails[:maxConcerned]
	}
	return t, nil
}

// missing looks for what is needed and not there.
func (v *verifier) missing(ctx context.Context) error {
	var gone [][32]byte
	for after := []byte{}; ; {
		page, err := v.known(ctx, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1]
		for _, raw := range page {
			there, err := v.there(ctx, [32]byte(raw))
			if err != nil {
				return err
			}
			if !there && !v.taken[[32]byte(raw)] {
				gone = append(gone, [32]byte(raw))
			}
		}
	}
	if len(gone) == 0 {
		return nil
	}
	wait := verifyAgain
	if v.o.Names {
		wait = 0
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, sum := range gone {
		there, err := v.there(ctx, sum)
		if err != nil {
			return err
		}
		needed, err := v.needs.held(ctx, v.k.DB.Read(), sum)
		if err != nil {
			return err
		}
		if there || !needed {
			continue
		}
		t, err := v.trouble(ctx, sum, "is not in the store")
		if err != nil {
			return err
		}
		v.at.Missing++
		v.out.Missing = append(v.out.Missing, t)
	}
	return nil
}

func (v *verifier) there(ctx context.Context, sum [32]byte) (bool, error) {
	_, err := v.k.Blobs.Stat(ctx, sum)
	if errors.Is(err, blob.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// known reads a page of the hashes that the database names: rows of blobs, parts
// and originals of mails, whose rows may have been lost.
func (v *verifier) known(ctx context.Context, after []byte) ([][]byte, error) {
	rows, err := v.k.DB.Read().QueryContext(ctx, `SELECT sha256 FROM (
		SELECT * FROM (SELECT sha256 FROM blobs WHERE sha256 > $1 ORDER BY sha256 LIMIT $2) a
		UNION SELECT * FROM (SELECT DISTINCT p.sha256 FROM parts p JOIN mails m ON m.key = p.mail
			WHERE p.sha256 > $1 AND (p.linked = 1 OR p.cut = 1) AND m.retired IS NULL ORDER BY p.sha256 LIMIT $2) b
		UNION SELECT * FROM (SELECT DISTINCT m.skeleton_blob FROM mails m WHERE m.skeleton_blob > $1 AND m.retired IS NULL
			ORDER BY m.skeleton_blob LIMIT $2) c
		) x ORDER BY sha256 LIMIT $2`, after, collectPage)
	if err != nil {
		return nil, fmt.Errorf("list what should be stored: %w", err)
	}
	defer rows.Close()
	var page [][]byte
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("list what should be stored: %w", err)
		}
		page = append(page, raw)
	}
	return page, rows.Err()
}
