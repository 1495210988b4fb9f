package command

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
)

func (e *env) pruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "remove what broken backups left behind; shows it unless --apply is given",
		Flags: flags(storeFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "apply", Usage: "do it"},
		}, outputFlags()),
		Action: e.prune,
	}
}

// leftoverOut is one element of prune --json.
type leftoverOut struct {
	Key      string    `json:"key"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Partial  bool      `json:"partial"`
	Removed  bool      `json:"removed"`
}

func (e *env) prune(c *cli.Context) error {
	if c.Args().Present() {
		return usage("prune takes no arguments, only flags")
	}
	cat, err := e.catalog(c)
	if err != nil {
		return err
	}
	found, err := cat.Garbage(c.Context, e.now())
	if err != nil {
		return err
	}
	if c.Bool("apply") {
		if err := cat.Sweep(c.Context, found); err != nil {
			return err
		}
	}
	out := []leftoverOut{}
	var total int64
	for _, l := range found {
		out = append(out, leftoverOut{l.Key, l.Size, l.Modified.UTC(), l.Partial, c.Bool("apply")})
		total += l.Size
	}
	if c.Bool("json") {
		return e.printJSON(out)
	}
	for _, l := range out {
		fmt.Fprintf(e.out, "%s  %s, %s old\n", clean(l.Key), size(l.Size), age(e.now().Sub(l.Modified)))
	}
	switch {
	case len(out) == 0:
		fmt.Fprintln(e.out, "nothing was left behind")
	case c.Bool("apply"):
		fmt.Fprintf(e.out, "removed %s, %s\n", plural(int64(len(out)), "leftover"), size(total))
	default:
		fmt.Fprintf(e.out, "%s, %s; nothing was removed\nnext: rqvault prune --apply\n", plural(int64(len(out)), "leftover"), size(total))
	}
	return nil
}
