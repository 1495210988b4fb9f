// Package command is rqvault's command line: one file per command, wiring in wire.go,
// every error's exit code and next step in exit.go. It is the only package that reads
// flags and the environment, prints, or asks for the time.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"rqvault/internal/typo"
)

// Streams are where a command prints: results to Out, progress and complaints to Err.
type Streams struct {
	Out, Err io.Writer
	// GiveWay lets other processes go first. Commands that only read call it, since Redis may
	// share their processors; a restore, for which people wait, does not. It may be nil.
	GiveWay func(niceness int)
}

// errUsage marks a command line that cannot be understood.
var errUsage = errors.New("usage")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// Run executes one command line and returns the process's exit code.
func Run(ctx context.Context, args []string, s Streams) int {
	e := &env{ctx: ctx, args: args, out: s.Out, err: s.Err, giveWay: func(int) {}}
	if s.GiveWay != nil {
		e.giveWay = s.GiveWay
	}
	return e.exit(ctx, e.execute(ctx))
}

// execute runs the command line.
func (e *env) execute(ctx context.Context) error {
	app := newApp(e)
	sorted, err := flagsFirst(app, e.args)
	if err != nil {
		return err
	}
	return app.RunContext(ctx, sorted)
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
		Suggest:                true,
		OnUsageError:           func(c *cli.Context, err error, _ bool) error { return badFlag(c, err) },
		Commands: []*cli.Command{
			e.backupCommand(), e.snapshotsCommand(), e.showCommand(), e.jobsCommand(), e.verifyCommand(),
			e.diffCommand(), e.restoreCommand(), e.drillCommand(), e.doctorCommand(),
			e.pruneCommand(), e.pinCommand(), e.unpinCommand(), e.thawCommand(), e.keyCommand(),
			e.scheduleCommand(), e.configCommand(), e.versionCommand(), e.completionCommand(), e.completeCommand(), e.manCommand(),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return noCommand(c.App, c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	// The library's flags for help and version are variables of the process.
	app.HideHelp, app.HideVersion = e.beside, e.beside
	for _, cmd := range app.Commands {
		cmd.HideHelp = cmd.HideHelp || e.beside
		before := e.configure
		if cmd.Name == "config" || cmd.Name == "schedule" { // they read the configuration as a whole
			before = nil
		}
		cmd.OnUsageError, cmd.Before = app.OnUsageError, before
		for _, sub := range cmd.Subcommands {
			sub.OnUsageError, sub.Before = app.OnUsageError, before
		}
	}
	return app
}

// noCommand complains of a command that does not exist, and guesses which was meant.
func noCommand(app *cli.App, name string) error {
	var names []string
	for _, cmd := range app.Commands {
		names = append(names, cmd.Name)
	}
	if near := typo.Nearest(name, names); near != "" {
		return usage("there is no command %q; did you mean rqvault %s?", name, near)
	}
	return usage("there is no command %q; rqvault help lists them", name)
}

// badFlag says in our words what the flag library says in its own.
func badFlag(c *cli.Context, err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		name = strings.TrimLeft(name, "-")
		if c.Command == nil {
			return usage("there is no flag --%s", name)
		}
		var names []string
		for _, f := range c.Command.Flags {
			names = append(names, f.Names()[0])
		}
		if near := typo.Nearest(name, names); near != "" {
			return usage("there is no flag --%s; did you mean --%s?", name, near)
		}
		return usage("there is no flag --%s; rqvault %s --help lists them", name, c.Command.Name)
	}
	text, _, _ = strings.Cut(text, ": strconv.")
	if strings.HasSuffix(text, ": parse error") {
		text = strings.TrimSuffix(text, ": parse error") + ": use a number, or for a duration a form such as 90s, 30m or 2h"
	}
	return usage("%s", strings.ReplaceAll(text, "for flag -", "for flag --"))
}

// flagsFirst moves the flags of a command before its other arguments, because people
// write "rqvault restore latest --apply" and the flag library stops at the first word
// that is no flag. Nothing after "--" is moved.
func flagsFirst(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	if word := args[1]; strings.HasPrefix(word, "-") && !slices.Contains([]string{"-h", "--help", "-v", "--version"}, word) {
		return nil, usage("%s: flags stand after the command, as in rqvault diff --json", word)
	}
	if args[1] == "help" && len(args) > 2 && app.Command(args[2]) == nil {
		return nil, noCommand(app, args[2])
	}
	cmd := app.Command(args[1])
	if cmd == nil {
		return args, nil
	}
	at := 2 // where the command's own words begin
	if len(args) > 2 && len(cmd.Subcommands) > 0 {
		for _, sub := range cmd.Subcommands {
			if sub.HasName(args[2]) {
				cmd, at = sub, 3
			}
		}
		if at == 2 {
			return args, nil
		}
	}
	valued := map[string]bool{} // a flag that is not known is left to the library's complaint
	for _, f := range cmd.Flags {
		_, boolean := f.(*cli.BoolFlag)
		for _, n := range f.Names() {
			valued[n] = !boolean
		}
	}
	var flags, words []string
	rest := args[at:]
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
	sorted := append(slices.Clone(args[:at]), flags...)
	if len(words) > 0 {
		sorted = append(append(sorted, "--"), words...)
	}
	return sorted, nil
}
