package flow_test

// Messages that were bent until readers may disagree: what we would link must be
// seen by two other readers with the same bytes, or stay as it is.

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/message"
	"cloakroom/policy"
)

// bendings is how many messages are made: enough for each bending to meet each
// message a few times, and a hundred times that in the long form.
func bendings() int {
	if os.Getenv("TORTURE") == "long" {
		return 60_000
	}
	return 600
}

// exchange is a text of a message and what may stand in its place.
type exchange struct {
	old string
	new []string
}

// exchanges are the spellings that readers take in different ways, or some not
// at all.
var exchanges = []exchange{
	{"boundary=b", []string{`boundary="b"`, `BOUNDARY=b`, `boundary=b; boundary="b"`, `boundary=b; boundary=c`, `boundary*=utf-8''b`, `boundary*0=b`, `boundary*0*=''b`,
		`boundary=b; boundary*=utf-8''c`, `boundary="b "`, `boundary=" b"`, `boundary=b (c)`, `boundary=(c)b`, `boundary='b'`, `boundary = b`, `boundary=b;;`, `boundary=b; x="y`,
		`boundary="\b"`, `boundary=b,`, `boundary=b charset=x`, "boundary=\r\n b", "boundary=\"b\r\n \"", `charset=boundary=b`, `xboundary=b`, `boundary="=?utf-8?q?b?="`, "boundary=b\x00", `boundary=`, `boundary=""`, `boundary=b\`}},
	{"--b\r\n", []string{"--b \r\n", "--b\t\r\n", "--b\n", "--b\r\r\n", "--b\r", "--B\r\n", " --b\r\n", "---b\r\n", "--b-\r\n", "--b--\r\n", "--bb\r\n", "--b\x00\r\n", "--b\r\n--b\r\n", "--b\r\n\r\n--b\r\n", "\r\n--b\r\n", "--b x\r\n", "--b\v\r\n", "--b\u00a0\r\n", "--\r\n"}},
	{"--b--\r\n", []string{"--b-- \r\n", "--b--x\r\n", "--b --\r\n", "--b--", "--b-\r\n", "--b---\r\n", "--b--\n", "--b\r\n", "", "--b--\r\n--b\r\n\r\nafter\r\n", "--b--\r\n--b--\r\n", "--b--\r\n\r\n--b\r\n" + asBase64 + "\r\nQUJD\r\n--b--\r\n"}},
	{"base64", []string{"BASE64", "base64 ", "base64;x=y", "x-base64", "base-64", `"base64"`, "base64 (c)", "7bit", "binary", "quoted-printable", "base64\r\n\t", "\r\n base64", "base64, base64", "b"}},
	{"Content-Type: ", []string{"Content-Type:", "content-type:\t", "Content-Type : ", "Content-Type:\r\n ", "X-Content-Type: ", "Content-Type: text/plain\r\nContent-Type: ", "Content-Type: ;", "Content-Type: (c) ", " Content-Type: ", "Content-Type\x00: "}},
	{"Content-Transfer-Encoding: ", []string{"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: ", "Content-Transfer-Encoding : ", "content-transfer-encoding:", "Content-Transfer-Encoding:\r\n\t", "Content-Transfer-Encoding: (c) ", "Content-Encoding: "}},
	{"Content-Disposition: ", []string{"Content-Disposition: inline\r\nContent-Disposition: ", "Content-Disposition : ", "Content-Disposition:\r\n ", "Content-Disposition: ;"}},
	{"multipart/mixed", []string{"Multipart/MIXED", "multipart/x-unknown", "multipart/digest", "multipart/signed", "multipart /mixed", "multipart", "multipart/", "message/rfc822", "text/plain", "multipart/alternative", "multipart/related", "multipart/form-data"}},
	{"application/pdf", []string{"application/PDF", "application", "message/rfc822", "multipart/mixed; boundary=b", "multipart/mixed; boundary=bb", "multipart/mixed; boundary=zz", "text/plain", "text/html", "application/octet-stream; x=\"", "message/partial; id=1", "application/pdf; boundary=b", "image/png (", "=?utf-8?q?application/pdf?="}},
	{"\r\n\r\n", []string{"\r\n \r\n", "\n\n", "\r\n\n", "\n\r\n", "\r\r\n\r\n", "\r\n", "\r\n\r\n\r\n", "\r\nno colon here\r\n\r\n", "\r\n: no name\r\n\r\n", "\r\n\x00\r\n\r\n", "\r\n\t\r\n\r\n", "\r\nX-8bit-\xff: y\r\n\r\n", "\r\nX: " + strings.Repeat("y", 2000) + "\r\n\r\n", "\r\n--b\r\n\r\n"}},
	{"filename=plan.pdf", []string{`filename="plan.pdf`, `filename*=utf-8''plan.pdf`, "filename=\"a\r\n.pdf\"", `filename=a;filename=b`, `filename=""`, "filename=\x00"}},
	{"\r\n", []string{"\n", "\r", "\r\r\n", "\n\r", " \r\n", "=\r\n", "\r\n--", "\r\n-", "\r\n.\r\n", "\r\nFrom x\r\n", "\x1a\r\n"}},
	{"A", []string{"=", "*", " ", "\x00", "==", "\r", "\n\n", "\xff", "A=\r\nA", "-"}},
}

