package flow_test

// What parts hold is stored from memory, from a draft, or decoded again: which of
// these must not be seen.

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestPartsOfAnySizeInAnyOrderAreStoredAsTheyCame(t *testing.T) {
	w := newWorld(t, linkAll)
	random := rand.New(rand.NewPCG(5, 6))
	sizes := []int{1, 2, 100, 8 << 10, 100 << 10, 120 << 10, 255 << 10, 256<<10 - 1, 256 << 10, 256<<10 + 1, 300 << 10, 1 << 20}
	for round := range 12 {
		l := letter{id: fmt.Sprintf("parts-%d", round)}
		for i := range 1 + random.IntN(9) {
			size := sizes[random.IntN(len(sizes))]
			if round == 0 {
				size = sizes[i%len(sizes)]
			}
			l.files = append(l.files, file{fmt.Sprintf("part-%d.bin", i), noise(uint64(round*100+i), size)})
		}
		if round%3 == 1 { // the same content twice in a mail
			l.files = append(l.files, file{"again.bin", l.files[0].content})
		}
		env := outbound(l.id)
		w.mustDeliver(t, env, l.raw())
		record, err := w.recordOf(t.Context(), env.QueueID)
		if err != nil {
			t.Fatal(err)
		}
		linked := 0
		for _, p := range record.Parts {
			if !p.Linked {
				continue
			}
			got, err := w.content(t.Context(), p.SHA256)
			if err != nil || !bytes.Equal(got, l.files[linked].content) {
				t.Fatalf("round %d: %s of %d bytes is stored as %d bytes, %v", round, p.Name, p.Size, len(got), err)
			}
			linked++
		}
		if linked != len(l.files) {
			t.Errorf("round %d: %d of %d files are linked", round, linked, len(l.files))
		}
	}
}
