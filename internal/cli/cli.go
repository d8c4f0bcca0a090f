// Package cli is the command line. Commands are built by constructors, one each,
// from the process they run in; there are no package variables, so tests run
// whole command lines in one process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/rules"
	"github.com/modelwarden/warden/scan"
)

// The exit codes, the same for every command.
const (
	exitOK         = 0 // nothing at or above --fail-on
	exitFindings   = 1 // findings at or above --fail-on, or a denial
	exitUsage      = 2 // the command line or the configuration makes no sense
	exitIncomplete = 3 // could not finish; never reported as 0
)

// A Process is what a command line runs in.
type Process struct {
	Args   []string // without the program's name
	Getenv func(string) string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// An exit ends a command with a code that is not that of its error.
type exit struct {
	code int
	err  error // nil: everything was said already
}

// Error implements error.
func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns the error to be shown.
func (e *exit) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return &exit{exitUsage, fmt.Errorf(format, args...)} }

// Run executes one command line and returns the exit code. It touches nothing
// of the process but what p holds and the files it is told to.
func Run(ctx context.Context, p Process) int {
	root := newRoot(&app{Process: p}) //nolint:contextcheck // commands get ctx when they run
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code, shown := codeOf(ctx, err)
	if shown != nil {
		fmt.Fprintf(p.Stderr, "warden: %v\n", shown)
	}
	return code
}

// codeOf returns the exit code of err and what to show of it.
func codeOf(ctx context.Context, err error) (int, error) {
	var (
		ex *exit
		we *warden.Error
	)
	switch {
	case errors.As(err, &ex):
		return ex.code, ex.err
	case errors.As(err, &we):
		switch we.Code {
		case warden.CodeDenied:
			return exitFindings, err
		case warden.CodeInvalid:
			return exitUsage, err
		default:
			return exitIncomplete, err
		}
	case ctx.Err() != nil:
		return exitIncomplete, errors.New("interrupted")
	default:
		return exitIncomplete, err
	}
}

// Commands lists the commands and subcommands that Run knows, with spaces.
func Commands() []string {
	var names []string
	var walk func(c *cobra.Command, prefix string)
	walk = func(c *cobra.Command, prefix string) {
		for _, sub := range c.Commands() {
			name := strings.TrimSpace(prefix + " " + sub.Name())
			names = append(names, name)
			walk(sub, name)
		}
	}
	walk(newRoot(&app{}), "")
	slices.Sort(names)
	return names
}

// An app is what commands share.
type app struct {
	Process
	server, keyFile, data string
	debug                 bool
	passphraseFile        string // of a locked signing key
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "warden",
		Short: "Protect AI models, from training data to answer",
		Long: "Warden scans model files, keeps them in a registry with signed evidence, and refuses\n" +
			"what is dangerous or quarantined at every place: download, gateway, console.\n\n" +
			"Exit codes: 0 nothing found, 1 findings or a denial, 2 usage, 3 could not finish.",
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %q (hint: warden --help lists the commands)", args[0])
			}
			return c.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w (hint: %s --help)", err, c.CommandPath())
	})
	f := root.PersistentFlags()
	f.StringVar(&a.data, "data", "", "data folder of the server on this machine (default $WARDEN_DATA or .data)")
	f.StringVar(&a.server, "server", "", "base URL of the server's API (default $WARDEN_SERVER or the server on this machine)")
	f.StringVar(&a.keyFile, "key-file", "", "file with an access key (default $WARDEN_KEY or the key of the server on this machine)")
	f.BoolVar(&a.debug, "debug", false, "log more")
	root.AddCommand(
		newScan(a), newInspect(a), newInventory(a), newGuard(a), newSign(a), newVerify(a), newAttest(a), newKey(a), newRules(a), newServe(a), newConfig(a), newBackup(a), newRestore(a), newRegistry(a), newAsset(a), newRisk(a), newFindings(a), newJobs(a), newAudit(a), newEvents(a), newAccess(a), newGateway(a), newTrust(a), newPolicy(a), newExplain(a), newDecide(a), newDemo(a), newVersion(a),
	)
	return root
}

// args wraps a check of arguments so that its error is a usage error with a hint.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, a []string) error {
		if err := check(c, a); err != nil {
			return usage("%s: %w (hint: %s)", c.CommandPath(), err, c.UseLine())
		}
		return nil
	}
}

// group makes a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: func(c *cobra.Command, a []string) error {
		if len(a) > 0 {
			return usage("unknown command %q (hint: %s --help)", c.CommandPath()+" "+a[0], c.CommandPath())
		}
		return c.Help()
	}}
	c.AddCommand(subs...)
	return c
}

// terminal reports whether w is a terminal.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

func (a *app) colour(w io.Writer) bool { return terminal(w) && a.Getenv("NO_COLOR") == "" }

func (a *app) logger() *slog.Logger {
	level := slog.LevelInfo
	if a.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: level}))
}

// version returns the version of the program from its build information.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// tool describes this program and its rules in reports.
func tool() report.Tool {
	return report.Tool{Name: "warden", Version: version(), Rules: rules.Version(scan.Rules())}
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Version of the program and of its rules", Args: args(cobra.NoArgs), RunE: func(*cobra.Command, []string) error {
		t := tool()
		_, err := fmt.Fprintf(a.Stdout, "warden %s, rules %s\n", t.Version, t.Rules)
		return err
	}}
}

// since renders an age for people.
func since(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
