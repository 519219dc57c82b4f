package web

// Sizes, times and media types as people say them.

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// sizeWords gives a size in powers of 1,024, such as "2.4 MB".
func sizeWords(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	value := float64(n)
	for _, unit := range []string{"KB", "MB", "GB", "TB"} {
		value /= 1 << 10
		// Up to where rounding would say 1024.
		if value < 1023.5 || unit == "TB" {
			return shortNumber(value) + " " + unit
		}
	}
	panic("unreachable")
}

// shortNumber gives two digits where one alone would be coarse: 2.4, 24, 240.
func shortNumber(v float64) string {
	if v >= 9.95 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// moment is a point in time for machines and for people.
type moment struct {
	ISO   string
	Words string
}

func momentOf(t time.Time) moment {
	t = t.UTC()
	return moment{ISO: t.Format(time.RFC3339), Words: t.Format("2 January 2006, 15:04") + " UTC"}
}

// leftWords says how long there is until a time to come, rounded down so that
// it promises no more than is true.
func leftWords(left time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case left < time.Minute:
		return "less than a minute left"
	case left < time.Hour:
		return count(int(left/time.Minute), "minute") + " left"
	case left < 2*day:
		return count(int(left/time.Hour), "hour") + " left"
	default:
		return count(int(left/day), "day") + " left"
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// typeWords names common media types; others stand for themselves.
func typeWords(declared string) string {
	t, ok := parseType(declared)
	if !ok {
		return "file"
	}
	if words, ok := typeNames[t]; ok {
		return words
	}
	return t
}

var typeNames = map[string]string{
	"application/octet-stream":      "file",
	"application/pdf":               "PDF document",
	"application/rtf":               "RTF document",
	"text/rtf":                      "RTF document",
	"application/msword":            "Word document",
	"application/vnd.ms-excel":      "Excel spreadsheet",
	"application/vnd.ms-powerpoint": "PowerPoint presentation",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   "Word document",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         "Excel spreadsheet",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": "PowerPoint presentation",
	"application/vnd.oasis.opendocument.text":                                   "OpenDocument text",
	"application/vnd.oasis.opendocument.spreadsheet":                            "OpenDocument spreadsheet",
	"application/vnd.oasis.opendocument.presentation":                           "OpenDocument presentation",
	"application/zip":              "ZIP archive",
	"application/x-zip-compressed": "ZIP archive",
	"application/x-7z-compressed":  "7-Zip archive",
	"application/vnd.rar":          "RAR archive",
	"application/x-rar-compressed": "RAR archive",
	"application/gzip":             "gzip archive",
	"application/x-tar":            "tar archive",
	"application/json":             "JSON data",
	"application/xml":              "XML data",
	"text/xml":                     "XML data",
	"text/plain":                   "plain text",
	"text/html":                    "web page",
	"text/csv":                     "CSV table",
	"text/calendar":                "calendar entry",
	"text/vcard":                   "contact card",
	"message/rfc822":               "e-mail message",
	"image/jpeg":                   "JPEG image",
	"image/png":                    "PNG image",
	"image/gif":                    "GIF image",
	"image/webp":                   "WebP image",
	"image/heic":                   "HEIC image",
	"image/tiff":                   "TIFF image",
	"image/svg+xml":                "SVG image",
	"audio/mpeg":                   "MP3 audio",
	"audio/wav":                    "WAV audio",
	"audio/mp4":                    "MPEG-4 audio",
	"video/mp4":                    "MPEG-4 video",
	"video/quicktime":              "QuickTime video",
	"video/x-msvideo":              "AVI video",
}

// badge is the few letters on a file's icon: the extension, if it is one.
func badge(name string) string {
	const maxBadge = 4 // characters that fit
	ext := strings.ToUpper(strings.TrimPrefix(path.Ext(name), "."))
	if ext == "" || len(ext) > maxBadge || strings.IndexFunc(ext, func(r rune) bool { return !isAlphanumeric(r) }) >= 0 {
		return "FILE"
	}
	return ext
}
