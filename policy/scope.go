package policy

// OnlyLinks tells that no rule can do anything but link: a mail that passes
// unchanged then loses nothing that a rule promised.
func (s *Set) OnlyLinks() bool { return s.acting == [len(mailSlots)]bool{} && !s.forwards && !s.vaults }

// MailNeedsBody tells, when only envelope and header are known, whether rules
// about the mail as a whole depend on its body.
func (s *Set) MailNeedsBody(f *Facts) bool {
	if s.OnlyLinks() {
		return false
	}
	p := s.newPlan(f)
	s.evaluation(f, atHeader).mail(p, false)
	return p.Reject == nil && p.NeedsBody
}
