package test

// How many mails a second Postfix takes with Cloakroom, and without; and what a
// mail costs beside what cannot be avoided.

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// leastRate is what has to be left with Cloakroom of the rate that a Postfix has
// with a milter that only reads.
const leastRate = 0.85

// mixture makes mails of which 70 of 100 are text, 20 have a file of 100 KB, 8 of
// 1 MB and 2 of 10 MB; every other file was sent before.
func mixture(n, round int) [][]byte {
	var out [][]byte
	for i := range n {
		size := 0
		switch at := (i*37 + 11) % 100; { // spread, and the same in every round
		case at < 2:
			size = 10 << 20
		case at < 10:
			size = 1 << 20
		case at < 30:
			size = 100 << 10
		}
		subject := fmt.Sprintf("mix %d %d", round, i)
		if size == 0 {
			out = append(out, toCRLF(compose(dave, []string{bob}, subject)))
			continue
		}
		seed := int64(size)
		if i%2 == 0 {
			seed = int64(round*1_000_000 + i + 1)
		}
		out = append(out, toCRLF(compose(dave, []string{bob}, subject, file{"mix.bin", "application/octet-stream", random(size, seed)})))
	}
	return out
}

// rounds tells how often measurements are repeated, and which part of the mails
// they take: RATE=long measures, else they are tried.
func rounds() (n, part int) {
	if os.Getenv("RATE") == "long" {
		return 7, 1
	}
	return 1, 8
}

// TestMailRateWithAndWithout compares a Postfix with Cloakroom with one without a
// milter, and with one whose milter only reads the mail.
func TestMailRateWithAndWithout(t *testing.T) {
	n, part := rounds()
	d := newDaemon(t, linkAll)
	onSocket(d)
	d.start()
	bare, _ := startBare(t, false)
	with, without, reading := startPostfix(t, d.MilterAddr), startPostfix(t, ""), startPostfix(t, "unix:"+bare)
	rates := make(map[*testserver.Postfix][]float64)
	for round := range n {
		mails := mixture(304/part, round)
		for _, p := range []*testserver.Postfix{without, with, reading} {
			rates[p] = append(rates[p], rate(t, p, mails))
		}
	}
	a, b, c := median(rates[with]), median(rates[without]), median(rates[reading])
	t.Logf("mails a second, median of %d rounds of %d: with Cloakroom %.0f, without %.0f, with a milter that only reads %.0f: %.2f and %.2f of that without, %.2f of that which reads",
		n, 304/part, a, b, c, a/b, c/b, a/c)
	if part == 1 && a < leastRate*c {
		t.Errorf("that is less than %.2f", leastRate)
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// onSocket has the milter listen on a UNIX socket that everybody may use.
func onSocket(d *daemon) {
	if err := os.Chmod(d.Folder, 0o755); err != nil {
		d.t.Fatal(err)
	}
	d.MilterAddr, d.MilterConfig = "unix:"+filepath.Join(d.Folder, "milter.sock"), []string{`socket_mode: "0666"`}
}

// mostCPU is how much more than the bare milter's the CPU of a mail may be, by the
// size of its attachment.
var mostCPU = map[int]float64{100 << 10: 2.5, 1 << 20: 1.7, 10 << 20: 1.4}

// TestMailCostsBesideTheBareMilter passes mails with new attachments over four
// connections, to Cloakroom and to a bare milter in turns.
func TestMailCostsBesideTheBareMilter(t *testing.T) {
	n, part := rounds()
	d := newDaemon(t, linkAll)
	onSocket(d)
	d.start()
	bare, process := startBare(t, true)
	type peer struct {
		socket, process string
		cpu, rate       []float64
	}
	for _, k := range []struct{ size, mails int }{{100 << 10, 480}, {1 << 20, 80}, {10 << 20, 16}} {
		peers := []*peer{{socket: strings.TrimPrefix(d.MilterAddr, "unix:"), process: d.process()}, {socket: bare, process: process}}
		for round := range n {
			mails := make([][]byte, max(4, k.mails/part))
			for i := range mails {
				mails[i] = toCRLF(compose(dave, []string{bob}, "bare", file{"new.bin", "application/octet-stream", random(k.size, int64(k.size+1000*round+i))}))
			}
			for _, p := range peers {
				before, began := usageOf(t, p.process), time.Now()
				passAll(t, p.socket, mails)
				took, after := time.Since(began), usageOf(t, p.process)
				p.rate = append(p.rate, float64(len(mails))/took.Seconds())
				p.cpu = append(p.cpu, float64((after.cpu-before.cpu).Microseconds())/1000/float64(len(mails)))
			}
		}
		ours, bares := peers[0], peers[1]
		ratio := median(ours.cpu) / median(bares.cpu)
		t.Logf("attachments of %d KB, median of %d rounds: %.2f ms of CPU a mail, bare milter %.2f: %.2f; %.0f mails a second, bare milter %.0f: %.2f", k.size>>10,
			n, median(ours.cpu), median(bares.cpu), ratio, median(ours.rate), median(bares.rate), median(ours.rate)/median(bares.rate))
		if part == 1 && ratio > mostCPU[k.size] {
			t.Errorf("that is more than %.1f", mostCPU[k.size])
		}
	}
}

// passAll passes mails to a milter over four connections; each has a body that is
// replaced.
func passAll(t *testing.T, socket string, mails [][]byte) {
	t.Helper()
	const clients = 4
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			c, err := dialMilter(socket)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for i := client; i < len(mails); i += clients {
				if replaced, err := c.pass(mails[i]); err != nil || !replaced {
					t.Errorf("mail %d: replaced %v, %v", i, replaced, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// rate sends mails from four clients, and tells how many a second were taken.
func rate(t *testing.T, p *testserver.Postfix, mails [][]byte) float64 {
	t.Helper()
	const clients = 4
	began := time.Now()
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			for i := client; i < len(mails); i += clients {
				if r, err := testserver.SendSMTP(t.Context(), p.SMTPAddr(), dave, []string{bob}, bytes.NewReader(mails[i])); err != nil || r.Code != 250 {
					t.Errorf("mail %d: %+v, %v", i, r, err)
				}
			}
		})
	}
	all.Wait()
	return float64(len(mails)) / time.Since(began).Seconds()
}
