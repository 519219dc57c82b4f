package test

// The daemon is killed again and again while clients pump mail through a real
// Postfix, and a bookkeeper holds what was promised against what is there.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// pumps is how many clients send at a time.
const pumps = 4

// killRounds is how often the daemon is killed: the short form, and that of
// "make torture".
func killRounds() int {
	if os.Getenv("TORTURE") == "long" {
		return 50
	}
	return 3
}

// promised is a mail for which SMTP said 250.
type promised struct {
	to     []string
	body   []byte // with LF line ends
	sums   [][32]byte
	linked map[[32]byte]bool // large enough for a link
}

// bookkeeper notes what was promised.
type bookkeeper struct {
	t *testing.T
	d *daemon
	p *testserver.Postfix

	mu       sync.Mutex
	mails    map[string]*promised // by the X-Torture field
	tries    int                  // mails that had to be sent again
	unclear  int                  // of them, those for which the client heard nothing at all
	slowest  time.Duration        // from the first try to 250
	logs     []string             // of daemons that were killed
	incoming atomic.Int64
}

// largeFile is the size from which the rules make a link, in bytes.
const largeFile = 5 << 10

const killedConfig = `vault:
  targets:
    files:
      dir: {base: %s}
      delay: 0s
      path: "{space}/{name}"
rules:
  - name: everything is kept
    vault: {target: files}
  - name: large files become links
    if: attachment.size > 5 * KB
    link: {}
`

// write makes a mail: sometimes without attachments, sometimes with small ones
// that stay, mostly with files of which half were sent before.
func (k *bookkeeper) write(r *rand.Rand, id string) ([]byte, *promised) {
	m := &promised{to: [][]string{{bob}, {carol}, {bob, carol}}[r.IntN(3)], linked: map[[32]byte]bool{}}
	var files []file
	attach := func(size int, seed int64) {
		content := random(size, seed)
		sum := sha256.Sum256(content)
		if slices.Contains(m.sums, sum) {
			return
		}
		m.sums = append(m.sums, sum)
		if size > largeFile {
			m.linked[sum] = true
		}
		// The same content has the same name, and so one place in a space.
		files = append(files, file{fmt.Sprintf("%x.pdf", sum[:6]), "application/pdf", content})
	}
	repeated := func() { n := r.IntN(6); attach(20_000+n*30_000, int64(n+1)) }
	fresh := func() { attach(largeFile+1+r.IntN(400<<10), r.Int64()) }
	switch r.IntN(6) {
	case 0: // text only
	case 1:
		attach(1+r.IntN(largeFile), r.Int64())
	case 2:
		fresh()
	case 3:
		repeated()
	case 4:
		repeated()
		fresh()
	case 5:
		repeated()
		repeated()
		attach(1+r.IntN(largeFile), r.Int64())
	}
	raw := compose(dave, m.to, "torture "+id, files...)
	if len(files) == 0 {
		raw = []byte("From: " + dave + "\nTo: " + strings.Join(m.to, ", ") + "\nSubject: text\nDate: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: <" + id + "@ext.test>\n\nno attachment in " + id + "\n")
	}
	raw = append([]byte("X-Torture: "+id+"\n"), raw...)
	_, m.body, _ = bytes.Cut(raw, []byte("\n\n"))
	return toCRLF(raw), m
}

