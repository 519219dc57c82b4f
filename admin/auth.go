package admin

// Who may come in, and under which name.

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	// minToken is the length in bytes below which a token can be guessed.
	minToken = 16
	// maxSecretFile bounds what is read of token and password files, in bytes.
	maxSecretFile = 64 << 10
	// provenFor is how long a password that was right is not computed again:
	// bcrypt takes a tenth of a second on purpose, and browsers send the password
	// with each request.
	provenFor = 10 * time.Minute
	// maxProven bounds what is remembered of that.
	maxProven = 100
	// computing is how many passwords are checked at the same time.
	computing = 2
	// tokenActor is the name of whoever has the token.
	tokenActor = "token"
	// passwordCost is bcrypt's, for passwords that we are asked to hash.
	passwordCost = 11
)

// HashPassword makes the line of a password file. Its error tells what is wrong
// with the name or the password.
func HashPassword(name, password string) (string, error) {
	if name == "" || strings.ContainsAny(name, ":\r\n") || strings.TrimSpace(name) != name {
		return "", fmt.Errorf("%q cannot be a name: no colon, no line ends, no space around it", name)
	}
	if len(password) < 8 {
		return "", errors.New("a password has 8 characters or more")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), passwordCost)
	if err != nil {
		return "", err // bcrypt's limit of 72 bytes
	}
	return name + ":" + string(hash), nil
}

// guard tells who a request is from.
type guard struct {
	cfg  Config
	now  func() time.Time
	key  []byte        // of this process: what proven is keyed with
	busy chan struct{} // one for each password being checked

	mu     sync.Mutex
	files  map[string]*secretFile
	proven map[[32]byte]time.Time // until when a name and password are known to be right
}

// secretFile is what a file held when it was last looked at.
type secretFile struct {
	info    os.FileInfo
	content []byte
}

func newGuard(cfg Config, now func() time.Time) (*guard, error) {
	g := &guard{cfg: cfg, now: now, key: make([]byte, 32), busy: make(chan struct{}, computing),
		files: make(map[string]*secretFile), proven: make(map[[32]byte]time.Time)}
	rand.Read(g.key) // never fails
	if cfg.TokenFile != "" {
		if _, err := g.token(); err != nil {
			return nil, fmt.Errorf("token_file: %w", err)
		}
	}
	if cfg.PasswordFile != "" {
		if _, err := g.passwords(); err != nil {
			return nil, fmt.Errorf("password_file: %w", err)
		}
	}
	return g, nil
}

// read gives a file's content, read again when it changed: to take somebody's
// access away needs no restart. A change forgets what was proven.
func (g *guard) read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.files[path]; f != nil && os.SameFile(f.info, info) && f.info.Size() == info.Size() && f.info.ModTime().Equal(info.ModTime()) {
		return f.content, nil
	}
	if info.Size() > maxSecretFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxSecretFile)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	g.files[path] = &secretFile{info, content}
	clear(g.proven)
	return content, nil
}

func (g *guard) token() ([]byte, error) {
	content, err := g.read(g.cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	token := bytes.TrimSpace(content)
	if len(token) < minToken {
		return nil, fmt.Errorf("%s holds a token of %d bytes: give %d or more, such as openssl rand -hex 32 makes", g.cfg.TokenFile, len(token), minToken)
	}
	return token, nil
}

// passwords are the hashes by name.
func (g *guard) passwords() (map[string]string, error) {
	content, err := g.read(g.cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, found := strings.Cut(line, ":")
		if _, err := bcrypt.Cost([]byte(hash)); !found || err != nil {
			return nil, fmt.Errorf("%s: line %d is not name:hash with a hash of bcrypt; cloakroom admin password NAME writes one", g.cfg.PasswordFile, n)
		}
		out[name] = hash
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s names nobody", g.cfg.PasswordFile)
	}
	return out, lines.Err()
}

// visitor is who a request is from.
type visitor struct {
	name string // "" where nobody was asked
	in   bool   // may see everything
	acts bool   // may change something: there is a name for the audit
}

// Name is the visitor's, for pages; Acts whether they may change something.
func (v visitor) Name() string { return v.name }
func (v visitor) Acts() bool   { return v.acts }

// check tells who a request is from. It answers false for requests that must be
// refused before anything is told.
func (g *guard) check(r *http.Request) visitor {
	if name := peer(r.Context()); name != "" && !g.cfg.asks() {
		return visitor{name: name, in: true, acts: true}
	}
	if !g.cfg.asks() {
		return visitor{in: true}
	}
	if token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); found && g.cfg.TokenFile != "" {
		want, err := g.token()
		if err == nil && g.same([]byte(strings.TrimSpace(token)), want) {
			return visitor{name: tokenActor, in: true, acts: true}
		}
		return visitor{}
	}
	if name, password, found := r.BasicAuth(); found && g.cfg.PasswordFile != "" && g.right(r, name, password) {
		return visitor{name: name, in: true, acts: true}
	}
	return visitor{}
}

// same compares in a time that tells nothing.
func (g *guard) same(a, b []byte) bool { return hmac.Equal(g.sum(a), g.sum(b)) }

func (g *guard) sum(text []byte) []byte {
	mac := hmac.New(sha256.New, g.key)
	mac.Write(text)
	return mac.Sum(nil)
}

// nobody's hash is compared with where a name is not known, so that the time
// tells nothing about names. Its cost is that of HashPassword.
const nobodysHash = "$2a$11$J6Zop8ecA3u1hO8zHfljTex1H8FrnuilVq63GpQ02axQKKx8e9qBm"

// right tells whether a password is somebody's.
func (g *guard) right(r *http.Request, name, password string) bool {
	known, err := g.passwords()
	if err != nil {
		return false
	}
	id := [32]byte(g.sum([]byte(name + "\x00" + password)))
	if g.isProven(id) {
		return true
	}
	select {
	case g.busy <- struct{}{}:
		defer func() { <-g.busy }()
	case <-r.Context().Done():
		return false
	}
	hash, found := known[name]
	if !found {
		hash = nobodysHash
	}
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)); err != nil || !found {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.proven) >= maxProven {
		clear(g.proven)
	}
	g.proven[id] = g.now().Add(provenFor)
	return true
}

func (g *guard) isProven(id [32]byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	until, found := g.proven[id]
	return found && g.now().Before(until)
}

// hostAllowed keeps a page of somebody else from speaking to a listener that
// asks for no name, by a host name that leads here (DNS rebinding). Who has to
// name himself does not need it: browsers keep passwords by host. A UNIX socket
// needs it too, as ssh -L makes a port of it.
func (g *guard) hostAllowed(r *http.Request) bool {
	if g.cfg.asks() {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return isLoopback(host)
}
