package flow

// What becomes of mail while the disk is nearly full: nothing is stored, so that
// what is under way, the database and the journal keep their room.

// passesLow is why attachments stay in the mail.
const passesLow = "the disk is nearly full"

// lowSpaceError says that a mail needs the store, which must not grow now.
type lowSpaceError struct{ why string }

func (e *lowSpaceError) Error() string {
	return "the mail needs the store, and the disk is nearly full (see store.low_space): " + e.why
}

// SystemFull tells the MTA's side what to answer (RFC 3463 section 3.4, X.3.1).
func (e *lowSpaceError) SystemFull() bool { return true }

// lowSpace says why nothing should be stored; "" while there is room, and where
// nothing would be stored anyway.
func (m *Mail) lowSpace() string {
	if m.engine.LowSpace == nil || m.settings.Observe {
		return ""
	}
	return m.engine.LowSpace()
}

// room makes sure that there is room before anything of the plan is carried out.
// Where there is none, attachments stay in the mail or it is put off; what cannot
// be without the store is put off in any case.
func (m *Mail) room() error {
	if len(m.taken)+len(m.vaulted)+len(m.split.copies) == 0 {
		return nil
	}
	why := m.lowSpace()
	if why == "" {
		return nil
	}
	if len(m.taken) > 0 && !m.settings.DeferWhenLow {
		m.leave(passesLow)
		m.starved = true
	}
	if len(m.taken)+len(m.vaulted)+len(m.split.copies) > 0 {
		return about(TroubleSpace, &lowSpaceError{why})
	}
	return nil
}
