package doctor

import (
	"os"
	"path/filepath"
	"testing"

	"cloakroom/internal/mtasetup"
)

func TestPostfix(t *testing.T) {
	const milter = "inet:127.0.0.1:8891"
	was := func(s string) *string { return &s }
	for name, one := range map[string]struct {
		plan mtasetup.Plan
		want []want
	}{
		"well": {mtasetup.Plan{Folder: "/etc/postfix", Listeners: []mtasetup.Listener{{Service: "smtp/inet", Milters: []string{"rspamd", "Cloakroom"}, Ours: true}, {Service: "10025/inet"}},
			Remarks: []mtasetup.Remark{{Level: mtasetup.Info, Text: "fine"}}},
			[]want{{OK, "Postfix 3.7.11 in /etc/postfix: smtp/inet (rspamd, Cloakroom), 10025/inet without Cloakroom", ""}}},
		"not attached": {mtasetup.Plan{Changes: []mtasetup.Change{
			{Kind: mtasetup.Parameter, Name: "smtpd_milters", Old: was("inet:localhost:11332"), New: "inet:localhost:11332, " + milter},
			{Kind: mtasetup.Parameter, Name: "non_smtpd_milters", New: milter}}},
			[]want{{Wrong, "mail by SMTP does not pass Cloakroom: smtpd_milters is inet:localhost:11332, without " + milter, "setup postfix --apply"},
				{Warning, "mail passes beside Cloakroom: non_smtpd_milters is not set", "setup postfix"}}},
		"signed before": {mtasetup.Plan{Changes: []mtasetup.Change{
			{Kind: mtasetup.Override, Service: "submission/inet", Name: "smtpd_milters", Old: was("inet:localhost:12301,inet:8891@localhost"), New: milter + ",inet:localhost:12301",
				Reason: "Mail of our users. Cloakroom stands before opendkim (signer), which must sign mail as it leaves."}}},
			[]want{{Warning, "smtpd_milters of submission/inet is inet:localhost:12301,inet:8891@localhost, and should be " + milter + ",inet:localhost:12301: Mail of our users. Cloakroom stands before opendkim", "setup postfix"}}},
		"past us when away": {mtasetup.Plan{Changes: []mtasetup.Change{
			{Kind: mtasetup.Parameter, Name: "smtpd_milters", Old: was(milter), New: "{ " + milter + ", default_action=tempfail }", Reason: "Mail that comes by SMTP."}}},
			[]want{{Warning, "Until then milter_default_action says what happens to mail while Cloakroom is away", "setup postfix"}}},
		"on its own mail": {mtasetup.Plan{Changes: []mtasetup.Change{
			{Kind: mtasetup.Override, Service: "10026/inet", Name: "smtpd_milters", Old: was(milter), New: "", Reason: "copies would be divided again"}}},
			[]want{{Warning, "smtpd_milters of 10026/inet has Cloakroom, which does not belong there: copies", "setup postfix"}}},
		"what happens without us": {mtasetup.Plan{Changes: []mtasetup.Change{
			{Kind: mtasetup.Parameter, Name: "milter_default_action", Old: was("accept"), New: "tempfail", Reason: "While Cloakroom is away senders are asked to try again."}}},
			[]want{{Warning, "milter_default_action is accept, and should be tempfail: While", "setup postfix"}}},
		"the rest in one line": {mtasetup.Plan{MTA: "Postfix 3.7.11", Changes: []mtasetup.Change{
			{Kind: mtasetup.Parameter, Name: "milter_mail_macros"}, {Kind: mtasetup.Service, Service: "10026/inet"}}},
			[]want{{Warning, "Postfix 3.7.11 lacks what Cloakroom needs: milter_mail_macros, the service 10026/inet", "setup postfix"}}},
		"out of reach": {mtasetup.Plan{Remarks: []mtasetup.Remark{{Level: mtasetup.Problem, Text: "the account postfix cannot write to it"}, {Level: mtasetup.Warning, Text: "content_filter"}}},
			[]want{{Wrong, "the account postfix cannot write", "cloakroom setup postfix"}, {Warning, "content_filter", "cloakroom setup postfix"}}},
	} {
		t.Run(name, func(t *testing.T) {
			one.plan.MTA, one.plan.Milter = "Postfix 3.7.11", milter
			lines := Postfix(&one.plan)
			if len(lines) != len(one.want) {
				t.Fatalf("%d lines: %+v", len(lines), lines)
			}
			for i := range lines {
				one.want[i].check(t, lines[i])
			}
		})
	}
}

