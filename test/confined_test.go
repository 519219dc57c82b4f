//go:build linux

package test

// The daemon under the system call filter of its unit. Without systemd as
// PID 1 the unit itself cannot run here, but what it asks the kernel for can be
// asked for directly: seccomp(2) with the lists that systemd knows.

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"cloakroom/internal/testserver"
)

// archs are the kernel's names of architectures (linux/audit.h).
var archs = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// Offsets in struct seccomp_data (linux/seccomp.h), on little-endian machines.
const (
	offNr   = 0
	offArch = 4
	offArg0 = 16
	offArg2 = 32
)

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// jump goes on after yes or no further instructions.
func jump(test uint16, value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | test, K: value, Jt: yes, Jf: no}
}

func verdict(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

// callSets reads the sets of system calls that systemd knows.
func callSets(t *testing.T) map[string][]string {
	t.Helper()
	out, err := systemd(t, "systemd-analyze", "--no-pager", "syscall-filter")
	if err != nil {
		t.Fatalf("syscall-filter: %v\n%s", err, out)
	}
	sets, current := map[string][]string{}, ""
	for line := range strings.SplitSeq(out, "\n") {
		word := strings.TrimSpace(line)
		switch {
		case word == "" || strings.HasPrefix(word, "#"):
		case strings.HasPrefix(line, "@"):
			current = word
		case strings.HasPrefix(line, " ") && current != "":
			sets[current] = append(sets[current], word)
		}
	}
	return sets
}

// allowedCalls follows the SystemCallFilter lines of the unit.
func allowedCalls(t *testing.T) map[string]bool {
	t.Helper()
	sets, allowed := callSets(t), map[string]bool{}
	var set func(name string, on bool)
	set = func(name string, on bool) {
		if !strings.HasPrefix(name, "@") {
			allowed[name] = on
			return
		}
		if len(sets[name]) == 0 {
			t.Fatalf("systemd knows no set %s", name)
		}
		for _, inner := range sets[name] {
			set(inner, on)
		}
	}
	unit := mustRead(t, filepath.Join(root, unitFile))
	for _, line := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.+)$`).FindAllStringSubmatch(unit, -1) {
		for name := range strings.FieldsSeq(line[2]) {
			set(name, line[1] == "")
		}
	}
	return allowed
}

// callNumbers reads the kernel's numbers from the module that has them.
func callNumbers(t *testing.T) map[string]uint32 {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatal(err)
	}
	text := mustRead(t, filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+runtime.GOARCH+".go"))
	numbers := map[string]uint32{}
	for _, m := range regexp.MustCompile(`(?m)^\s+SYS_(\w+)\s+= (\d+)$`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseUint(m[2], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		numbers[strings.ToLower(m[1])] = uint32(n)
	}
	return numbers
}

// filters are SystemCallFilter, MemoryDenyWriteExecute and
// RestrictAddressFamilies of the unit, as programs for the kernel.
func filters(t *testing.T) [][]unix.SockFilter {
	t.Helper()
	const refused = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	numbers := callNumbers(t)
	list := []unix.SockFilter{load(offArch), jump(unix.BPF_JEQ, archs[runtime.GOARCH], 1, 0), verdict(refused), load(offNr)}
	n := 0
	for name, on := range allowedCalls(t) {
		number, known := numbers[name]
		if on && known {
			list = append(list, jump(unix.BPF_JEQ, number, 0, 1), verdict(unix.SECCOMP_RET_ALLOW))
			n++
		}
	}
	if n < 100 || n > 350 {
		t.Fatalf("%d system calls are allowed", n)
	}
	list = append(list, verdict(refused))
	refuseProtection := func(call string, bits uint32) []unix.SockFilter {
		return []unix.SockFilter{
			load(offNr), jump(unix.BPF_JEQ, numbers[call], 0, 4),
			load(offArg2), {Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: bits}, jump(unix.BPF_JEQ, bits, 0, 1),
			verdict(refused), verdict(unix.SECCOMP_RET_ALLOW),
		}
	}
	return [][]unix.SockFilter{
		refuseProtection("mmap", unix.PROT_WRITE|unix.PROT_EXEC),
		refuseProtection("mprotect", unix.PROT_EXEC),
		{
			load(offNr), jump(unix.BPF_JEQ, numbers["socket"], 0, 5),
			load(offArg0), jump(unix.BPF_JEQ, unix.AF_UNIX, 3, 0), jump(unix.BPF_JEQ, unix.AF_INET, 2, 0), jump(unix.BPF_JEQ, unix.AF_INET6, 1, 0),
			verdict(unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)), verdict(unix.SECCOMP_RET_ALLOW),
		},
		list,
	}
}

// confined runs f on a thread of its own under the filters. Processes that it
// starts inherit them; the thread ends with it.
func confined(programs [][]unix.SockFilter, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: nobody else may get this thread
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			result <- fmt.Errorf("no_new_privs: %w", err)
			return
		}
		for i, p := range programs {
			prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
			if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0); err != nil {
				result <- fmt.Errorf("filter %d: %w", i, err)
				return
			}
		}
		result <- f()
	}()
	return <-result
}

func TestDaemonWorksUnderTheFilterOfItsUnit(t *testing.T) {
	if archs[runtime.GOARCH] == 0 {
		t.Fatalf("the numbers of %s are not known to this test", runtime.GOARCH)
	}
	programs := filters(t)
	// They do refuse: a socket of another family, a priority, memory that can be written and run.
	err := confined(programs, func() error {
		if _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, 0); err != unix.EAFNOSUPPORT {
			return fmt.Errorf("a netlink socket: %v", err)
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 5); err != unix.EPERM {
			return fmt.Errorf("another priority: %v", err)
		}
		if _, err := unix.Mmap(-1, 0, 4096, unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE); err != unix.EPERM {
			return fmt.Errorf("memory to write and run: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	d := newDaemon(t, linkAll)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	err = confined(programs, func() (err error) {
		d.running, err = testserver.StartCloakroom(ctx, d.CloakroomOptions)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.running.Stop() })
	pid := strings.TrimSpace(mustRead(t, filepath.Join(d.Folder, "data", "lock")))
	status := mustRead(t, filepath.Join("/proc", pid, "status"))
	for _, line := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", fmt.Sprintf("Seccomp_filters:\t%d\n", len(programs))} {
		if !strings.Contains(status, line) {
			t.Errorf("the daemon is not confined, %q is missing:\n%s", line, status)
		}
	}
	p := startPostfix(t, d.running.MilterAddr())
	content := random(3<<20, 71) // through a temporary file
	send(t, p, alice, []string{bob}, toCRLF(compose(alice, []string{bob}, "confined", file{"a.bin", "application/octet-stream", content})))
	found := links(mailbox(t, p, bob, 1)[0])
	if len(found) != 1 {
		t.Fatalf("links %v", found)
	}
	if sums := download(t, found[0]); len(sums) != 1 || sums[0] != sha256.Sum256(content) {
		t.Error("the attachment does not come back")
	}
	if err := d.running.Signal("HUP"); err != nil {
		t.Fatal(err)
	}
	d.waitLog("configuration reloaded")
	d.stop()
	if strings.Contains(d.running.Log(), "operation not permitted") {
		t.Errorf("something was refused:\n%s", d.running.Log())
	}
}
