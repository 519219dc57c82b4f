package app

// A progress bar on a terminal; a line now and then elsewhere.

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	barEvery = 100 * time.Millisecond // on a terminal
	logEvery = 10 * time.Second       // elsewhere
	barCells = 30
)

// Bar shows how far a long work has come.
type Bar struct {
	w     io.Writer
	width int // columns of the terminal; 0: it is none
	begin time.Time
	last  time.Time
	drawn bool
}

// NewBar shows progress on w.
func NewBar(w io.Writer) *Bar {
	b := &Bar{w: w, begin: time.Now()}
	b.last = b.begin
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			b.width = int(size.Col)
			if b.width == 0 {
				b.width = 80
			}
		}
	}
	return b
}

// Show tells that done of all is done; text says what. It may be called often.
func (b *Bar) Show(done, all int64, text string) {
	now := time.Now()
	every := barEvery
	if b.width == 0 {
		every = logEvery
	}
	if now.Sub(b.last) < every {
		return
	}
	b.last = now
	share := 0.0
	if all > 0 {
		share = min(1, float64(done)/float64(all))
	}
	if b.width == 0 {
		fmt.Fprintf(b.w, "%3.0f%% %s%s\n", 100*share, text, left(now.Sub(b.begin), share))
		return
	}
	full := int(share * barCells)
	line := fmt.Sprintf("%3.0f%% [%s%s] %s%s", 100*share, strings.Repeat("#", full), strings.Repeat(".", barCells-full), text,
		left(now.Sub(b.begin), share))
	if len(line) >= b.width {
		line = line[:b.width-1]
	}
	fmt.Fprintf(b.w, "\r\x1b[K%s", line)
	b.drawn = true
}

// End takes the bar off the terminal.
func (b *Bar) End() {
	if b.drawn {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.drawn = false
	}
}

// sayAfter is when somebody begins to wonder whether anything is done.
const sayAfter = time.Second

// Wait tells on a terminal what is waited for that shows no progress, if it takes
// longer than a moment, until stop is called. Nothing else may be shown meanwhile.
func (b *Bar) Wait(text string) (stop func()) {
	if b.width == 0 {
		return func() {}
	}
	said := make(chan struct{})
	later := time.AfterFunc(sayAfter, func() {
		defer close(said)
		fmt.Fprintf(b.w, "\r\x1b[K%s", text[:min(len(text), b.width-1)])
		b.drawn = true
	})
	return func() {
		if !later.Stop() {
			<-said
		}
		b.End()
	}
}

// left guesses the time that is left.
func left(spent time.Duration, share float64) string {
	if share < 0.01 || spent < 2*time.Second {
		return ""
	}
	rest := time.Duration(float64(spent) * (1 - share) / share)
	return ", " + rest.Round(time.Second).String() + " left"
}
