// Package imapbox puts messages into one mailbox of an IMAP server (RFC 9051 and
// RFC 3501), byte for byte, and may be interrupted and run again: what is there
// already is not put there twice.
//
// A message is taken for there when one of the same date (INTERNALDATE), size
// (RFC822.SIZE) and header is. Dates and sizes of a whole mailbox are asked for
// once, in one command that servers answer from their index; the header is
// fetched only of messages where both fit. To search for the Message-ID of each
// would have a server read the mailbox once for each, and prove less.
package imapbox
