package mtasetup

// Listeners that are added: for mail that Cloakroom sends itself, and for the
// other mail system.

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// firstGatewayPort is where a port for the other system is looked for.
const firstGatewayPort = 10025

// cleanupService is the cleanup of Cloakroom's own mail.
const cleanupService = "cleanup-own"

// masterLine writes a service as one line of master.cf.
func masterLine(name, kind, private, chroot, limit, command string, options ...string) string {
	line := strings.Join([]string{name, kind, private, "-", chroot, "-", limit, command}, " ")
	for _, o := range options {
		line += " -o " + o
	}
	return line
}

// service plans a new one.
func (b *postfix) service(id, line, reason string) {
	b.plan.Changes = append(b.plan.Changes, Change{Kind: Service, Service: id, New: line, Reason: reason})
}

// chroot is what new listeners get in that column: what the others have.
func (b *postfix) chroot(program string) string {
	for i := range b.m.Services {
		if s := &b.m.Services[i]; s.Program == program {
			return s.Chroot
		}
	}
	return "-"
}

// knows tells whether this version of Postfix has a parameter.
func (b *postfix) knows(name string) bool {
	_, ok := b.m.Main[name]
	return ok
}

// copiesListener plans the listener that submit.smtp names.
func (b *postfix) copiesListener() {
	host, port, ok := splitHostPort(b.set.Submit)
	if !ok {
		return
	}
	host = strings.Trim(host, "[]")
	if i := slices.IndexFunc(b.listening, func(l listener) bool { return l.copies }); i >= 0 {
		b.presentCopies(b.listening[i])
		return
	}
	if !loopback(host) {
		b.remark(Info, "submit.smtp (%s) is not this host's loopback: give that MTA a listener without Cloakroom's milter, as deploy/postfix/master.cf.example has it", b.set.Submit)
		return
	}
	networks := "127.0.0.0/8"
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if strings.Contains(host, ":") {
		host, networks = "["+host+"]", "[::1]/128"
	}
	name := host + ":" + port
	signers := b.signers()
	reason := "Mail that Cloakroom sends itself (submit.smtp): copies for single recipients, and reports that one could not be delivered. No milter of Cloakroom's here, or copies would be divided again."
	if len(signers) > 0 {
		reason += " What signs mail to the Internet signs copies too: they left the mail before it was signed."
	} else {
		reason += " Where mail to the Internet is signed by a DKIM milter, that one belongs here: copies left the mail before it was signed."
	}
	b.service(name+"/inet", masterLine(name, "inet", "n", b.chroot("smtpd"), "-", "smtpd",
		"syslog_name=postfix/cloakroom", "smtpd_milters="+write(signers, true), "cleanup_service_name="+cleanupService,
		"local_header_rewrite_clients=", "mynetworks="+networks,
		"smtpd_client_restrictions=", "smtpd_helo_restrictions=", "smtpd_sender_restrictions=",
		"smtpd_relay_restrictions=permit_mynetworks,reject", "smtpd_recipient_restrictions=",
		"smtpd_tls_security_level=none", "message_size_limit=0"), reason)
	b.list(name+"/inet", "Cloakroom's own mail", signers, false)
	b.cleanup()
}

// cleanup plans the cleanup service of copies.
func (b *postfix) cleanup() {
	if slices.ContainsFunc(b.m.Services, func(s MasterService) bool { return s.Name == cleanupService }) {
		return
	}
	options := []string{"syslog_name=postfix/cloakroom"}
	reason := "What was done to the mail when it came is not done to copies again: headers and bodies stay as they are, and nobody gets an automatic copy twice."
	if b.knows("cleanup_replace_stray_cr_lf") {
		options = append(options, "cleanup_replace_stray_cr_lf=no")
		reason += " cleanup_replace_stray_cr_lf exists since Postfix 3.9, 3.8.4, 3.7.9, 3.6.13 and 3.5.23."
	}
	options = append(options, "always_add_missing_headers=no", "always_bcc=", "sender_bcc_maps=", "recipient_bcc_maps=",
		"header_checks=", "mime_header_checks=", "nested_header_checks=", "body_checks=", "message_size_limit=0")
	b.service(cleanupService+"/unix", masterLine(cleanupService, "unix", "n", b.chroot("cleanup"), "0", "cleanup", options...), reason)
}

