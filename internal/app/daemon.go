package app

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"cloakroom/admin"
	"cloakroom/internal/config"
	"cloakroom/internal/db"
	"cloakroom/milter"
	"cloakroom/sisa/web"
)

// drainTime is how long messages and downloads in flight may take to finish
// once the daemon is told to stop. It is within systemd's 90 s
// (DefaultTimeoutStopSec).
const drainTime = 60 * time.Second

// Serve runs the daemon until SIGTERM or SIGINT. path is the configuration
// file, read again at SIGHUP.
func Serve(ctx context.Context, path string, cfg *config.Config, log *slog.Logger) (err error) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(milter.LibraryLogWriter(log))
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	lock, err := lockData(cfg.Data)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	manager := &notifier{log: log}
	opened := manager.patience("opening the database: a newer schema takes minutes where millions of mails are kept")
	store, err := openStore(ctx, cfg, true, false, log)
	opened()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	live := config.NewLive(path, cfg)
	users, err := OpenUsers(cfg.Directory, log)
	if err != nil {
		return err
	}
	defer users.Close()
	engine, err := NewEngine(store, live.Current, users, log)
	if err != nil {
		return err
	}
	meters := counted(store, engine)
	defer keepTally(store, engine, log)()
	sender, err := newSender(cfg, log)
	if err != nil {
		return err
	}
	letters := newLetters(cfg, sender, engine.Onward, log)
	site, err := web.Open(cfg.Web, web.Parts{Links: admin.Links{Links: store.Links, Meters: meters}, Blobs: blobs{store},
		Mailer: mailer(letters), Key: store.Secret.Derive(labelDownload)}, time.Now, log)
	if err != nil {
		return fmt.Errorf("web.%w", err)
	}
	receipts := newReceipts(store, letters, site.ReceiptText, log)
	work, err := newWork(store, engine, sender, receipts, meters, cfg, log)
	if err != nil {
		return err
	}
	d := &daemon{live: live, brake: store.Brake, work: work, users: users, log: log, milter: milter.New(cfg.Milter.Config, handler{engine}, log)}
	d.manager = manager
	d.check = &selfCheck{store: store, milter: d.milter}
	d.web = web.NewServer(site, log)
	if d.admin, err = d.newAdmin(store, engine, meters); err != nil {
		return err
	}
	return d.run(ctx, cfg)
}

// lockPatience is how long the daemon's lock is waited for: a command holds it
// for a moment while it opens the database.
const lockPatience = 2 * time.Second

func lockData(dir string) (*db.DirLock, error) {
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 20) {
		lock, err := db.Lock(dir)
		if !errors.Is(err, db.ErrLocked) || time.Now().After(end) {
			return lock, err
		}
	}
}

type daemon struct {
	live   *config.Live
	brake  *Brake
	users  *Users
	log    *slog.Logger
	milter *milter.Server
	work   *work
	web    *http.Server
	admin  *admin.Server // nil: none

	manager *notifier // the service manager, if there is one
	check   *selfCheck
}

func (d *daemon) run(ctx context.Context, cfg *config.Config) error {
	// Before anybody hears that we are ready: who is told so may send one at once.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	// The page must answer before the first link can be sent.
	pages, err := net.Listen("tcp", cfg.Web.Listen)
	if err != nil {
		return fmt.Errorf("web.listen: %w", err)
	}
	defer pages.Close()
	if err := d.milter.Listen(); err != nil {
		return fmt.Errorf("milter.listen: %w", err)
	}
	stopAdmin := serveAdmin(ctx, d.admin, d.log)
	defer stopAdmin() // last: whoever asks hears that the daemon stops
	failed := make(chan error, 3)
	if err := d.work.start(); err != nil {
		return err
	}
	go func() { failed <- wrap("queue", d.work.wait()) }()
	go func() { failed <- wrap("web", web.Serve(d.web, pages)) }()
	go func() { failed <- wrap("milter", d.milter.Serve()) }()
	d.log.Info("ready", "milter", d.milter.Addr().String(), "web", pages.Addr().String(), "url", cfg.Web.URL,
		"mode", cfg.Mode, "rules", len(cfg.Rules))
	d.manager.ready(d.statusLine())
	alive, dead := context.WithCancel(ctx)
	defer dead()
	go d.manager.feed(alive, d.check.run)
	go d.brake.watch(alive, d.log, func() { d.manager.tell(d.statusLine()) })

	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				d.reload()
				continue
			}
			d.log.Info("stopping: messages in flight finish first", "signal", s.String())
			return d.drain()
		case <-ctx.Done():
			return d.drain()
		case err := <-failed:
			return errors.Join(err, d.drain())
		}
	}
}

func wrap(what string, err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s: server ended unexpectedly", what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// reload takes a new configuration into force, or keeps the old one.
func (d *daemon) reload() {
	d.manager.reloading()
	outcome := "the last reload failed: the configuration before it stays in force; "
	defer func() { d.manager.ready(outcome + d.statusLine()) }()
	restart, warnings, err := d.live.Reload()
	for _, w := range warnings {
		d.log.Warn("configuration: " + w.Headline())
	}
	if err != nil {
		d.log.Error("configuration not reloaded: the old one stays in force", "err", err)
		return
	}
	if err := d.users.Reload(); err != nil {
		d.log.Error("directory not reloaded: the users read before stay", "err", err)
	}
	outcome = ""
	d.check.store.Space.SetWatermark(d.live.Current().Store.LowSpace)
	d.log.Info("configuration reloaded", "rules", len(d.live.Current().Rules))
	if len(restart) > 0 {
		d.log.Warn("these keys changed and take effect at the next start only: " + strings.Join(restart, ", "))
	}
}

// drain ends the daemon: mail first, as nobody loses a download.
func (d *daemon) drain() error {
	d.check.closing.Store(true)
	d.manager.stopping()
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := d.milter.Shutdown(ctx)
	d.work.stop()
	if werr := d.web.Shutdown(ctx); werr != nil {
		d.web.Close()
		d.log.Warn("downloads were cut off", "err", werr)
	}
	d.log.Info("stopped")
	return err
}
