package message

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecodeWords(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"plain", "Hello, world", "Hello, world"},
		{"Q", "=?iso-8859-1?q?Gr=FC=DFe_aus_K=f6ln?=", "Grüße aus Köln"},
		{"B", "=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"},
		{"B without padding", "=?UTF-8?B?R3LDvMOfZQ?=", "Grüße"},
		{"B padded in the middle", "=?UTF-8?B?R3I=w7zDn2U=?=", "Grüße"},
		{"B with white space", "=?UTF-8?B?R3LD\r\n vMOfZQ==?=", "Grüße"},
		{"adjacent words", "=?utf-8?Q?a?= =?utf-8?Q?b?=\r\n\t=?utf-8?B?Yw==?=", "abc"},
		{"adjacent words of two charsets", "=?utf-8?Q?=C3=A4?= =?iso-8859-1?Q?=E4?=", "ää"},
		{"glued words", "=?utf-8?Q?a?==?utf-8?Q?b?=", "ab"},
		{"a character in two words", "=?utf-8?B?4oI=?= =?UTF-8?Q?=AC?=", "€"},
		{"ISO-2022-JP in two words", "=?iso-2022-jp?B?GyRCJCI=?= =?iso-2022-jp?B?JCQbKEI=?=", "あい"},
		{"words and text", "Re: =?utf-8?Q?=C3=A4?= and =?utf-8?Q?=C3=B6?=!", "Re: ä and ö!"},
		{"inside text", "x=?utf-8?Q?=C3=A4?=.pdf", "xä.pdf"},
		{"inside quotes", `"=?utf-8?Q?=C3=A4?=" <a@ext.test>`, `"ä" <a@ext.test>`},
		{"language", "=?utf-8*de?Q?=C3=A4?=", "ä"},
		{"spaces in Q", "=?utf-8?Q?my file=2E?=", "my file."},
		{"question mark in Q", "=?utf-8?Q?who?_me??=", "who? me?"},
		{"escape at the start", "=?utf-8?Q?=41?=", "A"},
		{"broken escapes", "=?utf-8?Q?=4=ZZ=?=", "=4=ZZ="},
		{"empty word", "a =?utf-8?Q??= b", "a  b"},
		{"folded text", "one\r\n two\n\tthree", "one two three"},
		{"folded without white space", "one\ntwo", "one two"},
		{"raw UTF-8", "Grüße", "Grüße"},
		{"raw latin1", "Gr\xfc\xdfe", "Grüße"},
		{"raw beside a word", "\xfc =?utf-8?Q?=C3=A4?=", "ü ä"},
		{"invalid in its charset", "=?utf-8?Q?=FF?=", "\uFFFD"},
		{"control characters", "=?utf-8?Q?a=0D=0ABcc:=00x?=", "a  Bcc: x"},
		{"unknown charset stays", "=?x-unknown?Q?=E4?=", "=?x-unknown?Q?=E4?="},
		{"unknown charset, then a known one", "=?none?Q?=E4?= =?utf-8?Q?b?=", "=?none?Q?=E4?= b"},
		{"unknown encoding stays", "=?utf-8?X?abc?=", "=?utf-8?X?abc?="},
		{"not base64 stays", "=?utf-8?B?!?=", "=?utf-8?B?!?="},
		{"no end stays", "=?utf-8?Q?abc", "=?utf-8?Q?abc"},
		{"no end, then a word", "=?utf-8?Q?abc =?utf-8?Q?d?=", "=?utf-8?Q?abc d"},
		{"no charset stays", "=??Q?abc?=", "=??Q?abc?="},
		{"not a word", "a =? b ?= c", "a =? b ?= c"},
		{"word after a lone start", "=?=?utf-8?Q?b?=", "=?b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := DecodeWords(tt.in); got != tt.want {
				t.Errorf("DecodeWords(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func FuzzDecodeWords(f *testing.F) {
	for _, in := range []string{"", "=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "=?a?b?c", "=?utf-7?B?K0FBQS0=?=", "\xff=?x?q?\n?=", "\x1b$B$\"=?"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := DecodeWords(in)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("DecodeWords(%q) = %q", in, got)
		}
		if any := decodeWords(in, true); !utf8.ValidString(any) {
			t.Errorf("in any charset: %q", any)
		}
	})
}
