package message

// The media type that the first bytes of a file tell, whatever its label says.

import (
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// SniffLen is how many bytes from the start of a file Sniff looks at: the
// default read limit of the mimetype library. A shorter prefix would look to
// its text detectors like a complete file, and cut JSON is not JSON.
const SniffLen = 4096

const typeUnknown = "application/octet-stream"

// Sniff tells a media type, in lower case and without parameters, by the first
// SniffLen bytes of a file, or all of it when it is shorter. It is
// "application/octet-stream" for what is not known, or empty.
func Sniff(prefix []byte) (mediaType string) {
	if len(prefix) == 0 {
		return typeUnknown
	}
	// The bytes are a stranger's and the detectors are many. A bug in one of
	// them may cost the type of one file, never the delivery of mail.
	defer func() {
		if recover() != nil {
			mediaType = typeUnknown
		}
	}()
	if len(prefix) > SniffLen {
		prefix = prefix[:SniffLen]
	}
	t, _, _ := strings.Cut(mimetype.Detect(prefix).String(), ";")
	return strings.ToLower(strings.TrimSpace(t))
}
