package main

// cloakroom filter

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/flow"
	"cloakroom/internal/app"
	"cloakroom/internal/config"
)

// envelopeFlags are the flags that describe a transaction.
type envelopeFlags struct {
	from, auth, clientIP, helo, daemon string
	to                                 []string
}

func (f *envelopeFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.from, "from", "", "envelope sender, MAIL FROM; \"\" is the null sender")
	cmd.Flags().StringArrayVar(&f.to, "to", nil, "envelope recipient, RCPT TO; repeat it for several")
	cmd.Flags().StringVar(&f.auth, "auth", "", "the sender's login, as if authenticated")
	cmd.Flags().StringVar(&f.clientIP, "client-ip", "", "address of the SMTP client")
	cmd.Flags().StringVar(&f.helo, "helo", "", "what the client said in HELO or EHLO")
	cmd.Flags().StringVar(&f.daemon, "daemon", "", "the `name` of the MTA's listener ({daemon_name})")
	cmd.MarkFlagRequired("from")
	cmd.MarkFlagRequired("to")
}

func (f *envelopeFlags) envelope() (*flow.Envelope, error) {
	env := &flow.Envelope{QueueID: "-", Sender: trimAngles(f.from), AuthUser: f.auth, Helo: f.helo, Daemon: f.daemon, Received: time.Now()}
	for _, to := range f.to {
		env.Recipients = append(env.Recipients, flow.Recipient{Address: trimAngles(to)})
	}
	if f.clientIP != "" {
		ip, err := netip.ParseAddr(f.clientIP)
		if err != nil {
			return nil, &exitError{code: exitUsage, err: fmt.Errorf("--client-ip: %q is not an IP address", f.clientIP)}
		}
		env.Client = ip
	}
	return env, nil
}

func trimAngles(address string) string {
	if len(address) >= 2 && address[0] == '<' && address[len(address)-1] == '>' {
		return address[1 : len(address)-1]
	}
	return address
}

func newFilterCmd(g *globals) *cobra.Command {
	var flags envelopeFlags
	cmd := &cobra.Command{
		Use:   "filter --from ADDRESS --to ADDRESS [--to ADDRESS ...]",
		Short: "Take one message through the same flow as the milter, from stdin to stdout",
		Long: `Reads one message from standard input and writes it to standard output: with links where
the rules say so, otherwise unchanged to the byte. Line ends stay as they came in. What the
links need is stored durably before the first byte is written. After a temporary error
nothing is written and the exit code is 75; when a rule refuses the message it is 69. A
summary goes to standard error.`,
		Example: `  cloakroom filter --from alice@acmecorp.com --to bob@example.org --auth alice < in.eml > out.eml`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, err := flags.envelope()
			if err != nil {
				return err
			}
			return g.withEngine(cmd, true, func(e *flow.Engine, _ *app.Store) error {
				_, err := app.Filter(cmd.Context(), e, env, cmd.InOrStdin(), cmd.OutOrStdout())
				var refused *app.RejectedError
				switch {
				case errors.As(err, &refused) && refused.Reply.Code >= 500:
					return &exitError{code: exitUnavailable, err: err}
				case err != nil:
					return &exitError{code: exitTemporary, err: err}
				}
				return nil
			})
		},
	}
	flags.register(cmd)
	return cmd
}

// withStore opens the store of the configuration for a command.
func (g *globals) withStore(cmd *cobra.Command, create bool, f func(*config.Config, *app.Store, *slog.Logger) error) (err error) {
	cfg, err := g.loadConfig(cmd)
	if err != nil {
		return err
	}
	if err := app.BecomeOwner(cfg.Data); err != nil {
		return err
	}
	log := cfg.Log.Logger(cmd.ErrOrStderr())
	store, err := app.OpenBeside(cmd.Context(), cfg, create, log)
	if err != nil {
		return &exitError{code: exitUnavailable, err: err}
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return f(cfg, store, log)
}

// withStoreIfAny opens the store of the configuration; what f gets is nil where
// nothing was ever stored.
func (g *globals) withStoreIfAny(cmd *cobra.Command, f func(*config.Config, *app.Store) error) error {
	cfg, err := g.loadConfig(cmd)
	if err != nil {
		return err
	}
	if !app.HasStore(cfg) {
		return f(cfg, nil)
	}
	return g.withStore(cmd, false, func(cfg *config.Config, s *app.Store, _ *slog.Logger) error { return f(cfg, s) })
}

// withEngine opens the flow over the store of the configuration.
func (g *globals) withEngine(cmd *cobra.Command, create bool, f func(*flow.Engine, *app.Store) error) error {
	return g.withStore(cmd, create, func(cfg *config.Config, store *app.Store, log *slog.Logger) error {
		users, err := app.OpenUsers(cfg.Directory, log)
		if err != nil {
			return &exitError{code: exitUnavailable, err: err}
		}
		defer users.Close()
		engine, err := app.NewFilterEngine(store, cfg, users, log)
		if err != nil {
			return &exitError{code: exitUnavailable, err: err}
		}
		return f(engine, store)
	})
}
