package flow_test

// Every message of a corpus of real mail goes through the flow, as it is
// stored and as an MTA hands it over.

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"cloakroom/flow"
	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/policy"
)

// sample is one message of the corpus, in one form.
type sample struct {
	name string
	form string // "stored", or "wire" as an MTA hands it over
	raw  []byte
}

func (s sample) String() string { return s.name + " (" + s.form + ")" }

// corpus reads every file below $CORPUS but the words about it. What is no
// message (a winmail.dat on its own, a list) has to pass like everything else.
func corpus(t *testing.T) []sample {
	t.Helper()
	root := os.Getenv("CORPUS")
	if root == "" {
		unavailable(t, "CORPUS is not set: it names a folder of real messages")
	}
	var out []sample
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "LICENSE":
			return fs.SkipDir
		case d.IsDir() || d.Name() == "README.txt" || d.Name() == "SOURCE.txt":
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		out = append(out, sample{name, "stored", raw}, sample{name, "wire", onTheWire(raw)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("CORPUS: there is no file below %s", root)
	}
	return out
}

// onTheWire gives every line the end it has on the wire (a CR on its own
// stays), and drops what a mailbox file put before the first field.
func onTheWire(raw []byte) []byte {
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		if len(bytes.TrimSpace(line)) > 0 && !bytes.HasPrefix(line, []byte("From ")) {
			break
		}
		raw = rest
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// each calls f for all samples, several at a time.
func each(samples []sample, f func(int, sample)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				f(i, samples[i])
			}
		})
	}
	for i := range samples {
		next <- i
	}
	close(next)
	wg.Wait()
}

func TestCorpusWithoutAMatchingRuleChangesNotOneByte(t *testing.T) {
	samples := corpus(t)
	never := policy.Rule{Name: "never", If: `attachment.name == "no file has this name"`, Link: &policy.LinkAction{}}
	keep := policy.Rule{Name: "keep", Link: &policy.LinkAction{Keep: true}}
	for name, c := range map[string]struct {
		rules   []policy.Rule
		observe bool
	}{
		"no rule":              {},
		"no match":             {rules: []policy.Rule{never}},
		"a rule that keeps":    {rules: []policy.Rule{keep, linkAll}},
		"mode observe, linked": {rules: []policy.Rule{linkAll}, observe: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.rules...)
			w.settings.Observe = c.observe
			var mu sync.Mutex
			var size, opened int
			each(samples, func(i int, s sample) {
				d, err := w.deliver(t.Context(), outbound("q"), s.raw, 4093)
				if err != nil {
					t.Errorf("%s: %v", s, err)
					return
				}
				if d.changed || d.splices != nil || len(d.edits) != 0 || !bytes.Equal(d.raw(), s.raw) {
					t.Errorf("%s: changed", s)
				}
				mu.Lock()
				defer mu.Unlock()
				size += len(s.raw)
				if d.opened {
					opened++
				}
			})
			if n := w.rows(t, "mails") + w.rows(t, "links") + w.rows(t, "blobs") + len(w.stored(t)); n != 0 {
				t.Errorf("%d rows and blobs were stored, want none", n)
			}
			t.Logf("%d messages in %d files of %d bytes unchanged; the body of %d was looked at",
				len(samples), len(samples)/2, size, opened)
		})
	}
}

// linkedSample is a message that the flow changed, with what is needed to
// judge it.
type linkedSample struct {
	sample
	tree   *message.Tree // by a scan of our own
	bodies message.Bodies
	record *ledger.Mail
	first  *delivery
}

// parts are the leaves in the order of the message, as in the record.
func (s *linkedSample) parts() (out []*message.Part) {
	s.tree.Root.Walk(func(p *message.Part) {
		if !p.IsMultipart() {
			out = append(out, p)
		}
	})
	return out
}

func (s *linkedSample) taken(p *message.Part) bool {
	i := slices.IndexFunc(s.record.Parts, func(r ledger.Part) bool { return r.Index == p.Index })
	return i >= 0 && s.record.Parts[i].Linked
}

// corpusRun collects what happened.
type corpusRun struct {
	t *testing.T
	w *world

	mu      sync.Mutex
	linked  []*linkedSample
	figures map[string]*figures // by form
	reasons map[string]map[string]int
	whole   map[string]map[string]int
}

type figures struct {
	messages, changed, attachments, links int
	bytes, linkedBytes                    int64
}

func TestCorpusWithEveryAttachmentLinked(t *testing.T) {
	samples := corpus(t)
	runLinked(t, samples).print(len(samples) / 2)
}

