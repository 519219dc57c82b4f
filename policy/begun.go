package policy

// What rules can tell of an attachment before its content has come.

// knownEarly are the facts that the header of a part tells.
var knownEarly = map[string]bool{"name": true, "names": true, "extension": true, "type": true, "disposition": true}

// MayTake tells, when an attachment begins, whether it could become a link for
// anybody, or be kept. False is certain. Of the attachment only what its header
// tells is looked at.
func (s *Set) MayTake(f *Facts, a *Attachment) bool {
	if s.vaults || !s.links {
		return s.vaults
	}
	e := s.evaluation(f, atHeader)
	e.attachments = []attachmentValues{{of: a, begun: true}}
	for i := range f.Recipients {
		if e.stand(i, 0); e.couldLink() {
			return true
		}
	}
	return false
}
