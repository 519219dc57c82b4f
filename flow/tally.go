package flow

// What is counted of a mail, rule by rule: what was done to it, or in mode:
// observe what would have been.

import (
	"slices"
	"strings"

	"cloakroom/ledger/tally"
	"cloakroom/policy"
	"cloakroom/policy/forward"
)

// PassedInPause is counted in the place of a verdict for mail that passed
// during a pause.
const PassedInPause = "paused"

// count tells what became of a mail to whoever keeps the tally. It runs in the
// way of the answer: it adds up, and nothing else.
func (m *Mail) count(out *Outcome, v Verdict) {
	if m.engine.Tally == nil {
		return
	}
	t := m.tallied()
	verdict := v.String()
	if m.settings.Paused && v == Passed {
		verdict = PassedInPause
	}
	t.Add(tally.Act{Action: tally.Seen, Detail: verdict, Bytes: m.bodySize()})
	if v == Deferred || m.settings.Paused || out == nil {
		m.engine.Tally(t)
		return
	}
	m.countWays(&t)
	if m.plan == nil || !m.countPlan(&t) {
		m.engine.Tally(t)
		return
	}
	m.countFiles(&t)
	for i := range m.vaulted {
		u := &m.vaulted[i].upload
		t.Add(tally.Act{Action: tally.Vault, Rule: u.About.Rule, Detail: u.Target, Parts: 1, Bytes: u.Size})
	}
	m.engine.Tally(t)
}

// countRecipient tells of a recipient refused by a rule as he was named.
func (m *Mail) countRecipient(rule string) {
	m.countOne(tally.Act{Action: tally.Recipient, Rule: rule, Parts: 1})
}

// countLoop tells of one refused because his mail came back.
func (m *Mail) countLoop(refused *Reply) {
	if refused != nil {
		m.countOne(tally.Act{Action: tally.Loop, Parts: 1})
	}
}

func (m *Mail) countOne(a tally.Act) {
	if m.engine.Tally == nil || m.env.Probe {
		return
	}
	t := m.tallied()
	t.Acts = []tally.Act{a}
	m.engine.Tally(t)
}

// tallied is a mail of which nothing is counted yet.
func (m *Mail) tallied() tally.Mail {
	t := tally.Mail{At: m.start, Observed: m.settings.Observe && !m.settings.Paused}
	for i, r := range m.recipients {
		if i > 0 && t.Direction != string(r.Direction) {
			t.Direction = "mixed"
			break
		}
		t.Direction = string(r.Direction)
	}
	return t
}

// countPlan counts what rules say of the mail as a whole; false means that
// nothing else is done to it.
func (m *Mail) countPlan(t *tally.Mail) bool {
	p := m.plan
	if p.Reject != nil {
		if !m.settings.Observe || !m.wouldNotCome() {
			t.Add(tally.Act{Action: tally.Reject, Rule: p.Reject.Rule})
		}
		return false
	}
	if p.Quarantine != "" {
		t.Add(tally.Act{Action: tally.Quarantine, Rule: p.QuarantineRule})
	}
	var seen []string
	for _, c := range p.Headers {
		if !slices.Contains(seen, c.Rule) {
			seen = append(seen, c.Rule)
			t.Add(tally.Act{Action: tally.Header, Rule: c.Rule})
		}
	}
	if p.Tag != "" {
		t.Add(tally.Act{Action: tally.Tag, Rule: strings.TrimSpace(p.TagRule)})
	}
	return true
}

// wouldNotCome tells of an observed mail whose recipients would all have been
// refused as they were named: that was counted then.
func (m *Mail) wouldNotCome() bool {
	f := m.facts(nil)
	for i := range m.recipients {
		if reject, err := m.settings.Policy.DecideRecipient(f, i); err != nil || reject == nil {
			return false
		}
	}
	return len(m.recipients) > 0
}

// countFiles counts what becomes a link, and what stays although a rule links it.
func (m *Mail) countFiles(t *tally.Mail) {
	if m.links == nil || m.tree == nil {
		return
	}
	for _, l := range m.linked() {
		for _, p := range m.taken {
			if p.Index == l.Part {
				t.Add(tally.Act{Action: tally.Linked, Parts: 1, Bytes: p.Content.Size})
				t.Add(tally.Act{Action: tally.Link, Rule: strings.Join(l.Rules, ", "), Parts: 1, Bytes: p.Content.Size})
			}
		}
	}
	parts := m.leaves()
	for _, l := range m.links.Links() {
		if reason := m.kept[l.Part]; reason != "" && parts[l.Part] != nil {
			t.Add(tally.Act{Action: tally.Stays, Rule: strings.Join(l.Rules, ", "), Detail: reason, Parts: 1, Bytes: parts[l.Part].Content.Size})
		}
	}
	if len(m.taken) > 0 {
		t.From = m.known(m.env.Sender, m.ours)
		for _, r := range m.recipients {
			if to := m.known(r.Address, m.settings.isOurs(r.Domain)); !slices.Contains(t.To, to) {
				t.To = append(t.To, to)
			}
		}
	}
	if !m.settings.Observe {
		if m.report.stored > 0 {
			t.Add(tally.Act{Action: tally.Stored, Bytes: m.report.stored})
		}
		return
	}
	for _, p := range m.taken {
		t.Files = append(t.Files, tally.Content{SHA256: p.Content.SHA256, Size: p.Content.Size})
	}
}

// known is somebody as he is counted: by the address that the directory has, by
// his own where he is ours, else by his domain.
func (m *Mail) known(address string, ours bool) string {
	if !ours {
		return "@" + policy.Domain(address)
	}
	if u := m.users[unrouted(address)]; u != nil {
		return u.Address
	}
	return strings.ToLower(unrouted(address))
}

// countWays counts recipients who are in the other system, and loops.
func (m *Mail) countWays(t *tally.Mail) {
	goes, loops := make(map[string]int), 0
	for i := range m.ways {
		switch w := &m.ways[i]; w.Kind {
		case forward.Forward:
			goes[policy.Domain(w.To)]++
		case forward.Loop, forward.Refuse:
			loops++
		}
	}
	for to, n := range goes {
		t.Add(tally.Act{Action: tally.Forward, Detail: to, Parts: n})
	}
	if loops > 0 {
		t.Add(tally.Act{Action: tally.Loop, Parts: loops})
	}
}
