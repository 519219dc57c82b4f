package message

// Limits of what is taken apart. A message beyond one of them is treated as
// one opaque part: delivered as it is, with the limit named in the log.
const (
	// MaxParts bounds the tree, and so the memory of a session. Real mail has
	// a few dozen parts at most; digests a few hundred.
	MaxParts = 1000
	// MaxDepth is the nesting of multiparts. Mail clients display far less.
	MaxDepth = 32
	// MaxPartHeader is the header of one part in bytes. Postfix allows 102,400
	// for the whole message header (header_size_limit).
	MaxPartHeader = 64 << 10
	// MaxHeaders is the sum of all part headers in bytes.
	MaxHeaders = 1 << 20
	// MaxBoundary is the longest boundary parameter taken, in bytes. RFC 2046
	// section 5.1.1 allows 70; some senders exceed it.
	MaxBoundary = 200
	// maxDelimiterLine is how much of a line that begins with "--" is looked
	// at: the longest boundary, the dashes, and some trailing white space.
	maxDelimiterLine = 512
)
