package main

// cloakroom policy test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/flow"
	"cloakroom/internal/app"
	"cloakroom/message"
	"cloakroom/policy/policytest"
)

func newPolicyTestCmd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "Check the rules against mails and what must become of them",
		Long: `Reads the cases in the .yaml files of a folder and below, decides the mail of each as the
daemon would, and tells where something else comes out. Nothing is written. The exit code
is 1 when a case fails. A file of cases:

  cases:
    - name: large files for strangers become links
      message: mails/report.eml          # beside this file; or inline: |
      envelope: {from: alice@acmecorp.com, to: [bob@example.org], user: alice}
      want: {linked: [report.pdf], kept: [contract.pdf]}
    - name: bounces with programs are refused
      compose: {attachments: [{name: setup.exe, size: 6MB}]}
      envelope: {from: "", to: [alice@acmecorp.com], client: 192.0.2.7}
      want: {reject: 550}

In compose there may be: header (fields; a list for one that comes several times), text and
attachments, each with name, type, content (how it begins) and size (300, 20KB, 6MB).

The envelope may also say helo, host, daemon and tls. In want there may be: linked and kept
(names of attachments), expires (of the link: 90d, or never), vault (a list of "OWNER TARGET",
with the path or the rule behind it), forward (address: the one in its place); these are not
compared when left out. Then reject (code), refused (address: code),
quarantine (reason), headers: {add: {X-Name: value}, remove: [X-Other]}, tag, and fails
(true where a rule fails); of these, what is left out must not happen. Nothing else
becomes of a mail that is refused.`,
		Example: `  cloakroom policy test /etc/cloakroom/tests`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := g.loadConfig(cmd)
			if err != nil {
				return err
			}
			folder := os.DirFS(args[0])
			cases, err := policytest.Load(folder)
			if errors.Is(err, fs.ErrPermission) {
				return err
			}
			if err != nil {
				return &exitError{code: exitData, err: fmt.Errorf("%s: %w", args[0], err)}
			}
			report := policytest.Run(folder, cases, func(env policytest.Envelope, in io.Reader) (policytest.Result, error) {
				e, err := flowEnvelope(env)
				if err != nil {
					return policytest.Result{}, err
				}
				ex, err := app.Explain(cmd.Context(), cfg, e, in)
				if err != nil {
					return policytest.Result{}, err
				}
				return testResult(ex), nil
			})
			if asJSON {
				err = printJSON(cmd, report)
			} else {
				err = report.WriteText(cmd.OutOrStdout())
			}
			if err == nil && report.Failed > 0 {
				err = &exitError{code: exitFailure, err: fmt.Errorf("%d of %d cases failed", report.Failed, report.Cases)}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func flowEnvelope(env policytest.Envelope) (*flow.Envelope, error) {
	out := &flow.Envelope{QueueID: "-", Sender: trimAngles(env.From), AuthUser: env.User, Host: env.Host, Helo: env.Helo,
		Daemon: env.Daemon, TLS: env.TLS, Received: time.Now()}
	for _, to := range env.To {
		out.Recipients = append(out.Recipients, flow.Recipient{Address: trimAngles(to)})
	}
	if env.Client != "" {
		client, err := netip.ParseAddr(env.Client)
		if err != nil {
			return nil, fmt.Errorf("envelope.client: %q is not an IP address", env.Client)
		}
		out.Client = client
	}
	return out, nil
}

// testResult takes out of an explanation what cases compare.
func testResult(ex *flow.Explanation) policytest.Result {
	var out policytest.Result
	for _, p := range ex.Parts {
		switch {
		case p.Fate == "link":
			out.Linked = append(out.Linked, p.Name)
		case p.Role == message.RoleAttachment.String() || p.Role == message.RoleInline.String():
			out.Kept = append(out.Kept, p.Name)
		}
	}
	if ex.Reject != nil { // nothing else becomes of the mail
		return policytest.Result{Reject: ex.Reject.Code, Refused: refusedCodes(ex)}
	}
	out.Expires, out.Forward = ex.Expires, make(map[string]string)
	for _, c := range ex.Vault {
		out.Vault = append(out.Vault, policytest.Copy{Owner: c.Owner, Target: c.Target, Path: c.Path, Rule: c.Rule})
	}
	for _, w := range ex.Ways {
		if w.To != "" {
			out.Forward[w.Recipient] = w.To
		}
	}
	out.Quarantine, out.Tag, out.Fails = ex.Quarantine, ex.Tag, ex.Fails
	out.Headers = policytest.Headers{Add: ex.Add, Remove: ex.Remove}
	out.Refused = refusedCodes(ex)
	return out
}

// refusedCodes are the recipients who are refused by themselves.
func refusedCodes(ex *flow.Explanation) map[string]int {
	out := make(map[string]int, len(ex.Refused))
	for address, reply := range ex.Refused {
		out[address] = reply.Code
	}
	return out
}
