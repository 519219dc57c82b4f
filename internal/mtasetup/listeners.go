package mtasetup

// The services that take mail in, and which of them Cloakroom belongs to.

import (
	"fmt"
	"slices"
	"strings"
)

// listener is an smtpd service of master.cf.
type listener struct {
	*MasterService
	purpose string // for people
	way     way
	ours    bool   // Cloakroom belongs here
	reason  string // why not
	warn    bool   // and that disappoints
	copies  bool   // Cloakroom itself sends mail by it
}

// listeners sorts the smtpd services.
func (b *postfix) listeners() []listener {
	var out []listener
	for i := range b.m.Services {
		if s := &b.m.Services[i]; s.Program == "smtpd" && (s.Type == "inet" || s.Type == "pass") {
			out = append(out, b.classify(s))
		}
	}
	return out
}

func (b *postfix) classify(s *MasterService) listener {
	l := listener{MasterService: s}
	host, port := s.port()
	b.purpose(&l, host, port)
	forced := s.called(b.opt.Attach)
	switch {
	case s.called(b.opt.Leave):
		l.ours, l.reason = false, "--leave says so"
	case forced && !l.copies:
		l.ours, l.reason, l.warn = true, "", false
	case !l.ours:
	case b.m.value(s, "smtpd_proxy_filter") != "":
		l.ours, l.warn = false, true
		l.reason = "with smtpd_proxy_filter milters see no message here (SMTPD_PROXY_README). Cloakroom belongs on the listener behind that filter: --attach NAME, where mail comes from the filter's address and senders cannot be told apart; or use the filter as a milter"
	case hasWord(b.m.value(s, "receive_override_options"), "no_milters"):
		l.ours, l.warn = false, port == 25 || l.way == outward
		l.reason = "receive_override_options has no_milters"
	default:
		if v, own := s.Overrides["smtpd_milters"]; own && len(splitList(b.m.expand(s, v))) == 0 {
			l.ours, l.warn = false, port == 25 || l.purpose == "another mail system" || l.purpose == "our users"
			l.reason = "smtpd_milters is empty for it; --attach " + s.Name + " changes that"
		}
	}
	return l
}

// purpose tells what a listener is for.
func (b *postfix) purpose(l *listener, host string, port int) {
	s := l.MasterService
	daemon := s.Overrides["milter_macro_daemon_name"]
	l.ours = true
	switch {
	case b.isCopies(s):
		l.purpose, l.ours, l.copies, l.way = "Cloakroom's own mail", false, true, outward
		l.reason = "copies would be divided again"
	case slices.ContainsFunc(b.set.Routes, func(r Route) bool { return r.Daemon != "" && r.Daemon == daemon }):
		l.purpose = "another mail system"
	case port == 25 && !loopback(host), s.Type == "pass":
		l.purpose = "the Internet"
	case port == 587, port == 465, s.Overrides["smtpd_sasl_auth_enable"] == "yes", daemon == "ORIGINATING":
		l.purpose, l.way = "our users", outward
	case loopback(host) && b.reinjects(s):
		l.purpose, l.ours, l.way = "mail from a content filter", false, outward
		l.reason = "Cloakroom has seen this mail before the filter"
	case loopback(host):
		l.purpose, l.way = "programs on this host", outward
	default:
		l.purpose = "other hosts"
	}
}

// isCopies tells whether submit.smtp leads to a service.
func (b *postfix) isCopies(s *MasterService) bool {
	host, port, ok := splitHostPort(b.set.Submit)
	if !ok || s.Type != "inet" {
		return false
	}
	host = strings.Trim(host, "[]")
	at, number := s.port()
	if fmt.Sprint(number) != port {
		return false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if at == "localhost" {
		at = "127.0.0.1"
	}
	return at == host || at == "" && loopback(host)
}

// reinjects tells a listener that takes mail back from a filter after the queue,
// by what FILTER_README and the filters' own instructions give it.
func (b *postfix) reinjects(s *MasterService) bool {
	filter, own := s.Overrides["content_filter"]
	if own && filter == "" || s.Overrides["smtpd_authorized_xforward_hosts"] != "" {
		return true
	}
	options := s.Overrides["receive_override_options"]
	return slices.ContainsFunc([]string{"no_unknown_recipient_checks", "no_header_body_checks", "no_address_mappings", "no_milters"},
		func(o string) bool { return hasWord(options, o) })
}

func hasWord(list, word string) bool { return slices.Contains(splitList(list), word) }
