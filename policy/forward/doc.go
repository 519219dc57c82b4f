// Package forward decides which mail goes on to the other of two mail systems
// that share a domain, and keeps it from going in circles: alternate addresses,
// proof that a mail came from the other system, loop marks, and the rewriting
// of envelope senders (SRS).
//
// It is pure: what it is told of a mail, of groups and of the time are
// arguments, and what it says is carried out by others.
//
// What it does not do: SRS lets a forwarded mail pass SPF. It does not make
// DMARC pass, which then rests on the sender's DKIM signature alone; so a
// forwarded copy must leave with header and body as they came. A loop that
// changes the local part on its way, removes the marks and comes back by an
// unknown gateway is only stopped by its number of Received fields.
package forward
