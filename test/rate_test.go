package test

// How many mails a second Postfix takes with Cloakroom, and without.

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// leastRate is what of a Postfix's own rate has to be left with Cloakroom.
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

// RATE=long takes seven rounds of 300 mails, and holds the rate to its limit.
func TestMailRateWithAndWithout(t *testing.T) {
	rounds, n := 1, 40
	long := os.Getenv("RATE") == "long"
	if long {
		rounds, n = 7, 300
	}
	d := newDaemon(t, linkAll)
	d.start()
	with, without := startPostfix(t, d.MilterAddr), startPostfix(t, "")
	rates := make(map[*testserver.Postfix][]float64)
	for round := range rounds {
		mails := mixture(n, round)
		for _, p := range []*testserver.Postfix{without, with} {
			rates[p] = append(rates[p], rate(t, p, mails))
		}
	}
	for _, list := range rates {
		slices.Sort(list)
	}
	a, b := rates[with][rounds/2], rates[without][rounds/2]
	t.Logf("mails a second, median of %d rounds of %d: with Cloakroom %.0f, without %.0f: %.2f", rounds, n, a, b, a/b)
	if long && a < leastRate*b {
		t.Errorf("that is less than %.2f", leastRate)
	}
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
