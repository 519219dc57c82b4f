package flow_test

import (
	"archive/zip"
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"

	"cloakroom/policy"
)

// zipOf is a zip with files of these names; encrypted sets the flag of one that
// needs a password.
func zipOf(t *testing.T, encrypted bool, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		h := &zip.FileHeader{Name: name, CRC32: 1, CompressedSize64: 40_000, UncompressedSize64: 40_000}
		if encrypted {
			h.Flags |= 1
		}
		out, err := w.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(noise(9, 40_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRulesLookInsideAttachments has rules about names in archives and about
// passwords decide mail, from a body that was spooled.
func TestRulesLookInsideAttachments(t *testing.T) {
	rules := []policy.Rule{
		{Name: "no locked files", If: "attachment.encrypted", Reject: &policy.RejectAction{}},
		{Name: "no programs in archives", If: "attachment.inner_names.exists(n, glob(n, '*.exe'))", Reject: &policy.RejectAction{}},
		{Name: "look at it first", If: "!attachment.inner_complete", Quarantine: &policy.QuarantineAction{Reason: "cannot be looked into"}},
		{Name: "archives become links", If: "attachment.inner_names.exists(n, n == 'plan.txt')", Link: &policy.LinkAction{}},
	}
	whole := zipOf(t, false, "plan.txt", "b.txt", "c.txt", "d.txt", "e.txt", "f.txt", "g.txt", "h.txt")
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"a picture":           {noise(3, 300_000), ""},
		"a zip":               {whole, "link"},
		"a zip of programs":   {zipOf(t, false, "plan.txt", "tools/SETUP.EXE"), "reject by no programs in archives"},
		"a zip with password": {zipOf(t, true, "plan.txt"), "reject by no locked files"},
		"half a zip":          {whole[:len(whole)/2], "held link"},
		"another archive":     {[]byte("7z\xbc\xaf\x27\x1c" + strings.Repeat("\x00", 100)), "held"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, rules...)
			l := letter{id: "inside", files: []file{{"note.txt", []byte("nothing inside")}, {"a.bin", c.content}}}
			ex, err := w.explain(outbound("q"), l.raw(), 4093)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if ex.Reject != nil {
				for _, s := range ex.Slots {
					if s.Slot == string(policy.SlotReject) {
						got = append(got, "reject by "+s.Rule)
					}
				}
			} else {
				if ex.Quarantine != "" {
					got = append(got, "held")
				}
				if ex.Changes {
					got = append(got, "link")
				}
			}
			if len(ex.Errors) != 0 || strings.Join(got, " ") != c.want {
				t.Errorf("%q, want %q; errors %q", got, c.want, ex.Errors)
			}
			header, body := split(l.raw())
			m, err := w.engine.Open(t.Context(), outbound("q"), header)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			feed(m, body, 4093)
			out, err := m.Finish(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if (out.Reject != nil) != strings.HasPrefix(c.want, "reject") || (out.Quarantine != "") != strings.HasPrefix(c.want, "held") ||
				(out.Body != nil) != strings.HasSuffix(c.want, "link") {
				t.Errorf("reject %v, quarantine %q, body %v; want %q", out.Reject, out.Quarantine, out.Body != nil, c.want)
			}
			if out.Body != nil {
				if _, err := out.Body.WriteTo(io.Discard); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestCorpusIsLookedInto looks into everything real mail carries.
func TestCorpusIsLookedInto(t *testing.T) {
	samples := corpus(t)
	w := newWorld(t, policy.Rule{Name: "locked", If: "attachment.encrypted", Header: &policy.HeaderAction{Options: policy.HeaderOptions{Add: policy.HeaderFields{{Name: "X-Locked", Value: "yes"}}}}},
		policy.Rule{Name: "partly", If: "!attachment.inner_complete", Quarantine: &policy.QuarantineAction{}},
		policy.Rule{Name: "archive", If: "attachment.inner_names.size() > 0", Tag: &policy.TagAction{Text: "[ZIP]"}})
	var mu sync.Mutex
	counts := map[string]int{}
	each(samples, func(i int, s sample) {
		ex, err := w.explain(outbound("q"), s.raw, 64<<10)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			return
		}
		if len(ex.Errors) > 0 || ex.Fails {
			t.Errorf("%s: %q", s, ex.Errors)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(ex.Add) > 0 {
			counts["with a password"]++
		}
		if ex.Quarantine != "" {
			counts["not complete"]++
		}
		if ex.Tag != "" {
			counts["with names"]++
		}
	})
	t.Logf("%d messages: %v", len(samples), counts)
}