// pump sends mail after mail until stop, each again and again until it is taken.
func (k *bookkeeper) pump(ctx context.Context, stop <-chan struct{}, client int) {
	r := rand.New(rand.NewPCG(uint64(client), 41))
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("%d-%d", client, n)
		raw, m := k.write(r, id)
		begin := time.Now()
		for {
			reply, err := testserver.SendSMTP(ctx, k.p.SMTPAddr(), dave, m.to, bytes.NewReader(raw))
			if err == nil {
				break
			}
			var said *textproto.Error
			k.mu.Lock()
			k.tries++
			if !errors.As(err, &said) {
				k.unclear++
			}
			k.mu.Unlock()
			if ctx.Err() != nil || reply.Code/100 == 5 {
				k.t.Errorf("mail %s: %v", id, err)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		k.mu.Lock()
		k.mails[id] = m
		k.slowest = max(k.slowest, time.Since(begin))
		k.mu.Unlock()
		k.incoming.Add(1)
	}
}

func TestKillsUnderLoadLoseNothing(t *testing.T) {
	rounds := killRounds()
	base := t.TempDir()
	d := newDaemon(t, fmt.Sprintf(killedConfig, base))
	d.start()
	p := startPostfix(t, d.MilterAddr)
	k := &bookkeeper{t: t, d: d, p: p, mails: map[string]*promised{}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rounds)*30*time.Second+2*time.Minute)
	defer cancel()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range pumps {
		clients.Go(func() { k.pump(ctx, stop, i) })
	}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	begin := time.Now()
	for range rounds {
		// A few mails must have got through, so that there is something to lose.
		for before := k.incoming.Load(); k.incoming.Load() < before+pumps && ctx.Err() == nil; {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
		d.kill()
		k.logs = append(k.logs, d.running.Log())
		d.start()
	}
	close(stop)
	clients.Wait()
	took := time.Since(begin)
	k.settle(ctx)
	k.logs = append(k.logs, d.running.Log())
	t.Logf("%d kills in %v: %d mails taken, %d sent again (%d after a broken connection), the longest wait %v",
		rounds, took.Round(time.Millisecond), len(k.mails), k.tries, k.unclear, k.slowest.Round(time.Millisecond))
	k.checkMail()
	k.checkStore(ctx)
	k.checkVault(base)
	for i, log := range k.logs {
		if strings.Contains(log, "panic") || strings.Contains(log, "ERROR") {
			t.Errorf("daemon %d logged:\n%s", i, grep(log, "panic|ERROR"))
		}
	}
}

// grepLines are the lines of a text that match.
func grepLines(text, pattern string) []string {
	return regexp.MustCompile("(?m)^.*(?:"+pattern+").*$").FindAllString(text, -1)
}

func grep(text, pattern string) string { return strings.Join(grepLines(text, pattern), "\n") }

// settle waits until Postfix has delivered everything.
func (k *bookkeeper) settle(ctx context.Context) {
	k.t.Helper()
	for {
		queue, err := k.p.Queue(ctx)
		if err != nil {
			k.t.Fatal(err)
		}
		if len(queue) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

var tortureID = regexp.MustCompile(`(?m)^X-Torture: (\S+)$`)

// checkMail holds the mailboxes against the books.
func (k *bookkeeper) checkMail() {
	t := k.t
	downloads := map[string][][32]byte{}
	arrived := map[string]int{}
	duplicates, unlinked, links := 0, 0, 0
	for _, box := range []string{bob, carol} {
		files, err := k.p.Mailbox(box)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			msg, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			id := tortureID.FindSubmatch(msg)
			if id == nil {
				t.Errorf("a mail that nobody sent:\n%s", msg)
				continue
			}
			m := k.mails[string(id[1])]
			if m == nil || !slices.Contains(m.to, box) {
				t.Errorf("mail %s for %s was not promised", id[1], box)
				continue
			}
			if arrived[string(id[1])+box]++; arrived[string(id[1])+box] > 1 {
				duplicates++
			}
			if len(m.linked) == 0 {
				unlinked++
				if _, body, _ := bytes.Cut(msg, []byte("\n\n")); !bytes.Equal(body, m.body) {
					t.Errorf("mail %s has no link, and another body than was sent", id[1])
				}
				continue
			}
			links += k.checkLinks(string(id[1]), msg, m, downloads)
		}
	}
	lost := 0
	for id, m := range k.mails {
		for _, to := range m.to {
			if arrived[id+to] == 0 {
				lost++
				t.Errorf("mail %s was taken by SMTP and did not reach %s", id, to)
			}
		}
	}
	t.Logf("%d deliveries, %d of them twice, %d lost; %d unchanged byte for byte; %d links, every file behind them as it was sent",
		len(arrived), duplicates, lost, unlinked, links)
}

// checkLinks downloads what a mail links to.
func (k *bookkeeper) checkLinks(id string, msg []byte, m *promised, downloads map[string][][32]byte) int {
	found := links(msg)
	if len(found) != 1 {
		k.t.Errorf("mail %s has %d links, want 1:\n%s", id, len(found), msg)
		return 0
	}
	sums, ok := downloads[found[0]]
	if !ok {
		// One client may not ask for so much in so short a time.
		sums = downloadFrom(k.t, fmt.Sprintf("127.0.%d.%d", 1+len(downloads)/250, 1+len(downloads)%250), found[0])
		downloads[found[0]] = sums
	}
	if len(sums) != len(m.linked) {
		k.t.Errorf("mail %s: %d files behind its link, want %d", id, len(sums), len(m.linked))
	}
	for _, sum := range sums {
		if !m.linked[sum] {
			k.t.Errorf("mail %s: a file behind its link is not what was sent", id)
		}
	}
	for _, sum := range m.sums { // the small ones stayed
		name := fmt.Sprintf("%x.pdf", sum[:6])
		if stays := !m.linked[sum]; stays != bytes.Contains(msg, []byte("filename=\""+name+"\"")) {
			k.t.Errorf("mail %s: attachment %s stays: want %v", id, name, stays)
		}
	}
	return 1
}

// downloadFrom is download as another client, by its address.
func downloadFrom(t *testing.T, address, link string) (sums [][32]byte) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext}
	client := &http.Client{Transport: transport}
	fetch := func(resp *http.Response, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v", link, resp.Status, err)
		}
		return b
	}
	for _, m := range fileField.FindAllSubmatch(fetch(client.Get(link)), -1) {
		sums = append(sums, sha256.Sum256(fetch(client.PostForm(link, url.Values{"file": {string(m[1])}}))))
	}
	return sums
}

