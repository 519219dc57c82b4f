package config

// How durations and sizes are written in the file, on the command line and in
// what `config show` prints: one place, so that the three never differ.

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// What a bad value is told. The words are part of the error texts.
const (
	durationSyntax = "write a number with its unit (ms, s, m, h, d), such as 90s, 15m, 12h, 90d or 1h30m"
	sizeSyntax     = "write bytes or a number with its unit (KB, MB, GB, TB; powers of 1,024), such as 256KB, 10MB or 1.5GB"
)

type unit struct {
	name string
	size int64
}

// Largest first: ParseDuration wants them in this order and the formatters try
// them in this order.
var (
	durationUnits = [...]unit{
		{"d", int64(24 * time.Hour)},
		{"h", int64(time.Hour)},
		{"m", int64(time.Minute)},
		{"s", int64(time.Second)},
		{"ms", int64(time.Millisecond)},
	}
	sizeUnits = [...]unit{
		{"TB", 1 << 40},
		{"GB", 1 << 30},
		{"MB", 1 << 20},
		{"KB", 1 << 10},
	}
)

// ParseDuration reads durations such as 90s, 15m, 12h, 90d and 1h30m: whole
// numbers with the units d, h, m, s and ms, largest first. A day is 24 hours.
// A bare 0 needs no unit. Signs, fractions and spaces are not accepted.
func ParseDuration(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	if text == "" {
		return 0, fmt.Errorf("empty duration; %s", durationSyntax)
	}
	var total int64
	last := -1
	for rest := text; rest != ""; {
		digits := leading(rest, func(c byte) bool { return c >= '0' && c <= '9' })
		letters := leading(rest[len(digits):], func(c byte) bool { return c >= 'a' && c <= 'z' })
		rest = rest[len(digits)+len(letters):]
		index := unitIndex(durationUnits[:], letters)
		if digits == "" || index < 0 {
			return 0, fmt.Errorf("%q is not a duration; %s", text, durationSyntax)
		}
		if index <= last {
			return 0, fmt.Errorf("%q is not a duration: units go from the largest to the smallest, each once; %s", text, durationSyntax)
		}
		last = index
		n, err := strconv.ParseInt(digits, 10, 64)
		size := durationUnits[index].size
		if err != nil || n > (math.MaxInt64-total)/size {
			return 0, fmt.Errorf("%q is too long a duration; the longest is %s", text, FormatDuration(math.MaxInt64))
		}
		total += n * size
	}
	return time.Duration(total), nil
}

// FormatDuration writes d as ParseDuration reads it, in as few units as are
// exact: 90m is 1h30m, 36h is 1d12h. What is below a millisecond is dropped.
func FormatDuration(d time.Duration) string {
	if d < 0 {
		return "-" + FormatDuration(-d)
	}
	var b strings.Builder
	rest := int64(d)
	for _, u := range durationUnits {
		if n := rest / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest -= n * u.size
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// ParseSize reads a number of bytes: 1048576, 1MB, "1 MB", 1.5GB. Units are
// powers of 1,024 and may be in either case; B alone is bytes. A fraction must
// come to a whole number of bytes.
func ParseSize(text string) (int64, error) {
	number := leading(text, func(c byte) bool { return c >= '0' && c <= '9' || c == '.' })
	name := strings.ToUpper(strings.TrimLeft(text[len(number):], " "))
	factor := int64(1)
	if name != "" && name != "B" {
		index := unitIndex(sizeUnits[:], name)
		if index < 0 {
			return 0, fmt.Errorf("%q is not a size; %s", text, sizeSyntax)
		}
		factor = sizeUnits[index].size
	}
	n, err := scale(number, factor)
	if err != nil {
		return 0, fmt.Errorf("%q is %w; %s", text, err, sizeSyntax)
	}
	return n, nil
}

// scale multiplies a decimal number by factor, exactly.
func scale(number string, factor int64) (int64, error) {
	whole, fraction, _ := strings.Cut(number, ".")
	if whole == "" || strings.HasSuffix(number, ".") {
		return 0, errors.New("not a size")
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64/factor {
		return 0, errors.New("too large a size")
	}
	n *= factor
	if fraction == "" {
		return n, nil
	}
	const maxFractionDigits = 6 // keeps the product below within 64 bits: 10^6 * 2^40 < 2^63
	if len(fraction) > maxFractionDigits {
		return 0, errors.New("too precise a size")
	}
	part, err := strconv.ParseInt(fraction, 10, 64)
	if err != nil {
		return 0, errors.New("not a size")
	}
	power := int64(math.Pow10(len(fraction)))
	if part*factor%power != 0 {
		return 0, errors.New("not a whole number of bytes")
	}
	extra := part * factor / power
	if n > math.MaxInt64-extra {
		return 0, errors.New("too large a size")
	}
	return n + extra, nil
}

// FormatSize writes n as ParseSize reads it: in the largest unit that keeps it
// whole, else in bytes.
func FormatSize(n int64) string {
	for _, u := range sizeUnits {
		if n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func leading(s string, accept func(byte) bool) string {
	n := 0
	for n < len(s) && accept(s[n]) {
		n++
	}
	return s[:n]
}

func unitIndex(units []unit, name string) int {
	for i, u := range units {
		if u.name == name {
			return i
		}
	}
	return -1
}
