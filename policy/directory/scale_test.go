package directory

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What a million users may take: memory while they are read, the time to read
// them, one lookup.
const (
	millionBytes = 300 << 20
	millionTime  = 10 * time.Second
	lookupTime   = time.Microsecond
)

// The guard of these limits in every test run: a tenth of the users, a tenth of
// the limits and twice that, as machines differ and are busy.
func TestManyUsersStayWithinTheLimits(t *testing.T) {
	users, share, slack := guardUsers(), time.Duration(10), time.Duration(2)
	if raceDetector {
		slack = 20 // 5 to 10 times the memory, 2 to 20 times the time, by its documentation
	}
	for _, name := range []string{"users.yaml", "users.csv"} {
		t.Run(name, func(t *testing.T) {
			path := writeMany(t, name, users)
			before := heapBytes()
			peak := watchHeap()
			began := time.Now()
			f, err := OpenFile(path, "+", testLog(t))
			took := time.Since(began)
			if err != nil {
				t.Fatal(err)
			}
			most := peak() - before
			kept := heapBytes() - before
			if limit := int64(millionBytes / share * slack); most > limit {
				t.Errorf("reading takes %d MB, the limit is %d", most>>20, limit>>20)
			}
			if limit := int64(millionBytes / share); kept > limit {
				t.Errorf("%d MB stay in use, the limit is %d", kept>>20, limit>>20)
			}
			if limit := millionTime / share * slack; took > limit {
				t.Errorf("reading takes %v, the limit is %v", took, limit)
			}
			if one := timeLookups(t, f, users); one > lookupTime*slack {
				t.Errorf("a lookup takes %v, the limit is %v", one, lookupTime*slack)
			}
			t.Logf("%d users: %v to read, %d MB at most, %d MB kept", users, took.Round(time.Millisecond), most>>20, kept>>20)
		})
	}
}

func guardUsers() int {
	if raceDetector {
		return benchUsers / 100
	}
	return benchUsers / 10
}

// timeLookups gives the time of one lookup, the best of several rounds: what
// the machine does beside it shall not count.
func timeLookups(t testing.TB, f *File, users int) time.Duration {
	t.Helper()
	var asked [1 << 12][]string
	for i := range asked {
		format := [...]string{"user.%d@acmecorp.test", "u%d@acmecorp.test", "user.%d+tag@acmecorp.test", "nobody.%d@acmecorp.test"}[i%4]
		asked[i] = []string{fmt.Sprintf(format, i*241%users)}
	}
	best := time.Hour
	for range 40 {
		began := time.Now()
		for i, a := range asked {
			if found, _ := f.Lookup(t.Context(), a); (len(found) == 1) == (i%4 == 3) {
				t.Fatalf("%v: %v", a, found)
			}
		}
		best = min(best, time.Since(began)/time.Duration(len(asked)))
	}
	return best
}

// Lookups never wait for a reload, however long it takes.
func TestLookupsGoOnDuringAReload(t *testing.T) {
	users := guardUsers()
	f, err := OpenFile(writeMany(t, "users.yaml", users), "+", testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ {
		d := lookupsDuringReload(t, f, users)
		t.Logf("%+v", d)
		// Waiting for the lock of a reload would take as long as the rest of it, in
		// every try; a busy machine may hold up one of them.
		limit := max(d.reload/2, 100*time.Millisecond)
		if d.worst <= limit && d.lookups >= 100 {
			return
		}
		if try == 3 {
			t.Fatalf("of %d lookups one took %v during a reload of %v", d.lookups, d.worst, d.reload)
		}
	}
}

type duringReload struct {
	reload               time.Duration
	lookups              int
	median, p9999, worst time.Duration
}

// lookupBurst is how many lookups are made each millisecond: ten times those of
// the busiest hour of a million users.
const lookupBurst = 20

// lookupsDuringReload measures lookups while the file is read again.
func lookupsDuringReload(t testing.TB, f *File, users int) duringReload {
	t.Helper()
	var ask [1 << 12][]string
	for i := range ask {
		ask[i] = []string{fmt.Sprintf("user.%d@acmecorp.test", i*241%users)}
	}
	var done atomic.Bool
	var reloading sync.WaitGroup
	var took []time.Duration
	var d duringReload
	reloading.Go(func() {
		defer done.Store(true)
		began := time.Now()
		if err := f.Reload(); err != nil {
			t.Error(err)
		}
		d.reload = time.Since(began)
	})
	for i := 0; !done.Load(); i++ {
		if i%lookupBurst == 0 {
			time.Sleep(time.Millisecond)
		}
		began := time.Now()
		found, _ := f.Lookup(t.Context(), ask[i&(len(ask)-1)])
		took = append(took, time.Since(began))
		if len(found) != 1 {
			t.Fatalf("%v: %v", ask[i&(len(ask)-1)], found)
		}
	}
	reloading.Wait()
	slices.Sort(took)
	d.lookups, d.median, d.p9999, d.worst = len(took), took[len(took)/2], took[len(took)*9999/10000], took[len(took)-1]
	return d
}

// BenchmarkReload reads a million users again while lookups go on.
func BenchmarkReload(b *testing.B) {
	f, err := OpenFile(writeMany(b, "users.yaml", benchUsers), "+", testLog(b))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d := lookupsDuringReload(b, f, benchUsers)
		b.ReportMetric(d.reload.Seconds(), "s/reload")
		b.ReportMetric(float64(d.median.Nanoseconds()), "ns-median")
		b.ReportMetric(float64(d.p9999.Microseconds()), "µs-p99.99")
		b.ReportMetric(float64(d.worst.Microseconds()), "µs-worst")
	}
	_, peak := residentMB(b)
	b.ReportMetric(peak, "MB-peak")
}

// heapBytes is the memory in use after a collection.
func heapBytes() int64 {
	runtime.GC()
	return heapNow()
}

func heapNow() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// watchHeap follows the memory in use, garbage included, until the function it
// gives is called, which tells the most there was.
func watchHeap() (peak func() int64) {
	stop := make(chan struct{})
	most := make(chan int64)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		high := heapNow()
		for {
			select {
			case <-tick.C:
				high = max(high, heapNow())
			case <-stop:
				most <- max(high, heapNow())
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-most
	}
}

// A file that shrinks or grows between two readings is read as any other.
func TestReloadOfAnotherSize(t *testing.T) {
	path := writeMany(t, "users.yaml", 5000)
	f, err := OpenFile(path, "+", testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, users := range []int{5000, 5100, 7, 20_000, 1} {
		if err := os.Rename(writeMany(t, "users.yaml", users), path); err != nil {
			t.Fatal(err)
		}
		if err := f.Reload(); err != nil {
			t.Fatal(err)
		}
		s := f.now.Load()
		if f.Len() != users || cap(s.users) > users+users/4 || cap(s.addresses) > 2*users+users/2 {
			t.Errorf("%d users: %d read, room for %d and %d addresses", users, f.Len(), cap(s.users), cap(s.addresses))
		}
		for _, i := range []int{0, users / 2, users - 1} {
			if found, _ := f.Lookup(t.Context(), []string{fmt.Sprintf("u%d@acmecorp.test", i)}); len(found) != 1 {
				t.Errorf("%d users: nobody is u%d", users, i)
			}
		}
	}
}
