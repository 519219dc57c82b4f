package testserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// postgresReadyTimeout bounds the wait for the first connection, which
	// takes 0.2 s on an idle machine.
	postgresReadyTimeout = 30 * time.Second
	// postgresUser is the cluster's superuser.
	postgresUser = "postgres"
)

// Postgres is a private, running PostgreSQL cluster. It does not fsync: a
// crash of the machine loses it, a crash of a client does not.
type Postgres struct {
	folder   string
	port     int
	password string
	guard    *guard

	stop    sync.Once
	stopErr error
}

// StartPostgres makes a new cluster and starts it on a port of 127.0.0.1, with a
// password of its own: local accounts other than the caller's stay out. dir is
// the parent of its folder, as in PostfixOptions. It runs until Stop is called,
// ctx ends or this process dies.
func StartPostgres(ctx context.Context, dir string) (*Postgres, error) {
	for attempt := 1; ; attempt++ {
		p, err := startPostgres(ctx, dir)
		if err == nil {
			return p, nil
		}
		if attempt == portAttempts || !errors.Is(err, errPortTaken) {
			return nil, fmt.Errorf("start PostgreSQL: %w", err)
		}
	}
}

// startPostgres is one attempt, on one port.
func startPostgres(ctx context.Context, dir string) (*Postgres, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(dir, "cloakroom-postgres-*")
	if err != nil {
		return nil, err
	}
	p := &Postgres{folder: folder, port: port, password: rand.Text()}
	if err := p.launch(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	var refused error
	answers := func() bool {
		refused = p.ping(ctx)
		return refused == nil
	}
	if err := p.guard.waitReady(ctx, postgresReadyTimeout, answers); err != nil {
		log, _ := os.ReadFile(p.logFile())
		err = explainEnd(err, port)
		return nil, errors.Join(fmt.Errorf("%w (%w); its log: %q", err, refused, log), p.Stop())
	}
	return p, nil
}

// launch makes the cluster and starts its server under a guard.
func (p *Postgres) launch(ctx context.Context) error {
	programs, bin, err := findPostgres()
	if err != nil {
		return err
	}
	// The server refuses to run as root.
	var runAs *account
	if isRoot() {
		if runAs, err = findAccount("postgres", "nobody"); err != nil {
			return err
		}
		if err := os.Chown(p.folder, int(runAs.uid), int(runAs.gid)); err != nil {
			return fmt.Errorf("folder for the server: %w", err)
		}
	}
	if err := p.initdb(ctx, programs.command(ctx, filepath.Join(bin, "initdb")), runAs); err != nil {
		return err
	}
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("log of PostgreSQL: %w", err)
	}
	defer log.Close()
	p.guard, err = startGuard(ctx, guarded{
		argv: []string{filepath.Join(bin, "postgres"), "-D", p.dataFolder(), "-p", strconv.Itoa(p.port),
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
			"-c", "shared_buffers=16MB", "-c", "max_connections=200"},
		env:     programs.env(),
		folder:  p.folder,
		signal:  "INT", // "fast": ends sessions and shuts down
		log:     log,
		account: runAs,
	})
	return err
}

// initdb makes the cluster.
func (p *Postgres) initdb(ctx context.Context, cmd *exec.Cmd, runAs *account) error {
	passwordFile := filepath.Join(p.folder, "password")
	if err := os.WriteFile(passwordFile, []byte(p.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	if runAs != nil {
		if err := os.Chown(passwordFile, int(runAs.uid), int(runAs.gid)); err != nil {
			return fmt.Errorf("initdb: %w", err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: runAs.credential()}
	}
	cmd.Args = append(cmd.Args, "-D", p.dataFolder(), "-U", postgresUser, "--pwfile="+passwordFile,
		"-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	cmd.Dir = p.folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// DSN is the connection string of the database "postgres".
func (p *Postgres) DSN() string { return p.dsn("postgres") }

func (p *Postgres) dsn(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(postgresUser, p.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// NewDatabase makes an empty database and returns its connection string.
func (p *Postgres) NewDatabase(ctx context.Context, name string) (string, error) {
	conn, err := pgx.Connect(ctx, p.DSN())
	if err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return p.dsn(name), nil
}

// ping connects once.
func (p *Postgres) ping(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.DSN())
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// Stop ends the server, whoever is connected, and removes its folder. Later
// calls return what the first returned.
func (p *Postgres) Stop() error {
	p.stop.Do(func() {
		if p.guard != nil {
			p.stopErr = p.guard.stop()
		}
		// The guard has emptied the folder, unless it never ran.
		if err := os.RemoveAll(p.folder); err != nil && p.stopErr == nil {
			p.stopErr = err
		}
		if p.stopErr != nil {
			p.stopErr = fmt.Errorf("stop PostgreSQL: %w", p.stopErr)
		}
	})
	return p.stopErr
}

func (p *Postgres) dataFolder() string { return filepath.Join(p.folder, "data") }
func (p *Postgres) logFile() string    { return filepath.Join(p.folder, "log") }
