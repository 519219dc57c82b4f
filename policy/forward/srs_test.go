package forward

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func mustSRS(t testing.TB, keys ...[]byte) *SRS {
	t.Helper()
	s, err := NewSRS("srs.acmecorp.test", keys, defaultSRSMaxAge, isOurs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSRSRoundTrip(t *testing.T) {
	s := mustSRS(t, keyA)
	for _, test := range []struct{ sender, prefix, back string }{
		{"eve@ext.test", "SRS0=", "eve@ext.test"},
		{"Eve.Miller@Ext.TEST.", "SRS0=", "Eve.Miller@ext.test"},
		{"eve+a=b@ext.test", "SRS0=", "eve+a=b@ext.test"},
		{"=@ext.test", "SRS0=", "=@ext.test"},
		{"dots..here.@ext.test", "SRS0=", "dots..here.@ext.test"},
		{`"eve miller"@ext.test`, `"SRS0=`, `"eve miller"@ext.test`},
		{`"a@b\"c\\d"@ext.test`, `"SRS0=`, `"a@b\"c\\d"@ext.test`},
		{`"eve"@ext.test`, `"SRS0=`, `"eve"@ext.test`},
		{`"e\ve"@ext.test`, `"SRS0=`, `"eve"@ext.test`},
		{"jürgen@ext.test", "SRS0=", "jürgen@ext.test"},
		{"eve@büro.test", "SRS0=", "eve@xn--bro-hoa.test"},
		{"srs0-team@ext.test", "SRS0=", "srs0-team@ext.test"},
		{"SRS1=odd@ext.test", "SRS0=", "SRS1=odd@ext.test"},
		{"SRS1=G=!==H=T=d=l@ext.test", "SRS0=", "SRS1=G=!==H=T=d=l@ext.test"},
		{"SRS1=G=FWD.test==H=T=d=l@ext.test", "SRS1=", "SRS0=H=T=d=l@fwd.test"},
		{"SRS0=HHH=TT=orig.test=me@fwd.test", "SRS1=", "SRS0=HHH=TT=orig.test=me@fwd.test"},
		{"srs0+HHH=TT=orig.test=Me=x@fwd.test", "SRS1=", "SRS0+HHH=TT=orig.test=Me=x@fwd.test"},
		{"SRS0-HHH=TT=orig.test=me@fwd.test", "SRS1=", "SRS0-HHH=TT=orig.test=me@fwd.test"},
		{`"SRS0=HHH=TT=orig.test=a b"@fwd.test`, `"SRS1=`, `"SRS0=HHH=TT=orig.test=a b"@fwd.test`},
		{"SRS1=GGG=fwd.test==HHH=TT=orig.test=me@second.test", "SRS1=", "SRS0=HHH=TT=orig.test=me@fwd.test"},
		{"srs1-GGG=fwd.test=-HHH=TT=orig.test=me@second.test", "SRS1=", "SRS0-HHH=TT=orig.test=me@fwd.test"},
	} {
		encoded, err := s.Encode(test.sender, monday)
		if err != nil || !strings.HasPrefix(encoded, test.prefix) || !strings.HasSuffix(encoded, "@srs.acmecorp.test") {
			t.Errorf("%s became %q, %v", test.sender, encoded, err)
			continue
		}
		if back, err := s.Decode(encoded, monday); err != nil || back != test.back {
			t.Errorf("%s came back as %q, %v; want %q", encoded, back, err, test.back)
		}
	}
}

// The second forwarder names the first, and drops whoever was between.
func TestSRS1NamesTheFirstForwarder(t *testing.T) {
	s := mustSRS(t, keyA)
	one, err := s.Encode("SRS0=HHH=TT=orig.test=me@fwd.test", monday)
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Encode("SRS1=GGG=fwd.test==HHH=TT=orig.test=me@second.test", monday)
	if err != nil {
		t.Fatal(err)
	}
	if one != two {
		t.Errorf("%s differs from %s", one, two)
	}
	if want := "=fwd.test==HHH=TT=orig.test=me@srs.acmecorp.test"; !strings.HasSuffix(one, want) {
		t.Errorf("%s does not end in %s", one, want)
	}
}

func TestSRSLeavesTheseSenders(t *testing.T) {
	s := mustSRS(t, keyA)
	for _, test := range []struct {
		name, sender string
		err          error
	}{
		{"null sender", "", nil},
		{"our domain", "bob@acmecorp.test", nil},
		{"our domain in other case", "bob@ACMECORP.test", nil},
		{"our domain as U-label", "bob@bücher.test", nil},
		{"already rewritten by us", "SRS0=AAAAAA=AA=ext.test=eve@srs.acmecorp.test", nil},
		{"no domain", "eve", ErrMalformed},
		{"no local part", "@ext.test", ErrMalformed},
		{"address literal", "eve@[192.0.2.1]", ErrMalformed},
		{"domain with an equals sign", "eve@a=b.test", ErrMalformed},
		{"space outside quotes", "eve miller@ext.test", ErrMalformed},
		{"control character", "\"eve\x01\"@ext.test", ErrMalformed},
		{"line break", "eve\r\n@ext.test", ErrMalformed},
		{"open quote", `"eve@ext.test`, ErrMalformed},
		{"empty quotes", `""@ext.test`, ErrMalformed},
		{"two at signs", "a@b@ext.test", ErrMalformed},
		{"bytes that are not UTF-8", "ev\xff@ext.test", ErrMalformed},
		{"too long by one", strings.Repeat("x", 41) + "@ext.test", ErrTooLong},
		{"whole address too long", "eve@" + strings.Repeat(strings.Repeat("d", 60)+".", 4) + "test", ErrTooLong},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := s.Encode(test.sender, monday)
			if got != test.sender || !errors.Is(err, test.err) || (test.err == nil) != (err == nil) {
				t.Errorf("%q, %v; want it as it is, with %v", got, err, test.err)
			}
		})
	}
	fits := strings.Repeat("x", 40) + "@ext.test"
	if got, err := s.Encode(fits, monday); err != nil || strings.IndexByte(got, '@') != maxLocalPart {
		t.Errorf("the longest sender: %q, %v", got, err)
	}
}

