package mtasetup

// Settings of Postfix that are nobody's mistake, and change what Cloakroom sees.

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// smallLimit is a message_size_limit below which few attachments are worth a
// link: Postfix's default of 10,240,000 bytes, Base64 included.
const smallLimit = 10_240_000

// surroundings tells what else matters.
func (b *postfix) surroundings() {
	if filter := b.contentFilter(); filter != "" {
		b.remark(Warning, "content_filter = %s works after the queue, so it scans mail from which Cloakroom has taken attachments already. Use the filter as a milter (amavisd-milter, clamav-milter, rspamd) before Cloakroom, or scan what is stored", filter)
	}
	if limit, err := strconv.Atoi(b.m.value(nil, "message_size_limit")); err == nil && limit > 0 && limit <= smallLimit {
		b.remark(Info, "message_size_limit = %d: Postfix refuses larger mail before Cloakroom sees it. Raise it where larger files shall become links (mailbox_size_limit must not be smaller)", limit)
	}
	if maps := b.m.value(nil, "smtpd_milter_maps"); maps != "" {
		b.remark(Warning, "smtpd_milter_maps = %s gives some clients milters of their own: what the table names is not looked at here, add Cloakroom there", maps)
	}
	if classes := b.m.value(nil, "internal_mail_filter_classes"); hasWord(classes, "bounce") {
		b.remark(Warning, "internal_mail_filter_classes has bounce: Postfix calls it unsafe to filter bounces, and Cloakroom does not need it")
	}
	if name := b.m.value(nil, "multi_instance_name"); name != "" || b.m.value(nil, "multi_instance_directories") != "" {
		b.remark(Info, "this is one of several instances of Postfix: attach Cloakroom where mail comes in, and not again where an instance gets it from another (--leave, or --config-directory of the right one)")
	}
	b.times()
	b.untrusted()
	b.opendkimPort()
}

// times tells how long Postfix waits for a milter, where that is long enough.
func (b *postfix) times() {
	var values []string
	for _, t := range leastTimes {
		value := b.m.value(nil, "milter_"+t.option)
		if s, ok := seconds(value); !ok || s < t.least {
			return // said where it is changed
		}
		values = append(values, "milter_"+t.option+" = "+value)
	}
	b.remark(Info, "the time limits are long enough as they are: %s", strings.Join(values, ", "))
}

// contentFilter is the filter that mail of a listener of ours goes through.
func (b *postfix) contentFilter() string {
	for _, l := range b.listening {
		if v := b.m.value(l.MasterService, "content_filter"); l.ours && v != "" {
			return v
		}
	}
	return ""
}

// untrusted tells of hosts that may relay, and do not count as ours.
func (b *postfix) untrusted() {
	if !b.m.Explicit["mynetworks"] && b.m.value(nil, "mynetworks_style") == "host" {
		return // the addresses of this host itself
	}
	var out []string
	for _, text := range splitList(b.m.value(nil, "mynetworks")) {
		prefix, err := netip.ParsePrefix(strings.NewReplacer("[", "", "]", "").Replace(text))
		if err != nil || prefix.Addr().IsLoopback() || prefix.Addr().Is4In6() || covered(prefix, b.set.Trusted) {
			continue
		}
		out = append(out, prefix.String())
	}
	if len(out) > 0 {
		b.remark(Info, "mynetworks has %s, which is not in Cloakroom's trusted: who sends from there without a login counts as a stranger", strings.Join(out, ", "))
	}
}

func covered(p netip.Prefix, by []netip.Prefix) bool {
	for _, t := range by {
		if t.Bits() <= p.Bits() && t.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// opendkimPort tells of a port that two milters like to use.
func (b *postfix) opendkimPort() {
	e, ok := parseEndpoint(b.address, b.m.queue())
	if !ok || e.port != "8891" || len(b.m.Ours) > 0 {
		return
	}
	for _, name := range []string{"smtpd_milters", "non_smtpd_milters"} {
		for _, text := range splitList(b.m.value(nil, name)) {
			if a := parseElement(text).address; same(a, b.address, b.m.queue()) {
				b.remark(Info, "%s", fmt.Sprintf("%s has %s already and is taken for Cloakroom. opendkim's instructions use the same port: if it is opendkim, give Cloakroom another milter.listen", name, a))
			}
		}
	}
}
