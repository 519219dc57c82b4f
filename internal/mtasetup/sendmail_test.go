package mtasetup

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// someMC is a sendmail.mc with a virus scanner, and a line after it that has to
// come before the mailers.
const someMC = "include(`cf.m4')dnl\nOSTYPE(`linux')dnl\nDAEMON_OPTIONS(`Name=MTA, Port=smtp')dnl\n" +
	"dnl INPUT_MAIL_FILTER(`no', `S=inet:1@127.0.0.1')dnl\nINPUT_MAIL_FILTER(`clamav',\n  `S=local:/run/clamav.sock, F=T')dnl\nFEATURE(`access_db')dnl\nMAILER(`smtp')dnl\n"

func planned(t *testing.T, set Settings, macros, config string, opt Options) (plan *Plan, block string) {
	t.Helper()
	p := Sendmail(set, &SendmailMachine{Folder: "/etc/mail", Macros: macros, Config: config}, opt)
	for _, c := range p.Changes {
		block = c.New
	}
	return p, block
}

func TestSendmailBlockStandsBeforeTheMailersAndComesOutAgain(t *testing.T) {
	_, block := planned(t, listening, someMC, "", Options{})
	if !strings.Contains(block, "\nINPUT_MAIL_FILTER(`cloakroom', `S=inet:8891@127.0.0.1, F=T, T=C:30s;S:2m;R:2m;E:10m')dnl\n") {
		t.Errorf("block\n%s", block)
	}
	for name, text := range map[string]string{"before MAILER": someMC, "behind a filter after MAILER": someMC + "INPUT_MAIL_FILTER(`late', `S=inet:2@127.0.0.1')dnl\n", "at the end": "OSTYPE(`linux')dnl\n"} {
		with := PutBlock(text, block)
		if rest, cut, ok := CutBlock(with); !ok || rest != text || cut != block {
			t.Errorf("%s: it does not come out again:\n%s", name, rest)
		}
		at, mailer, late := strings.Index(with, blockBegin), strings.Index(with, "MAILER("), strings.Index(with, "`late'")
		if late < 0 && mailer >= 0 && at > mailer || late >= 0 && at < late || strings.Index(with, "`clamav'") > at {
			t.Errorf("%s:\n%s", name, with)
		}
		p, _ := planned(t, listening, with, "", Options{})
		if name != "behind a filter after MAILER" && len(p.Changes) > 0 && name != "at the end" {
			t.Errorf("%s: planned again:\n%s", name, p.Changes[0].New)
		}
	}
}

func TestSendmailFilterSaysWhatHappensWhileCloakroomIsAway(t *testing.T) {
	for name, c := range map[string]struct {
		set  Settings
		want string
	}{
		"links alone and accept": {Settings{Listen: "inet:0.0.0.0:8891", Accept: true, LinksOnly: true}, "`S=inet:8891@127.0.0.1, T="},
		"accept, and more":       {Settings{Listen: "inet:127.0.0.1:8891", Accept: true}, "`S=inet:8891@127.0.0.1, F=T, T="},
		"a socket":               {Settings{Listen: "unix:/run/cloakroom/milter.sock"}, "`S=unix:/run/cloakroom/milter.sock, F=T, T="},
		"IPv6":                   {Settings{Listen: "inet:[::1]:8891"}, "`S=inet6:8891@::1, F=T, T="},
	} {
		if _, block := planned(t, c.set, someMC, "", Options{}); !strings.Contains(block, c.want) {
			t.Errorf("%s: no %s in\n%s", name, c.want, block)
		}
	}
}

func TestSendmailFilterOfAnIncludedFileKeepsItsPlace(t *testing.T) {
	config := "DZ8.17.1\nO InputMailFilters=provider, clamav, opendkim\nO DaemonPortOptions=Name=MSA, Port=587, M=Ea\nXprovider, S=inet:9@127.0.0.1\nXclamav, S=local:/run/clamav.sock\nXopendkim, S=inet:12301@127.0.0.1\n"
	p, block := planned(t, listening, someMC, config, Options{Scanners: []string{"inet:9@127.0.0.1"}})
	if p.MTA != "Sendmail 8.17.1" || !strings.Contains(block, "define(`confINPUT_MAIL_FILTERS', `provider,clamav,cloakroom,opendkim')dnl\n") {
		t.Errorf("%s\n%s", p.MTA, block)
	}
	if !strings.Contains(remarks(p, Info), "the filter opendkim is in sendmail.cf and not in sendmail.mc itself") {
		t.Errorf("%+v", p.Remarks)
	}
	old := strings.ReplaceAll(config, "provider, clamav, ", "")
	if p, _ := planned(t, listening, someMC, old, Options{}); !strings.Contains(remarks(p, Problem), "has the filter clamav, sendmail.cf does not") {
		t.Errorf("%+v", p.Remarks)
	}
}

