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
	// Proven is what the visitor had to prove: one of the recipients' addresses, or
	// "password"; "" where the link asks for nothing.
	Proven string `json:",omitempty"`
	// Again are parts that the same visitor fetched a moment ago: they are not
	// taken off what is left of a link's downloads.
	Again []int `json:",omitempty"`

	// Left is what is left of the parts that were taken off, and First are those
	// whose first download this is, where the sender is to hear of it. Downloaded
	// fills them in.
	Left  []Left `json:",omitempty"`
	First []int  `json:",omitempty"`
}