func TestSRSDecodeErrors(t *testing.T) {
	s := mustSRS(t, keyA)
	good, err := s.Encode("eve@ext.test", monday)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.IndexByte(good, '@')
	for _, test := range []struct {
		name, address string
		want          error
	}{
		{"another domain", good[:at] + "@ext.test", ErrNotSRS},
		{"no domain", good[:at], ErrNotSRS},
		{"empty", "", ErrNotSRS},
		{"a user", "eve@srs.acmecorp.test", ErrNotSRS},
		{"tag alone", "SRS0@srs.acmecorp.test", ErrNotSRS},
		{"tag and another character", "SRS0_" + good[5:], ErrNotSRS},
		{"another tag", "SRS2" + good[4:], ErrNotSRS},
		{"tag and separator", "SRS0=@srs.acmecorp.test", ErrMalformed},
		{"field missing", "SRS0=AAAAAA=AA=ext.test@srs.acmecorp.test", ErrMalformed},
		{"field empty", "SRS0=AAAAAA==ext.test=eve@srs.acmecorp.test", ErrMalformed},
		{"SRS1 of nothing", "SRS1=AAAAAA=ext.test=eve@srs.acmecorp.test", ErrMalformed},
		{"hash cut off", "SRS0=" + good[5:10] + good[11:], ErrBadHash},
		{"hash longer", "SRS0=" + good[5:11] + "A" + good[11:], ErrBadHash},
		{"SRS0 as SRS1", "SRS1=" + good[5:12] + "ext.test==A=A=ext.test=eve@srs.acmecorp.test", ErrBadHash},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := s.Decode(test.address, monday); got != "" || !errors.Is(err, test.want) {
				t.Errorf("%q gives %q, %v; want %v", test.address, got, err, test.want)
			}
		})
	}
}

// Mail systems fold case, and some put another separator behind the tag.
func TestSRSDecodesWhatMailSystemsMakeOfIt(t *testing.T) {
	s := mustSRS(t, keyA)
	good, err := s.Encode("eve@ext.test", monday)
	if err != nil {
		t.Fatal(err)
	}
	local := good[:strings.IndexByte(good, '@')]
	for _, address := range []string{
		strings.ToLower(good), strings.ToLower(local) + "@SRS.AcmeCorp.TEST.",
		"SRS0-" + good[5:], "SRS0+" + good[5:], "srs0+" + good[5:], `"` + local + `"@srs.acmecorp.test`,
	} {
		got, err := s.Decode(address, monday)
		if want := "eve@ext.test"; err != nil || strings.ReplaceAll(got, `"`, "") != want {
			t.Errorf("%s gives %q, %v", address, got, err)
		}
	}
	if got, err := s.Decode(strings.ToUpper(local)+"@srs.acmecorp.test", monday); err != nil || got != "EVE@ext.test" {
		t.Errorf("in upper case: %q, %v", got, err)
	}
}

