package message

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"strings"
	"testing"
)

func ins(at int64, s string) Splice        { return Splice{Span{at, at}, []byte(s)} }
func swap(from, to int64, s string) Splice { return Splice{Span{from, to}, []byte(s)} }

func TestSpliced(t *testing.T) {
	const body = "0123456789"
	for _, c := range []struct {
		name    string
		splices []Splice
		want    string
	}{
		{"nothing", nil, body},
		{"insert", []Splice{ins(3, "abc")}, "012abc3456789"},
		{"insert at the ends", []Splice{ins(10, "z"), ins(0, "a")}, "a0123456789z"},
		{"cut", []Splice{swap(2, 8, "")}, "0189"},
		{"cut all", []Splice{swap(0, 10, "")}, ""},
		{"out of order", []Splice{swap(7, 8, "c"), swap(1, 2, "a"), swap(4, 5, "b")}, "0a23b56c89"},
		{"neighbours", []Splice{swap(4, 6, "b"), swap(2, 4, "a")}, "01ab6789"},
		{"two insertions at one place keep their order", []Splice{ins(5, "a"), ins(5, "b"), ins(5, "c")}, "01234abc56789"},
		{"insertion before a cut", []Splice{swap(5, 8, "X"), ins(5, "a")}, "01234aX89"},
		{"insertion behind a cut", []Splice{ins(8, "a"), swap(5, 8, "X")}, "01234Xa89"},
	} {
		s, err := NewSpliced(strings.NewReader(body), int64(len(body)), c.splices)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for range 2 { // it may be written more than once
			var out bytes.Buffer
			n, err := s.WriteTo(&out)
			if err != nil || out.String() != c.want || n != int64(len(c.want)) || s.Size() != n {
				t.Errorf("%s: %q, %d bytes, size %d, %v; want %q", c.name, out.String(), n, s.Size(), err, c.want)
			}
		}
	}
}

func TestManyInsertionsAtOnePlaceKeepTheirOrder(t *testing.T) {
	var splices []Splice
	var want strings.Builder
	for i := range 100 {
		splices = append(splices, ins(1, string(rune('!'+i))), ins(0, "-"))
		want.WriteRune(rune('!' + i))
	}
	s, err := NewSpliced(strings.NewReader("ab"), 2, splices)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := s.WriteTo(&out); err != nil || out.String() != strings.Repeat("-", 100)+"a"+want.String()+"b" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestSplicesThatOverlapOrLieOutsideAreRefused(t *testing.T) {
	for _, splices := range [][]Splice{
		{swap(2, 5, ""), swap(4, 6, "")},
		{swap(2, 8, ""), ins(4, "x")},
		{swap(2, 8, ""), swap(2, 8, "")},
		{swap(2, 5, ""), swap(2, 8, "")},
		{swap(-1, 2, "")}, {ins(-1, "x")}, {swap(8, 11, "")}, {ins(11, "x")}, {swap(5, 4, "")},
		{swap(1<<62, 1<<62+1, "")}, {swap(-1<<62, 1, ""), swap(1<<62, 1<<62, "")},
	} {
		if _, err := NewSpliced(strings.NewReader("0123456789"), 10, splices); err == nil {
			t.Errorf("%v is taken", splices)
		}
	}
}

func TestSplicedDoesNotTouchTheListItIsGiven(t *testing.T) {
	list := []Splice{ins(5, "b"), ins(1, "a")}
	if _, err := NewSpliced(strings.NewReader("0123456789"), 10, list); err != nil {
		t.Fatal(err)
	}
	if list[0].Start != 5 {
		t.Error("the list was sorted in place")
	}
}

// shortWriter fails after n bytes.
type shortWriter struct{ n int }

var errFull = errors.New("full")

func (w *shortWriter) Write(b []byte) (int, error) {
	if len(b) > w.n {
		n := w.n
		w.n = 0
		return n, errFull
	}
	w.n -= len(b)
	return len(b), nil
}

func TestWriteToTellsErrorsAndHowFarItCame(t *testing.T) {
	s, err := NewSpliced(strings.NewReader("0123456789"), 10, []Splice{swap(4, 6, "abc")})
	if err != nil {
		t.Fatal(err)
	}
	for n := range int(s.Size()) {
		if got, err := s.WriteTo(&shortWriter{n}); err != errFull || got != int64(n) {
			t.Errorf("%d bytes: wrote %d, %v", n, got, err)
		}
	}
	if _, err := s.WriteTo(&shortWriter{11}); err != nil {
		t.Error(err)
	}
	truncated, err := NewSpliced(strings.NewReader("01234"), 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := truncated.WriteTo(io.Discard); !errors.Is(err, io.EOF) || n != 5 {
		t.Errorf("a body that is too short: %d bytes, %v", n, err)
	}
}

func TestSplicedLargeBodies(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 50 {
		body := make([]byte, r.Intn(200<<10))
		r.Read(body)
		var splices []Splice
		var want []byte
		at := 0
		for at < len(body) {
			from := at + r.Intn(len(body)-at+1)
			to := from + r.Intn(len(body)-from+1)
			text := bytes.Repeat([]byte{'x'}, r.Intn(50<<10))
			splices = append(splices, Splice{Span{int64(from), int64(to)}, text})
			want = append(append(want, body[at:from]...), text...)
			at = to
			if from == to {
				break
			}
		}
		want = append(want, body[at:]...)
		r.Shuffle(len(splices), func(i, j int) { splices[i], splices[j] = splices[j], splices[i] })
		s, err := NewSpliced(bytes.NewReader(body), int64(len(body)), splices)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := s.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), want) || s.Size() != int64(len(want)) {
			t.Fatalf("%v; %d bytes, want %d", err, out.Len(), len(want))
		}
	}
}
