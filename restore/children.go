package restore

import (
	"context"
	"fmt"
	"slices"

	"rqvault/internal/job"
	"rqvault/verify"
)

// triggerChildren is for jobs that had ended, waited again in older data and have ended once
// more: whoever was enqueued since to follow one of them waits for an end that has come
// already. A parent's last act is to start its children and to forget them. The ledger says
// held of the parent until that is done, so that a run that is stopped before leaves it to
// the next.
func (a *applier) triggerChildren(ctx context.Context) error {
	for i := 0; i < len(a.ended); i += batchCalls {
		if err := a.triggerBatch(ctx, a.ended[i:min(len(a.ended), i+batchCalls)]); err != nil {
			return fmt.Errorf("start the children of ended jobs: %w", err)
		}
	}
	return nil
}

func (a *applier) triggerBatch(ctx context.Context, parents []*job.Row) error {
	for len(parents) > 0 {
		n := 1
		for n < len(parents) && parents[n].DB == parents[0].DB {
			n++
		}
		db := int(parents[0].DB)
		children, err := a.children(ctx, db, parents[:n])
		if err != nil {
			return err
		}
		waiting, err := a.waitingOf(ctx, db, children)
		if err != nil {
			return err
		}
		var start, forget []Call
		for _, c := range waiting {
			start = append(start, a.readyCall(c))
		}
		for i, p := range parents[:n] {
			forget = append(forget, a.forget(p, children[i]))
		}
		if err := a.all(ctx, db, readyScript, start); err != nil {
			return err
		}
		if err := a.all(ctx, db, forgetScript, forget); err != nil {
			return err
		}
		for _, p := range parents[:n] {
			if t := a.tasks.of(p.DB, p.ID); t.Action == verify.Start {
				a.finished(t.Step)
				a.progress()
			}
		}
		parents = parents[n:]
	}
	return nil
}

// children reads live's sets of dependents, one list of ids for each parent.
func (a *applier) children(ctx context.Context, db int, parents []*job.Row) ([][]string, error) {
	var sets [][]any
	for _, p := range parents {
		sets = append(sets, []any{"SMEMBERS", a.o.Schema.PartKey(p.ID, job.DependentsPart)})
	}
	replies, err := a.o.Redis.Pipeline(ctx, db, sets)
	if err != nil {
		return nil, err
	}
	children := make([][]string, len(parents))
	for i, r := range replies {
		ids, _ := r.([]any) // another type of value has no members
		for _, id := range ids {
			if id, ok := id.(string); ok {
				children[i] = append(children[i], id)
			}
		}
	}
	return children, nil
}

// waitingOf reads which of the children are deferred.
func (a *applier) waitingOf(ctx context.Context, db int, children [][]string) ([]*job.Row, error) {
	var rows []*job.Row
	var hashes [][]any
	for _, id := range slices.Concat(children...) {
		rows = append(rows, &job.Row{DB: int32(db), ID: id})
		hashes = append(hashes, []any{"HGETALL", a.o.Schema.PartKey(id, job.HashPart)})
	}
	if len(rows) == 0 {
		return nil, nil
	}
	replies, err := a.o.Redis.Pipeline(ctx, db, hashes)
	if err != nil {
		return nil, err
	}
	var waiting []*job.Row
	for i, r := range replies {
		fields, _ := r.([]any)
		for j := 0; j+1 < len(fields); j += 2 {
			name, _ := fields[j].(string)
			value, _ := fields[j+1].(string)
			if a.o.Schema.Wants([]byte(name)) {
				a.o.Schema.Fill(rows[i], nil, []byte(name), []byte(value))
			}
		}
		if rows[i].Exists && rows[i].Status == job.Deferred && rows[i].Problem == "" {
			waiting = append(waiting, rows[i])
		}
	}
	return waiting, nil
}

// forget takes those who wait no longer out of an ended job's set of children, and signs
// that nothing is left to do for it.
func (a *applier) forget(p *job.Row, children []string) Call {
	c := Call{Keys: []string{a.w.ledger, a.o.Schema.PartKey(p.ID, job.DependentsPart)},
		Args: []any{JobEntry(p.ID), sign(statePlaced, a.o.Now().UnixMilli())}}
	for _, id := range children {
		c.Keys = append(c.Keys, a.o.Schema.PartKey(id, job.HashPart))
		c.Args = append(c.Args, id)
	}
	return c
}
