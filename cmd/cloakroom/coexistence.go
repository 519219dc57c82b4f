package main

// cloakroom coexistence …

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/coexist"
)

func newCoexistenceCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:     "coexistence",
		Short:   "See how two mail systems share a domain",
		Example: "  cloakroom coexistence check acmecorp.com",
	}, newCoexistenceCheckCmd(g), newCoexistenceTraceCmd(g))
}

const (
	// systemResolvers is where the DNS servers are named.
	systemResolvers = "/etc/resolv.conf"
	// checkTimeout bounds a check; every question has a limit of its own.
	checkTimeout = 2 * time.Minute
)

// checkFlags are the flags of coexistence check.
type checkFlags struct {
	outbound, other []string
	selectors       []string
	resolvers       []string
	strict, json    bool
}

func newCoexistenceCheckCmd(g *globals) *cobra.Command {
	var flags checkFlags
	cmd := &cobra.Command{
		Use:   "check DOMAIN",
		Short: "Compare DNS with the configuration, and tell what each mail flow would do",
		Long: `Asks DNS about a domain that is shared with another mail system, and compares the answers
with the coexistence section: the MX of the domain, of the alternate and of srs_domain, whose
hosts they are, SPF for what either system sends, DMARC, DKIM keys, and the other system's
networks. Then it decides twelve sample mails as the daemon would, and tells their path,
their envelope and the reply. Nothing is sent and nothing is written.

Each row is ok, warning (it works, and will disappoint), wrong (mail is lost, bounced or goes
in circles) or unknown (DNS did not answer), with what to change. The exit code is 1 when
anything is wrong, else 75 when anything is unknown, else 0; with --strict a warning is 1 too.`,
		Example: `  cloakroom coexistence check acmecorp.com
  cloakroom coexistence check acmecorp.com --outbound-ip 203.0.113.25 --selector mx2026
  cloakroom coexistence check acmecorp.com --json | jq '.rows[] | select(.state != "ok")'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return flags.run(g, cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&flags.outbound, "outbound-ip", nil, "an `address` our mail leaves from (default: those of hostname)")
	f.StringArrayVar(&flags.other, "other-ip", nil, "an `address` the other system sends from (default: of gateways.networks)")
	f.StringArrayVar(&flags.selectors, "selector", nil, "a DKIM selector `name` that must have a key")
	f.StringArrayVar(&flags.resolvers, "resolver", nil, "a DNS server `host:port` to ask (default: those of "+systemResolvers+")")
	f.BoolVar(&flags.strict, "strict", false, "end with 1 for warnings too")
	f.BoolVar(&flags.json, "json", false, "print as JSON")
	return cmd
}

func (f *checkFlags) run(g *globals, cmd *cobra.Command, domain string) error {
	opt := coexist.Options{Selectors: f.selectors, Now: time.Now()}
	var err error
	if opt.OutboundIPs, err = parseAddresses("outbound-ip", f.outbound); err != nil {
		return usageError(cmd, err)
	}
	if opt.OtherIPs, err = parseAddresses("other-ip", f.other); err != nil {
		return usageError(cmd, err)
	}
	resolver, err := f.resolver()
	if err != nil {
		return usageError(cmd, err)
	}
	cfg, err := g.loadConfig(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), checkTimeout)
	defer cancel()
	report, err := app.CheckCoexistence(ctx, cfg, resolver, domain, opt)
	if errors.Is(err, coexist.ErrNoRoute) {
		return &exitError{code: exitConfig, err: err, hint: "give the domain that both systems share, not the alternate"}
	}
	if err != nil {
		return err
	}
	if f.json {
		err = printJSON(cmd, report)
	} else {
		err = app.PrintCoexistence(cmd.OutOrStdout(), report, onTerminal(cmd.OutOrStdout()))
	}
	if err != nil {
		return err
	}
	return f.verdict(report)
}

func (f *checkFlags) resolver() (*coexist.Resolver, error) {
	if len(f.resolvers) > 0 {
		return coexist.NewResolver(f.resolvers...)
	}
	return coexist.SystemResolver(systemResolvers)
}

// verdict is the exit code of a report, by the worst of it.
func (f *checkFlags) verdict(r *coexist.Report) error {
	switch {
	case r.State == coexist.Wrong:
		return &exitError{code: exitFailure, err: fmt.Errorf("%s: wrong: %d", r.Domain, r.Count(coexist.Wrong))}
	case r.State == coexist.Unknown:
		return &exitError{code: exitTemporary, err: fmt.Errorf("%s: unknown: %d, as DNS or the directory did not answer", r.Domain, r.Count(coexist.Unknown)),
			hint: "ask again later, or another DNS server with --resolver"}
	case r.State == coexist.Warning && f.strict:
		return &exitError{code: exitFailure, err: fmt.Errorf("%s: warnings: %d", r.Domain, r.Count(coexist.Warning))}
	}
	return nil
}

func parseAddresses(flag string, texts []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, t := range texts {
		a, err := netip.ParseAddr(t)
		if err != nil || a.Zone() != "" {
			return nil, fmt.Errorf("--%s: %q is not an IP address", flag, t)
		}
		out = append(out, a.Unmap())
	}
	return out, nil
}

// onTerminal tells whether colours are wanted: a terminal, and no NO_COLOR.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
