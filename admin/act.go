package admin

// Changes: first the question, by GET, then the change, by POST, with a token that
// only our own page can know. Each is remembered before it is made.

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloakroom/ledger/audit"
	"cloakroom/sisa"
)

const (
	// cookieName is of the cookie that the token of forms belongs to.
	cookieName = "cloakroom_admin"
	// cookieBytes is its length: nobody guesses it.
	cookieBytes = 16
	// actTime bounds a change.
	actTime = 75 * time.Second
	// maxKeys bounds how many jobs or links are named in one change; more are
	// chosen by what they have in common.
	maxKeys = 200
)

// csrf gives the token for forms of this browser, which gets a cookie if it has
// none.
func (s *Server) csrf(w http.ResponseWriter, r *http.Request) string {
	if c, err := r.Cookie(cookieName); err == nil && len(c.Value) == 2*cookieBytes {
		return s.formToken(c.Value)
	}
	raw := make([]byte, cookieBytes)
	rand.Read(raw) // never fails
	value := hex.EncodeToString(raw)
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	return s.formToken(value)
}

func (s *Server) formToken(cookie string) string {
	return hex.EncodeToString(s.guard.sum([]byte("form\x00" + cookie)))
}

// checkForm tells why a form is not taken.
func (s *Server) checkForm(r *http.Request) error {
	if !visitorOf(r.Context()).acts {
		return &problem{http.StatusForbidden, "Nothing can be changed here, as nobody names himself: set admin.password_file, or listen on a UNIX socket."}
	}
	if err := s.cross.Check(r); err != nil {
		return &problem{http.StatusForbidden, "The request came from another site's page. Nothing was changed."}
	}
	if err := r.ParseForm(); err != nil {
		return badRequest("The form cannot be read: %v", err)
	}
	if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") && r.Header.Get("Cookie") == "" {
		return nil // no browser sends a token of its own accord
	}
	c, err := r.Cookie(cookieName)
	if err != nil || !s.guard.same([]byte(r.PostForm.Get("csrf")), []byte(s.formToken(c.Value))) {
		return &problem{http.StatusForbidden, "The form is too old, or not ours: open the page again. Nothing was changed."}
	}
	return nil
}

// deed is a change that is asked for.
type deed struct {
	Do    string // hold, release, retry, drop; hold-target, release-target, test-target; revoke, extend
	Jobs  Jobs
	Kind  string // of a target
	Name  string
	Links []string
	Back  string // the page to go back to
	Until time.Time

	Reason string
	Term   string // of extend: 30d, 90d, 365d, forever
}

// The words of each deed: of the button, and of the audit.
var deeds = map[string]struct{ Button, Audit string }{
	"hold":           {"Hold", "hold jobs"},
	"release":        {"Release", "release jobs"},
	"retry":          {"Try now", "retry jobs"},
	"drop":           {"Delete for good", "drop jobs"},
	"hold-target":    {"Hold", "hold target"},
	"release-target": {"Release", "release target"},
	"test-target":    {"Test", "test target"},
	"revoke":         {"Revoke", "revoke links"},
	"extend":         {"Extend", "extend links"},
}

// terms are how much longer links can be made to last.
var terms = map[string]sisa.Term{
	"30 days": {By: 30 * 24 * time.Hour}, "90 days": {By: 90 * 24 * time.Hour}, "1 year": {By: 365 * 24 * time.Hour}, "forever": {Forever: true},
}

// Terms lists them, the shortest first.
func (deed) Terms() []string { return []string{"30 days", "90 days", "1 year", "forever"} }

