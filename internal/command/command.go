// Package command is rqvault's command line: one file per command, wiring in wire.go,
// every error's exit code and next step in exit.go. It is the only package that reads
// flags and the environment, prints, or asks for the time.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// Streams are where a command prints: results to Out, progress and complaints to Err.
type Streams struct{ Out, Err io.Writer }

// errUsage marks a command line that cannot be understood.
var errUsage = errors.New("usage")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// Run executes one command line and returns the process's exit code.
func Run(ctx context.Context, args []string, s Streams) int {
	e := &env{ctx: ctx, args: args, out: s.Out, err: s.Err}
	app := newApp(e)
	sorted, err := flagsFirst(app, args)
	if err == nil {
		err = app.RunContext(ctx, sorted)
	}
	return e.exit(ctx, err)
}

func newApp(e *env) *cli.App {
	app := &cli.App{
		Name:                   "rqvault",
		Usage:                  "snapshots of Redis job queues, and the lost jobs put back",
		Version:                version(),
		Writer:                 e.out,
		ErrWriter:              e.err,
		ExitErrHandler:         func(*cli.Context, error) {}, // exit codes are decided in exit.go
		UseShortOptionHandling: true,
		EnableBashCompletion:   true,
		Suggest:                true,
		OnUsageError:           func(_ *cli.Context, err error, _ bool) error { return usage("%v", err) },
		Commands: []*cli.Command{
			e.backupCommand(), e.snapshotsCommand(), e.showCommand(), e.jobsCommand(), e.verifyCommand(),
			e.diffCommand(), e.restoreCommand(), e.pruneCommand(), e.versionCommand(),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("there is no command %q; rqvault help lists them", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, cmd := range app.Commands {
		cmd.OnUsageError = app.OnUsageError
	}
	return app
}

// flagsFirst moves the flags of a command before its other arguments, because people
// write "rqvault restore latest --apply" and the flag library stops at the first word
// that is no flag. Nothing after "--" is moved.
func flagsFirst(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	cmd := app.Command(args[1])
	if cmd == nil {
		return args, nil
	}
	valued := map[string]bool{} // a flag that is not known is left to the library's complaint
	for _, f := range cmd.Flags {
		_, boolean := f.(*cli.BoolFlag)
		for _, n := range f.Names() {
			valued[n] = !boolean
		}
	}
	var flags, words []string
	rest := args[2:]
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		if arg == "--" {
			words = append(words, rest[i+1:]...)
			break
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			words = append(words, arg)
			continue
		}
		flags = append(flags, arg)
		name := strings.TrimLeft(arg, "-")
		if valued[name] {
			if i+1 == len(rest) {
				return nil, usage("flag %s needs a value", arg)
			}
			i++
			flags = append(flags, rest[i])
		}
	}
	sorted := append([]string{args[0], args[1]}, flags...)
	if len(words) > 0 {
		sorted = append(append(sorted, "--"), words...)
	}
	return sorted, nil
}
