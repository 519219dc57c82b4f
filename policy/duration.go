package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ParseDuration reads `90s`, `15m`, `12h`, `90d` and what time.ParseDuration
// reads. A day is 24 hours; days may be followed by the smaller units (`1d12h`).
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration: write 90s, 15m, 12h or 90d", s)
	days, rest, found := strings.Cut(s, "d")
	if !found {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, bad
		}
		return d, nil
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil {
		return 0, bad
	}
	if n > math.MaxInt64/uint64(day) {
		return 0, fmt.Errorf("duration %q is too long: at most %dd", s, math.MaxInt64/int64(day))
	}
	d := time.Duration(n) * day
	if rest == "" {
		return d, nil
	}
	if strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		return 0, bad
	}
	tail, err := time.ParseDuration(rest)
	if err != nil {
		return 0, bad
	}
	if d > math.MaxInt64-tail {
		return 0, fmt.Errorf("duration %q is too long: at most %dd", s, math.MaxInt64/int64(day))
	}
	return d + tail, nil
}