func TestSendmailFilterByHandIsLeftAsItIs(t *testing.T) {
	mc := someMC + "INPUT_MAIL_FILTER(`cloakroom', `S=inet:8891@localhost, F=T')dnl\n"
	p, _ := planned(t, listening, mc, "", Options{})
	if len(p.Changes) > 0 || len(p.Problems()) > 0 || !strings.Contains(remarks(p, Info), "left as it is") {
		t.Errorf("%+v %+v", p.Changes, p.Remarks)
	}
	for text, want := range map[string]string{", F=T": "has no F=T", "8891": "take that line out, and this set-up writes it"} {
		p, _ := planned(t, listening, strings.Replace(mc, text, map[string]string{"8891": "8899"}[text], strings.Count(mc, text)), "", Options{})
		if !strings.Contains(remarks(p, Problem), want) {
			t.Errorf("without %s: %+v", text, p.Remarks)
		}
	}
}

func TestSendmailListenersWithoutALineGetOneThatKeepsTheOthers(t *testing.T) {
	mc := strings.ReplaceAll(someMC, "DAEMON_OPTIONS(`Name=MTA, Port=smtp')dnl\n", "INPUT_MAIL_FILTER(`opendkim', `S=inet:12301@localhost')dnl\n")
	config := "DZ8.17.1\nO InputMailFilters=opendkim, clamav\nO DaemonPortOptions=Name=MTA\nO DaemonPortOptions=Port=587, Name=MSA, M=E\nXclamav, S=local:/run/clamav.sock\nXopendkim, S=inet:12301@localhost\n"
	p, _ := planned(t, listening, mc, config, Options{})
	want := []string{"FEATURE(`no_default_msa')dnl", "DAEMON_OPTIONS(`Name=MTA')dnl", "DAEMON_OPTIONS(`Port=587, Name=MSA, M=E, InputMailFilters=opendkim;clamav;cloakroom')dnl"}
	if !slices.ContainsFunc(p.Steps, func(s Step) bool {
		return slices.Equal(s.Lines, want) && strings.HasPrefix(s.Reason, "Sendmail's own listener MSA (our users)")
	}) {
		t.Errorf("%+v", p.Steps)
	}
	if !strings.Contains(remarks(p, Warning), "list the scanner first") {
		t.Errorf("the signer stands before the scanner, and nobody says so: %+v", p.Remarks)
	}
}

func TestSendmailCoexistenceTellsListenersAndTables(t *testing.T) {
	set := Settings{Listen: listening.Listen, Submit: "127.0.0.1:10026", Routes: []Route{{Domain: "acmecorp.com", Alternate: "gapps.acmecorp.com", Daemon: "gapps-in",
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, SRSDomain: "srs.acmecorp.com"}}}
	p, block := planned(t, set, strings.Replace(someMC, "Name=MTA, Port=smtp", "Name=MTA, Port=10025", 1), "", Options{})
	for _, want := range []string{"DAEMON_OPTIONS(`Name=cloakroom-own, Family=inet, Addr=127.0.0.1, Port=10026, InputMailFilters=')dnl", "DAEMON_OPTIONS(`Name=gapps-in, Port=10027')dnl"} {
		if !strings.Contains(block, want) {
			t.Errorf("no %s in\n%s", want, block)
		}
	}
	if !strings.Contains(remarks(p, Warning), "let nobody but the other system connect to port 10027 (192.0.2.0/24)") {
		t.Errorf("%+v", p.Remarks)
	}
	text := p.Text()
	for _, want := range []string{"FEATURE(`virtusertable')dnl", "--format virtusertable -o /etc/mail/cloakroom.virtuser", "FEATURE(`mailertable')dnl", `printf 'To:srs.acmecorp.com\tRELAY\n' >> /etc/mail/access`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "FEATURE(`access_db')dnl") {
		t.Error("a feature that is there is asked for")
	}
	at := slices.IndexFunc(p.Listeners, func(l Listener) bool { return l.Service == "gapps-in (port 10027)" })
	if at < 0 || !p.Listeners[at].Ours {
		t.Errorf("%+v", p.Listeners)
	}
	taken, _ := planned(t, Settings{Listen: listening.Listen, Submit: "127.0.0.1:25"}, someMC, "", Options{})
	if !strings.Contains(remarks(taken, Problem), "submit.smtp (127.0.0.1:25) leads to MTA") {
		t.Errorf("%+v", taken.Remarks)
	}
}

func TestCallsOfM4(t *testing.T) {
	var got []string
	for _, c := range calls("# it's `here\ndnl define(`a')\ndefine(`x', `y, (z')dnl comment define(`no')\n`quoted define(`b')'\nFEATURE(access_db, , `skip')dnl\nMAILER_DEFINITIONS\n") {
		got = append(got, c.name+"|"+strings.Join(c.args, "|"))
	}
	if want := []string{"define|x|y, (z", "FEATURE|access_db||skip", "MAILER_DEFINITIONS|"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	// A file that ends in the middle is read to its end.
	for _, text := range []string{"define(`x", "define(`x', ", "`", "define(", "dnl", "#"} {
		calls(text)
	}
}
