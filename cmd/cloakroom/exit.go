package main

// Exit codes, and how an error is shown. The codes are those of sysexits.h, so
// that Postfix's pipe(8) and Sendmail understand a command in their hands.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"cloakroom/internal/config"
)

const (
	exitOK          = 0
	exitFailure     = 1
	exitWrong       = 2
	exitUsage       = 64
	exitData        = 65
	exitUnavailable = 69
	exitTemporary   = 75
	exitPermission  = 77
	exitConfig      = 78
)

const exitCodesText = `Exit codes:

  0   done
  1   failed, or the answer is no; the message says why
  2   of doctor, which has 1 for warnings: something is wrong
  64  wrong usage: an unknown command or flag, a missing argument
  65  bad input: a message or file given to the command cannot be used
  69  a service is not available: database, storage, a listening address
  75  a temporary failure: the same command may succeed later
  77  no permission for a file or folder
  78  the configuration is missing or wrong

Where Postfix or Sendmail run a command, 75 makes them keep the mail and try again.`

// exitCodesTopic is "cloakroom help exit-codes".
func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:     "exit-codes",
		Short:   "What the exit codes mean",
		Long:    exitCodesText,
		Example: "  cloakroom config check; echo $?",
	}
}

// exitError is an error that knows its exit code and what may help.
type exitError struct {
	code int
	err  error
	hint string // what to do, shown on a line of its own; "" for none
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usageError(cmd *cobra.Command, err error) error {
	return &exitError{code: exitUsage, err: err, hint: cmd.CommandPath() + " --help tells how it is used"}
}

// exitCode says how the process ends after err. What does not carry a code
// itself is told by its kind.
func exitCode(err error) int {
	var coded *exitError
	var mistakes *config.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &mistakes):
		return exitConfig
	case errors.Is(err, fs.ErrPermission):
		return exitPermission
	}
	return exitFailure
}

// complain shows err as `cloakroom: …`. The mistakes of a configuration come
// first, each at the beginning of a line, where editors look for file and line.
func complain(w io.Writer, err error) {
	if err == nil || errors.Is(err, errReported) {
		return
	}
	text := err.Error()
	var mistakes *config.Error
	if errors.As(err, &mistakes) {
		fmt.Fprintln(w, mistakes)
		text = mistakes.Summary()
	}
	fmt.Fprintf(w, "cloakroom: %s\n", text)
	var coded *exitError
	if errors.As(err, &coded) && coded.hint != "" {
		for line := range strings.SplitSeq(coded.hint, "\n") {
			fmt.Fprintf(w, "  hint: %s\n", line)
		}
	}
}
