package mtasetup

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// machine is a Postfix with the defaults that plans look at, and what main and
// services say.
func machine(version string, main map[string]string, services ...MasterService) *Machine {
	m := &Machine{Folder: "/etc/postfix", Version: version, Main: map[string]string{
		"mail_version": version, "queue_directory": "/var/spool/postfix", "compatibility_level": "3.6", "milter_default_action": "tempfail",
		"milter_connect_timeout": "30s", "milter_command_timeout": "30s", "milter_content_timeout": "300s", "milter_protocol": "6",
	}, Explicit: map[string]bool{}, Services: services}
	for name, value := range main {
		m.Main[name], m.Explicit[name] = value, true
	}
	m.Expanded = map[string]string{}
	for name := range m.Main {
		m.Expanded[name] = m.expand(nil, m.Main[name])
	}
	return m
}

func smtpd(name string, overrides map[string]string) MasterService {
	if overrides == nil {
		overrides = map[string]string{}
	}
	return MasterService{Name: name, Type: "inet", Chroot: "n", Program: "smtpd", Overrides: overrides}
}

// change finds a planned change; "" for none.
func change(p *Plan, service, name string) string {
	for _, c := range p.Changes {
		if c.Service == service && c.Name == name {
			return c.New
		}
	}
	return ""
}

func remarks(p *Plan, level Level) string {
	var out []string
	for _, r := range p.Remarks {
		if r.Level == level {
			out = append(out, r.Text)
		}
	}
	return strings.Join(out, "\n")
}

var listening = Settings{Listen: "inet:127.0.0.1:8891"}

func TestVersionsOfPostfixGetWhatTheyKnow(t *testing.T) {
	short := map[string]string{"smtpd_milters": "inet:localhost:11332", "milter_content_timeout": "60s", "milter_default_action": "accept"}
	t.Run("before 3.0 no milter has settings of its own", func(t *testing.T) {
		p := Postfix(listening, machine("2.11.3", short, smtpd("smtp", nil)), Options{})
		if got := change(p, "", "smtpd_milters"); got != "inet:localhost:11332, inet:127.0.0.1:8891" {
			t.Errorf("smtpd_milters %q", got)
		}
		if change(p, "", "milter_default_action") != "tempfail" || change(p, "", "milter_content_timeout") != "300s" {
			t.Errorf("changes %+v", p.Changes)
		}
	})
	t.Run("since 3.0 ours has", func(t *testing.T) {
		p := Postfix(listening, machine("3.0.1", short, smtpd("smtp", nil)), Options{})
		if got := change(p, "", "smtpd_milters"); got != "inet:localhost:11332, { inet:127.0.0.1:8891, default_action=tempfail, content_timeout=300s }" {
			t.Errorf("smtpd_milters %q", got)
		}
		if change(p, "", "milter_default_action") != "" || change(p, "", "milter_content_timeout") != "" {
			t.Errorf("what others rely on is changed: %+v", p.Changes)
		}
	})
	t.Run("from 3.11 the default is shutdown", func(t *testing.T) {
		m := machine("3.11.0", nil, smtpd("smtp", nil))
		m.Main["milter_default_action"], m.Expanded["milter_default_action"] = "shutdown", "shutdown"
		if p := Postfix(listening, m, Options{}); change(p, "", "milter_default_action") != "tempfail" {
			t.Errorf("changes %+v", p.Changes)
		}
	})
}

func TestActionFollowsOnErrorWhereLinksAloneAreAtStake(t *testing.T) {
	for name, c := range map[string]struct {
		set    Settings
		action string
		said   string
	}{
		"tempfail":                {Settings{}, "tempfail", ""},
		"observe":                 {Settings{Observe: true}, "accept", ""},
		"accept, links alone":     {Settings{Accept: true, LinksOnly: true}, "accept", ""},
		"accept, and vault rules": {Settings{Accept: true}, "tempfail", "more than links is at stake"},
	} {
		c.set.Listen = listening.Listen
		p := Postfix(c.set, machine("3.7.11", nil, smtpd("smtp", nil)), Options{})
		if got := change(p, "", "milter_default_action"); got != c.action || !strings.Contains(remarks(p, Info), c.said) {
			t.Errorf("%s: %q; %s", name, got, remarks(p, Info))
		}
	}
}