// bend exchanges one occurrence of one text.
func bend(r *rand.Rand, raw string) (string, bool) {
	x := exchanges[r.IntN(len(exchanges))]
	n := strings.Count(raw, x.old)
	if n == 0 {
		return raw, false
	}
	at := 0
	for range r.IntN(n) {
		at += strings.Index(raw[at:], x.old) + len(x.old)
	}
	at += strings.Index(raw[at:], x.old)
	return raw[:at] + x.new[r.IntN(len(x.new))] + raw[at+len(x.old):], true
}

// cut takes a piece away, or puts one of the message's lines somewhere else.
func cut(r *rand.Rand, raw string) string {
	from := r.IntN(len(raw))
	switch r.IntN(3) {
	case 0:
		return raw[:from]
	case 1:
		return raw[:from] + raw[min(len(raw), from+1+r.IntN(40)):]
	}
	lines := strings.SplitAfter(raw, "\n")
	line := lines[r.IntN(len(lines))]
	i := r.IntN(len(lines))
	return strings.Join(slices.Insert(lines, i, line), "")
}

func bent(n int) []sample {
	var names []string
	sound := linkable()
	for name, raw := range sound {
		if len(raw) < 16<<10 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	r := rand.New(rand.NewPCG(1, 20261124))
	out := make([]sample, n)
	for i := range out {
		name := names[i%len(names)]
		raw := sound[name]
		for range 1 + r.IntN(2) {
			again, ok := bend(r, raw)
			for !ok {
				again, ok = bend(r, raw)
			}
			raw = again
		}
		if r.IntN(8) == 0 {
			raw = cut(r, raw)
		}
		form := "wire"
		if r.IntN(4) == 0 {
			form, raw = "stored", strings.ReplaceAll(raw, "\r\n", "\n")
		}
		// To Python alone a bare CR ends a line.
		raw = strings.ReplaceAll(raw, "\r--b", "\r -b")
		out[i] = sample{fmt.Sprintf("%d: %s", i, name), form, []byte(raw)}
	}
	return out
}

func TestBentMessagesAreUnderstoodAsOthersDoOrLeftAlone(t *testing.T) {
	samples := bent(bendings())
	run := runLinked(t, samples)
	if linked := len(run.linked); linked < len(samples)/5 || linked > len(samples)*4/5 {
		t.Errorf("%d of %d were linked: the bendings are too harmless, or too hard", linked, len(samples))
	}
	t.Logf("%d bent messages: %d linked, the rest left alone for %d reasons", len(samples), len(run.linked), len(run.whole))
	if testing.Verbose() {
		run.print(len(samples))
	}
}

// As many recipients as an MTA takes by default, each with a plan of his own for
// as many attachments as are taken apart.
func TestManyRecipientsOfManyAttachmentsAreDecidedInBoundedTimeAndMemory(t *testing.T) {
	const parts = message.MaxParts - 2
	rules := []policy.Rule{
		{Name: "by name", If: `attachment.name.matches('(?i)nda|contract') && direction == 'outbound'`, Link: &policy.LinkAction{Keep: true}},
		linkAll,
	}
	var b strings.Builder
	b.WriteString(mixed + plainText)
	for i := range parts {
		fmt.Fprintf(&b, "--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=plan%d.pdf\r\n\r\ncontent %d\r\n", i, i%50)
	}
	b.WriteString(endOfB)
	for _, n := range []int{1, 1000} {
		w := newWorld(t, rules...)
		var to []string
		for i := range n {
			to = append(to, fmt.Sprintf("user%d@ext.test", i))
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		begin := time.Now()
		d := w.mustDeliver(t, outbound("q", to...), []byte(b.String()))
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		t.Logf("%d recipients, %d attachments: %v, %d MB allocated", n, parts, took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20)
		if !d.changed {
			t.Error("nothing was linked")
		}
		if took > time.Minute {
			t.Error("an MTA would not wait so long on a busy machine")
		}
	}
}