func TestSRSAge(t *testing.T) {
	s := mustSRS(t, keyA)
	// Encoded on days around the wrap of the stamp.
	for _, start := range []time.Time{monday, time.Unix(0, 0), time.Unix(1023*86400, 0), time.Unix(1024*86400-1, 0), time.Unix(-86400, 0)} {
		encoded, err := s.Encode("eve@ext.test", start)
		if err != nil {
			t.Fatal(err)
		}
		for days, want := range map[int]error{-2: ErrExpired, -1: nil, 0: nil, 1: nil, 20: nil, 21: nil, 22: ErrExpired, 500: ErrExpired, 1022: ErrExpired} {
			if _, err := s.Decode(encoded, start.Add(time.Duration(days)*day)); !errors.Is(err, want) || (want == nil) != (err == nil) {
				t.Errorf("made on %v, %d days later: %v, want %v", start.UTC(), days, err, want)
			}
		}
	}
}

func TestSRSKeysRotate(t *testing.T) {
	all := [][]byte{keyA, keyB, keyC}
	for i, signing := range all {
		encoded, err := mustSRS(t, signing).Encode("eve@ext.test", monday)
		if err != nil {
			t.Fatal(err)
		}
		for j, first := range all {
			for k, second := range all {
				got, err := mustSRS(t, first, second).Decode(encoded, monday)
				if known := i == j || i == k; known && (err != nil || got != "eve@ext.test") || !known && !errors.Is(err, ErrBadHash) {
					t.Errorf("signed by %d, verified by %d and %d: %q, %v", i, j, k, got, err)
				}
				again, err := mustSRS(t, first, second).Encode("eve@ext.test", monday)
				if err != nil || (again == encoded) != (i == j) {
					t.Errorf("key %d and then %d sign %q (%v), key %d signed %q", j, k, again, err, i, encoded)
				}
			}
		}
	}
}