// runLinked passes all samples through a flow that links whatever it may, and
// checks what came of them.
func runLinked(t *testing.T, samples []sample) *corpusRun {
	t.Helper()
	run := &corpusRun{
		t: t, w: newWorld(t, linkAll), figures: map[string]*figures{"stored": {}, "wire": {}},
		reasons: map[string]map[string]int{}, whole: map[string]map[string]int{},
	}
	each(samples, func(i int, s sample) {
		if err := run.take(i, s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	})
	slices.SortFunc(run.linked, func(a, b *linkedSample) int { return strings.Compare(a.String(), b.String()) })
	if n, want := run.w.rows(t, "mails"), len(run.linked); n != want {
		t.Errorf("%d records for %d messages that came twice each", n, want)
	}
	if n, want := run.w.rows(t, "links"), len(run.linked); n != want {
		t.Errorf("%d links for %d messages that came twice each", n, want)
	}
	run.checkReaders()
	return run
}

// take passes one message through, twice, and checks all that needs no other
// reader.
func (run *corpusRun) take(i int, s sample) error {
	ctx := run.t.Context()
	// One recipient for each message: some are in the corpus twice.
	env := outbound(fmt.Sprint("q", i), fmt.Sprintf("bob+%d@ext.test", i))
	explained, err := run.w.explain(env, s.raw, 64<<10)
	if err != nil {
		return err
	}
	first, err := run.w.deliver(ctx, env, s.raw, 64<<10)
	if err != nil {
		return err
	}
	again := *env
	again.QueueID += "-again"
	second, err := run.w.deliver(ctx, &again, s.raw, chunkFor(s.raw))
	if err != nil {
		return fmt.Errorf("the second time: %w", err)
	}
	if !bytes.Equal(first.raw(), second.raw()) || first.changed != second.changed {
		return fmt.Errorf("the same message gives another output the second time")
	}
	run.count(s, explained, first)
	if first.changed != explained.Changes {
		return fmt.Errorf("changed is %v, but the explanation says %v", first.changed, explained.Changes)
	}
	if !first.changed {
		if first.splices != nil || len(first.edits) > 0 || !bytes.Equal(first.raw(), s.raw) {
			return fmt.Errorf("bytes changed in a message that is said to be unchanged")
		}
		return nil
	}
	return run.checkLinked(ctx, env, s, first, explained)
}

// chunkFor is the chunk size of a message's second passage: every byte on its
// own where that does not take long.
func chunkFor(raw []byte) int {
	if len(raw) <= 256<<10 {
		return 1
	}
	return 1021
}

func (run *corpusRun) checkLinked(ctx context.Context, env *flow.Envelope, s sample, d *delivery, ex *flow.Explanation) error {
	l := &linkedSample{sample: s, first: d}
	h, body := split(s.raw)
	l.tree = scanned(s.raw)
	l.bodies, _ = message.Assess(l.tree, bytes.NewReader(body))
	var err error
	if l.record, err = run.w.recordOf(ctx, env.QueueID); err != nil {
		return err
	}
	if l.record == nil {
		return fmt.Errorf("changed, but there is no record")
	}
	if again, err := run.w.recordOf(ctx, env.QueueID+"-again"); again != nil || err != nil {
		return fmt.Errorf("the second time made a second record (%v)", err)
	}
	for _, p := range ex.Parts {
		if i := slices.IndexFunc(l.record.Parts, func(r ledger.Part) bool { return r.Index == p.Index }); i >= 0 {
			if l.record.Parts[i].Linked != (p.Fate == "link") {
				return fmt.Errorf("part %d: explained as %q, recorded as linked=%v", p.Index, p.Fate, l.record.Parts[i].Linked)
			}
		}
	}
	if ex.NewSize != int64(len(d.body)) {
		return fmt.Errorf("new body of %d bytes was explained as %d", len(d.body), ex.NewSize)
	}
	if err := l.checkSplices(body); err != nil {
		return err
	}
	if err := l.checkHeader(h); err != nil {
		return err
	}
	if err := l.checkScan(); err != nil {
		return err
	}
	if err := run.w.checkBlobs(ctx, l.record); err != nil {
		return err
	}
	if err := run.w.checkRebuild(ctx, l.record, s.raw); err != nil {
		return err
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	run.linked = append(run.linked, l)
	return nil
}

// count adds a message to the figures.
func (run *corpusRun) count(s sample, ex *flow.Explanation, d *delivery) {
	run.mu.Lock()
	defer run.mu.Unlock()
	f := run.figures[s.form]
	f.messages++
	f.bytes += int64(len(s.raw))
	if d.changed {
		f.changed++
	}
	add := func(table map[string]map[string]int, reason string) {
		if table[reason] == nil {
			table[reason] = map[string]int{}
		}
		table[reason][s.form]++
	}
	if reason := ex.Passes; reason != "" {
		add(run.whole, reason)
	} else if ex.Alone != "" {
		add(run.whole, ex.Alone)
	} else if !d.changed {
		add(run.whole, "nothing in it may be linked")
	}
	for _, p := range ex.Parts {
		if p.Role != "attachment" && p.Role != "inline" {
			continue
		}
		f.attachments++
		if p.Fate == "link" {
			f.links++
			f.linkedBytes += p.Size
			continue
		}
		add(run.reasons, strings.TrimPrefix(p.Fate, "stays: "))
	}
}

func (run *corpusRun) print(files int) {
	run.t.Logf("%d files, each in two forms", files)
	for _, form := range []string{"stored", "wire"} {
		f := run.figures[form]
		run.t.Logf("%-6s %d messages of %d bytes; %d changed; %d attachments, of which %d (%d bytes) became links",
			form, f.messages, f.bytes, f.changed, f.attachments, f.links, f.linkedBytes)
	}
	table := func(title string, counts map[string]map[string]int) {
		var b strings.Builder
		for _, reason := range slices.SortedFunc(maps.Keys(counts), func(x, y string) int {
			return counts[y]["stored"] - counts[x]["stored"]
		}) {
			fmt.Fprintf(&b, "\n%6d %6d  %s", counts[reason]["stored"], counts[reason]["wire"], reason)
		}
		run.t.Logf("%s\nstored   wire  reason%s", title, b.String())
	}
	table("messages left alone, by reason", run.whole)
	table("attachments and inline parts left in the mail, by reason", run.reasons)
	s, c := run.figures["stored"], run.figures["wire"]
	fmt.Printf("corpus: %d+%d messages, %d+%d changed, %d+%d attachments linked\n",
		s.messages, c.messages, s.changed, c.changed, s.links, c.links)
}

// checkBlobs fails unless the store holds what the record says.
func (w *world) checkBlobs(ctx context.Context, record *ledger.Mail) error {
	for _, p := range record.Parts {
		if !p.Linked {
			continue
		}
		content, err := w.content(ctx, p.SHA256)
		if err != nil {
			return fmt.Errorf("part %d: %w", p.Index, err)
		}
		if int64(len(content)) != p.Size || sha(content) != p.SHA256.String() {
			return fmt.Errorf("part %d: the blob has %d bytes and SHA-256 %s", p.Index, len(content), sha(content))
		}
	}
	return nil
}

// checkRebuild fails unless the original comes out of the record and the
// blobs again.
func (w *world) checkRebuild(ctx context.Context, record *ledger.Mail, want []byte) error {
	var out bytes.Buffer
	err := ledger.Rebuild(ctx, &out, record, func(ctx context.Context, sum [32]byte) (io.ReadCloser, error) {
		return w.blobs.Open(ctx, sum)
	})
	if err != nil {
		return err
	}
	if !bytes.Equal(out.Bytes(), want) {
		return fmt.Errorf("what was built from the record is not the original: %d bytes, want %d", out.Len(), len(want))
	}
	return nil
}

// content reads a blob.
func (w *world) content(ctx context.Context, sum [32]byte) ([]byte, error) {
	f, err := w.blobs.Open(ctx, sum)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func TestCorpusIsUnderstoodTheSameInChunksOfAnySize(t *testing.T) {
	w := newWorld(t, linkAll)
	var n, bytes int
	var mu sync.Mutex
	each(corpus(t), func(i int, s sample) {
		var want string
		for _, chunk := range []int{1 << 30, 65535, 509, 3, 1} {
			if chunk < 509 && len(s.raw) > 256<<10 {
				continue
			}
			ex, err := w.explain(outbound("q"), s.raw, chunk)
			if err != nil {
				t.Errorf("%s: %v", s, err)
				return
			}
			text, err := json.Marshal(ex)
			if err != nil {
				t.Errorf("%s: %v", s, err)
				return
			}
			if want == "" {
				want = string(text)
			}
			if string(text) != want {
				t.Errorf("%s: in chunks of %d bytes\n%s\nwant\n%s", s, chunk, text, want)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		bytes += len(s.raw)
	})
	t.Logf("%d messages of %d bytes, each in chunks of up to five sizes", n, bytes)
}

func sha(b []byte) string {
	sum := sha256Sum(b)
	return hex.EncodeToString(sum[:])
}