// presentCopies looks at a listener for copies that is there already.
func (b *postfix) presentCopies(l listener) {
	if _, port := l.port(); port == 25 || port == 587 || port == 465 {
		b.remark(Problem, "submit.smtp (%s) leads to %s, which takes mail of others too. Give it a port of its own, such as 127.0.0.1:10026: the set-up adds that listener", b.set.Submit, l.ID())
		return
	}
	if !b.knows("cleanup_replace_stray_cr_lf") {
		return
	}
	name := l.Overrides["cleanup_service_name"]
	if name == "" {
		name = b.m.value(nil, "cleanup_service_name")
	}
	for i := range b.m.Services {
		s := &b.m.Services[i]
		if s.Name == name && s.Program == "cleanup" && b.m.value(s, "cleanup_replace_stray_cr_lf") != "no" {
			b.remark(Warning, "%s: its cleanup service %s replaces a stray CR or LF, which breaks signatures of copies: set cleanup_replace_stray_cr_lf=no in a cleanup service of its own", l.ID(), name)
		}
	}
}

// gatewayListeners plans the listeners that routes tell other systems of.
func (b *postfix) gatewayListeners() {
	var missing []Route
	for _, r := range b.set.Routes {
		has := slices.ContainsFunc(b.listening, func(l listener) bool { return l.Overrides["milter_macro_daemon_name"] == r.Daemon })
		planned := slices.IndexFunc(missing, func(x Route) bool { return x.Daemon == r.Daemon })
		switch {
		case r.Daemon == "" || has:
		case planned >= 0:
			missing[planned].Networks = slices.Concat(missing[planned].Networks, r.Networks)
		default:
			missing = append(missing, r)
		}
	}
	port := b.opt.GatewayPort
	for _, r := range missing {
		port = b.freePort(port)
		b.gatewayListener(r, port, len(missing) > 1)
		port++
	}
}

// freePort is the first from port on that no service has.
func (b *postfix) freePort(port int) int {
	if port == 0 {
		port = firstGatewayPort
	}
	for {
		taken := strings.HasSuffix(b.set.Submit, ":"+strconv.Itoa(port))
		for i := range b.m.Services {
			_, p := b.m.Services[i].port()
			taken = taken || p == port
		}
		if !taken {
			return port
		}
		port++
	}
}

func (b *postfix) gatewayListener(r Route, port int, several bool) {
	file := b.m.file("other-system")
	if several {
		file += "-" + r.Daemon
	}
	tls := "encrypt"
	if !b.hasCertificate() {
		tls = "may"
		b.remark(Warning, "Postfix has no certificate, so the listener %s does not ask for TLS; set smtpd_tls_chain_files, then smtpd_tls_security_level=encrypt for it", r.Daemon)
	}
	name := strconv.Itoa(port)
	list, order := b.place(without(b.ownList(nil, "smtpd_milters"), b.isOurs), inward)
	options := []string{"syslog_name=postfix/" + r.Daemon, "milter_macro_daemon_name=" + r.Daemon}
	if !slices.Equal(texts(list), texts(b.newMain)) {
		options = append(options, "smtpd_milters="+write(list, true))
	}
	options = append(options, "smtpd_client_restrictions=check_client_access,cidr:"+file+",reject", "smtpd_tls_security_level="+tls)
	reason := fmt.Sprintf("Mail from the other system. It is told of this port alone, and Cloakroom knows by the name %s (coexistence[].gateways.daemon) where the mail came from. Nobody else may connect: %s lists the other system's networks.", r.Daemon, file)
	if order != "" {
		reason += " Cloakroom stands " + order + "."
	}
	b.plan.Changes = append(b.plan.Changes, Change{Kind: File, Name: file, New: networkTable(r.Networks), Reason: "The other system's networks (coexistence[].gateways.networks). Change them there and here together."})
	b.service(name+"/inet", masterLine(name, "inet", "n", b.chroot("smtpd"), "-", "smtpd", options...), reason)
	b.list(name+"/inet", "another mail system", list, false)
}

// networkTable is a cidr_table(5) of who may connect.
func networkTable(networks []netip.Prefix) string {
	var t strings.Builder
	t.WriteString("# Who may connect to the listener of the other mail system; made by cloakroom setup.\n")
	seen := map[netip.Prefix]bool{}
	for _, n := range networks {
		if !seen[n] {
			fmt.Fprintf(&t, "%s OK\n", n)
		}
		seen[n] = true
	}
	return t.String()
}

func (b *postfix) hasCertificate() bool {
	return slices.ContainsFunc([]string{"smtpd_tls_chain_files", "smtpd_tls_cert_file", "smtpd_tls_eccert_file"},
		func(name string) bool { v := b.m.value(nil, name); return v != "" && v != "none" })
}
