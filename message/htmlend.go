package message

// Where a block at the end of an HTML document belongs.

import (
	"bytes"

	"golang.org/x/net/html"
)

// htmlEnd returns the index of the last </body>, else </html>, else of the end
// of an HTML document. Tags in comments, scripts and the like do not count.
// It is not ok when what is put there would not be shown, because one of these
// is left open.
func htmlEnd(text []byte) (at int, ok bool) {
	// A tag put behind the document shows whether tags are seen there.
	const probe = "<p>"
	z := html.NewTokenizer(bytes.NewReader(append(text[:len(text):len(text)], probe...)))
	body, root := -1, -1
	for pos := 0; ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		start := pos
		pos += len(z.Raw())
		switch kind {
		case html.EndTagToken:
			switch name, _ := z.TagName(); string(name) {
			case "body":
				body = start
			case "html":
				root = start
			}
		case html.StartTagToken:
			ok = start == len(text)
		}
	}
	switch {
	case body >= 0:
		return body, true
	case root >= 0:
		return root, true
	}
	return len(text), ok
}
