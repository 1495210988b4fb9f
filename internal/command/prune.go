package command

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/backup"
	"rqvault/internal/lease"
	"rqvault/internal/snapshot"
)

func (e *env) pruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "remove the snapshots that --keep-… does not keep, and what broken backups left behind; shows it unless --apply is given",
		Flags: flags(storeFlags(), keepFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "apply", Usage: "do it"},
		}, outputFlags()),
		Action: e.prune,
	}
}

// pruneOut is prune --json.
type pruneOut struct {
	Source    string            `json:"source"`
	Policy    string            `json:"policy"`
	Applied   bool              `json:"applied"`
	Refused   string            `json:"refused,omitempty"`
	Frozen    []snapshot.Freeze `json:"frozen"`
	Snapshots []retained        `json:"snapshots"`
	Leftovers []leftoverOut     `json:"leftovers"`
}

// leftoverOut is one element of its "leftovers".
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
	policy, err := keep(c)
	if err != nil {
		return err
	}
	if err := policy.Validate(); err != nil {
		return err
	}
	cat, err := e.catalog(c)
	if err != nil {
		return err
	}
	kept, err := backup.Retain(c.Context, cat, policy, e.now())
	if err != nil {
		return err
	}
	left, err := cat.Garbage(c.Context, e.now())
	if err != nil {
		return err
	}
	refused := kept.Check()
	if refused == nil && c.Bool("apply") {
		err = e.removeAll(c, cat, kept, left)
	}
	applied := c.Bool("apply") && refused == nil
	if c.Bool("json") {
		out := pruneOut{Source: cat.Source(), Policy: policy.String(), Applied: applied, Frozen: kept.Frozen, Snapshots: retainedOut(kept), Leftovers: leftovers(left, applied && err == nil)}
		if refused != nil {
			out.Refused = refused.Error()
		}
		if out.Frozen == nil {
			out.Frozen = []snapshot.Freeze{}
		}
		err = errors.Join(err, e.printJSON(out))
	} else if refused != nil || err != nil || !c.Bool("quiet") || !applied {
		e.printPruned(c, kept, left, policy, refused, err)
	}
	if refused != nil {
		return e.mayNot(c, kept, refused)
	}
	return err
}

// removeAll does it: the snapshots first, since what a stopped run left is garbage.
func (e *env) removeAll(c *cli.Context, cat *snapshot.Catalog, kept *backup.Retention, left []snapshot.Leftover) error {
	if _, err := cat.Rescan(c.Context); err != nil { // a stopped run may have left a snapshot without its marker
		return err
	}
	err := kept.Remove(c.Context, lease.Check)
	if errors.Is(err, backup.ErrFrozen) { // since we looked
		return e.mayNot(c, kept, err)
	}
	if err == nil {
		err = cat.Sweep(c.Context, left)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errPartly, err)
	}
	return nil
}

// mayNot adds to a refusal what to type next.
func (e *env) mayNot(c *cli.Context, kept *backup.Retention, refused error) error {
	if len(kept.Frozen) == 0 {
		return &advice{refused, e.again(c, "verify")}
	}
	id := string(kept.Frozen[0].Snapshot)
	return &advice{refused, fmt.Sprintf("see what is missing: %s; put it back: %s; when that is done, or if it was meant: %s",
		e.again(c, "diff", id), e.again(c, "restore", id), e.again(c, "thaw", id))}
}

func leftovers(left []snapshot.Leftover, removed bool) []leftoverOut {
	out := []leftoverOut{}
	for _, l := range left {
		out = append(out, leftoverOut{l.Key, l.Size, l.Modified.UTC(), l.Partial, removed && !l.Locked})
	}
	return out
}

func (e *env) printPruned(c *cli.Context, kept *backup.Retention, left []snapshot.Leftover, policy backup.Keep, refused, failed error) {
	if !policy.Empty() && len(kept.Snapshots) > 0 {
		e.printRetention(kept)
	}
	var total int64
	for _, l := range left {
		note := ""
		if l.Locked {
			note = ", locked by the store"
		}
		fmt.Fprintf(e.out, "%s  %s, %s old%s\n", clean(l.Key), size(l.Size), age(e.now().Sub(l.Modified)), note)
		total += l.Size
	}
	var said []string
	if n := len(kept.Going()); n > 0 {
		said = append(said, summary(kept, c.Bool("apply") && refused == nil))
	}
	switch n := plural(int64(len(left)), "leftover"); {
	case len(left) > 0 && c.Bool("apply"):
		said = append(said, fmt.Sprintf("removed %s, %s", n, size(total)))
	case len(left) > 0:
		said = append(said, fmt.Sprintf("%s, %s", n, size(total)))
	}
	switch {
	case refused != nil || failed != nil:
	case len(said) == 0 && policy.Empty():
		fmt.Fprintln(e.out, "nothing was left behind\nevery snapshot is kept: no --keep-… is given")
	case len(said) == 0:
		fmt.Fprintln(e.out, "nothing to remove")
	case c.Bool("apply"):
		fmt.Fprintln(e.out, strings.Join(said, "; "))
	default:
		fmt.Fprintf(e.out, "%s; nothing was removed\nnext: %s --apply\n", strings.Join(said, "; "), e.again(c, "prune"))
	}
}
