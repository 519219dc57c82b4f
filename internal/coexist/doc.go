// Package coexist compares what DNS says of two mail systems that share a
// domain with what the configuration says, and tells what each of the mail
// flows between them would do.
//
// It asks DNS and changes nothing. A question that DNS did not answer is
// reported as unknown, never as wrong: a name server that is down for a minute
// is no reason to change a record.
//
// What it does not do: it opens no SMTP connection, and it cannot see the
// routes that are set up inside the other system, such as a catch-all for
// addresses unknown there. Where a flow rests on one, its text says so.
package coexist
