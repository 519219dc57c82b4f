package sftp_test

// How fast, and with how much memory.

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/testserver"
	"cloakroom/vault/sftp"
	"cloakroom/vault/vaulttest"
)

// roundTrip is that of a server in another town.
const roundTrip = 20 * time.Millisecond

// far is a Server behind a slow network.
func far(t *testing.T, s *testserver.SSHD, change func(*sftp.Config)) (*sftp.Server, *testserver.Proxy) {
	t.Helper()
	proxy, err := testserver.StartProxy(t.Context(), s.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	proxy.SetRoundTrip(roundTrip)
	cfg := configFor(s)
	base, _ := space(t, s)
	pin, err := s.HostKeyFingerprint()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Base, cfg.Address = base, proxy.Address()
	cfg.KnownHosts, cfg.HostKey = "", []string{pin}
	change(&cfg)
	return open(t, cfg), proxy
}

func TestALargeFileFillsTheLineToAFarServer(t *testing.T) {
	s := startSSHD(t)
	const size = 50 << 20
	c := vaulttest.Content(vaulttest.Bytes(size, 1))
	for verify, floor := range map[string]float64{ // MB/s: what one request at a time would give is 1.6
		sftp.VerifySize:    8,
		sftp.VerifyContent: 5,
	} {
		d, _ := far(t, s, func(c *sftp.Config) { c.Connections, c.Verify = 1, verify })
		if err := d.Put(t.Context(), "bob/small", vaulttest.Content([]byte("x")), vaulttest.Attempt()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := d.Put(t.Context(), "bob/large", c, vaulttest.Attempt()); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		speed := size / float64(1<<20) / took.Seconds()
		t.Logf("verify: %s: %d MB in %v: %.1f MB/s", verify, size>>20, took, speed)
		if speed < floor {
			t.Errorf("verify: %s: %.1f MB/s, want %.1f", verify, speed, floor)
		}
	}
}

func TestManySmallFilesGoToAFarServerTogether(t *testing.T) {
	s := startSSHD(t)
	const files, parallel = 200, 8
	d, _ := far(t, s, func(*sftp.Config) {})
	began := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for i := next.Add(1); i <= files; i = next.Add(1) {
				c := vaulttest.Content(vaulttest.Bytes(20<<10, uint64(i)))
				if err := d.Put(t.Context(), fmt.Sprintf("bob/2026/11/%d.pdf", i), c, vaulttest.Attempt()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("%d files of 20 KB by %d: %v, %.0f round trips each", files, parallel, took,
		float64(took)/float64(roundTrip)*parallel/files)
	if took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	s := startSSHD(t)
	base, _ := space(t, s)
	cfg := configFor(s)
	cfg.Base = base
	d := open(t, cfg)
	const size, limit = 200 << 20, 30 << 20
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var peak uint64
	var next int64
	c := vaulttest.Generated(size, 1, func(read int64) {
		if read >= next {
			next += 10 << 20
			peak = max(peak, heap())
		}
	})
	before := heap()
	if err := d.Put(t.Context(), "bob/large", c, vaulttest.Attempt()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MB of heap for %d MB", (int64(peak)-int64(before))>>20, size>>20)
	if peak > before+limit {
		t.Errorf("the heap grew by %d bytes", peak-before)
	}
}