func TestNewSRSRefuses(t *testing.T) {
	for name, err := range map[string]error{
		"no key":        second(NewSRS("srs.test", nil, 21*day, isOurs)),
		"short key":     second(NewSRS("srs.test", [][]byte{keyA, keyB[:31]}, 21*day, isOurs)),
		"no domain":     second(NewSRS("", [][]byte{keyA}, 21*day, isOurs)),
		"no age":        second(NewSRS("srs.test", [][]byte{keyA}, 0, isOurs)),
		"age that wrap": second(NewSRS("srs.test", [][]byte{keyA}, 1024*day, isOurs)),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func second(_ *SRS, err error) error { return err }

// randomSender makes addresses whose rewritten form fits, in canonical form.
func randomSender(r *rand.Rand) string {
	const atext = "abcXYZ019.!#$%&'*+-/=?^_`{|}~"
	var b strings.Builder
	quoted := r.IntN(4) == 0
	for range 1 + r.IntN(25) {
		switch {
		case quoted && r.IntN(4) == 0:
			b.WriteByte(` @"\(),:;<>[]`[r.IntN(13)])
		case r.IntN(12) == 0:
			b.WriteString([]string{"ü", "語", "İ", "ſ"}[r.IntN(4)])
		default:
			b.WriteByte(atext[r.IntN(len(atext))])
		}
	}
	local := b.String()
	if quoted {
		local = quote(local)
	}
	if r.IntN(6) == 0 {
		if content, _, ok := unquote(local); ok {
			local = "SRS0=" + "AbCd=T7=orig.test=" + content
			if quoted {
				local = quote(local)
			}
		}
	}
	return local + "@" + []string{"ext.test", "a.b.ext.test", "xn--bro-hoa.test", "x-1_2.test"}[r.IntN(4)]
}

func TestSRSProperties(t *testing.T) {
	s := mustSRS(t, keyA, keyB)
	r := rand.New(rand.NewPCG(1, 2))
	const alphabet = "abcXYZ019=+-.ü@\" "
	encodedSenders, tampered := 0, 0
	for range 4000 {
		sender := randomSender(r)
		now := monday.Add(time.Duration(r.IntN(2000*24)) * time.Hour)
		encoded, err := s.Encode(sender, now)
		if errors.Is(err, ErrTooLong) {
			continue
		}
		if err != nil {
			t.Fatalf("%q: %v", sender, err)
		}
		encodedSenders++
		later := now.Add(time.Duration(r.IntN(21*24)) * time.Hour)
		if back, err := s.Decode(encoded, later); err != nil || back != sender {
			t.Fatalf("%q became %q, which is %q, %v", sender, encoded, back, err)
		}
		if again, _ := s.Encode(encoded, later); again != encoded {
			t.Fatalf("%q was rewritten again: %q", encoded, again)
		}
		// One character of the local part is another: refused, unless only case
		// or the separator behind the tag differ.
		end := strings.LastIndexByte(encoded, '@')
		at := r.IntN(end)
		c := alphabet[r.IntN(len(alphabet))]
		changed := encoded[:at] + string(c) + encoded[at+1:]
		back, err := s.Decode(changed, later)
		if err != nil {
			tampered++
			continue
		}
		if a, b := meaning(back), meaning(sender); a != b {
			t.Fatalf("%q, changed to %q, gives %q", encoded, changed, back)
		}
	}
	if encodedSenders < 2000 || tampered < 1500 {
		t.Errorf("only %d senders were rewritten, %d changes refused", encodedSenders, tampered)
	}
}

// meaning is an address without what does not count: quotes, ASCII case, and
// the separator behind a tag.
func meaning(address string) string {
	local, domain, _ := split(address)
	key := foldKey(local, domain)
	if rest, ok := cutTag(key, "SRS0"); ok {
		return "srs0=" + rest[1:]
	}
	return key
}

func FuzzDecodeSRS(f *testing.F) {
	s := mustSRS(f, keyA)
	for _, sender := range []string{"eve@ext.test", `"a b"@ext.test`, "jürgen@ext.test", "SRS0=HHH=TT=orig.test=me@fwd.test", "SRS1=G=fwd.test=+H=TT=o.test=me@x.test"} {
		encoded, err := s.Encode(sender, monday)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
		f.Add(strings.ToLower(encoded))
		f.Add(sender)
	}
	for _, seed := range []string{"", "@", `"@srs.acmecorp.test`, `"\"@srs.acmecorp.test`, "SRS0=====@srs.acmecorp.test", "SRS1=====@srs.acmecorp.test",
		"srs0-AAAAAA=77=[192.0.2.1]=eve@srs.acmecorp.test", "SRS1=AAAAAA=\xff==@srs.acmecorp.test", "SRS0+\x00@srs.acmecorp.test", "SRS1+0=!=+0=0=0=0@0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		original, err := s.Decode(address, monday)
		if err == nil {
			// Only our key makes these: it is one of ours, and its meaning is kept.
			again, err := s.Encode(original, monday)
			if err != nil {
				t.Fatalf("%q gives %q, which cannot be rewritten: %v", address, original, err)
			}
			if back, err := s.Decode(again, monday); err != nil || meaning(back) != meaning(original) {
				t.Fatalf("%q gives %q, then %q, then %q, %v", address, original, again, back, err)
			}
			return
		}
		if original != "" {
			t.Fatalf("%q gives %q beside the error %v", address, original, err)
		}
		known := false
		for _, e := range []error{ErrNotSRS, ErrMalformed, ErrBadHash, ErrExpired} {
			known = known || errors.Is(err, e)
		}
		if !known {
			t.Fatalf("%q: an error of no kind: %v", address, err)
		}
		// As a sender it is rewritten to something that leads back, or stays.
		encoded, err := s.Encode(address, monday)
		if err != nil || encoded == address {
			if encoded != address {
				t.Fatalf("sender %q became %q beside the error %v", address, encoded, err)
			}
			return
		}
		local := encoded[:strings.LastIndexByte(encoded, '@')]
		if len(local) > maxLocalPart {
			t.Fatalf("local part of %d octets: %q", len(local), encoded)
		}
		if back, err := s.Decode(encoded, monday); err != nil || meaning(back) != srs1Meaning(address) {
			t.Fatalf("sender %q became %q, which is %q, %v", address, encoded, back, err)
		}
	})
}

// srs1Meaning is what bounces to a sender must reach: for SRS1 the first
// forwarder's address, else the sender.
func srs1Meaning(sender string) string {
	local, domain, _ := split(sender)
	content, _, _ := unquote(local)
	if rest, ok := cutTag(content, "SRS1"); ok {
		if one, ok := cutSRS1(rest[1:]); ok {
			return meaning(`"SRS0` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(one.tail) + `"@` + normalDomain(one.host))
		}
	}
	return meaning(local + "@" + domain)
}
