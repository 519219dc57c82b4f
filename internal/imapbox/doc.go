// Package imapbox puts messages into one mailbox of an IMAP server (RFC 9051 and
// RFC 3501), byte for byte, and may be interrupted and run again: what is there
// already is not put there twice.
//
// A message is taken for there when one of the same date (INTERNALDATE), size
// (RFC822.SIZE) and header is. The dates of a whole mailbox are asked for once, in
// one command that servers answer from their index; size and header only of
// messages that came in the same second, as a server may have to read a message to
// know its size. To search for the Message-ID of each would have it read the
// mailbox once for each, and prove less.
package imapbox
