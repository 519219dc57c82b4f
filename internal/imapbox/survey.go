package imapbox

// What is in the mailbox.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
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
// mailbox's where the server says that they differ.
func (b *Box) askLimit() error {
	b.limit = 0
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

// survey looks what is in the mailbox. It is only read: its messages stay unseen.
func (b *Box) survey(ctx context.Context) error {
	n, err := b.examine(ctx)
	if err != nil {
		return err
	}
	for seen, more := range b.added {
		b.ours[seen] += more
	}
	clear(b.added)
	b.there = make(map[mark][]imap.UID)
	if n == 0 {
		return nil
	}
	all := imap.SeqSet{{Start: 1}} // 1:*
	return b.do(ctx, func() error {
		cmd := b.client.Fetch(all, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true})
		for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
			one, err := msg.Collect()
			if err != nil {
				return errors.Join(fmt.Errorf("look what is in %s: %w", b.name, err), cmd.Close())
			}
			if slices.Contains(one.Flags, imap.FlagDeleted) || one.UID == 0 {
				continue // it is about to go
			}
			k := mark{one.RFC822Size, one.InternalDate.Unix()}
			b.there[k] = append(b.there[k], one.UID)
		}
		if err := cmd.Close(); err != nil {
			return fmt.Errorf("look what is in %s: %w", b.name, err)
		}
		return nil
	})
}

// examine opens the mailbox, which is made when it is missing, and tells how much
// is in it.
func (b *Box) examine(ctx context.Context) (messages uint32, err error) {
	open := func() error {
		box, err := b.client.Select(b.name, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err == nil {
			messages = box.NumMessages
		}
		return err
	}
	missing := b.do(ctx, open)
	if missing == nil || refusal(missing) == nil {
		return messages, missing
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
	return messages, err
}

// isThere tells whether more messages like this one are there than were accounted
// for.
func (b *Box) isThere(ctx context.Context, seen measured) (bool, error) {
	uids := b.there[seen.mark]
	if len(uids) <= b.ours[seen] {
		return false, nil
	}
	same := 0
	section := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}
	err := b.do(ctx, func() error {
		found, err := b.client.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err != nil {
			return fmt.Errorf("look at messages of the same size: %w", err)
		}
		for _, one := range found {
			var h headerSum
			h.add(one.FindBodySection(section))
			if h.sum() == seen.header {
				same++
			}
		}
		return nil
	})
	return same > b.ours[seen], err
}
