package name

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// nasty are the pieces of which values that mean harm are made.
var nasty = []string{
	"/", `\`, "..", ".", "…", "‥", "．", "-", " ", "\u00a0", "\t", "\r\n", "\x00", "\x7f", "\u0085", ":", "*", "?", `"`, "<", ">", "|", "~", "$", "%2e%2e%2f",
	"CON", "nul", "COM1", "LPT²", "AUX.txt", "CONIN$", ".tar.gz", ".pdf", ".exe", "~$", "desktop.ini",
	"\u202e", "\u202a", "\u2066", "\u200e", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u034f", "\u3164", "\U000e0041", "\ufffe", "\U0001ffff", "\ue000",
	"\u0308", "\u0301", "\u0338", "u\u0308", "Å", "ﬁ", "İ", "ı", "ẞ", "℀", "／", "⁄", "＼", "½", "\u1100\u1161", "\u1160", "日本語", "😀", "\U0001f468\u200d\U0001f469",
	"\xff", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a", "report", "2026", "é", strings.Repeat("x", 60), strings.Repeat("é", 90), strings.Repeat("\u0301", 70), strings.Repeat(". ", 50),
}

func TestAnyFactsGiveASafePath(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	value := func() string {
		var b strings.Builder
		for range random.IntN(6) {
			b.WriteString(nasty[random.IntN(len(nasty))])
		}
		return b.String()
	}
	var templates []*Template
	for _, text := range []string{
		"{name}", "{space}/{yyyy}/{mm}/{name}", "{stem}.{ext}", "{stem}{ext}", "{ext}", "{subject} {stem} ({hash}).{ext}", "{owner.local}/{owner.domain}/{sender}-{subject}/{name}",
		"files/{department}{direction}{rule}{id}/{name}", "{subject}{subject}{subject}{subject}/{stem}", "com{hash}/{name}.{ext}", strings.Repeat("{subject}{name}/", 15) + "{name}",
	} {
		templates = append(templates, mustParse(t, text))
	}
	for range 200 {
		f := Facts{Space: value(), Owner: value() + "@" + value(), Department: value(), Direction: value(), Time: time.Unix(random.Int64N(1<<33), 0).UTC(),
			Sender: value(), Subject: value(), Name: value(), SHA256: [32]byte{byte(random.Uint32())}, Rule: value(), ID: value()}
		for _, p := range templates {
			path := p.Render(f)
			why := unsafe(path)
			for n := 2; n < 12 && why == ""; n += 4 {
				variant := Variant(path, n, f.SHA256)
				if why = unsafe(variant); why == "" && Fold(variant) == Fold(path) {
					why = "its variant is the same"
				}
			}
			switch {
			case why != "":
			case strings.Count(path, "/") != strings.Count(p.String(), "/"):
				why = "a folder more or less"
			case len(path) > MaxPath:
				why = "too long"
			case Fold(Fold(path)) != Fold(path):
				why = "folded twice it is another"
			}
			for segment := range strings.SplitSeq(path, "/") {
				if safeSegment(segment) != segment || len(segment) > MaxSegment {
					why = "a segment is not safe: " + segment
				}
			}
			if why != "" {
				t.Fatalf("%s with %+q: %+q: %s", p, f, path, why)
			}
		}
	}
}

func TestWhatNeedsNoCleaningIsTheSameCleaned(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const alphabet = " ab.-_@/:\\*\x1f\x7f\t"
	taken := 0
	for range 20_000 {
		b := make([]byte, random.IntN(7))
		for i := range b {
			b[i] = alphabet[random.IntN(len(alphabet))]
		}
		s := string(b)
		if !isClean(s) {
			continue
		}
		taken++
		if c := makeClean(s); c != s {
			t.Fatalf("%q is taken for clean, and cleaned it is %q", s, c)
		}
	}
	if taken < 1000 || isClean("é") || isClean("a\u0301") {
		t.Errorf("%d of the texts are taken for clean", taken)
	}
}
