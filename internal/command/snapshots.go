package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/snapshot"
)

// snapshotRow is one element of snapshots --json.
type snapshotRow struct {
	ID            snapshot.ID `json:"id"`
	Source        string      `json:"source"`
	CreatedAt     time.Time   `json:"created_at"`
	Via           string      `json:"via"`
	Jobs          int64       `json:"jobs"`
	Keys          int64       `json:"keys"`
	Size          int64       `json:"size"`
	StoredSize    int64       `json:"stored_size"`
	VerifiedAt    *time.Time  `json:"verified_at"`
	FailedAt      *time.Time  `json:"verify_failed_at,omitempty"`
	Damaged       string      `json:"damaged,omitempty"`
	DrilledAt     *time.Time  `json:"drilled_at,omitempty"`
	DrillFailedAt *time.Time  `json:"drill_failed_at,omitempty"`
	OutsideAt     *time.Time  `json:"outside_at,omitempty"`
	Epoch         int         `json:"epoch,omitempty"`
	beside
}

func (e *env) snapshotsCommand() *cli.Command {
	return &cli.Command{
		Name:  "snapshots",
		Usage: "list the stored snapshots, oldest first",
		Flags: flags(storeFlags(), trustFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "rescan", Usage: "rebuild the list from the manifests themselves"},
		}, outputFlags()),
		Action: e.snapshots,
	}
}

func (e *env) snapshots(c *cli.Context) error {
	if c.Args().Present() {
		return usage("snapshots takes no arguments; rqvault show %s looks into one", c.Args().First())
	}
	store, err := e.store(c)
	if err != nil {
		return err
	}
	switch err := snapshot.CheckRepository(c.Context, store); {
	case errors.Is(err, snapshot.ErrNotFound):
		if there, err := snapshot.Sources(c.Context, store); err == nil && len(there) > 0 {
			break // its first object is gone, and the snapshots are not: the next backup writes it again
		}
		return fmt.Errorf("%s: %w: it holds no rqvault.json, so nothing was ever saved there", store, snapshot.ErrNoStore)
	case err != nil:
		return err
	}
	names := []string{c.String("source")}
	if !c.IsSet("source") {
		if names, err = snapshot.Sources(c.Context, store); err != nil {
			return err
		}
	}
	rows := []snapshotRow{}
	for _, name := range names {
		cat, err := snapshot.NewCatalog(store, name)
		if err != nil {
			return usage("--%v", err)
		}
		if cat, err = e.keyed(c, cat); err != nil {
			return err
		}
		if c.Bool("rescan") {
			n, err := cat.Rescan(c.Context)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.err, "source %s: %s of the list corrected\n", name, plural(int64(n), "line"))
		}
		some, err := listSource(c.Context, cat)
		if err != nil {
			return err
		}
		rows = append(rows, some...)
	}
	if c.Bool("json") {
		return e.printJSON(rows)
	}
	if len(rows) == 0 && c.IsSet("source") {
		return e.noSource(c.Context, store, c.String("source"))
	}
	return e.printSnapshots(rows, store)
}

// noSource says that a source has no snapshots, and which have.
func (e *env) noSource(ctx context.Context, store snapshot.Store, name string) error {
	there, err := snapshot.Sources(ctx, store)
	if err != nil {
		return err
	}
	if len(there) == 0 {
		return fmt.Errorf("%w in %s yet", snapshot.ErrNoSnapshot, store)
	}
	return fmt.Errorf("%w of source %s in %s: there are sources %s", snapshot.ErrNoSnapshot, name, store, strings.Join(there, ", "))
}

// listParallel is how many manifests are read at once.
const listParallel = 8

