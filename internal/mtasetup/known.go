package mtasetup

// Milters that are told by their address: by a word in the path of their socket
// or their host's name, or by the port that their documentation uses.

import (
	"slices"
	"strings"
)

// role is what a milter does, as far as its place matters.
type role int

const (
	unknown  role = iota
	scanner       // looks for viruses and spam, or refuses early: before us everywhere
	verifier      // verifies what came: before us where mail comes from outside
	signer        // signs what leaves: behind us
	both          // verifies what comes and signs what leaves, by one address
)

func (r role) String() string {
	return [...]string{"unknown", "scanner", "verifier", "signer", "verifier and signer"}[r]
}

// famous is a milter that many use.
type famous struct {
	name, word string
	ports      []string
	role       role
}

// famousMilters are looked through in this order; words before ports.
var famousMilters = []famous{
	{"rspamd", "rspamd", []string{"11332"}, scanner},
	{"clamav-milter", "clam", []string{"7357"}, scanner},
	{"amavisd-milter", "amavis", nil, scanner},
	{"spamass-milter", "spamass", nil, scanner},
	{"MIMEDefang", "mimedefang", nil, scanner},
	{"milter-greylist", "greylist", nil, scanner},
	{"opendmarc", "opendmarc", []string{"8893"}, verifier},
	{"openarc", "openarc", nil, verifier},
	{"pyspf-milter", "spf", nil, verifier},
	{"authentication_milter", "authentication_milter", nil, verifier},
	{"dkimpy-milter", "dkimpy", []string{"8892"}, both},
	{"opendkim", "opendkim", []string{"8891", "12301"}, both},
	{"dkim-milter", "dkim", nil, both},
}

// identify gives a milter's name and role; what the administrator says comes
// first.
func (o Options) identify(e element, queue string) (name string, r role) {
	name = e.address
	at, ok := parseEndpoint(e.address, queue)
	if ok {
		place := strings.ToLower(e.name + " " + at.path + at.host)
		i := slices.IndexFunc(famousMilters, func(f famous) bool { return strings.Contains(place, f.word) })
		if i < 0 && at.path == "" {
			i = slices.IndexFunc(famousMilters, func(f famous) bool { return slices.Contains(f.ports, at.port) })
		}
		if i >= 0 {
			name, r = famousMilters[i].name, famousMilters[i].role
		}
	}
	said := func(list []string) bool {
		return slices.ContainsFunc(list, func(a string) bool { return same(a, e.address, queue) })
	}
	switch {
	case said(o.Verifiers) && said(o.Signers):
		r = both
	case said(o.Scanners):
		r = scanner
	case said(o.Verifiers):
		r = verifier
	case said(o.Signers):
		r = signer
	}
	return name, r
}
