package imapbox

// What is in the mailbox.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// prepare finds out how the server writes the name and what it takes, makes the
// mailbox when it is missing, and looks into it.
func (b *Box) prepare(ctx context.Context) error {
	if err := b.do(ctx, b.spell); err != nil {
		return fmt.Errorf("ask how mailboxes are written: %w", err)
	}
	if err := b.survey(ctx); err != nil {
		return err
	}
	return b.do(ctx, b.askLimit)
}

// spell writes the name with the server's delimiter.
func (b *Box) spell() error {
	list, err := b.client.List("", "", nil).Collect()
	if err != nil {
		return err
	}
	b.name = b.o.Place.Mailbox
	if len(list) > 0 && list[0].Delim != 0 {
		b.name = strings.ReplaceAll(b.name, "/", string(list[0].Delim))
	}
	return nil
}

// askLimit finds out the largest message (RFC 7889): the server's, or the
// mailbox's where the server says that they differ. A mailbox that takes none at
// all has 0.
func (b *Box) askLimit() error {
	b.limit = -1
	limit, known := b.client.Caps().AppendLimit()
	if known && limit == nil {
		status, err := b.client.Status(b.name, &imap.StatusOptions{AppendLimit: true}).Wait()
		if err != nil {
			return fmt.Errorf("ask for the largest message: %w", err)
		}
		limit = status.AppendLimit
	}
	if known && limit != nil {
		b.limit = int64(*limit)
	}
	return nil
}

// survey asks for the dates of all that is in the mailbox. It is only read: its
// messages stay unseen.
func (b *Box) survey(ctx context.Context) error {
	box, err := b.examine(ctx)
	if err != nil {
		return err
	}
	if b.latest = box.UIDValidity; b.first == 0 {
		b.first = box.UIDNext
	}
	for seen, more := range b.added {
		b.ours[seen] += more
	}
	clear(b.added)
	b.there = make(map[int64][]imap.UID)
	if box.NumMessages == 0 {
		return nil
	}
	return b.fetch(ctx, imap.SeqSet{{Start: 1}}, &imap.FetchOptions{InternalDate: true}, func(m *imapclient.FetchMessageBuffer) {
		b.there[m.InternalDate.Unix()] = append(b.there[m.InternalDate.Unix()], m.UID)
	})
}

// fetch asks for something of messages, but for those that are about to go.
func (b *Box) fetch(ctx context.Context, which imap.NumSet, what *imap.FetchOptions, each func(*imapclient.FetchMessageBuffer)) error {
	what.UID, what.Flags = true, true
	return b.do(ctx, func() error {
		cmd := b.client.Fetch(which, what)
		for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
			one, err := msg.Collect()
			if err != nil {
				return errors.Join(fmt.Errorf("look what is in %s: %w", b.name, err), cmd.Close())
			}
			if one.UID != 0 && !slices.Contains(one.Flags, imap.FlagDeleted) {
				each(one)
			}
		}
		if err := cmd.Close(); err != nil {
			return fmt.Errorf("look what is in %s: %w", b.name, err)
		}
		return nil
	})
}

// stored counts what came into the mailbox since it was opened.
func (b *Box) stored(ctx context.Context) (map[mark]int, error) {
	box, err := b.examine(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[mark]int)
	if box.NumMessages == 0 {
		return out, nil
	}
	first := b.first
	if box.UIDValidity != b.validity || first == 0 { // it was made again
		first = 1
	}
	since := imap.UIDSet{{Start: first}} // first:*
	return out, b.fetch(ctx, since, &imap.FetchOptions{RFC822Size: true, InternalDate: true}, func(m *imapclient.FetchMessageBuffer) {
		if m.UID >= first { // * is the last one, also where that is less
			out[mark{m.RFC822Size, m.InternalDate.Unix()}]++
		}
	})
}

// examine opens the mailbox, which is made when it is missing.
func (b *Box) examine(ctx context.Context) (box *imap.SelectData, err error) {
	open := func() (err error) {
		box, err = b.client.Select(b.name, &imap.SelectOptions{ReadOnly: true}).Wait()
		b.selected = err == nil
		return err
	}
	missing := b.do(ctx, open)
	if missing == nil || refusal(missing) == nil {
		return box, missing
	}
	err = b.do(ctx, func() error {
		if err := b.client.Create(b.name, nil).Wait(); err != nil {
			return fmt.Errorf("mailbox %s cannot be opened (%w) nor made: %w", b.name, missing, err)
		}
		// Programs show their users only what is subscribed; that this fails is no
		// reason to leave mail out.
		if err := b.client.Subscribe(b.name).Wait(); err != nil && refusal(err) == nil {
			return err
		}
		if err := open(); err != nil {
			return fmt.Errorf("mailbox %s was made, and cannot be opened: %w", b.name, err)
		}
		return nil
	})
	return box, err
}

// unselect closes the mailbox: where it is open, servers look through it after each
// message that is added.
func (b *Box) unselect(ctx context.Context) error {
	if !b.selected {
		return nil
	}
	b.selected = false
	return b.do(ctx, func() error {
		if b.client.Caps().Has(imap.CapUnselect) {
			return b.client.Unselect().Wait()
		}
		return b.client.UnselectAndExpunge().Wait() // CLOSE, which deletes nothing after EXAMINE
	})
}

// reopen opens the mailbox again, whose UIDs are to be those that are known.
func (b *Box) reopen(ctx context.Context) error {
	if b.selected {
		return nil
	}
	box, err := b.examine(ctx)
	if err == nil && box.UIDValidity != b.latest {
		err = errors.New("the mailbox was made again meanwhile")
	}
	return err
}

// fewAlike is how many messages of the same second are looked at without asking
// for their sizes first: mail that was moved in bulk can have one date.
const fewAlike = 8

// isThere tells whether more messages like this one are there than were accounted
// for.
func (b *Box) isThere(ctx context.Context, seen measured) (bool, error) {
	uids := b.there[seen.date]
	if len(uids) <= b.ours[seen] {
		return false, nil
	}
	if err := b.reopen(ctx); err != nil {
		return false, err
	}
	if len(uids) > fewAlike {
		var err error
		if uids, err = b.ofSize(ctx, uids, seen.size); err != nil {
			return false, err
		}
	}
	if len(uids) <= b.ours[seen] {
		return false, nil
	}
	same := 0
	section := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}
	what := &imap.FetchOptions{RFC822Size: true, BodySection: []*imap.FetchItemBodySection{section}}
	err := b.fetch(ctx, imap.UIDSetNum(uids...), what, func(m *imapclient.FetchMessageBuffer) {
		var h headerSum
		h.add(m.FindBodySection(section))
		if m.RFC822Size == seen.size && h.sum() == seen.header {
			same++
		}
	})
	return same > b.ours[seen], err
}

func (b *Box) ofSize(ctx context.Context, uids []imap.UID, size int64) (out []imap.UID, err error) {
	err = b.fetch(ctx, imap.UIDSetNum(uids...), &imap.FetchOptions{RFC822Size: true}, func(m *imapclient.FetchMessageBuffer) {
		if m.RFC822Size == size {
			out = append(out, m.UID)
		}
	})
	return out, err
}
