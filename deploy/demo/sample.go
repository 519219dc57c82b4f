package main

// The files that are sent, drawn and computed here: a PDF, a CSV and a PNG,
// the same bytes on every run.

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
)

// drawing is a PDF of one A4 page with one long curve on it: about 600 KB,
// uncompressed as plotters and old CAD programs write it.
func drawing() []byte {
	var page bytes.Buffer
	page.WriteString("0.2 w 0.10 0.30 0.45 RG\n297 421 m\n")
	const steps = 40_000
	for i := range steps {
		t := float64(i) / steps * 2 * math.Pi
		r := 200 + 60*math.Sin(53*t)
		x := 297 + r*math.Cos(7*t)*math.Cos(t/2)
		y := 421 + 1.6*r*math.Sin(11*t)
		fmt.Fprintf(&page, "%.2f %.2f l\n", x, y)
	}
	page.WriteString("S\n")
	return onePagePDF(page.Bytes())
}

// onePagePDF wraps drawing operators into a PDF 1.4 file (ISO 32000-1, 7.5).
func onePagePDF(page []byte) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n")
	var offsets []int
	object := func(format string, args ...any) {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n", len(offsets))
		fmt.Fprintf(&b, format, args...)
		b.WriteString("\nendobj\n")
	}
	object("<< /Type /Catalog /Pages 2 0 R >>")
	object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << >> /Contents 4 0 R >>")
	object("<< /Length %d >>\nstream\n%s\nendstream", len(page), page)
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, at := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, xref)
	return b.Bytes()
}

// readings is a CSV of a week of measurements, one every ten seconds: about 1.7 MB.
func readings() []byte {
	noise := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.WriteString("second,celsius,humidity,pressure\r\n")
	for s := 0; s < 7*24*3600; s += 10 {
		day := math.Sin(2 * math.Pi * float64(s) / 86400)
		fmt.Fprintf(&b, "%d,%.2f,%.1f,%.1f\r\n", s, 17+6*day+noise.NormFloat64()/4, 55-12*day+noise.NormFloat64(), 1013+noise.NormFloat64())
	}
	return b.Bytes()
}

// logo is a PNG of 64 by 64 pixels: a ring.
func logo() ([]byte, error) {
	img := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			away := math.Abs(math.Hypot(float64(x)-31.5, float64(y)-31.5) - 22)
			cover := min(1, max(0, 7-away)) // one pixel of soft edge
			img.SetNRGBA(x, y, color.NRGBA{R: 20, G: uint8(90 + y), B: 130, A: uint8(255 * cover)})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("draw the logo: %w", err)
	}
	return b.Bytes(), nil
}

// siteRules is a text too small to be worth a link.
const siteRules = `Site rules, north hall

1. Helmets on, everywhere.
2. The west gate opens at seven.
3. Report what you break; nobody minds, once.
`