func TestFromObserveToEnforceTheActionFollows(t *testing.T) {
	alone := map[string]string{"milter_default_action": "accept", "smtpd_milters": "inet:127.0.0.1:8891"}
	if p := Postfix(listening, machine("3.7.11", alone, smtpd("smtp", nil)), Options{}); change(p, "", "milter_default_action") != "tempfail" {
		t.Errorf("alone: %+v", p.Changes)
	}
	among := map[string]string{"milter_default_action": "accept", "smtpd_milters": "inet:localhost:11332, inet:127.0.0.1:8891"}
	p := Postfix(listening, machine("3.7.11", among, smtpd("smtp", nil)), Options{})
	if change(p, "", "milter_default_action") != "" || change(p, "", "smtpd_milters") != "inet:localhost:11332, { inet:127.0.0.1:8891, default_action=tempfail }" {
		t.Errorf("among others: %+v", p.Changes)
	}
	back := Postfix(Settings{Listen: listening.Listen, Observe: true}, machine("3.7.11", map[string]string{"milter_default_action": "accept", "smtpd_milters": "{ inet:127.0.0.1:8891, default_action=tempfail }"}, smtpd("smtp", nil)), Options{})
	if got := change(back, "", "smtpd_milters"); got != "{ inet:127.0.0.1:8891, default_action=accept }" || !strings.Contains(remarks(back, Warning), "mode is observe") {
		t.Errorf("back to observe: %q, %+v", got, back.Remarks)
	}
	_, block := planned(t, Settings{Listen: listening.Listen, Observe: true}, someMC, "", Options{})
	if !strings.Contains(block, "`S=inet:8891@127.0.0.1, T=") {
		t.Errorf("Sendmail:\n%s", block)
	}
}

func TestPlaceThatTheAdministratorNames(t *testing.T) {
	main := map[string]string{"smtpd_milters": "inet:127.0.0.1:1001, inet:127.0.0.1:1002, inet:127.0.0.1:1003"}
	const ours = "inet:127.0.0.1:8891"
	for name, c := range map[string]struct {
		opt   Options
		order string
	}{
		"last where nothing is known": {Options{}, "1001 1002 1003 8891"},
		"after":                       {Options{After: "inet:localhost:1001"}, "1001 8891 1002 1003"},
		"before":                      {Options{Before: "inet:1002@127.0.0.1"}, "1001 8891 1002 1003"},
		"signer":                      {Options{Signers: []string{"inet:127.0.0.1:1002"}}, "1001 8891 1002 1003"},
		"verifier on port 25":         {Options{Verifiers: []string{"inet:127.0.0.1:1002"}, Signers: []string{"inet:127.0.0.1:1002"}}, "1001 1002 1003 8891"},
		"scanner behind a signer":     {Options{Signers: []string{"inet:127.0.0.1:1001"}, Scanners: []string{"inet:127.0.0.1:1003"}}, "1001 1002 1003 8891"},
	} {
		p := Postfix(listening, machine("3.7.11", main, smtpd("smtp", nil)), c.opt)
		got := strings.ReplaceAll(strings.ReplaceAll(change(p, "", "smtpd_milters"), "inet:127.0.0.1:", ""), ",", "")
		if got != c.order {
			t.Errorf("%s: %s, want %s", name, got, c.order)
		}
	}
	p := Postfix(listening, machine("3.7.11", main, smtpd("smtp", nil)), Options{After: "inet:127.0.0.1:1009", Leave: []string{"nonesuch"}})
	if text := remarks(p, Problem); !strings.Contains(text, "--after: no list of milters has inet:127.0.0.1:1009") || !strings.Contains(text, "no smtpd service nonesuch") {
		t.Errorf("problems %s", text)
	}
	left := Postfix(listening, machine("3.7.11", nil, smtpd("smtp", nil), smtpd("submission", nil)), Options{Leave: []string{"submission"}})
	if got := change(left, "", "smtpd_milters"); got != ours || !slices.ContainsFunc(left.Changes, func(c Change) bool { return c.Service == "submission/inet" && c.New == "" }) {
		t.Errorf("--leave: %+v", left.Changes)
	}
}

func TestListsOfMilters(t *testing.T) {
	list := " inet:localhost:1,\n\t{ unix:/a b=c, {d = e f} , g=h },$x"
	if got := splitList(list); !slices.Equal(got, []string{"inet:localhost:1", "{ unix:/a b=c, {d = e f} , g=h }", "$x"}) {
		t.Errorf("%q", got)
	}
	e := parseElement("{ inet:localhost:1, default_action=accept { connect_timeout = 5s } }")
	if e.address != "inet:localhost:1" || !slices.Equal(e.options, []option{{"default_action", "accept"}, {"connect_timeout", "5s"}}) {
		t.Errorf("%+v", e)
	}
	if got := e.tight(); got != "{inet:localhost:1,default_action=accept,connect_timeout=5s}" {
		t.Errorf("tight %q", got)
	}
	for a, b := range map[string]string{"inet:localhost:25": "inet:25@127.0.0.1", "unix:/var/spool/postfix/a/b": "local:a/b", "inet:[::1]:9": "inet6:9@::1"} {
		if !same(a, b, "/var/spool/postfix") {
			t.Errorf("%s and %s are not the same", a, b)
		}
	}
	for a, b := range map[string]string{"inet:localhost:25": "inet:localhost:26", "unix:/a/b": "unix:/var/spool/a/b", "inet:nonsense": "inet:other"} {
		if same(a, b, "/var/spool/postfix") {
			t.Errorf("%s and %s are the same", a, b)
		}
	}
}

