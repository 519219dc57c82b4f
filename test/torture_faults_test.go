package test

// What befalls a target and the daemon while mail comes in. Each fault makes
// sure that it was felt, and mends what it broke.

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// feltWithin is how long a fault may take to be noticed: the time out of the
// target, and the backlog of a busy machine.
const feltWithin = 2 * time.Minute

// slow is a line on which the largest file takes a second.
func (f *fire) slow() int64 { return int64(f.scale.largest) }

// pace makes the line as slow as told, in bytes a second; 0 is as fast as can be.
func (f *fire) pace(bytesPerSecond int64) {
	if f.proxy != nil {
		f.proxy.SetBandwidth(bytesPerSecond)
	}
}

// sessionsKilled: the server's sessions die in the midst of uploads.
func (f *fire) sessionsKilled() {
	for range 3 {
		f.pace(f.slow())
		f.untilUploading()
		killed, err := f.server.KillSessions()
		f.must(err)
		f.figures["sessions killed"] += killed
	}
	f.pace(0)
}

// networkCut: connections are reset in the midst of uploads, and then the cable
// is pulled.
func (f *fire) networkCut() {
	for range 3 {
		f.pace(f.slow())
		f.untilUploading()
		f.figures["connections cut"] += f.proxy.Cut()
	}
	f.pace(0)
	f.feed()
	f.proxy.Stall()
	f.until("the target is down", func() bool { return f.target().failures > 0 })
	f.proxy.Flow()
}

// serverHangs: it is stopped, listener and sessions; the kernel still accepts.
func (f *fire) serverHangs() {
	f.must(f.server.Pause())
	f.until("the target is down", func() bool { return f.target().failures > 0 })
	f.must(f.server.Resume())
}

// ballastName is the file that fills the disk.
const ballastName = "ballast"

// diskFull: there is no room left, and then there is.
func (f *fire) diskFull() {
	if !f.smallDisk {
		f.t.Log("the disk is not filled: only root can mount a small one")
		return
	}
	path := filepath.Join(f.reader.root, ballastName)
	ballast, err := os.Create(path)
	f.must(err)
	defer ballast.Close()
	var state syscall.Statfs_t
	for full := false; !full; full = f.target().failures > 0 { // as uploads that fail give room back
		f.must(syscall.Statfs(f.reader.root, &state))
		info, err := ballast.Stat()
		f.must(err)
		if room := int64(state.Bavail) * state.Bsize; room > 0 {
			_ = syscall.Fallocate(int(ballast.Fd()), 0, info.Size(), room) // somebody may have been faster
		}
		time.Sleep(10 * time.Millisecond)
	}
	if why := f.target().lastError; !strings.Contains(why, "full") {
		f.t.Errorf("the disk is full, and the target is down because of: %s", why)
	}
	f.must(os.Remove(path))
}

// hostKeyChanged: the server shows another key than is known, and the
// administrator notes it.
func (f *fire) hostKeyChanged() {
	f.must(f.sshd.ReplaceHostKey(f.t.Context()))
	f.locksOut(func() { f.noteHostKey() })
}

// noteHostKey writes the daemon's known_hosts: the server's key, at the proxy.
func (f *fire) noteHostKey() {
	text, err := os.ReadFile(f.sshd.KnownHostsFile())
	f.must(err)
	_, port, _ := strings.Cut(f.sshd.Address(), ":")
	_, proxied, _ := strings.Cut(f.proxy.Address(), ":")
	line := strings.Replace(string(text), "]:"+port+" ", "]:"+proxied+" ", 1)
	f.must(os.WriteFile(filepath.Join(f.d.Folder, "known_hosts"), []byte(line), 0o600))
}

// keyRefused: the server does not take our key. It is what a wrong password is
// to servers with passwords.
func (f *fire) keyRefused() {
	path := filepath.Join(f.d.Folder, "key")
	right, err := os.ReadFile(path)
	f.must(err)
	_, other, err := ed25519.GenerateKey(rand.Reader)
	f.must(err)
	block, err := ssh.MarshalPrivateKey(other, "")
	f.must(err)
	f.must(os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	f.locksOut(func() { f.must(os.WriteFile(path, right, 0o600)) })
}

// passwordWrong: for servers with passwords.
func (f *fire) passwordWrong() {
	path := filepath.Join(f.d.Folder, "password")
	right, err := os.ReadFile(path)
	f.must(err)
	f.must(os.WriteFile(path, []byte("wrong\n"), 0o600))
	f.locksOut(func() { f.must(os.WriteFile(path, right, 0o600)) })
}

// locksOut expects that the target, whose connections end now, lets nobody in:
// that it is held, and that nothing is tried until an administrator has mended
// it and releases it.
func (f *fire) locksOut(mend func()) {
	_, err := f.server.KillSessions()
	f.must(err)
	f.until("the target is held", func() bool { return f.target().held })
	f.until("nothing is under way", func() bool { return f.jobs()["running"] == 0 })
	tried := f.proxy.Accepted()
	f.d.stop() // a daemon that starts must not try either
	f.d.start()
	f.feed()
	time.Sleep(f.quiet())
	if n := f.proxy.Accepted() - tried; n > 0 {
		f.t.Errorf("a target that was held was tried %d times", n)
	}
	if n := f.jobs()["waiting"]; n == 0 {
		f.t.Error("no job waits for a target that is held")
	}
	mend()
	f.release()
}

// quiet is how long a held target is watched: longer than a target that is down
// would wait for its next probe.
func (f *fire) quiet() time.Duration { return 3 * time.Second }

// daemonKilled: kill -9 at some moment of the work, again and again.
func (f *fire) daemonKilled() {
	f.pace(2 * f.slow())
	for i := range f.scale.kills {
		if i%4 == 0 {
			f.feed()
		}
		f.untilBusy()
		time.Sleep(time.Duration(i*37%200) * time.Millisecond)
		f.d.kill()
		f.figures["kills of the daemon"]++
		f.d.start()
	}
	f.pace(0)
}

// clockJumps: an hour ahead and an hour back, with jobs under way, waiting and
// put back. A process's clock cannot be set alone, and Go asks the kernel for
// it: so the times in the database move instead, which to the daemon is the same.
func (f *fire) clockJumps() {
	f.pace(f.slow())
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		f.feed()
		f.untilUploading()
		if f.server != nil { // some jobs wait for their next try
			_, err := f.server.KillSessions()
			f.must(err)
			time.Sleep(100 * time.Millisecond)
		}
		f.shiftClock(jump)
		f.figures["jumps of the clock"]++
	}
	f.pace(0)
}

// targetRemoved: the configuration loses the target while files wait for it, and
// gets it back.
func (f *fire) targetRemoved() {
	f.queue("hold")
	f.feed()
	f.until("all mail is taken", func() bool { return f.postman.pending.Load() == 0 })
	if f.jobs()["waiting"] == 0 {
		f.t.Fatal("no file waits for a target that is held")
	}
	f.d.stop()
	complete := f.d.Config
	f.d.Config = linkAll
	f.d.start()
	f.d.waitLog("files wait for the vault, and it has no target any more")
	f.d.stop()
	f.d.Config = complete
	f.d.start()
	f.release()
}
