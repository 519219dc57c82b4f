// Package testserver starts real servers privately, for tests and for the
// demonstration: a Postfix, a PostgreSQL and the built cloakroom itself on
// loopback ports, in a folder of their own, gone without trace when stopped. It
// also speaks enough SMTP to send them mail.
//
// The programs come from the system's packages, or from the copies that the
// scripts in deploy/setup unpack beside the system. No system service, queue,
// cluster or configuration is read or changed.
//
// # Privileges
//
// Postfix insists on being started by root. StartPostfix therefore runs its
// commands directly as root, and through "sudo -n" as anybody else; it never
// asks for a password, so an ordinary user runs "sudo -v" first. Everything
// done with those rights is in postfix.sh and guard.sh of this package, and the
// calls of sendmail and postqueue. PostgreSQL insists on not being root: as root
// it runs under the account postgres, or nobody.
//
// # Lifetime
//
// Each server is the child of a small guard (guard.sh) which holds the read end
// of a pipe. When the pipe closes, because Stop was called, the context ended
// or this process died however suddenly, the guard ends the server and removes
// its folder. Killing the guard itself is the one way to leave something behind.
package testserver
