package app

// What the set-up of an MTA takes from the configuration, and what it tells.

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloakroom/internal/config"
	"cloakroom/internal/mtasetup"
	"cloakroom/internal/mtasetup/attach"
	"cloakroom/policy"
)

// SetupSettings is what the configuration says of the MTA's side.
func SetupSettings(cfg *config.Config) mtasetup.Settings {
	set := mtasetup.Settings{Listen: cfg.Milter.Listen, Observe: cfg.Mode == config.ModeObserve, Accept: cfg.Milter.OnError == config.OnErrorAccept,
		LinksOnly: len(cfg.Coexistence) == 0 && !slices.ContainsFunc(cfg.Rules, beyondLinks),
		Submit:    cfg.Submit.SMTP, Trusted: cfg.Trusted}
	if mode, err := strconv.ParseUint(cfg.Milter.SocketMode, 8, 32); err == nil {
		set.SocketMode = fs.FileMode(mode)
	}
	for _, r := range cfg.Coexistence {
		route := mtasetup.Route{Domain: r.Domain, Alternate: r.Alternate, Daemon: r.Gateways.Daemon, Networks: r.Gateways.Networks}
		if r.SRS {
			if route.SRSDomain = r.SRSDomain; route.SRSDomain == "" {
				route.SRSDomain = r.Domain
			}
		}
		set.Routes = append(set.Routes, route)
	}
	return set
}

// beyondLinks tells a rule whose action must not be left out while Cloakroom is
// away: what flow defers for, whatever on_error says.
func beyondLinks(r policy.Rule) bool {
	return r.Vault != nil || r.Forward != nil || r.Reject != nil || r.Quarantine != nil || r.Header != nil || r.Tag != nil
}

// probeTimeout bounds a look whether the milter answers.
const probeTimeout = 3 * time.Second

// ProbeMilter connects to a milter as the MTA will, and negotiates.
func ProbeMilter(ctx context.Context, listen string) error {
	network, address := "unix", ""
	kind, rest, _ := strings.Cut(listen, ":")
	switch kind {
	case "unix", "local":
		address = rest
	default:
		network = "tcp"
		address = strings.TrimPrefix(mtasetup.Reached(listen), "inet:")
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return fmt.Errorf("%s: %w (%w)", listen, attach.ErrUnreachable, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return err
	}
	if err := negotiate(conn); err != nil {
		return fmt.Errorf("%s: what answers there does not speak the milter protocol: %w", listen, err)
	}
	return nil
}

// PrintSetupDone tells what was applied.
func PrintSetupDone(w io.Writer, plan *mtasetup.Plan, done *attach.Done) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s in %s\n", plan.MTA, plan.Folder)
	if len(done.Changes) == 0 && done.Made == "" {
		b.WriteString("nothing to do: everything is set up\n")
	}
	for _, c := range done.Changes {
		fmt.Fprintf(&b, "  %s\n", plain(changeLine(c)))
	}
	for _, k := range done.Kept {
		fmt.Fprintf(&b, "  %s\n", plain(k))
	}
	if done.Made != "" {
		fmt.Fprintf(&b, "done: %s\n", plain(done.Made))
	}
	for _, file := range done.Backups {
		fmt.Fprintf(&b, "backup: %s\n", plain(file))
	}
	printRemarks(&b, plan)
	_, err := io.WriteString(w, b.String())
	return err
}

// printRemarks tells warnings and what is left to do.
func printRemarks(b *strings.Builder, plan *mtasetup.Plan) {
	for _, r := range plan.Remarks {
		fmt.Fprintf(b, "%s: %s\n", r.Level, plain(r.Text))
	}
	for _, s := range plan.Steps {
		// Lines for Postfix alone wait for a command, or are a hint.
		if s.Command == "" && !strings.HasPrefix(plan.MTA, "Sendmail") {
			continue
		}
		fmt.Fprintf(b, "to do: %s\n", plain(s.Reason))
		if strings.HasPrefix(plan.MTA, "Sendmail") {
			for _, l := range s.Lines {
				fmt.Fprintf(b, "  %s\n", plain(l))
			}
		}
		if s.Command != "" {
			fmt.Fprintf(b, "  %s\n", plain(s.Command))
		}
	}
}

// changeLine is one change in a line.
func changeLine(c mtasetup.Change) string {
	switch c.Kind {
	case mtasetup.Parameter:
		return "main.cf: " + c.Name + " = " + c.New
	case mtasetup.Override:
		return "master.cf: " + c.Service + ": -o " + c.Name + "=" + c.New
	case mtasetup.Service:
		return "master.cf: new service " + c.Service
	case mtasetup.Block:
		return filepath.Base(c.Name) + ": the block of Cloakroom"
	}
	return "new file " + c.Name
}

// PrintSetupUndone tells what was taken back.
func PrintSetupUndone(w io.Writer, u *attach.Undone) error {
	var b strings.Builder
	for _, c := range u.Restored {
		text := changeLine(c)
		switch {
		case c.Old != nil && (c.Kind == mtasetup.Parameter || c.Kind == mtasetup.Override):
			text = strings.TrimSuffix(text, c.New) + *c.Old
			fmt.Fprintf(&b, "put back   %s\n", plain(text))
		default:
			fmt.Fprintf(&b, "taken out  %s\n", plain(text))
		}
	}
	if u.Made != "" {
		fmt.Fprintf(&b, "done: %s\n", plain(u.Made))
	}
	if u.Exact {
		b.WriteString("the configuration is byte for byte what it was before\n")
	}
	for _, l := range u.Left {
		fmt.Fprintf(&b, "left: %s\n", plain(l))
	}
	for _, file := range u.Backups {
		fmt.Fprintf(&b, "backup: %s\n", plain(file))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
