package command

import (
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"rqvault/backup"
	"rqvault/internal/snapshot"
)

func reasonFlag() []cli.Flag {
	return []cli.Flag{&cli.StringFlag{Name: "reason", Usage: "`TEXT` that says why, for whoever reads it in a year"}}
}

func (e *env) pinCommand() *cli.Command {
	return &cli.Command{
		Name:      "pin",
		Usage:     "keep a snapshot whatever the retention policy says",
		ArgsUsage: "SNAPSHOT",
		Flags:     flags(storeFlags(), reasonFlag(), outputFlags()),
		Action:    e.pin,
	}
}

func (e *env) unpinCommand() *cli.Command {
	return &cli.Command{
		Name:      "unpin",
		Usage:     "leave a snapshot to the retention policy again",
		ArgsUsage: "SNAPSHOT",
		Flags:     flags(storeFlags(), outputFlags()),
		Action:    e.unpin,
	}
}

func (e *env) thawCommand() *cli.Command {
	return &cli.Command{
		Name:      "thaw",
		Usage:     "say that what was lost after a snapshot is back, or was meant to go: retention goes on",
		ArgsUsage: "[SNAPSHOT]",
		Flags:     flags(storeFlags(), reasonFlag(), outputFlags()),
		Action:    e.thaw,
	}
}

// named resolves the one snapshot that such a command is about; without a name it is not
// guessed.
func (e *env) named(c *cli.Context) (*snapshot.Catalog, snapshot.ID, error) {
	if c.NArg() != 1 {
		return nil, "", usage("%s takes one snapshot: rqvault snapshots lists them", c.Command.Name)
	}
	cat, err := e.catalog(c)
	if err != nil {
		return nil, "", err
	}
	id, err := cat.Resolve(c.Context, c.Args().First())
	if err != nil {
		return nil, "", e.explainMissing(c.Context, cat, c.Args().First(), err)
	}
	return cat, id, nil
}

func (e *env) pin(c *cli.Context) error {
	cat, id, err := e.named(c)
	if err != nil {
		return err
	}
	p := snapshot.Pin{Snapshot: id, At: e.now().UTC(), Reason: clean(c.String("reason"))}
	err = cat.Pin(c.Context, p)
	already := errors.Is(err, snapshot.ErrExists)
	if err != nil && !already {
		return err
	}
	if already {
		pins, err := cat.Pins(c.Context)
		if err != nil {
			return err
		}
		p = pins[id]
	}
	if c.Bool("json") {
		return e.printJSON(p)
	}
	if already {
		fmt.Fprintf(e.out, "%s is pinned already%s\n", id, because(p.Reason))
		return nil
	}
	fmt.Fprintf(e.out, "%s is pinned%s: no retention policy removes it. To undo that: %s\n", id, because(p.Reason), e.again(c, "unpin", string(id)))
	return nil
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + clean(reason) + ")"
}

func (e *env) unpin(c *cli.Context) error {
	cat, id, err := e.named(c)
	if err != nil {
		return err
	}
	pins, err := cat.Pins(c.Context)
	if err != nil {
		return err
	}
	if err := cat.Unpin(c.Context, id); err != nil {
		return err
	}
	if c.Bool("json") {
		return e.printJSON(map[string]any{"snapshot": id, "pinned": false})
	}
	words := "was not pinned"
	if _, was := pins[id]; was {
		words = "is not pinned any more: the retention policy decides"
	}
	fmt.Fprintf(e.out, "%s %s\n", id, words)
	return nil
}

// thawOut is thaw --json.
type thawOut struct {
	Thawed []snapshot.ID     `json:"thawed"`
	Frozen []snapshot.Freeze `json:"frozen"` // what still is
}

func (e *env) thaw(c *cli.Context) error {
	cat, err := e.catalog(c)
	if err != nil {
		return err
	}
	frozen, err := backup.Frozen(c.Context, cat)
	if err != nil {
		return err
	}
	id, err := e.toThaw(c, cat, frozen)
	if err != nil {
		return err
	}
	out := thawOut{Thawed: []snapshot.ID{}, Frozen: []snapshot.Freeze{}}
	if id != "" {
		if err := cat.Thaw(c.Context, snapshot.Thaw{Snapshot: id, At: e.now().UTC(), Reason: clean(c.String("reason"))}); err != nil {
			return err
		}
		out.Thawed = append(out.Thawed, id)
	}
	for _, f := range frozen {
		if f.Snapshot != id {
			out.Frozen = append(out.Frozen, f)
		}
	}
	if c.Bool("json") {
		return e.printJSON(out)
	}
	switch {
	case id == "":
		fmt.Fprintln(e.out, "retention is not frozen")
	case !slices.ContainsFunc(frozen, func(f snapshot.Freeze) bool { return f.Snapshot == id }):
		fmt.Fprintf(e.out, "retention is not frozen for %s; should it ever be, it will go on\n", id)
	case len(out.Frozen) > 0:
		fmt.Fprintf(e.out, "noted for %s; retention is still frozen: live data collapsed after %s too\nnext: %s\n", id, out.Frozen[0].Snapshot, e.again(c, "diff", string(out.Frozen[0].Snapshot)))
	default:
		fmt.Fprintf(e.out, "noted for %s: retention goes on, and may remove it. If you have not looked yet whether anything of it is missing: %s\n", id, e.again(c, "diff", string(id)))
	}
	return nil
}

// toThaw picks the snapshot that is meant: the one that is named, or the only one that
// retention is frozen for; "" where it is not frozen.
func (e *env) toThaw(c *cli.Context, cat *snapshot.Catalog, frozen []snapshot.Freeze) (snapshot.ID, error) {
	if c.Args().Present() {
		for _, f := range frozen { // also where somebody removed the snapshot itself
			if c.NArg() == 1 && string(f.Snapshot) == c.Args().First() {
				return f.Snapshot, nil
			}
		}
		_, id, err := e.named(c)
		return id, err
	}
	switch len(frozen) {
	case 0:
		return "", nil
	case 1:
		return frozen[0].Snapshot, nil
	}
	return "", &advice{fmt.Errorf("%w: live data collapsed more than once, after %s and after %s: name the one whose losses are settled", errUsage, frozen[0].Snapshot, frozen[1].Snapshot),
		e.again(c, "thaw", string(frozen[0].Snapshot))}
}
