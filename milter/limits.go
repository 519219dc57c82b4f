package milter

// Every limit of the protocol, its unit and where it comes from.

import "time"

const (
	// maxPacket is the longest packet taken from an MTA, in bytes: go-milter's
	// own limit. A header field is one packet (Postfix: header_size_limit
	// 102,400 by default), a body chunk at most 65,535 bytes.
	maxPacket = 1 << 20
	// maxHeader is the longest header of a message, in bytes. Postfix and
	// Sendmail refuse much less by default, and readers give up before.
	maxHeader = 1 << 20
	// maxRecipients of one transaction. RFC 5321 section 4.5.3.1.8 asks for 100,
	// Postfix admits 1,000 by default, Sendmail any number.
	maxRecipients = 100_000
	// maxEnvelope is the most that the recipients of one transaction may take, in
	// bytes as they come: maxRecipients of ordinary length, and twice that.
	maxEnvelope = 16 << 20
	// maxMacro is the longest value of a macro that is kept, in bytes. Queue ids
	// and login names have a few dozen; a login name that was cut would be another.
	maxMacro = 4 << 10
	// maxChunk is the most a body packet may carry (SMFIR_REPLBODY), in bytes.
	maxChunk = 65535
	// maxEdit is the longest packet with a header edit: Sendmail refuses what is
	// longer than its chunk size.
	maxEdit = 65535

	// maxAddress is the longest envelope address sent to an MTA, in bytes: a
	// local part of 64 and a domain of 255 (RFC 5321 section 4.5.3.1).
	maxAddress = 64 + 1 + 255
	// maxArgs is the most that the ESMTP arguments of an added recipient may
	// have, in bytes: ORCPT takes up to 500 (RFC 3461 section 4.2).
	maxArgs = 600
	// maxReplyLine is the longest line of an SMTP reply, in bytes with code and
	// CRLF (RFC 5321 section 4.5.3.1.5).
	maxReplyLine = 512
	// maxReplyLines of one reply. libmilter takes 32; people read fewer.
	maxReplyLines = 8
	// maxReason is the longest reason of a quarantine, in bytes; it is kept as
	// one line of Sendmail's queue file and one of Postfix's log.
	maxReason = 250

	// readBuffer and writeBuffer are held by every connection, idle ones too, in
	// bytes: one page each. Body chunks go past both.
	readBuffer  = 4 << 10
	writeBuffer = 4 << 10
	// keptPacket is the largest packet whose memory is kept for the next, in
	// bytes: more than a usual header field has.
	keptPacket = 4 << 10

	// packetTimeout is how long a packet may take to arrive once its first byte is
	// here, and the first packet of a connection to come at all: MTAs write packets
	// whole, and negotiate at once, so whoever takes longer is a stalled host or
	// no MTA.
	packetTimeout = 2 * time.Minute
	// writeTimeout is how long the MTA may take to accept one write of at most
	// a body chunk; it may be writing the new body to a busy disk.
	writeTimeout = 5 * time.Minute
	// progressInterval is how often a waiting MTA is told that we are at work.
	// Sendmail waits no longer than its R:, 10 s by default, for each packet at the
	// end of the message, and 5 minutes (E:) for all of them; Postfix waits its
	// milter_content_timeout for each. Well below the shortest that anybody sets,
	// since a busy host is late; a packet has five bytes.
	progressInterval = time.Second
	// recipientTimeout is how long CheckRecipient may take: less than the 10 s
	// that Sendmail waits for an answer by default (Postfix: 30 s). PROGRESS
	// does not help there, both expect it at the end of the message only.
	recipientTimeout = 8 * time.Second
	// killGrace is how long Shutdown waits for handlers whose context it has
	// cancelled.
	killGrace = 5 * time.Second
	// acceptPause follows an accept that failed, for example for want of file
	// descriptors.
	acceptPause = 100 * time.Millisecond
	// placeTimeout is how long a connection over the limit waits for one of the
	// others to end before it is closed: less than the 10 s (Sendmail) and 30 s
	// (Postfix) that an MTA waits for our first word, so that its SMTP client is
	// told to come again instead of being kept.
	placeTimeout = 5 * time.Second
	// fullLogInterval is the least time between two warnings that all
	// connections are in use.
	fullLogInterval = time.Minute
)