func TestListsOfMilters(t *testing.T) {
	for _, one := range []struct {
		list, milter string
		is           bool
	}{
		{"inet:127.0.0.1:8891", "inet:127.0.0.1:8891", true},
		{"inet:8891@localhost", "inet:127.0.0.1:8891", true},
		{"{inet:localhost:8891,default_action=tempfail}", "inet:127.0.0.1:8891", true},
		{"inet:127.0.0.1:88910, inet:127.0.0.1:18891", "inet:127.0.0.1:8891", false},
		{"unix:cloakroom/milter.sock", "unix:cloakroom/milter.sock", true},
		{"unix:/var/spool/postfix/cloakroom/milter.sock", "unix:cloakroom/milter.sock", true},
		{"unix:opendkim/opendkim.sock", "unix:cloakroom/milter.sock", false},
		{"", "inet:127.0.0.1:8891", false},
	} {
		if got := names(one.list, one.milter); got != one.is {
			t.Errorf("%q has %s: %v", one.list, one.milter, got)
		}
	}
}

func TestSendmail(t *testing.T) {
	const inet, socket = "inet:127.0.0.1:8891", "unix:/run/cloakroom/milter.sock"
	for name, one := range map[string]struct {
		text, milter string
		open         bool // on_error is accept
		want         want
	}{
		"well":                  {"O InputMailFilters=clam, cloakroom\nXclam, S=local:/run/clam.sock\nXcloakroom, S=inet:8891@127.0.0.1, F=T, T=C:10s;E:5m\n", inet, false, want{OK, "cloakroom is the last of InputMailFilters (clam, cloakroom)", ""}},
		"by a socket":           {"O InputMailFilters=c\nXc, S=local:/run/cloakroom/milter.sock, F=T\n", socket, false, want{OK, "c is all of InputMailFilters", ""}},
		"localhost":             {"O InputMailFilters=c\nXc, S=inet:8891@localhost, F=T4\n", inet, false, want{OK, "c is all", ""}},
		"no milter":             {"O DeliveryMode=background\n", inet, false, want{Wrong, "has no milter at " + inet + ", but none", "setup sendmail"}},
		"wrong port":            {"O InputMailFilters=c\nXc, S=inet:8899@localhost, F=T\n", inet, false, want{Wrong, "but c at inet:8899@localhost", "setup sendmail"}},
		"wrong host":            {"O InputMailFilters=c\nXc, S=inet:8891@192.0.2.1, F=T\n", inet, false, want{Wrong, "c at inet:8891@192.0.2.1", "setup sendmail"}},
		"wrong socket":          {"O InputMailFilters=c\nXc, S=local:/run/other.sock, F=T\n", socket, false, want{Wrong, "c at local:/run/other.sock", "setup sendmail"}},
		"not in the list":       {"O InputMailFilters=clam\nXc, S=inet:8891@localhost, F=T\n", inet, false, want{Wrong, "not in InputMailFilters", "setup sendmail"}},
		"unfiltered when off":   {"O InputMailFilters=c\nXc, S=inet:8891@localhost\n", inet, false, want{Warning, "without F=T, mail passes with its attachments", "setup sendmail"}},
		"unfiltered, as wished": {"O InputMailFilters=c\nXc, S=inet:8891@localhost\n", inet, true, want{OK, "c is all", ""}},
		"of one listener":       {"O InputMailFilters=\nO DaemonPortOptions=Name=MTA, InputMailFilters=clam;c, M=f\nXc, S=inet:8891@localhost, F=T\n", inet, false, want{OK, "c is the last", ""}},
		"hung up when off":      {"O InputMailFilters=c\nXc, S=inet:8891@localhost, F=4\n", inet, false, want{OK, "c is all", ""}},
		"refused when off":      {"O InputMailFilters=c\nXc, S=inet:8891@localhost, F=R\n", inet, false, want{Warning, "mail is refused for good", "setup sendmail"}},
		"behind the signer":     {"O InputMailFilters=opendkim,c\nXopendkim, S=inet:8892@localhost\nXc, S=inet:8891@localhost, F=T\n", inet, false, want{Warning, "has opendkim before c", "setup sendmail"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "sendmail.cf")
			if err := os.WriteFile(file, []byte(one.text), 0o644); err != nil {
				t.Fatal(err)
			}
			one.want.check(t, only(t, Sendmail(file, one.milter, one.open)))
		})
	}
	want{OK, "skipped: neither postconf nor", ""}.check(t, only(t, Sendmail(filepath.Join(t.TempDir(), "sendmail.cf"), inet, false)))
}
