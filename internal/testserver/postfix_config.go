package testserver

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// postfixAccounts are the accounts a private Postfix uses.
type postfixAccounts struct {
	owner   *account // mail_owner: queue files and daemons
	group   string   // setgid_group: the drop folder of sendmail(1)
	mailbox *account // mail is delivered as this one
}

// choosePostfixAccounts takes the accounts of an installed Postfix, or, for an
// unpacked one, others that every system has and that are not shared with it.
func choosePostfixAccounts() (*postfixAccounts, error) {
	var a postfixAccounts
	var err error
	if a.owner, err = findAccount("postfix", "daemon", "nobody"); err != nil {
		return nil, err
	}
	for _, group := range []string{"postdrop", "bin", "uucp"} {
		g, err := user.LookupGroup(group)
		if err == nil && g.Gid != strconv.FormatUint(uint64(a.owner.gid), 10) {
			a.group = group
			break
		}
	}
	if a.group == "" {
		return nil, fmt.Errorf("no group for Postfix's setgid_group: none of postdrop, bin, uucp exists beside the group of %s", a.owner.name)
	}
	if isRoot() {
		// virtual(8) does not deliver as root.
		a.mailbox, err = findAccount("nobody")
	} else {
		a.mailbox = &account{uid: uint32(os.Getuid()), gid: uint32(os.Getgid())}
	}
	return &a, err
}

// configure writes main.cf, master.cf and the tables.
func (p *Postfix) configure(opt PostfixOptions, accounts *postfixAccounts) error {
	settings, err := p.mainSettings(opt, accounts)
	if err != nil {
		return err
	}
	maps.Copy(settings, opt.Extra)
	var main strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if strings.ContainsAny(settings[name], "\r\n") {
			return fmt.Errorf("Postfix parameter %s: a value cannot contain a line end", name)
		}
		fmt.Fprintf(&main, "%s = %s\n", name, settings[name])
	}
	var mailboxes strings.Builder
	for address := range p.mailboxes {
		fmt.Fprintf(&mailboxes, "%s %s/\n", address, address)
	}
	if err := os.Mkdir(p.configFolder(), 0o755); err != nil {
		return fmt.Errorf("configure Postfix: %w", err)
	}
	// Every program reads a configuration file younger than two seconds again
	// and again until it is old enough to be complete. Ours is complete.
	settled := time.Now().Add(-time.Minute)
	for name, text := range map[string]string{
		"main.cf":   main.String(),
		"master.cf": fmt.Sprintf(masterServices, p.port) + strings.Join(append(opt.Services, ""), "\n"),
		"mailboxes": mailboxes.String(),
	} {
		file := filepath.Join(p.configFolder(), name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return fmt.Errorf("configure Postfix: %w", err)
		}
		if err := os.Chtimes(file, settled, settled); err != nil {
			return fmt.Errorf("configure Postfix: %w", err)
		}
	}
	return p.programs.giveFiles(p.configFolder())
}

// mainSettings are the parameters of main.cf before the caller's own.
func (p *Postfix) mainSettings(opt PostfixOptions, accounts *postfixAccounts) (map[string]string, error) {
	domains, err := p.mailboxDomains()
	if err != nil {
		return nil, err
	}
	routes, err := transportTable(opt.Routes)
	if err != nil {
		return nil, err
	}
	action := opt.DefaultAction
	if action == "" {
		action = "tempfail"
	}
	settings := p.programs.settings(p.folder, accounts)
	maps.Copy(settings, map[string]string{
		"maillog_file": "/dev/stdout",

		"myhostname":             "mx.acmecorp.test",
		"mydestination":          "",
		"alias_maps":             "",
		"alias_database":         "",
		"inet_interfaces":        "127.0.0.1",
		"inet_protocols":         "ipv4",
		"mynetworks":             "127.0.0.0/8",
		"smtpd_peername_lookup":  "no",
		"smtp_host_lookup":       "native",
		"smtp_dns_support_level": "disabled",

		"smtpd_relay_restrictions":     "permit_mynetworks, reject",
		"smtpd_recipient_restrictions": "",
		"default_transport":            "error:5.1.2 no route to this domain from a test server",
		"transport_maps":               routes,

		"virtual_mailbox_domains": domains,
		"virtual_mailbox_base":    filepath.Join(p.folder, "mail"),
		"virtual_mailbox_maps":    "texthash:" + filepath.Join(p.configFolder(), "mailboxes"),
		"virtual_uid_maps":        "static:" + strconv.FormatUint(uint64(accounts.mailbox.uid), 10),
		"virtual_gid_maps":        "static:" + strconv.FormatUint(uint64(accounts.mailbox.gid), 10),

		"smtpd_milters":          opt.MilterAddr,
		"non_smtpd_milters":      opt.MilterAddr,
		"milter_default_action":  action,
		"milter_protocol":        "6",
		"milter_command_timeout": "30s",
		"milter_content_timeout": "300s",

		// Large mail passes, repetition is quick, and parallel clients are not throttled.
		"message_size_limit":                  strconv.Itoa(200 << 20),
		"mailbox_size_limit":                  "0",
		"virtual_mailbox_limit":               "0",
		"minimal_backoff_time":                "2s",
		"maximal_backoff_time":                "5s",
		"queue_run_delay":                     "2s",
		"smtpd_client_connection_count_limit": "0",
		"smtpd_client_connection_rate_limit":  "0",
		"smtpd_tls_security_level":            "none",
		"smtp_tls_security_level":             "none",
	})
	return settings, nil
}

// mailboxDomains lists the domains of the mailboxes.
func (p *Postfix) mailboxDomains() (string, error) {
	domains := map[string]bool{}
	for address := range p.mailboxes {
		local, domain, ok := strings.Cut(address, "@")
		if !ok || local == "" || domain == "" || strings.ContainsAny(address, "/ \t\r\n\\\"") {
			return "", fmt.Errorf("mailbox %q: want local@domain, without blanks, slashes and quotes", address)
		}
		domains[domain] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(domains)), " "), nil
}

// transportTable is transport_maps for routes.
func transportTable(routes map[string]string) (string, error) {
	if len(routes) == 0 {
		return "", nil
	}
	var table strings.Builder
	for _, domain := range slices.Sorted(maps.Keys(routes)) {
		host, port, err := net.SplitHostPort(routes[domain])
		if err != nil {
			return "", fmt.Errorf("route for %s: %w", domain, err)
		}
		fmt.Fprintf(&table, " {%s = smtp:[%s]:%s}", domain, host, port)
	}
	return "inline:{" + table.String() + " }", nil
}

// masterServices is master.cf. Nothing is chrooted, so that a milter's socket
// file has the same name for everybody. pickup looks once a second.
const masterServices = `127.0.0.1:%d inet n - n - - smtpd
pickup  unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr    unix n - n 2 1 qmgr
tlsmgr  unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce  unix - - n - 0 bounce
defer   unix - - n - 0 bounce
trace   unix - - n - 0 bounce
verify  unix - - n - 1 verify
flush   unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp    unix - - n - - smtp
relay   unix - - n - - smtp
showq   unix n - n - - showq
error   unix - - n - - error
retry   unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil   unix - - n - 1 anvil
scache  unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`
