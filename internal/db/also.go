package db

// Facts that only a commit function knows.

import "context"

// more is the key of the facts that a commit function adds.
type more struct{}

// Also adds a fact to what the commit under way writes to the journal, behind
// those of its entry: for what is decided inside the transaction, in a package
// that does not begin it. ctx is the one the commit function was given; outside
// of a commit it panics, as the fact would be lost.
func Also(ctx context.Context, fact Fact) {
	facts := ctx.Value(more{}).(*Entry)
	*facts = append(*facts, fact)
}

// collecting gives a context for one run of a commit function, and where Also
// puts what it is given: a function that runs again begins with nothing.
func collecting(ctx context.Context) (context.Context, *Entry) {
	facts := new(Entry)
	return context.WithValue(ctx, more{}, facts), facts
}
