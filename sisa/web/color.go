package web

// Colours: reading them, and whether text in them can be read (WCAG 2.2).

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	// textContrast is what WCAG 2.2 success criterion 1.4.3 (AA) asks of text.
	textContrast = 4.5
	// mixSteps is how finely a readable neighbour of a colour is looked for.
	mixSteps = 100
)

// rgb is an sRGB colour, each component from 0 to 1.
type rgb [3]float64

var (
	black = rgb{0, 0, 0}
	white = rgb{1, 1, 1}
)

// parseColor reads #rrggbb.
func parseColor(text string) (rgb, error) {
	digits, ok := strings.CutPrefix(text, "#")
	value, err := strconv.ParseUint(digits, 16, 32)
	if !ok || err != nil || len(digits) != 6 {
		return rgb{}, errors.New("write a colour as #rrggbb, such as #0b5cad")
	}
	return rgb{float64(value>>16) / 255, float64(value>>8&255) / 255, float64(value&255) / 255}, nil
}

func (c rgb) String() string {
	b := func(v float64) int { return int(math.Round(v * 255)) }
	return fmt.Sprintf("#%02x%02x%02x", b(c[0]), b(c[1]), b(c[2]))
}

// mix moves c towards other: 0 is c, 1 is other.
func (c rgb) mix(other rgb, share float64) rgb {
	for i := range c {
		c[i] += (other[i] - c[i]) * share
	}
	return c
}

// luminance is WCAG's relative luminance.
func (c rgb) luminance() float64 {
	linear := func(v float64) float64 {
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

// contrast is WCAG's contrast ratio, from 1 to 21.
func contrast(a, b rgb) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// readable gives the nearest colour on the way from c to goal that has the
// contrast of text on all grounds.
func readable(c, goal rgb, grounds ...rgb) rgb {
	for step := range mixSteps {
		near := c.mix(goal, float64(step)/mixSteps)
		near, _ = parseColor(near.String()) // as the browser will see it
		if readableOn(near, grounds...) {
			return near
		}
	}
	return goal
}

func readableOn(c rgb, grounds ...rgb) bool {
	for _, g := range grounds {
		if contrast(c, g) < textContrast {
			return false
		}
	}
	return true
}
