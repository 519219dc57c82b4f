package directory

// Whether the source behind a cache answers.

// Away is why the source failed when it was asked last; nil when it answered,
// or was never asked.
func (c *Cached) Away() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}
