package blob

// What this process has seen to be durable, so that the same logo in
// thousands of mails does not cost a sync each time.

import (
	"io/fs"
	"sync"
	"syscall"
)

// maxKnown bounds the blobs remembered: 1.5 MB of memory at most.
const maxKnown = 16 << 10

// identity tells a file from another one of the same name. A rename in the
// place of a file changes the inode; a deleted inode that is used again has
// another change time.
type identity struct {
	inode         uint64
	seconds, nsec int64
}

type known struct {
	mu    sync.Mutex
	files map[[32]byte]identity
}

func identify(st fs.FileInfo) (identity, bool) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	return identity{uint64(sys.Ino), int64(sys.Ctim.Sec), int64(sys.Ctim.Nsec)}, true
}

// has tells whether this very file was remembered.
func (k *known) has(sha [32]byte, st fs.FileInfo) bool {
	id, ok := identify(st)
	k.mu.Lock()
	defer k.mu.Unlock()
	seen, there := k.files[sha]
	return ok && there && seen == id
}

// add remembers a file whose directory was synced after st was taken.
func (k *known) add(sha [32]byte, st fs.FileInfo) {
	id, ok := identify(st)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.files) >= maxKnown || k.files == nil {
		k.files = make(map[[32]byte]identity)
	}
	k.files[sha] = id
}
