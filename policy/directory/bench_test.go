package directory

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// benchUsers is how many users the benchmarks have.
const benchUsers = 1_000_000

// writeMany writes n users, each with an alias, two groups, a department and a
// name, and returns the file's path.
func writeMany(t testing.TB, name string, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	head, line := "users:\n", "  - {address: user.%[1]d@acmecorp.test, aliases: [u%[1]d@acmecorp.test], groups: [group%[2]d, staff], department: dep%[3]d, name: Firstname Lastname%[1]d}\n"
	if strings.HasSuffix(name, ".csv") {
		head, line = "address,aliases,groups,department,name\n", "user.%[1]d@acmecorp.test,u%[1]d@acmecorp.test,group%[2]d;staff,dep%[3]d,Firstname Lastname%[1]d\n"
	}
	fmt.Fprint(w, head)
	for i := range n {
		fmt.Fprintf(w, line, i, i%1000, i%100)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// residentMB is the memory of this process in MB, now and at its highest.
func residentMB(b *testing.B) (now, peak float64) {
	for line := range strings.Lines(string(mustRead(b, "/proc/self/status"))) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kb / 1024
		case "VmHWM:":
			peak = kb / 1024
		}
	}
	return now, peak
}

// BenchmarkLoad reads a million users once; run each in a process of its own
// for meaningful peaks.
func BenchmarkLoad(b *testing.B) {
	for _, name := range []string{"users.yaml", "users.csv"} {
		b.Run(name, func(b *testing.B) {
			path := writeMany(b, name, benchUsers)
			debug.FreeOSMemory()
			for b.Loop() {
				began := time.Now()
				f, err := OpenFile(path, "+", testLog(b))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(time.Since(began).Seconds(), "s/load")
				_, peak := residentMB(b)
				b.ReportMetric(peak, "MB-peak")
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MB-heap")
				runtime.KeepAlive(f)
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	f, err := OpenFile(writeMany(b, "users.yaml", benchUsers), "+", testLog(b))
	if err != nil {
		b.Fatal(err)
	}
	for name, format := range map[string]string{
		"primary": "user.%d@acmecorp.test", "alias": "u%d@acmecorp.test", "tagged": "user.%d+tag@acmecorp.test", "nobody": "nobody.%d@acmecorp.test",
	} {
		b.Run(name, func(b *testing.B) {
			var ask [1 << 12][]string
			for i := range ask {
				ask[i] = []string{fmt.Sprintf(format, i*241%benchUsers)}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				found, _ := f.Lookup(b.Context(), ask[i&(len(ask)-1)])
				if (len(found) == 1) == (name == "nobody") {
					b.Fatalf("%v: %v", ask[i&(len(ask)-1)], found)
				}
				i++
			}
		})
	}
}

// BenchmarkGeneralYAML reads what the plain reader does not take.
func BenchmarkGeneralYAML(b *testing.B) {
	path := writeMany(b, "users.yaml", 10_000)
	text := append(mustRead(b, path), "  - {address: \"\\u0061@acmecorp.test\"}\n"...)
	path = writeFile(b, "general.yaml", string(text))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := OpenFile(path, "+", testLog(b)); err != nil {
			b.Fatal(err)
		}
	}
}
