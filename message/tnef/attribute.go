package tnef

// The attributes of TNEF (MS-OXTNEF section 2.1.3.2): type in the upper half of
// the number.

import "strings"

const (
	levelMessage    = 1
	levelAttachment = 2
)

const (
	attTnefVersion             = 0x00089006
	attOemCodepage             = 0x00069007
	attMessageClass            = 0x00078008
	attBody                    = 0x0002800c
	attMsgProps                = 0x00069003
	attAttachRenddata          = 0x00069002
	attAttachData              = 0x0006800f
	attAttachTitle             = 0x00018010
	attAttachTransportFilename = 0x00069001
	attAttachment              = 0x00069005
)

// knownAttributes are those that are passed over: the mail's own header says the
// same, or they are about the looks of a file.
var knownAttributes = map[uint32]bool{
	0x00060000: true, // attOwner
	0x00060001: true, // attSentFor
	0x00060002: true, // attDelegate
	0x00070006: true, // attOriginalMessageClass
	0x00070600: true, // the same, as some documents number it
	0x00030006: true, // attDateStart
	0x00030007: true, // attDateEnd
	0x00040008: true, // attAidOwner
	0x00040009: true, // attRequestRes
	0x00008000: true, // attFrom
	0x00018004: true, // attSubject
	0x00038005: true, // attDateSent
	0x00038006: true, // attDateRecd
	0x00068007: true, // attMessageStatus
	0x00018009: true, // attMessageID
	0x0001800a: true, // attParentID
	0x0001800b: true, // attConversationID
	0x0004800d: true, // attPriority
	0x00068011: true, // attAttachMetaFile
	0x00038012: true, // attAttachCreateDate
	0x00038013: true, // attAttachModifyDate
	0x00038020: true, // attDateModified
	0x00069004: true, // attRecipTable
}

// isNote tells the message classes of ordinary mail. Others, such as meeting
// requests and tasks, live in what no file of them holds.
func isNote(class string) bool {
	switch strings.ToUpper(class) {
	case "", "IPM", "IPM.NOTE", "IPM.MICROSOFT MAIL.NOTE":
		return true
	}
	return false
}
