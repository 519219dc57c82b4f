package message

import (
	"strings"
	"testing"
)

func TestThePlaceIsFoundInLinearTime(t *testing.T) {
	for _, s := range []string{">\n", "> a\n\n", "-- \n", "-----a-----\n", "-----a-----\nFrom: x\n", "a:\n", "On 1/1/2026:\n>\n", "\n", "____________________\n\n", " ", "-", ":"} {
		text := []byte(strings.Repeat(s, (2<<20)/len(s)))
		_, twice, ratio := growth(func(n int) { textPlace(text[:n]) }, 1<<20)
		if ratio > maxGrowth || twice.alloc > 1<<20 {
			t.Errorf("%q: %v, %.1f times as long as half of it", s, twice, ratio)
		}
	}
	for _, s := range []string{"<div hidden>", "</x>", "<x>", "<x></y>", "<div><p>", "<p></div>", "<div class=gmail_quote>", "<br>", "<blockquote type=cite></blockquote>",
		"<div class='a b c d e f'>", "<div style='a: b; c: d'>", "<![if x]>", "&nbsp;", "\xd7\xa9", "<b lang=x dir=rtl>"} {
		text := []byte(strings.Repeat(s, (512<<10)/len(s)))
		_, twice, ratio := growth(func(n int) { readPage(text[:n], Charset{name: nameUTF8}) }, 256<<10)
		if ratio > maxGrowth || twice.alloc > 96<<20 {
			t.Errorf("%q: %v, %.1f times as long as half of it", s, twice, ratio)
		}
	}
}
