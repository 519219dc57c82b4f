package testserver

// The configuration of a private Sendmail, made by its own macros.

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// milterFlags are F= of INPUT_MAIL_FILTER in Postfix's words.
var milterFlags = map[string]string{"": ", F=T", "tempfail": ", F=T", "reject": ", F=R", "shutdown": ", F=4", "accept": ""}

// configure writes sendmail.cf, submit.cf and what else the instance reads.
func (s *Sendmail) configure(ctx context.Context, opt SendmailOptions) error {
	for name, mode := range map[string]os.FileMode{"etc": 0o755, "queue": 0o700, "clientqueue": 0o770, "dev": 0o755} {
		if err := os.Mkdir(filepath.Join(s.folder, name), mode); err != nil {
			return fmt.Errorf("configure Sendmail: %w", err)
		}
	}
	daemon, err := s.daemonMacros(opt)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"hosts":          "127.0.0.1 " + sendmailHost + " mx localhost\n127.0.0.2 client2.ext.test\n127.0.0.3 client3.ext.test\n",
		"nsswitch.conf":  "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
		"service.switch": "hosts\tfiles\naliases\tfiles\npasswd\tfiles\n",
		"sendmail.mc":    daemon,
		"submit.mc":      s.submitMacros(),
		"statistics":     "", // a missing file would be complained about for each message
	} {
		if err := os.WriteFile(filepath.Join(s.folder, "etc", name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("configure Sendmail: %w", err)
		}
	}
	for _, name := range []string{"sendmail", "submit"} {
		if err := s.expand(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// expand makes name.cf from name.mc.
func (s *Sendmail) expand(ctx context.Context, name string) error {
	cmd := s.programs.command(ctx, s.programs.m4, "-D_CF_DIR_="+s.programs.macros+"/", filepath.Join(s.folder, "etc", name+".mc"))
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if err == nil && complaint.Len() == 0 {
		err = os.WriteFile(s.configFile(name), out.Bytes(), 0o644)
	}
	if err != nil || complaint.Len() > 0 {
		return fmt.Errorf("configure Sendmail: m4 on %s.mc: %v: %s", name, err, complaint.Bytes())
	}
	return nil
}

// commonMacros begin both configurations: nothing is looked up in the DNS, and a
// folder below one that everybody may write to is no objection.
func (s *Sendmail) commonMacros() string {
	return "divert(-1)dnl\ninclude(`" + s.programs.macros + "/m4/cf.m4')dnl\nVERSIONID(`a private Sendmail for tests')dnl\nOSTYPE(`linux')dnl\n" +
		"define(`confDOMAIN_NAME', `" + sendmailHost + "')dnl\n" +
		"define(`confSERVICE_SWITCH_FILE', `" + filepath.Join(s.folder, "etc/service.switch") + "')dnl\n" +
		"define(`confDONT_BLAME_SENDMAIL', `GroupWritableDirPathSafe,MapInUnsafeDirPath,LinkedMapInWritableDir,ClassFileInUnsafeDirPath')dnl\n" +
		"define(`confDONT_PROBE_INTERFACES', `True')dnl\ndefine(`confBIND_OPTS', `-DNSRCH -DEFNAMES')dnl\n" +
		"define(`confTO_IDENT', `0')dnl\ndefine(`confDEF_USER_ID', `65534:65534')dnl\n" +
		// Mail is taken and sent however busy the machine is.
		"define(`confQUEUE_LA', `10000')dnl\ndefine(`confREFUSE_LA', `10000')dnl\ndefine(`confDELAY_LA', `10000')dnl\n" +
		"define(`confMIN_FREE_BLOCKS', `0')dnl\ndefine(`confMIN_QUEUE_AGE', `0')dnl\n" +
		"define(`confLOG_LEVEL', `14')dnl\ndefine(`HELP_FILE', `')dnl\nundefine(`ALIAS_FILE')dnl\n"
}

// daemonMacros is sendmail.mc.
func (s *Sendmail) daemonMacros(opt SendmailOptions) (string, error) {
	var b strings.Builder
	b.WriteString(s.commonMacros())
	fmt.Fprintf(&b, "define(`QUEUE_DIR', `%s/queue')dnl\ndefine(`STATUS_FILE', `%s/etc/statistics')dnl\ndefine(`confPID_FILE', `%s/sendmail.pid')dnl\n",
		s.folder, s.folder, s.folder)
	b.WriteString("define(`confCW_FILE', `-o /dev/null')dnl\ndefine(`confMILTER_LOG_LEVEL', `14')dnl\ndefine(`confDELIVERY_MODE', `background')dnl\n" +
		"define(`confTRUSTED_USERS', `root')dnl\nRELAY_DOMAIN(`127')dnl\nFEATURE(`no_default_msa')dnl\nFEATURE(`nocanonify')dnl\nFEATURE(`accept_unresolvable_domains')dnl\n")
	for _, line := range opt.Macros {
		b.WriteString(line + "\n")
	}
	fmt.Fprintf(&b, "DAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port=%d, Family=inet')dnl\n", s.port)
	for _, listener := range opt.Listeners {
		fmt.Fprintf(&b, "DAEMON_OPTIONS(`%s')dnl\n", listener)
	}
	filter, err := milterMacro(opt)
	if err != nil {
		return "", err
	}
	mailers, rules, err := routeMacros(opt.Routes)
	if err != nil {
		return "", err
	}
	b.WriteString(filter + "MAILER_DEFINITIONS\nMAILER(`smtp')dnl\n" + mailers + rules)
	return b.String(), nil
}

// milterMacro is INPUT_MAIL_FILTER for the options.
func milterMacro(opt SendmailOptions) (string, error) {
	flag, ok := milterFlags[opt.DefaultAction]
	if !ok {
		return "", fmt.Errorf("configure Sendmail: default action %q: want tempfail, reject, shutdown or accept", opt.DefaultAction)
	}
	if opt.MilterAddr == "" {
		return "", nil
	}
	kind, where, _ := strings.Cut(opt.MilterAddr, ":")
	switch kind {
	case "inet":
		host, port, err := net.SplitHostPort(where)
		if err != nil {
			return "", fmt.Errorf("configure Sendmail: milter %s: %w", opt.MilterAddr, err)
		}
		where = port + "@" + host
	case "unix":
	default:
		return "", fmt.Errorf("configure Sendmail: milter %s: want inet:HOST:PORT or unix:/PATH", opt.MilterAddr)
	}
	timeouts := ""
	if opt.MilterTimeouts != "" {
		timeouts = ", T=" + opt.MilterTimeouts
	}
	return fmt.Sprintf("INPUT_MAIL_FILTER(`cloakroom', `S=%s:%s%s%s')dnl\n", kind, where, flag, timeouts), nil
}

// routeMacros are a mailer for each route, which has the port, and the rules
// that choose it. Fields are separated by tabs.
func routeMacros(routes map[string]string) (mailers, rules string, err error) {
	rules = "LOCAL_RULE_0\n"
	for i, domain := range slices.Sorted(maps.Keys(routes)) {
		host, port, err := net.SplitHostPort(routes[domain])
		if err != nil {
			return "", "", fmt.Errorf("route for %s: %w", domain, err)
		}
		// As Sendmail's own mailer esmtp, with longer lines: they are the sink's to judge.
		mailers += fmt.Sprintf("Mroute%d,\tP=[IPC], F=mDFMuXa8, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\\r\\n, L=990,\n\t\tT=DNS/RFC822/SMTP,\n\t\tA=TCP $h %s\n", i, port)
		for _, dot := range []string{"", " . "} {
			rules += fmt.Sprintf("R$* < @ %s %s> $*\t$#route%d $@ [%s] $: $1 < @ %s %s> $2\n", domain, dot, i, host, domain, dot)
		}
	}
	return mailers, rules, nil
}

// submitMacros is submit.mc: sendmail(1) hands mail to the daemon by SMTP.
func (s *Sendmail) submitMacros() string {
	return s.commonMacros() +
		fmt.Sprintf("define(`MSP_QUEUE_DIR', `%s/clientqueue')dnl\ndefine(`STATUS_FILE', `%s/etc/statistics')dnl\ndefine(`confPID_FILE', `%s/client.pid')dnl\n",
			s.folder, s.folder, s.folder) +
		// A submission program that would be root refuses to run.
		"define(`confDELIVERY_MODE', `i')dnl\ndefine(`confRUN_AS_USER', `65534:65534')dnl\n" +
		fmt.Sprintf("define(`RELAY_MAILER_ARGS', `TCP $h %d')dnl\n", s.port) +
		"FEATURE(`msp', `[127.0.0.1]')dnl\n"
}
