package admin

// Numbers, times and texts as people read them.

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cloakroom/flow"
	"cloakroom/message"
)

// ageWords tells how long something takes or is ago, in one unit.
func ageWords(d time.Duration) string {
	switch {
	case d < time.Second:
		return "under 1 s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}

// secondsWords writes a latency.
func secondsWords(s float64) string {
	switch {
	case s <= 0:
		return "–"
	case s < 1:
		return strconv.FormatFloat(roundTo3(s*1000), 'f', -1, 64) + " ms"
	}
	return strconv.FormatFloat(roundTo3(s), 'f', -1, 64) + " s"
}

// number writes 1234567 as 1,234,567.
func number(n int64) string {
	text := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, text = "−", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// countWords writes a number with its noun.
func countWords(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// percent writes the share of a part.
func percent(part, whole int64) string {
	if whole <= 0 {
		return "–"
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', 0, 64) + " %"
}

// size writes bytes.
func size(n int64) string {
	if n < 0 {
		return "−" + size(-n)
	}
	const tera = 1 << 40
	if n >= tera {
		return fmt.Sprintf("%.2f TB", float64(n)/tera)
	}
	return message.FormatSize(n)
}

// day and moment write times in the zone of the host.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// targetWords names what jobs are done at.
func targetWords(kind, target string) string {
	if kind == flow.JobCopy && target == "" {
		return "sending copies"
	}
	if kind == flow.JobReceipt && target == "" {
		return "telling senders of downloads"
	}
	if target == "" {
		return kind
	}
	return "target " + target
}

// plain takes out of a text that came with a mail what would mislead a reader:
// control characters, and those that turn the direction of writing around.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f:
			return '\uFFFD'
		}
		return r
	}, s)
}

// short cuts a text for a column.
func short(s string, limit int) string {
	s = plain(s)
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}

// roundTo3 rounds to three significant digits.
func roundTo3(v float64) float64 {
	if v <= 0 {
		return 0
	}
	text := strconv.FormatFloat(v, 'g', 3, 64)
	out, err := strconv.ParseFloat(text, 64)
	if err != nil { // what FormatFloat wrote can be read
		return v
	}
	return out
}
