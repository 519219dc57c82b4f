package policy

// The slots: what rules decide, each on its own.

// Slot is a kind of action. Per slot, the first rule that speaks decides.
type Slot string

// Links are decided for each recipient and attachment, the others for the mail.
const (
	SlotLink       Slot = "link"
	SlotForward    Slot = "forward"
	SlotVault      Slot = "vault"
	SlotReject     Slot = "reject"
	SlotQuarantine Slot = "quarantine"
	SlotHeader     Slot = "header"
	SlotTag        Slot = "tag"
)

// Slots lists every slot, in the order documents name them.
func Slots() []Slot { return append([]Slot{SlotLink, SlotVault, SlotForward}, mailSlots[:]...) }

// mailSlots are the slots of a mail as a whole. A rule of such a slot speaks for
// a recipient when its condition holds for him, and where it looks at
// attachments, for him and at least one of them. The first that does is his.
// The mail is refused, held, marked when that is so for every recipient.
var mailSlots = [...]Slot{SlotReject, SlotQuarantine, SlotHeader, SlotTag}

// Indexes into mailSlots.
const (
	rejectSlot = iota
	quarantineSlot
	headerSlot
	tagSlot
)

// speech is a rule that speaks in a slot.
type speech struct {
	rule int  // index into Set.rules
	acts bool // false for the rules that only say no: `reject: false`
}

// actions are what a rule says, compiled; nil where it does not speak.
type actions struct {
	link       *LinkAction
	forward    *ForwardAction
	vault      *VaultAction
	reject     *Reject
	quarantine *string
	headers    *[]HeaderChange
	tag        *string
}

// speeches tells in which mail slots the rule as written speaks, and whether it acts there.
func (r *Rule) speeches() (out [len(mailSlots)]struct{ speaks, acts bool }) {
	set := func(slot int, speaks, acts bool) { out[slot].speaks, out[slot].acts = speaks, acts }
	set(rejectSlot, r.Reject != nil, r.Reject != nil && !r.Reject.Never)
	set(quarantineSlot, r.Quarantine != nil, r.Quarantine != nil && !r.Quarantine.Never)
	set(headerSlot, r.Header != nil, r.Header != nil && !r.Header.Never)
	set(tagSlot, r.Tag != nil, r.Tag != nil && !r.Tag.Never)
	return out
}