func listSource(ctx context.Context, cat *snapshot.Catalog) ([]snapshotRow, error) {
	ids, err := cat.IDs(ctx)
	if err != nil {
		return nil, err
	}
	verified, err := cat.Verified(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]snapshotRow, len(ids))
	errs := make([]error, len(ids))
	turn := make(chan struct{}, listParallel)
	var wg sync.WaitGroup
	for i, id := range ids {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			rows[i], errs[i] = describe(ctx, cat, id)
			if p := verified[id]; !p.OK.IsZero() {
				rows[i].VerifiedAt = &p.OK
			}
			if p := verified[id]; p.Damaged() {
				rows[i].FailedAt = &p.Failed
			}
			if p := verified[id]; !p.DrillOK.IsZero() {
				rows[i].DrilledAt = &p.DrillOK
			}
			if p := verified[id]; p.FailedDrill() {
				rows[i].DrillFailedAt = &p.DrillFailed
			}
			if p := verified[id]; !p.OutsideOK.IsZero() {
				rows[i].OutsideAt = &p.OutsideOK
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return rows, noteBeside(ctx, cat, rows)
}

// describe reads one manifest. A damaged one is shown as such: the others still count.
func describe(ctx context.Context, cat *snapshot.Catalog, id snapshot.ID) (snapshotRow, error) {
	m, err := cat.Manifest(ctx, id)
	switch {
	case errors.Is(err, snapshot.ErrDamaged) || errors.Is(err, snapshot.ErrTooNew) || errors.Is(err, snapshot.ErrNoSnapshot) || unproven(err):
		return snapshotRow{ID: id, Source: cat.Source(), CreatedAt: id.Time(), Damaged: err.Error()}, nil
	case err != nil:
		return snapshotRow{}, err
	}
	row := snapshotRow{ID: id, Source: m.Source, CreatedAt: m.CreatedAt, Via: m.Via, Jobs: m.Counts.Jobs, Keys: m.Counts.Keys,
		Size: m.Dump.Size, StoredSize: m.StoredSize()}
	if m.Encryption != nil {
		row.Epoch = m.Encryption.Epoch
	}
	return row, nil
}

func (e *env) printSnapshots(rows []snapshotRow, store snapshot.Store) error {
	if len(rows) == 0 {
		fmt.Fprintf(e.out, "no snapshots in %s yet\nnext: rqvault backup\n", store)
		return nil
	}
	t := newTable(e.out, append([]string{"SNAPSHOT", "SOURCE", "AGE", "JOBS", "KEYS", "SIZE", "STORED", "VERIFIED"}, besideHead(rows)...)...)
	now := e.now()
	var damaged []string
	for _, r := range rows {
		if r.Damaged != "" {
			t.row(r.ID, r.Source, age(now.Sub(r.CreatedAt)), "?", "?", "?", "?", "UNUSABLE", r.beside)
			damaged = append(damaged, string(r.ID)+" cannot be used: "+strings.TrimPrefix(r.Damaged, string(r.ID)+": "))
			continue
		}
		t.row(r.ID, r.Source, age(now.Sub(r.CreatedAt)), r.Jobs, r.Keys, size(r.Size), size(r.StoredSize), r.proven(now), r.beside)
	}
	if err := t.flush(); err != nil {
		return err
	}
	e.warn(damaged)
	e.warn(frozenRows(rows))
	return nil
}

// proven says when the snapshot was last proven, and how.
func (r *snapshotRow) proven(now time.Time) string {
	switch {
	case r.FailedAt != nil:
		return "DAMAGED, seen " + age(now.Sub(*r.FailedAt)) + " ago"
	case r.DrillFailedAt != nil:
		return "drill FAILED " + age(now.Sub(*r.DrillFailedAt)) + " ago"
	case r.DrilledAt != nil && (r.VerifiedAt == nil || r.DrilledAt.After(*r.VerifiedAt)):
		return age(now.Sub(*r.DrilledAt)) + " ago by drill"
	case r.VerifiedAt != nil:
		return age(now.Sub(*r.VerifiedAt)) + " ago"
	case r.OutsideAt != nil:
		return age(now.Sub(*r.OutsideAt)) + " ago, unopened"
	}
	return "never"
}
