package name

// From facts to a path, and to its variants.

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxName is the longest name of most file systems, in bytes (NAME_MAX).
	maxName = 255
	// suffixRoom is what a variant adds to a name: " (01234567)".
	suffixRoom = 11
	// tempRoom is what a destination may add for the temporary name of an upload.
	tempRoom = 64
	// MaxSegment is the longest segment that Render gives, in bytes.
	MaxSegment = maxName - suffixRoom - tempRoom
	// MaxPath is the longest path that Render gives, in bytes. S3 takes 1,024 for
	// a key, and the base folder of the target stands in front.
	MaxPath = 800
	// maxValue is what one value may take of a segment, in bytes, so that a long
	// subject leaves room for the name of the file.
	maxValue = 80
	// maxExtension is the longest extension that is kept when a name is cut, in
	// bytes with its dot.
	maxExtension = 32
)

// Facts is what is known of a file and its mail.
type Facts struct {
	Space      string
	Owner      string // address
	Department string
	Direction  string
	Time       time.Time // when the mail came; its parts are those of its own zone
	Sender     string    // address; "" is the null sender
	Subject    string
	Name       string // of the file; "" when it has none
	SHA256     [32]byte
	Rule       string
	ID         string
}

// Render makes the path: relative, with slashes, safe on every server. Nothing
// in the facts can add or leave a folder. The same facts give the same path.
func (t *Template) Render(f Facts) string {
	segments := make([]string, len(t.segments))
	total := len(segments) - 1
	for i, pieces := range t.segments {
		segments[i] = renderSegment(pieces, &f, MaxSegment)
		total += len(segments[i])
	}
	if total > MaxPath {
		share := (MaxPath - len(segments) + 1) / len(segments)
		for i, pieces := range t.segments {
			if len(segments[i]) > share {
				segments[i] = renderSegment(pieces, &f, share)
			}
		}
	}
	return strings.Join(segments, "/")
}

// renderSegment gives one name of at most limit bytes. Where it would be longer
// the file's own name in it is shortened first, as what else is there tells
// files apart.
func renderSegment(pieces []piece, f *Facts, limit int) string {
	s := safeSegment(join(pieces, f, maxTemplate))
	if over := len(s) - limit; over > 0 {
		for _, p := range pieces {
			if p.field == nil || p.field.name != "name" && p.field.name != "stem" {
				continue
			}
			if room := len(value(p.field, f, maxTemplate)) - over; room >= maxExtension {
				s = safeSegment(join(pieces, f, room))
			}
			break
		}
	}
	return safeSegment(cut(s, limit))
}

// join puts pieces together; nameRoom is what the file's own name may take.
func join(pieces []piece, f *Facts, nameRoom int) string {
	var b strings.Builder
	for _, p := range pieces {
		if p.field == nil {
			b.WriteString(p.literal)
			continue
		}
		b.WriteString(value(p.field, f, nameRoom))
	}
	return b.String()
}

// value is the clean value of a field.
func value(fd *field, f *Facts, nameRoom int) string {
	s := trim(clean(fd.get(f)))
	stem, ext := split(s)
	switch fd.name {
	case "ext":
		return cut(strings.TrimPrefix(ext, "."), maxExtension)
	case "stem":
		s = stem
	}
	if s == "" {
		return fd.empty
	}
	if fd.whole {
		return cut(s, nameRoom)
	}
	return cutAt(s, maxValue)
}

// split cuts a name before its extension, which has its dot and is "" where a
// name has none: what follows a dot in a sentence is none.
func split(s string) (stem, ext string) {
	dot := strings.LastIndexByte(s, '.')
	if dot <= 0 || dot == len(s)-1 || len(s)-dot > maxExtension || strings.ContainsRune(s[dot:], ' ') {
		return s, ""
	}
	stem, ext = s[:dot], s[dot:]
	// What is packed keeps both: plan.tar.gz.
	if base, found := strings.CutSuffix(stem, ".tar"); found && base != "" {
		stem, ext = base, ".tar"+ext
	}
	return stem, ext
}

// cut shortens a name to limit bytes and keeps its extension, if there is room.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	stem, ext := split(s)
	if len(ext)+1 > limit {
		stem, ext = s, ""
	}
	return trimEnd(cutAt(stem, limit-len(ext))) + ext
}

// cutAt shortens a text to limit bytes, between characters.
func cutAt(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return trimEnd(s[:limit])
}

// Variant is the nth name to try for a path, from 1: the path itself, "plan
// (2).pdf" to "plan (9).pdf", and then "plan (01234567).pdf" with the first
// digits of the content's SHA-256.
func Variant(path string, n int, sha [32]byte) string {
	if n <= 1 {
		return path
	}
	suffix := fmt.Sprintf(" (%d)", n)
	if n > 9 {
		suffix = " (" + shortHash(sha) + ")"
	}
	folder, last := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		folder, last = path[:i+1], path[i+1:]
	}
	stem, ext := split(last)
	return folder + strings.TrimRight(stem, " ") + suffix + ext
}

func shortHash(sha [32]byte) string { return hex.EncodeToString(sha[:4]) }

func local(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return address[:i]
	}
	return address
}

func domain(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return address[i+1:]
	}
	return ""
}
