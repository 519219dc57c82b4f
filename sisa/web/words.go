package web

// Sizes, times and kinds of files as people say them, in their language.

import (
	"strconv"
	"strings"
	"time"
)

// sizeWords gives a size in powers of 1,024, such as "2.4 MB".
func (t *texts) sizeWords(n int64) string {
	if n < 1<<10 {
		return t.Count("bytes", int(n))
	}
	value := float64(n)
	for _, unit := range []string{"unit_kb", "unit_mb", "unit_gb", "unit_tb"} {
		value /= 1 << 10
		// Up to where rounding would say 1024.
		if value < 1023.5 || unit == "unit_tb" {
			return t.Say(unit, "n", t.shortNumber(value))
		}
	}
	panic("unreachable")
}

// shortNumber gives two digits where one alone would be coarse: 2.4, 24, 240.
func (t *texts) shortNumber(v float64) string {
	if v >= 9.95 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	text := strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	return strings.Replace(text, ".", t.Say("decimal"), 1)
}

// moment is a point in time for machines and for people.
type moment struct {
	ISO   string
	Words string
}

func (t *texts) momentOf(at time.Time, zone *time.Location) moment {
	at = at.In(zone)
	return moment{
		ISO: at.UTC().Format(time.RFC3339),
		Words: t.Say("date",
			"day", strconv.Itoa(at.Day()),
			"month", t.months[at.Month()-1],
			"year", strconv.Itoa(at.Year()),
			"hour", at.Format("15"),
			"minute", at.Format("04"),
			"zone", at.Format("MST")),
	}
}

// leftWords says how long there is until a time to come, rounded down so that
// it promises no more than is true.
func (t *texts) leftWords(left time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case left < time.Minute:
		return t.Say("left_moment")
	case left < time.Hour:
		return t.Count("left_minutes", int(left/time.Minute))
	case left < 2*day:
		return t.Count("left_hours", int(left/time.Hour))
	default:
		return t.Count("left_days", int(left/day))
	}
}

// kindWords names common media types; others stand for themselves.
func (t *texts) kindWords(declared string) string {
	mediaType, ok := parseType(declared)
	if !ok {
		return t.Say("kind_file")
	}
	if k, ok := kinds[mediaType]; ok {
		return t.Say(k.text, "name", k.name)
	}
	return mediaType
}

// kind says which text names a media type.
type kind struct {
	text string // its key
	name string // what {name} in it is
}

var kinds = map[string]kind{
	"application/octet-stream":      {text: "kind_file"},
	"application/pdf":               {text: "kind_pdf"},
	"application/rtf":               {text: "kind_rtf"},
	"text/rtf":                      {text: "kind_rtf"},
	"application/msword":            {text: "kind_word"},
	"application/vnd.ms-excel":      {text: "kind_excel"},
	"application/vnd.ms-powerpoint": {text: "kind_powerpoint"},
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   {text: "kind_word"},
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         {text: "kind_excel"},
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": {text: "kind_powerpoint"},
	"application/vnd.oasis.opendocument.text":                                   {text: "kind_odt"},
	"application/vnd.oasis.opendocument.spreadsheet":                            {text: "kind_ods"},
	"application/vnd.oasis.opendocument.presentation":                           {text: "kind_odp"},
	"application/zip":              {"kind_archive", "ZIP"},
	"application/x-zip-compressed": {"kind_archive", "ZIP"},
	"application/x-7z-compressed":  {"kind_archive", "7-Zip"},
	"application/vnd.rar":          {"kind_archive", "RAR"},
	"application/x-rar-compressed": {"kind_archive", "RAR"},
	"application/gzip":             {"kind_archive", "gzip"},
	"application/x-tar":            {"kind_archive", "tar"},
	"application/json":             {"kind_data", "JSON"},
	"application/xml":              {"kind_data", "XML"},
	"text/xml":                     {"kind_data", "XML"},
	"text/plain":                   {text: "kind_text"},
	"text/html":                    {text: "kind_web"},
	"text/csv":                     {text: "kind_csv"},
	"text/calendar":                {text: "kind_calendar"},
	"text/vcard":                   {text: "kind_contact"},
	"message/rfc822":               {text: "kind_mail"},
	"image/jpeg":                   {"kind_image", "JPEG"},
	"image/png":                    {"kind_image", "PNG"},
	"image/gif":                    {"kind_image", "GIF"},
	"image/webp":                   {"kind_image", "WebP"},
	"image/heic":                   {"kind_image", "HEIC"},
	"image/tiff":                   {"kind_image", "TIFF"},
	"image/svg+xml":                {"kind_image", "SVG"},
	"audio/mpeg":                   {"kind_audio", "MP3"},
	"audio/wav":                    {"kind_audio", "WAV"},
	"audio/mp4":                    {"kind_audio", "MPEG-4"},
	"video/mp4":                    {"kind_video", "MPEG-4"},
	"video/quicktime":              {"kind_video", "QuickTime"},
	"video/x-msvideo":              {"kind_video", "AVI"},
}
