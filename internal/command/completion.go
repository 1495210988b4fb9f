package command

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/internal/snapshot"
	"rqvault/internal/source"
	"rqvault/verify"
)

// The scripts that tie a shell's completion to the hidden command below.
var (
	//go:embed shell/rqvault.bash
	bashScript string
	//go:embed shell/rqvault.zsh
	zshScript string
	//go:embed shell/rqvault.fish
	fishScript string
)

func (e *env) completionCommand() *cli.Command {
	scripts := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the script that completes rqvault's command line in a shell",
		ArgsUsage: "bash|zsh|fish",
		Action: func(c *cli.Context) error {
			script, ok := scripts[c.Args().First()]
			if !ok || c.NArg() > 1 {
				return usage("name one shell: rqvault completion bash, zsh or fish")
			}
			_, err := io.WriteString(e.out, script)
			return err
		},
	}
}

// completeName is the hidden command that the scripts call. Its arguments are the words
// behind "rqvault" up to the cursor, the last of them perhaps empty. It prints a line for
// each word that could stand there: the word, a tab, what it means; or askFiles, where
// the shell knows best.
const (
	completeName = "__complete"
	askFiles     = ":files"
)

// completeTime is how long a person who pressed the tab key waits for a store.
const completeTime = time.Second

func (e *env) completeCommand() *cli.Command {
	return &cli.Command{
		Name:     completeName,
		Usage:    "what could stand at the cursor, for the scripts of rqvault completion",
		Hidden:   true,
		HideHelp: true,
		Action: func(c *cli.Context) error {
			for _, s := range e.complete(c.App, c.Args().Slice()) {
				fmt.Fprintf(e.out, "%s\t%s\n", clean(s.word), clean(s.meaning))
			}
			return nil
		},
	}
}

// suggestion is one word that could stand at the cursor.
type suggestion struct{ word, meaning string }

// starting returns those that begin with what is typed of the word; askFiles stays.
func starting(typed string, all []suggestion) []suggestion {
	return slices.DeleteFunc(all, func(s suggestion) bool {
		return s.word != askFiles && !strings.HasPrefix(s.word, typed)
	})
}

// complete returns what could stand in the place of the last word.
func (e *env) complete(app *cli.App, words []string) []suggestion {
	if len(words) == 0 {
		words = []string{""}
	}
	typed, at := words[:len(words)-1], words[len(words)-1]
	if len(typed) > 0 && typed[0] == "help" {
		typed = typed[1:]
	}
	path, commands := []*cli.Command(nil), app.Commands
	for len(typed) > 0 {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(typed[0]) })
		if i < 0 {
			break
		}
		path, commands, typed = append(path, commands[i]), commands[i].Subcommands, typed[1:]
	}
	switch {
	case len(typed) == 0 && len(commands) > 0 && !strings.HasPrefix(at, "-"):
		return starting(at, commandWords(commands))
	case len(path) == 0:
		return nil
	}
	return e.completeArgs(path, typed, at)
}

func commandWords(commands []*cli.Command) []suggestion {
	var out []suggestion
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, suggestion{c.Name, c.Usage})
		}
	}
	return out
}

// completeArgs is for what stands behind the names of commands.
func (e *env) completeArgs(path []*cli.Command, typed []string, at string) []suggestion {
	cmd := path[len(path)-1]
	if slices.Contains(typed, "--") {
		return starting(at, e.argumentWords(path, typed))
	}
	if name, value, ok := strings.Cut(at, "="); ok && strings.HasPrefix(name, "-") {
		found := starting(value, valueWords(strings.TrimLeft(name, "-")))
		for i := range found {
			if found[i].word != askFiles {
				found[i].word = name + "=" + found[i].word
			}
		}
		return found
	}
	if n := len(typed); n > 0 && strings.HasPrefix(typed[n-1], "-") && takesValue(cmd, strings.TrimLeft(typed[n-1], "-")) {
		return starting(at, valueWords(strings.TrimLeft(typed[n-1], "-")))
	}
	if strings.HasPrefix(at, "-") {
		return starting(at, flagWords(cmd, typed))
	}
	found := starting(at, e.argumentWords(path, typed))
	if len(found) == 0 && at == "" {
		return flagWords(cmd, typed)
	}
	return found
}

