package milter

import (
	"testing"

	gomilter "github.com/emersion/go-milter"
)

func TestTheMacroOfTheDoctorMarksOneMessage(t *testing.T) {
	r := &recorder{}
	s, _ := start(t, r)
	m := greet(t, s, allActions, allProtocol)
	m.send('D', "M{"+MacroProbe+"}\x001\x00")
	m.command(gomilter.OptNoMailReply, 'M', "<alice@ext.test>\x00")
	m.command(gomilter.OptNoRcptReply, 'R', "<bob@acmecorp.test>\x00")
	m.send('N', "")
	if p := m.receive(); p.code != 'c' {
		t.Fatalf("end of header was answered %q", p.code)
	}
	m.send('A', "")
	m.send('D', "C{"+MacroProbe+"}\x001\x00") // of another command: not looked at
	m.mustOpen()
	m.finish()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mails) != 2 || !r.mails[0].env.Probe || r.mails[1].env.Probe {
		t.Errorf("%d mails, marked %v and %v", len(r.mails), r.mails[0].env.Probe, r.mails[1].env.Probe)
	}
}
