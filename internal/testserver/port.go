package testserver

// Ports for servers that are told theirs before they start.

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

const (
	// firstPort and lastPort are below those that systems give to connections and to
	// listeners that do not say which (Linux: from 32768, others from 49152): nobody
	// is given one of them by chance, between the choice and the start of the server.
	firstPort, lastPort = 16384, 32767
	// portTries is how many are looked at for a free one.
	portTries = 200
)

var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePort is a TCP port of 127.0.0.1 that nobody listens on at this moment, and
// that it gave to nobody else of this process.
func FreePort() (int, error) {
	given.Lock()
	defer given.Unlock()
	var last error
	for range portTries {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if given.ports[port] {
			continue
		}
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			last = err
			continue
		}
		given.ports[port] = true
		return port, l.Close()
	}
	return 0, fmt.Errorf("find a free port: none of %d tries found one: %w", portTries, last)
}