// docFlag is a flag as the flag library describes it.
type docFlag interface {
	cli.Flag
	cli.DocGenerationFlag
	cli.VisibleFlag
}

// docFlags returns the flags of a command that people are shown.
func docFlags(cmd *cli.Command) []docFlag {
	var out []docFlag
	for _, f := range cmd.Flags {
		if d, ok := f.(docFlag); ok && d.IsVisible() && f != cli.HelpFlag {
			out = append(out, d)
		}
	}
	return out
}

func takesValue(cmd *cli.Command, name string) bool {
	return slices.ContainsFunc(docFlags(cmd), func(f docFlag) bool { return f.TakesValue() && slices.Contains(f.Names(), name) })
}

// flagWords are the flags not typed yet, and those that may be repeated.
func flagWords(cmd *cli.Command, typed []string) []suggestion {
	var out []suggestion
	for _, f := range docFlags(cmd) {
		word := "--" + f.Names()[0]
		_, many := f.(*cli.StringSliceFlag)
		if many || !slices.Contains(typed, word) {
			out = append(out, suggestion{word, strings.ReplaceAll(f.GetUsage(), "`", "")})
		}
	}
	return out
}

// valueWords are the values of a flag where they are a closed set.
func valueWords(flag string) []suggestion {
	var out []suggestion
	add := func(words ...string) {
		for _, w := range words {
			out = append(out, suggestion{word: w})
		}
	}
	switch flag {
	case "via":
		add(source.Ways...)
	case "policy":
		add(string(verify.AtLeastOnce), string(verify.AtMostOnce))
	case "started":
		add(string(verify.StartedRequeue), string(verify.StartedHold), string(verify.StartedFail))
	case "assume":
		add(string(lineage.Older), string(lineage.Vanished), string(lineage.Complete))
	case "status":
		for _, s := range job.Statuses() {
			add(string(s))
		}
	case "invariant":
		for _, inv := range verify.Invariants {
			out = append(out, suggestion{inv.Name, inv.Means})
		}
	case "store", "out", "report", "plan", "config", "redis-server":
		add(askFiles)
	}
	if strings.HasSuffix(flag, "-file") || strings.HasSuffix(flag, "-dir") {
		add(askFiles)
	}
	return out
}

// argumentWords are what the command works on: snapshots, files, or the words that its
// usage lists.
func (e *env) argumentWords(path []*cli.Command, typed []string) []suggestion {
	takes := path[len(path)-1].ArgsUsage
	var out []suggestion
	if strings.Contains(takes, "SNAPSHOT") {
		out = e.snapshotWords(path, typed)
	}
	if strings.Contains(takes, "FILE") || strings.Contains(takes, ".json") {
		out = append(out, suggestion{word: askFiles})
	}
	if takes != "" && !strings.ContainsAny(takes, "[ ") && len(typed) == 0 {
		for word := range strings.SplitSeq(takes, "|") {
			out = append(out, suggestion{word: word})
		}
	}
	return out
}

// snapshotWords asks the store that the flags typed so far name, or the environment does,
// for its snapshots, the newest first. A store that gives no answer in time has none. The
// command itself does not run.
func (e *env) snapshotWords(path []*cli.Command, typed []string) []suggestion {
	ctx, cancel := context.WithTimeout(e.ctx, completeTime)
	defer cancel()
	asked := &env{ctx: ctx, out: io.Discard, err: io.Discard}
	app := newApp(asked)
	args := []string{app.Name}
	commands := app.Commands
	var cmd *cli.Command
	for _, p := range path {
		args = append(args, p.Name)
		cmd = commands[slices.IndexFunc(commands, func(c *cli.Command) bool { return c.Name == p.Name })]
		commands = cmd.Subcommands
	}
	var ids []snapshot.ID
	cmd.Action = func(c *cli.Context) error {
		cat, err := asked.catalog(c)
		if err != nil {
			return err
		}
		ids, err = cat.IDs(c.Context)
		return err
	}
	sorted, err := flagsFirst(app, append(args, typed...))
	if err != nil || app.RunContext(ctx, sorted) != nil || len(ids) == 0 {
		return nil
	}
	out := []suggestion{{"latest", "the newest"}}
	for _, id := range slices.Backward(ids) {
		out = append(out, suggestion{string(id), "taken " + age(e.now().Sub(id.Time())) + " ago"})
	}
	return out
}
