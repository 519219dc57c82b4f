package flow_test

// What other readers see in a message: go-message, and Python's email package.

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"

	"cloakroom/internal/testserver"
)

// leaf is one part that is not a multipart, as a reader sees it.
type leaf struct {
	Type     string
	Name     string
	Size     int64
	SHA256   string // hex, of the decoded content
	Boundary string // of the multipart around it
	Text     []byte // content of text/plain and text/html
	Broken   string // why the reader could not decode it to its end
}

// reading is one message as a reader sees it.
type reading struct {
	Leaves  []leaf
	Defects []string
	Error   string // why it could not be read to its end
}

// ownNotice tells a part that Cloakroom made.
func (l leaf) ownNotice() bool { return strings.HasPrefix(l.Boundary, "=_cloakroom_") }

// goMessage reads with go-message.
func goMessage(raw []byte) (r reading) {
	e, err := gomessage.Read(bytes.NewReader(raw))
	if e == nil {
		return reading{Error: err.Error()}
	}
	if err := r.goLeaves(e, ""); err != nil {
		r.Error = err.Error()
	}
	return r
}

func (r *reading) goLeaves(e *gomessage.Entity, boundary string) error {
	parts := e.MultipartReader()
	if parts == nil {
		r.goLeaf(e, boundary)
		return nil
	}
	_, params, _ := e.Header.ContentType()
	for {
		p, err := parts.NextPart()
		if err == io.EOF {
			return nil
		}
		if p == nil {
			return err
		}
		if err := r.goLeaves(p, params["boundary"]); err != nil {
			return err
		}
	}
}

func (r *reading) goLeaf(e *gomessage.Entity, boundary string) {
	content, err := io.ReadAll(e.Body)
	mediaType, params, _ := e.Header.ContentType()
	_, disposition, _ := e.Header.ContentDisposition()
	sum := sha256.Sum256(content)
	l := leaf{
		Type: strings.ToLower(mediaType), Name: disposition["filename"], Size: int64(len(content)),
		SHA256: hex.EncodeToString(sum[:]), Boundary: boundary,
	}
	if l.Name == "" {
		l.Name = params["name"]
	}
	if l.Type == "text/plain" || l.Type == "text/html" {
		l.Text = content
	}
	// An unclosed multipart ends its last part for everybody; go-message
	// complains after it gave all of it out.
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		l.Broken = err.Error()
	}
	r.Leaves = append(r.Leaves, l)
}

// python reads files with Python's email package, in one process.
func python(t *testing.T, paths []string) []reading {
	t.Helper()
	cmd, err := testserver.Python(t.Context(), "testdata/read_parts.py")
	if err != nil {
		unavailable(t, "no Python: "+err.Error())
	}
	var stderr strings.Builder
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(paths, "\n")+"\n"), &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var out []reading
	lines := json.NewDecoder(bufio.NewReader(stdout))
	for {
		var r reading
		if err := lines.Decode(&r); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(fmt.Errorf("output of read_parts.py: %w", err))
		}
		out = append(out, r)
	}
	if err := cmd.Wait(); err != nil || len(out) != len(paths) {
		t.Fatalf("read_parts.py: %v, %d of %d files read\n%s", err, len(out), len(paths), stderr.String())
	}
	return out
}