// readDeed reads what is asked for.
func readDeed(v url.Values) (*deed, error) {
	d := &deed{Do: v.Get("do"), Kind: v.Get("kind"), Name: v.Get("target"), Links: v["link"], Back: v.Get("back"), Reason: strings.TrimSpace(v.Get("reason")), Term: v.Get("term")}
	d.Jobs = Jobs{Keys: v["job"]}
	if v.Has("all") {
		d.Jobs = Jobs{State: v.Get("state"), Kind: v.Get("kind"), Target: v.Get("target"), Owner: v.Get("owner")}
	}
	if ms, err := strconv.ParseInt(v.Get("until"), 10, 64); err == nil && ms > 0 {
		d.Until = time.UnixMilli(ms)
	}
	// Only a page of ours is gone back to.
	if back, err := url.Parse(d.Back); err != nil || back.Scheme != "" || back.Host != "" || !strings.HasPrefix(d.Back, "/") || strings.HasPrefix(d.Back, "//") || strings.Contains(d.Back, `\`) {
		d.Back = "/"
	}
	switch {
	case deeds[d.Do].Button == "":
		return nil, badRequest("There is no action %q.", d.Do)
	case d.forJobs() && !v.Has("all") && len(d.Jobs.Keys) == 0:
		return nil, badRequest("Choose jobs first: tick the boxes before them.")
	case d.forLinks() && len(d.Links) == 0:
		return nil, badRequest("Choose links first: tick the boxes before them.")
	case d.forTarget() && d.Kind == "":
		return nil, badRequest("The target is missing.")
	case len(d.Jobs.Keys) > maxKeys || len(d.Links) > maxKeys:
		return nil, badRequest("At most %d at once.", maxKeys)
	}
	return d, nil
}

func (d *deed) forJobs() bool {
	return slices.Contains([]string{"hold", "release", "retry", "drop"}, d.Do)
}
func (d *deed) forLinks() bool  { return d.Do == "revoke" || d.Do == "extend" }
func (d *deed) forTarget() bool { return strings.HasSuffix(d.Do, "-target") }

// Button is what the button says.
func (d *deed) Button() string { return deeds[d.Do].Button }

// object says what is changed, for the audit.
func (d *deed) object() string {
	switch {
	case d.forTarget():
		return targetWords(d.Kind, d.Name)
	case d.forLinks():
		return strings.Join(d.Links, " ")
	case len(d.Jobs.Keys) > 0:
		return strings.Join(d.Jobs.Keys, " ")
	}
	var words []string
	for _, w := range [][2]string{{"state", d.Jobs.State}, {"kind", d.Jobs.Kind}, {"target", d.Jobs.Target}, {"owner", d.Jobs.Owner}} {
		if w[1] != "" {
			words = append(words, w[0]+" "+w[1])
		}
	}
	if len(words) == 0 {
		return "all jobs"
	}
	return "all jobs with " + strings.Join(words, ", ")
}

// chosen says for people what is changed.
func (d *deed) chosen() string {
	const most = 10 // are named
	ids, what, short := d.Jobs.Keys, "job ", tail
	if d.forLinks() {
		ids, what, short = d.Links, "link ", digits
	}
	if len(ids) == 0 {
		return d.object()
	}
	var words []string
	for _, id := range ids[:min(len(ids), most)] {
		words = append(words, what+short(id))
	}
	if more := len(ids) - most; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ", ")
}

// question is the page before a change.
type question struct {
	*deed
	Title string
	Words []string
	None  bool // nothing would be changed
	Query url.Values
}

// ask serves the question.
func (s *Server) ask(r *http.Request, f *frame) (string, any, error) {
	if !f.Who.acts {
		return "", nil, &problem{http.StatusForbidden, "Nothing can be changed here, as nobody names himself: set admin.password_file, or listen on a UNIX socket."}
	}
	d, err := readDeed(r.URL.Query())
	if err != nil {
		return "", nil, err
	}
	q := question{deed: d, Query: r.URL.Query()}
	switch {
	case d.forJobs():
		err = s.askJobs(r.Context(), &q)
	case d.forTarget():
		q.Words = targetQuestions[d.Do]
		q.Title = d.Button() + " " + targetWords(d.Kind, d.Name) + "?"
	default:
		q.Title = d.Button() + " " + countWords(int64(len(d.Links)), "link?", "links?")
		q.Words = []string{"Chosen: " + d.chosen() + ".", linkQuestions[d.Do]}
	}
	if !d.Until.IsZero() {
		q.Query.Set("until", strconv.FormatInt(d.Until.UnixMilli(), 10))
	}
	q.Query.Del("reason")
	q.Query.Del("term")
	f.Title = q.Title
	return "ask.html", q, err
}

var targetQuestions = map[string][]string{
	"hold-target":    {"What is under way is finished; everything else waits, also what comes. Nothing is lost."},
	"release-target": {"Its jobs go on at once. If it held itself, mend the cause first: a test tells."},
	"test-target":    {"A small file is put there, read back and deleted again."},
}

var linkQuestions = map[string]string{
	"revoke": "From now on they look as if they had never been. This cannot be undone; the files stay for the time of grace.",
	"extend": "They end later, counted from their old end or, where that is past, from now. Links that were revoked stay so.",
}

func (s *Server) askJobs(ctx context.Context, q *question) error {
	n, lost, until, err := s.watch.p.Acts.CountJobs(ctx, q.Do, q.Jobs)
	if err != nil {
		return err
	}
	q.Title = q.Button() + ": " + countWords(int64(n), "job?", "jobs?")
	if q.None = n == 0; q.None {
		q.Words = []string{"None of the chosen jobs is in a state for that."}
		return nil
	}
	q.deed.Until = until
	q.Words = append(q.Words, "Chosen: "+q.chosen()+".")
	for line := range strings.Lines(lost) {
		q.Words = append(q.Words, strings.TrimSpace(line))
	}
	return nil
}

// act makes a change, and goes back to where it was asked for.
func (s *Server) act(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), actTime)
	defer cancel()
	r = r.WithContext(ctx)
	err := s.checkForm(r)
	var d *deed
	if err == nil {
		d, err = readDeed(r.PostForm)
	}
	if err != nil {
		s.show(w, r, s.frame(w, r), "", nil, err)
		return
	}
	who := visitorOf(ctx)
	id, err := audit.Do(ctx, s.watch.p.DB, audit.Act{Actor: who.name, Door: audit.Dashboard, Action: deeds[d.Do].Audit, Object: d.object()}, s.now,
		func(ctx context.Context) (string, error) { return s.do(ctx, d, who) })
	if args := []any{"actor", who.name, "client", r.RemoteAddr, "action", deeds[d.Do].Audit, "object", d.object(), "act", id}; err != nil {
		s.log.Warn("administrator: it failed", append(args, "err", err)...)
	} else {
		s.log.Info("administrator", args...)
	}
	if id == "" {
		s.show(w, r, s.frame(w, r), "", nil, err)
		return
	}
	s.watch.lookAtQueue(ctx)
	back, err := url.Parse(d.Back)
	if err != nil {
		back = &url.URL{Path: "/"}
	}
	query := back.Query()
	query.Set("did", id)
	back.RawQuery = query.Encode()
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
}

func (s *Server) do(ctx context.Context, d *deed, who visitor) (outcome string, err error) {
	p := s.watch.p
	switch {
	case d.forJobs():
		until := d.Until
		if until.IsZero() {
			until = s.now()
		}
		return p.Acts.ChangeJobs(ctx, d.Do, d.Jobs, until)
	case d.Do == "test-target":
		return p.Acts.TestTarget(ctx, d.Name)
	case d.forTarget():
		return p.Acts.SetTarget(ctx, d.Kind, d.Name, d.Do == "hold-target")
	}
	act := sisa.Act{By: who.name + " (dashboard)", Reason: d.Reason}
	if d.Do == "revoke" {
		n, err := p.Links.Revoke(ctx, d.Links, act)
		return fmt.Sprintf("revoked: %d of %s", n, countWords(int64(len(d.Links)), "link", "links")), err
	}
	term, known := terms[d.Term]
	if !known {
		return "", errors.New("until when? Choose one")
	}
	done, err := p.Links.Extend(ctx, d.Links, term, act)
	return extended(done), err
}

func extended(all []sisa.Extension) string {
	n := 0
	var refused []string
	for _, e := range all {
		if e.Refused == "" {
			n++
		} else {
			refused = append(refused, digits(e.Link.String())+" "+e.Refused)
		}
	}
	out := fmt.Sprintf("extended: %d of %s", n, countWords(int64(len(all)), "link", "links"))
	if len(refused) > 0 {
		out += "; not extended: " + strings.Join(refused, ", ")
	}
	return out
}
