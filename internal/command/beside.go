package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/backup"
	"rqvault/internal/snapshot"
)

// beside is what was noted about a snapshot, beside it.
type beside struct {
	Pinned      bool                `json:"pinned,omitempty"`
	PinReason   string              `json:"pin_reason,omitempty"`
	FrozenSince *time.Time          `json:"frozen_since,omitempty"` // live data collapsed after it
	Incidents   []snapshot.Incident `json:"incidents,omitempty"`
}

// String is the cell of a table, "" if there is nothing.
func (b beside) String() string {
	var parts []string
	if b.FrozenSince != nil {
		parts = append(parts, "last before a collapse")
	}
	if b.Pinned {
		parts = append(parts, "pinned"+because(b.PinReason))
	}
	for _, i := range b.Incidents {
		parts = append(parts, i.Name)
	}
	return strings.Join(parts, ", ")
}

// besides reads the notes of a whole source.
func besides(ctx context.Context, cat *snapshot.Catalog) (map[snapshot.ID]beside, error) {
	pins, err := cat.Pins(ctx)
	if err != nil {
		return nil, err
	}
	frozen, err := backup.Frozen(ctx, cat)
	if err != nil {
		return nil, err
	}
	incidents, err := cat.Incidents(ctx, "")
	if err != nil {
		return nil, err
	}
	all := map[snapshot.ID]beside{}
	for id, p := range pins {
		all[id] = beside{Pinned: true, PinReason: p.Reason}
	}
	for _, f := range frozen {
		b := all[f.Snapshot]
		b.FrozenSince = &f.Since
		all[f.Snapshot] = b
	}
	for _, i := range incidents {
		b := all[i.Snapshot]
		b.Incidents = append(b.Incidents, i)
		all[i.Snapshot] = b
	}
	return all, nil
}

func noteBeside(ctx context.Context, cat *snapshot.Catalog, rows []snapshotRow) error {
	all, err := besides(ctx, cat)
	for i := range rows {
		rows[i].beside = all[rows[i].ID]
	}
	return err
}

// besideHead is the column's head, where there is anything to show.
func besideHead(rows []snapshotRow) []string {
	if slices.ContainsFunc(rows, func(r snapshotRow) bool { return r.beside.String() != "" }) {
		return []string{"NOTED"}
	}
	return nil
}

// frozenRows says for which snapshots retention stands still.
func frozenRows(rows []snapshotRow) []string {
	var said []string
	for _, r := range rows {
		if r.FrozenSince != nil {
			said = append(said, frozenSince(*r.FrozenSince, r.ID))
		}
	}
	return said
}

func frozenSince(since time.Time, id snapshot.ID) string {
	return fmt.Sprintf("retention is frozen since %s: live data collapsed after snapshot %s; rqvault thaw %s when what was lost is back, or was meant to go",
		since.UTC().Format(time.RFC3339), id, id)
}

// stillFrozen warns of a freeze that is older than the snapshot just taken, which warns of
// its own. What cannot be read is for prune to complain of.
func stillFrozen(ctx context.Context, cat *snapshot.Catalog, m *snapshot.Manifest) []string {
	frozen, err := backup.Frozen(ctx, cat)
	if err != nil {
		return nil
	}
	var said []string
	for _, f := range frozen {
		if f.Since.Before(m.CreatedAt) {
			said = append(said, frozenSince(f.Since, f.Snapshot))
		}
	}
	return said
}

// printBeside adds to what show says of a snapshot.
func (e *env) printBeside(c *cli.Context, cat *snapshot.Catalog, id snapshot.ID) error {
	all, err := besides(c.Context, cat)
	if err != nil {
		return err
	}
	b := all[id]
	if b.Pinned {
		fmt.Fprintf(e.out, "\npinned%s\n", because(b.PinReason))
	}
	for n, i := range b.Incidents {
		if n == 0 {
			fmt.Fprintln(e.out)
		}
		fmt.Fprintf(e.out, "beside it: %s, %s, stored %s ago\n", clean(i.Name), size(i.Size), age(e.now().Sub(i.At)))
		if plan, _, is := strings.Cut(i.Name, ".json"); is && plan == "plan" {
			fmt.Fprintf(e.out, "next: %s --beside plan.json > plan.json; rqvault show plan.json\n", e.again(c, "show", string(id)))
		}
	}
	if b.FrozenSince != nil {
		e.warn([]string{frozenSince(*b.FrozenSince, id)})
	}
	return nil
}

// writeBeside writes one of the documents beside a snapshot. An encrypted one goes by the
// name that it had.
func (e *env) writeBeside(c *cli.Context, cat *snapshot.Catalog, id snapshot.ID) error {
	there, err := cat.Incidents(c.Context, id)
	if err != nil {
		return err
	}
	var names []string
	for _, i := range there {
		if i.Name == c.String("beside") || strings.HasPrefix(i.Name, c.String("beside")+".") {
			r, err := cat.OpenIncident(c.Context, id, i.Name)
			if err != nil {
				return err
			}
			_, err = io.Copy(e.out, r)
			return errors.Join(err, r.Close())
		}
		names = append(names, i.Name)
	}
	if len(names) == 0 {
		return usage("nothing is stored beside %s", id)
	}
	return usage("beside %s there is no %s; there are %s", id, quote(c.String("beside")), strings.Join(names, ", "))
}
