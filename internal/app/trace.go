package app

// Tracing a mail that does not exist: nothing is written, and the keys are not
// the real ones.

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/secret"
	"cloakroom/message"
)

// Trace tells the way of a mail. secrets may be nil: then an address that SRS
// made is not known as ours.
func Trace(ctx context.Context, cfg *config.Config, secrets *secret.Secret, env *flow.Envelope, header string) (*flow.Trace, error) {
	quiet := slog.New(slog.DiscardHandler)
	users, err := OpenUsers(cfg.Directory, quiet)
	if err != nil {
		return nil, err
	}
	defer users.Close()
	marks, srs := make([]byte, secret.KeySize), make([]byte, secret.KeySize)
	if secrets != nil {
		marks, srs = secrets.Derive(labelMarks), secrets.Derive(labelSRS)
	}
	ways, err := routes(cfg, marks, srs)
	if err != nil {
		return nil, err
	}
	engine := &flow.Engine{Settings: func() *flow.Settings { return settings(cfg, cfg.Web.URL, ways) },
		LinkKey: make([]byte, secret.KeySize), Directory: users, Now: time.Now, Log: quiet}
	h, err := message.ParseHeader([]byte(header))
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return engine.Trace(ctx, env, h)
}

// PrintTrace writes a trace for people.
func PrintTrace(w io.Writer, t *flow.Trace) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	whose := "not ours"
	if t.Ours {
		whose = "ours"
	}
	fmt.Fprintf(&b, "from <%s>\n", t.Sender)
	line("sender", "%s: %s", whose, t.Proof)
	systems := make([]string, 0, len(t.Gateways))
	for s := range t.Gateways {
		systems = append(systems, s)
	}
	slices.Sort(systems)
	for _, s := range systems {
		line("gateway", "it comes from the system behind %s (%s)", s, t.Gateways[s])
	}
	for i := range t.Recipients {
		r := &t.Recipients[i]
		fmt.Fprintf(&b, "to <%s>\n", r.Address)
		switch {
		case r.Known && len(r.Groups) > 0:
			line("directory", "known, in %s", strings.Join(r.Groups, ", "))
		case r.Known:
			line("directory", "known, in no group")
		default:
			line("directory", "not known")
		}
		line("direction", "%s", r.Direction)
		line("way", "%s: %s", r.Way, r.Reason)
		line("RCPT", "%s", replyText(r.Rcpt, "250 accepted by Cloakroom"))
		switch {
		case r.Rcpt != nil || t.End != nil:
			continue
		case r.To == "":
			line("envelope", "taken off: its mail goes to another recipient's address already")
			continue
		}
		how := "in the same transaction"
		if r.Copy {
			how = "in a copy of its own, byte for byte"
		}
		line("envelope", "<%s> to <%s>, %s", r.Sender, r.To, how)
	}
	fmt.Fprintf(&b, "end of message\n")
	line("reply", "%s", replyText(t.End, "250 accepted by Cloakroom, unless a rule about the message says otherwise"))
	_, err := io.WriteString(w, b.String())
	return err
}

func replyText(r *flow.Reply, accepted string) string {
	if r == nil {
		return accepted
	}
	return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
}
