package doctor

// The pages: whether they answer where they listen, and whether the address that
// stands in mails leads to them. That it is ours is told by a question that only
// who has the secret can ask and answer.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"cloakroom/sisa/web"
)

const (
	// maxPage bounds what is read of an answer, in bytes; ours has 22.
	maxPage = 4 << 10
	// slowPage is how long the answer may take before that is worth a word.
	slowPage = 3 * time.Second
)

// Pages says where the pages are.
type Pages struct {
	Listen string // web.listen
	TLS    bool   // web.tls is set
	URL    string // web.url
	Key    []byte // of the questions; nil: there is no secret yet
	Runs   bool   // a daemon holds the data directory
}

// Run asks at both addresses.
func (p Pages) Run(ctx context.Context) []Line {
	if p.Key == nil {
		return []Line{warn("see the lines secret and daemon", "without the secret it cannot be told whether the pages are ours")}
	}
	local := make(chan Line, 1)
	go func() { local <- p.local(ctx) }()
	public := p.public(ctx)
	here := <-local
	if here.State == OK && public.State == OK {
		return []Line{ok("%s; %s", here.Text, public.Text)}
	}
	var out []Line
	for _, l := range []Line{here, public} {
		if l.State != OK {
			out = append(out, l)
		}
	}
	return out
}

// client takes no proxies from the environment, follows nothing, and sends nothing
// that has to be kept from others. Certificates are another line's business.
func (p Pages) client() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     Transport(),
	}
}

// Transport is for questions that have nothing to hide: it takes no proxy from the
// environment and any certificate, and keeps no connection.
func Transport() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
}

// Local is the address by which this host reaches a listener of its own.
func Local(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// page is what somebody says to a question of ours.
type page struct {
	ours   bool
	status string
	header http.Header
	took   time.Duration
}

func (p Pages) ask(ctx context.Context, base string) (page, error) {
	probe := web.NewProbe(p.Key)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(base, "/")+probe.Path, nil)
	if err != nil {
		return page{}, err
	}
	req.Header.Set("User-Agent", "cloakroom doctor")
	begin := time.Now()
	resp, err := p.client().Do(req)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	return page{string(body) == probe.Answer, resp.Status, resp.Header, time.Since(begin)}, err
}

func (p Pages) local(ctx context.Context) Line {
	scheme := "http"
	if p.TLS {
		scheme = "https"
	}
	got, err := p.ask(ctx, scheme+"://"+Local(p.Listen))
	switch {
	case err != nil && !p.Runs:
		return wrong("start the daemon, see the line daemon", "web.listen: %v", reason(err))
	case err != nil:
		return wrong("systemctl restart cloakroom if web.listen was changed since it started; "+logOf, "web.listen: %v", reason(err))
	case !got.ours:
		return wrong("look who listens there (ss -ltnp): another program, a daemon with another secret, or one of an older version",
			"web.listen %s answers %s, and not as this Cloakroom", p.Listen, got.status)
	}
	return ok("%s answers in %s", p.Listen, short(got.took))
}

func (p Pages) public(ctx context.Context) Line {
	const proxy = "look at the proxy in front and its log; it has to pass requests on to web.listen"
	got, err := p.ask(ctx, p.URL)
	if err != nil {
		return p.unreached(err, proxy)
	}
	to := got.header.Get("Location")
	switch {
	case got.ours && got.took > slowPage:
		return warn(proxy, "%s is this Cloakroom, and takes %s", p.URL, short(got.took))
	case got.ours:
		return ok("%s is this Cloakroom, in %s", p.URL, short(got.took))
	case to != "":
		return wrong("let web.url be where pages are shown without a redirect, or pass requests on instead", "%s sends visitors on to %s", p.URL, firstOf(to))
	}
	who := ""
	if s := got.header.Get("Server"); s != "" {
		who = " (" + firstOf(s) + ")"
	}
	return wrong(proxy+"; links in mails lead there", "%s answers %s%s, and not as this Cloakroom", p.URL, got.status, who)
}

func (p Pages) unreached(err error, proxy string) Line {
	text := fmt.Sprintf("%s: %v", p.URL, reason(err))
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return wrong("see the line dns", "%s", text)
	case errors.Is(err, syscall.ECONNREFUSED) && !p.Runs:
		return wrong("start the daemon, see the line daemon; then the proxy in front, if there is one", "%s", text)
	case errors.Is(err, syscall.ECONNREFUSED):
		return wrong("nobody listens there: start the proxy in front, or correct its port", "%s", text)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ETIMEDOUT):
		return wrong("look at firewall and proxy; where only hosts inside cannot reach the public address (NAT), ask from outside and use --skip web,certificate here", "%s", text)
	}
	return wrong(proxy, "%s", text)
}

// reason leaves out the address of the question, which is for us alone.
func reason(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// maxForeign bounds what others wrote, in bytes.
const maxForeign = 200

func firstOf(s string) string { return s[:min(len(s), maxForeign)] }
