package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Run is what became of one scheduled run, kept in the store: it is all that a scheduler
// has to know to go on where another one stopped.
type Run struct {
	Format int       `json:"format"`
	Task   string    `json:"task"`
	Slot   time.Time `json:"slot"` // the time it was scheduled for
	OK     bool      `json:"ok"`
	Began  time.Time `json:"began"` // the last try
	Ended  time.Time `json:"ended"`
	Tries  int       `json:"tries"`
	Missed int       `json:"missed"` // times before this one for which nobody was there
	Why    string    `json:"why,omitempty"`
	Owner  string    `json:"owner"` // host and pid
}

const (
	runOK     = "-ok.json"
	runFailed = "-failed.json"
)

func (c *Catalog) runsPrefix(task string) string { return c.source + "/runs/" + task + "/" }

// NoteRun stores what became of a run. A second one for the same slot and outcome changes
// nothing.
func (c *Catalog) NoteRun(ctx context.Context, r Run) error {
	r.Format = FormatVersion
	b, err := Seal(r)
	if err != nil {
		return err
	}
	end := runFailed
	if r.OK {
		end = runOK
	}
	err = writeAll(ctx, c.store, c.runsPrefix(r.Task)+r.Slot.UTC().Format(idTime)+end, b)
	if err != nil && !errors.Is(err, ErrExists) {
		return fmt.Errorf("note the run of %s: %w", r.Task, err)
	}
	return nil
}

// LastRuns returns the newest slot of a task that has a run, and the newest whose run was
// fine; zero times where there is none.
func (c *Catalog) LastRuns(ctx context.Context, task string) (any, ok time.Time, err error) {
	keys, err := c.runs(ctx, task)
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	for _, k := range keys {
		stamp, good := strings.CutSuffix(strings.TrimPrefix(k, c.runsPrefix(task)), runOK)
		t, err := time.Parse(idTime, strings.TrimSuffix(stamp, runFailed))
		if err != nil {
			continue
		}
		any = t
		if good {
			ok = t
		}
	}
	return any, ok, nil
}

// runs lists the keys of a task's runs, the oldest first.
func (c *Catalog) runs(ctx context.Context, task string) ([]string, error) {
	var keys []string
	for o, err := range c.store.List(ctx, c.runsPrefix(task), "") {
		if err != nil {
			return nil, fmt.Errorf("list the runs of %s: %w", task, err)
		}
		keys = append(keys, o.Key)
	}
	return keys, nil
}

// TrimRuns removes all runs of a task but the newest.
func (c *Catalog) TrimRuns(ctx context.Context, task string, keep int) error {
	keys, err := c.runs(ctx, task)
	if err != nil {
		return err
	}
	for k := range slices.Values(keys[:max(len(keys)-keep, 0)]) {
		if err := c.store.Remove(ctx, k); err != nil {
			return fmt.Errorf("remove an old run of %s: %w", task, err)
		}
	}
	return nil
}
