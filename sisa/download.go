package sisa

import "time"

// Download is one recipient's act of fetching a file: the button was pressed.
// What a browser does after that (pieces, repetitions) is not told apart.
type Download struct {
	LinkID string
	Part   int
	Client string // address of the HTTP client; "" when unknown
	Agent  string // its User-Agent: printable, cut to a reasonable length; "" when it sent none
	At     time.Time
}
