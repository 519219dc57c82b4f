package main

// cloakroom doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/internal/doctor"
)

const (
	// doctorTime is how long it takes at most, whatever hangs.
	doctorTime = 15 * time.Second
	// leastDoctorTime is too short for anything but a healthy host.
	leastDoctorTime = 2 * time.Second
	// doctorMargin is left for what comes before and after the checks.
	doctorMargin = time.Second
	// configShare of the time is for reading the configuration: one in so many.
	configShare = 5
)

// errReported is for what the output has said already.
var errReported = errors.New("")

// doctorFlags are the flags of doctor.
type doctorFlags struct {
	only, skip  []string
	json, brief bool
	timeout     string
	postfix     string
	sendmail    string
	resolvers   []string
	age         string
}

func newDoctorCmd(g *globals) *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at everything that mail through Cloakroom depends on, and tell how to mend it",
		Long: `Looks at the configuration, the daemon, the MTA's settings, the milter by a test message, the
data folder, database, secret and a sample of the files, the pages by their public address, their
certificate, DNS, the vault's targets, the directory, the clock and limits. Each line is ok, a
warning (it works, and will disappoint) or wrong (mail, links or uploads do not work), with what
to do. docs/doctor.md explains each.

Nothing is changed: the test message is broken off before anything of it is kept or counted. All
looks go on at once and end within --timeout, whatever hangs. It works with the daemon up or down,
as root or as the daemon's account; as root it makes those looks as that account that the daemon
has to make itself.

The exit code is that of the worst line, as Nagios has it: 0 all ok, 1 warnings, 2 something is
wrong. The names of the checks:
  ` + strings.Join(app.DoctorChecks, " "),
		Example: `  cloakroom doctor
  cloakroom doctor --only milter,mta
  cloakroom doctor --brief --skip clock
  cloakroom doctor --json | jq '.lines[] | select(.state != "ok")'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(g, cmd) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.only, "only", nil, "the `names` of the checks to make, separated by commas (default: all)")
	flags.StringSliceVar(&f.skip, "skip", nil, "the `names` of checks to leave out")
	flags.BoolVar(&f.json, "json", false, "print as JSON")
	flags.BoolVar(&f.brief, "brief", false, "print one line, and below it only what is not ok")
	flags.StringVar(&f.timeout, "timeout", "", "end after this `duration`, whatever hangs (default 15s)")
	flags.StringVar(&f.postfix, "postfix-config", "", "Postfix's configuration `folder`, as postconf -c takes it (default: Postfix's own)")
	flags.StringVar(&f.sendmail, "sendmail-config", app.SendmailConfig, "Sendmail's configuration `file`, for hosts without Postfix")
	flags.StringArrayVar(&f.resolvers, "resolver", nil, "a DNS server `host:port` to ask (default: those of the system)")
	flags.StringVar(&f.age, "directory-age", "", "warn of a directory file that is older than this `duration` (default: any age is fine)")
	cmd.MarkFlagsMutuallyExclusive("json", "brief")
	return cmd
}

func (f *doctorFlags) run(g *globals, cmd *cobra.Command) error {
	begin := time.Now()
	names, err := f.names()
	if err != nil {
		return usageError(cmd, err)
	}
	d := &app.Doctor{PostfixFolder: f.postfix, SendmailFile: f.sendmail, Resolvers: f.resolvers}
	if f.age != "" {
		if d.DirectoryAge, err = config.ParseDuration(f.age); err != nil || d.DirectoryAge <= 0 {
			return usageError(cmd, errors.Join(errors.New("--directory-age: how long, such as 2d"), err))
		}
	}
	limit := doctorTime
	if f.timeout != "" {
		if limit, err = config.ParseDuration(f.timeout); err != nil || limit < leastDoctorTime {
			return usageError(cmd, errors.Join(fmt.Errorf("--timeout: how long, %v or more", leastDoctorTime), err))
		}
	}
	if d.ConfigFile, err = filepath.Abs(g.configPath()); err != nil {
		return err
	}
	r := f.examine(cmd, d, names, begin, limit)
	r.Order(app.DoctorChecks)
	r.Took = time.Since(begin).Milliseconds()
	switch {
	case f.json:
		err = printJSON(cmd, r)
	case f.brief:
		err = doctor.PrintBrief(cmd.OutOrStdout(), r)
	default:
		err = doctor.Print(cmd.OutOrStdout(), r, onTerminal(cmd.OutOrStdout()))
	}
	if err != nil {
		return err
	}
	return doctorVerdict(r.State)
}

// examine makes the checks: what root sees better here, the others as the account
// that the data belongs to.
func (f *doctorFlags) examine(cmd *cobra.Command, d *app.Doctor, names []string, begin time.Time, limit time.Duration) *doctor.Report {
	r := &doctor.Report{Schema: doctor.Schema, State: doctor.OK, At: begin, Version: thisBuild().Version, Lines: []doctor.Line{}}
	r.Host, _ = os.Hostname()
	read := doctor.Examine(cmd.Context(), []doctor.Check{{Name: "config", Run: d.ReadConfig}}, limit/configShare)
	cfg := d.Ready()
	if cfg == nil || slices.Contains(names, "config") {
		r.Add(read...)
	}
	if cfg == nil {
		return r
	}
	left := limit - time.Since(begin) - doctorMargin
	own, others := names, []string(nil)
	who := app.Owner(cfg.Data)
	if who != nil {
		own = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !app.ByRoot(n) })
		others = slices.DeleteFunc(slices.Clone(names), app.ByRoot)
	}
	told := make(chan []doctor.Line, 1)
	go func() {
		if len(others) == 0 {
			told <- nil
			return
		}
		told <- d.LookAs(cmd.Context(), left, who, f.passOn(others, left))
	}()
	r.Add(doctor.Examine(cmd.Context(), d.Checks(own), left)...)
	r.Add(<-told...)
	d.Close(doctorMargin / 2)
	return r
}

// passOn are the flags for a second process, which gets less time.
func (f *doctorFlags) passOn(names []string, left time.Duration) []string {
	out := []string{"--only", strings.Join(names, ","), "--timeout", max(leastDoctorTime, left).Round(time.Second).String()}
	if f.age != "" {
		out = append(out, "--directory-age", f.age)
	}
	for _, r := range f.resolvers {
		out = append(out, "--resolver", r)
	}
	return out
}

// names gives the checks that are asked for.
func (f *doctorFlags) names() ([]string, error) {
	for flag, list := range map[string][]string{"--only": f.only, "--skip": f.skip} {
		for _, n := range list {
			if !slices.Contains(app.DoctorChecks, n) {
				return nil, fmt.Errorf("%s: there is no check %q; there are %s", flag, n, strings.Join(app.DoctorChecks, ", "))
			}
		}
	}
	out := slices.DeleteFunc(slices.Clone(app.DoctorChecks), func(n string) bool {
		return slices.Contains(f.skip, n) || len(f.only) > 0 && !slices.Contains(f.only, n)
	})
	if len(out) == 0 {
		return nil, errors.New("--skip leaves nothing to look at")
	}
	return out, nil
}

// doctorVerdict is the exit code of the worst line.
func doctorVerdict(s doctor.State) error {
	switch s {
	case doctor.Wrong:
		return &exitError{code: exitWrong, err: errReported}
	case doctor.Warning:
		return &exitError{code: exitFailure, err: errReported}
	}
	return nil
}