// checkStore holds the sums of the store against the books.
func (k *bookkeeper) checkStore(ctx context.Context) {
	t := k.t
	blobs, records, linked := map[[32]byte]bool{}, 0, 0
	for _, m := range k.mails {
		if len(m.sums) > 0 {
			records++
		}
		linked += len(m.linked)
		for _, sum := range m.sums {
			blobs[sum] = true
		}
	}
	var stats struct {
		Mails, Linked int64
		Store         struct{ Blobs, Links int64 }
	}
	out, complaint, code := k.d.run(nil, "store", "stats", "--json")
	if err := json.Unmarshal([]byte(out), &stats); err != nil || code != 0 {
		t.Fatalf("store stats: %v %s", err, complaint)
	}
	withLinks := 0
	for _, m := range k.mails {
		if len(m.linked) > 0 {
			withLinks++
		}
	}
	if stats.Mails != int64(records) || stats.Linked != int64(linked) || stats.Store.Links != int64(withLinks) || stats.Store.Blobs != int64(len(blobs)) {
		t.Errorf("the store has %d mails, %d linked files, %d links, %d blobs; want %d, %d, %d, %d",
			stats.Mails, stats.Linked, stats.Store.Links, stats.Store.Blobs, records, linked, withLinks, len(blobs))
	}
	if out, complaint, code := k.d.run(nil, "store", "verify"); code != 0 {
		t.Errorf("store verify: %d\n%s%s", code, out, complaint)
	}
	// What was only kept for the vault was delivered as it came, and is in the mailbox.
	originals, complaint, _ := k.d.run(nil, "links", "restore", "--all", "--check")
	whole, unneeded := len(grepLines(originals, " whole$")), len(grepLines(originals, "skipped:.*delivered unchanged"))
	if whole != withLinks || whole+unneeded != records {
		t.Errorf("%d originals can be made again, want %d:\n%s%s", whole, withLinks, originals, complaint)
	}
	temps, err := filepath.Glob(filepath.Join(k.d.Folder, "data", "blobs", "*", ".put-*"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("store: %d records, %d links, %d blobs, all there; %d files begun by killed daemons, which are swept later",
		stats.Mails, stats.Store.Links, stats.Store.Blobs, len(temps))
}

// checkVault waits for the uploads: every owner has every file once.
func (k *bookkeeper) checkVault(base string) {
	t := k.t
	want := map[string]bool{}
	for _, m := range k.mails {
		for _, to := range m.to {
			for _, sum := range m.sums {
				want[fmt.Sprintf("%s/%x", to, sum)] = true
			}
		}
	}
	var have map[string][]string
	begun := 0 // files of killed daemons, in the folder beside the spaces
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		have, begun = map[string][]string{}, 0
		for path, sum := range filesIn(t, base) {
			owner, _, _ := strings.Cut(path, "/")
			if owner == ".cloakroom-upload" {
				begun++
				continue
			}
			key := fmt.Sprintf("%s/%x", owner, sum)
			have[key] = append(have[key], path)
		}
		if len(have) >= len(want) && !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(key string) bool { return have[key] == nil }) || time.Now().After(end) {
			break
		}
	}
	for key := range want {
		if len(have[key]) != 1 {
			t.Errorf("%s: %d files in the space: %v", key, len(have[key]), have[key])
		}
	}
	for key, paths := range have {
		if !want[key] {
			t.Errorf("files that nobody was sent: %v", paths)
		}
	}
	t.Logf("vault: %d files in the spaces, each once; %d begun by killed daemons beside them, which are swept later", len(want), begun)
}