func TestReferencesOfServicesAndCircles(t *testing.T) {
	s := smtpd("smtp", map[string]string{"smtpd_milters": "$mine, ${theirs}, $(mine)", "mine": "inet:127.0.0.1:1"})
	m := machine("3.7.11", map[string]string{"mine": "wrong", "theirs": "$deeper", "deeper": "unix:/x", "a": "$b", "b": "$a c"}, s)
	if got := m.value(&s, "smtpd_milters"); got != "inet:127.0.0.1:1, unix:/x, inet:127.0.0.1:1" {
		t.Errorf("%q", got)
	}
	if got := m.expand(nil, "$a $$x"); !strings.HasSuffix(got, "$x") {
		t.Errorf("a circle: %q", got)
	}
	if !m.mentions("x $theirs", "deeper") || m.mentions("$theirs", "mine") {
		t.Error("what references lead to is not found")
	}
}

// TestSocketIsReachedOrTheReasonIsSaid asks for each way that Postfix's account can
// fail to get to the socket.
func TestSocketIsReachedOrTheReasonIsSaid(t *testing.T) {
	const account, group = 110, 111
	folder := func(path string, mode fs.FileMode, gid int) PathStep {
		return PathStep{Path: path, Mode: fs.ModeDir | mode, UID: 500, GID: gid}
	}
	socket := func(mode fs.FileMode, gid int) PathStep {
		return PathStep{Path: "/s/c/milter.sock", Mode: fs.ModeSocket | mode, UID: 500, GID: gid}
	}
	open := folder("/s", 0o755, 0)
	for name, c := range map[string]struct {
		steps []PathStep
		level Level
		text  string
	}{
		"reached by the group":    {[]PathStep{open, folder("/s/c", fs.ModeSetgid|0o750, group), socket(0o660, group)}, "", ""},
		"folder of another group": {[]PathStep{open, folder("/s/c", 0o750, 500), socket(0o660, group)}, Problem, "cannot enter /s/c"},
		"socket of another group": {[]PathStep{open, folder("/s/c", 0o755, 500), socket(0o660, 500)}, Problem, "cannot write to /s/c/milter.sock"},
		"a plain file":            {[]PathStep{open, folder("/s/c", 0o755, 500), {Path: "/s/c/milter.sock", Mode: 0o666, UID: 500}}, Problem, "is not a socket"},
		"no folder":               {[]PathStep{open, {Path: "/s/c", Missing: true}, {Path: "/s/c/milter.sock", Missing: true}}, Warning, "/s/c does not exist"},
		"not yet, group handed on": {[]PathStep{open, folder("/s/c", fs.ModeSetgid|0o750, group), {Path: "/s/c/milter.sock", Missing: true}},
			Info, "lets Postfix connect once Cloakroom runs"},
		"not yet, group not handed on": {[]PathStep{open, folder("/s/c", 0o755, 500), {Path: "/s/c/milter.sock", Missing: true}}, Warning, "does not hand on a group"},
	} {
		m := machine("3.7.11", nil, smtpd("smtp", nil))
		m.Socket = &Socket{Steps: c.steps, Account: "postfix", UID: account, GIDs: []int{account, group}}
		p := Postfix(Settings{Listen: "unix:/s/c/milter.sock", SocketMode: 0o660}, m, Options{})
		found := slices.ContainsFunc(p.Remarks, func(r Remark) bool { return r.Level == c.level && strings.Contains(r.Text, c.text) })
		if c.text != "" && !found || c.text == "" && strings.Contains(remarks(p, Problem)+remarks(p, Warning), "/s") {
			t.Errorf("%s: %+v", name, p.Remarks)
		}
	}
}

func TestShellQuotes(t *testing.T) {
	if got := Shell([]string{"postconf", "-e", "a=b c", "d={x}", "it's", ""}); got != `postconf -e 'a=b c' 'd={x}' 'it'\''s' ''` {
		t.Error(got)
	}
}
