//go:build !linux && !darwin

package web

import "net"

// limitUnsent does nothing where the option is not known: very slow clients may
// then be taken for stalled ones.
func limitUnsent(net.Conn) error { return nil }
