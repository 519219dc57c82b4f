package message

// The 7-bit charsets that are only read, never written. Old mail carries
// them, and a file name hidden in one must not escape policy.

import (
	"strings"
	"unicode/utf16"

	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// decodeUTF7 decodes RFC 2152.
func decodeUTF7(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c >= 0x80:
			out.WriteRune('\uFFFD')
		case c != '+':
			out.WriteByte(c)
		case i+1 < len(b) && b[i+1] == '-':
			out.WriteByte('+')
			i++
		default:
			end := i + 1
			for end < len(b) && base64Value(b[end]) >= 0 {
				end++
			}
			writeUTF7Units(&out, b[i+1:end])
			if end < len(b) && b[end] == '-' {
				end++ // the explicit end of a shifted run is not text
			}
			i = end - 1
		}
	}
	return out.String()
}

// writeUTF7Units writes one run of modified base64, which is UTF-16BE.
func writeUTF7Units(out *strings.Builder, b64 []byte) {
	units := make([]uint16, 0, len(b64)*6/16)
	var acc uint32
	bits := 0
	for _, c := range b64 {
		acc = acc<<6 | uint32(base64Value(c))
		if bits += 6; bits >= 16 {
			bits -= 16
			units = append(units, uint16(acc>>bits))
			acc &= 1<<bits - 1
		}
	}
	for _, r := range utf16.Decode(units) {
		out.WriteRune(r)
	}
	if len(units) == 0 || acc != 0 || bits >= 6 {
		out.WriteRune('\uFFFD') // no character at all, or half of one at the end
	}
}

// base64Value is the value of a base64 digit (RFC 4648 section 4), or -1.
func base64Value(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+':
		return 62
	case c == '/':
		return 63
	}
	return -1
}

// decodeHZ decodes RFC 1843.
func decodeHZ(b []byte) string { return decodeWith(simplifiedchinese.HZGB2312, b) }

// decodeISO2022KR decodes RFC 1557: after the designator, SO shifts to the two
// byte characters of KS X 1001 and SI shifts back. With the high bit set these
// are EUC-KR.
func decodeISO2022KR(b []byte) string {
	const (
		shiftOut   = 0x0e
		shiftIn    = 0x0f
		designator = "\x1b$)C"
	)
	text := strings.ReplaceAll(string(b), designator, "")
	euc := make([]byte, 0, len(text))
	wide := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == shiftOut:
			wide = true
		case c == shiftIn:
			wide = false
		case c == '\n': // lines begin in ASCII
			wide = false
			euc = append(euc, c)
		case wide && c > 0x20 && c < 0x7f:
			euc = append(euc, c|0x80)
		default:
			euc = append(euc, c)
		}
	}
	return decodeWith(korean.EUCKR, euc)
}
