package app

// The daemon's look at itself: whether a mail that came now could be handled.
// It goes the way of a mail as far as that leaves no trace.

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/diskspace"
	"cloakroom/message"
	"cloakroom/milter"
)

// lowDisk is the free space in bytes below which the status says so where
// store.low_space is 0: a few of the largest messages that MTAs commonly take (50
// MB), with their attachments kept beside them.
const lowDisk = 512 << 20

// selfCheck knows what to look at.
type selfCheck struct {
	store   *Store
	milter  *milter.Server
	closing atomic.Bool // the milter takes no connections any more, on purpose
}

// run looks at everything. The error is of what a restart may heal; the warning
// of what it does not: a full disk defers mail either way, and a restart would
// only cut off the downloads, which work.
func (c *selfCheck) run(ctx context.Context) (warning string, err error) {
	if err := c.database(ctx); err != nil {
		return "", err
	}
	if !c.closing.Load() {
		if err := c.listener(ctx); err != nil {
			return "", fmt.Errorf("milter: %w", err)
		}
	}
	return c.space()
}

// database reads by the readers' connections, and goes through a commit that
// changes nothing: the writer, its lock and its connection take part.
func (c *selfCheck) database(ctx context.Context) error {
	read := func(ctx context.Context, tx db.Tx) error {
		var steps int
		return tx.QueryRowContext(ctx, "SELECT count(*) FROM schema_migrations").Scan(&steps)
	}
	if err := read(ctx, c.store.DB.Read()); err != nil {
		return fmt.Errorf("database: read: %w", err)
	}
	if err := c.store.DB.Commit(ctx, nil, read); err != nil {
		return fmt.Errorf("database: commit: %w", err)
	}
	return nil
}

// listener talks to the milter as an MTA does that has no mail: it negotiates
// and leaves. Where all connections are in use, being let in is enough of an
// answer.
func (c *selfCheck) listener(ctx context.Context) error {
	addr := c.milter.Addr()
	var d net.Dialer
	conn, err := d.DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	if err := negotiate(conn); err != nil && !c.milter.Full() && !c.closing.Load() {
		return fmt.Errorf("negotiate: %w", err)
	}
	return nil
}

// What an MTA of today offers: version 6, every action and every protocol step.
const (
	offerVersion  = 6
	offerActions  = 0x1ff
	offerProtocol = 0x1fffff
)

// negotiate exchanges SMFIC_OPTNEG, and says goodbye with SMFIC_QUIT.
func negotiate(conn net.Conn) error {
	const length = 13 // bytes: the command and three numbers
	offer := binary.BigEndian.AppendUint32(nil, length)
	offer = append(offer, 'O')
	for _, n := range []uint32{offerVersion, offerActions, offerProtocol} {
		offer = binary.BigEndian.AppendUint32(offer, n)
	}
	if _, err := conn.Write(offer); err != nil {
		return err
	}
	answer := make([]byte, 4+length)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if answer[4] != 'O' {
		return fmt.Errorf("the answer is a packet %q", answer[4])
	}
	_, err := conn.Write([]byte{0, 0, 0, 1, 'Q'})
	return err
}

// space looks at the disks of the data. Where links stop by configuration, that
// is what somebody should know of; else a disk that is about to be full.
func (c *selfCheck) space() (warning string, err error) {
	if low := c.store.Space.Low(); low != "" {
		return "no links are made: " + low, nil
	}
	u, err := diskspace.Of(c.store.Dir)
	switch {
	case err != nil:
		return "", err
	case u.Free < lowDisk && c.store.Space.Watermark() == 0:
		return fmt.Sprintf("only %s free on the disk of %s", message.FormatSize(u.Free), c.store.Dir), nil
	case u.Inodes > 0 && u.FreeInodes == 0:
		return "no inode is free on the disk of " + c.store.Dir, nil
	}
	return "", nil
}

// statusLine is what systemctl status shows of a daemon that is well.
func (d *daemon) statusLine() string {
	cfg := d.live.Current()
	return d.brake.status() + fmt.Sprintf("mode %s, %d rules, milter on %s, since %s", cfg.Mode, len(cfg.Rules), cfg.Milter.Listen,
		time.Now().Format("2006-01-02 15:04"))
}
