// Command cloakroom takes attachments out of mail in flight, stores each once
// and puts links in their place. Every command group has a file of its own
// here; what they do is in the packages they call.
package main

import "os"

// version is set by the release build: -ldflags "-X main.version=1.2.3".
var version string

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
