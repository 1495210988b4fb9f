package restore

import (
	"context"
	"fmt"

	"rqvault/internal/job"
)

// triggerChildren is for jobs that had finished, waited again in older data and are
// finished once more: whoever was enqueued since to follow one of them waits for an end
// that has come already. A parent's last act is to start its children and to forget them.
func (a *applier) triggerChildren(ctx context.Context) error {
	for i := 0; i < len(a.ended); i += batchCalls {
		if err := a.triggerBatch(ctx, a.ended[i:min(len(a.ended), i+batchCalls)]); err != nil {
			return fmt.Errorf("start the children of finished jobs: %w", err)
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
		var start, forget []Call
		for _, c := range children {
			start = append(start, a.readyCall(c))
		}
		for _, p := range parents[:n] {
			forget = append(forget, a.forget(p))
		}
		if err := a.all(ctx, db, readyScript, start); err != nil {
			return err
		}
		if err := a.all(ctx, db, restoreScript, forget); err != nil {
			return err
		}
		parents = parents[n:]
	}
	return nil
}

// children reads the deferred jobs that live's sets of dependents name.
func (a *applier) children(ctx context.Context, db int, parents []*job.Row) ([]*job.Row, error) {
	var sets, hashes [][]any
	for _, p := range parents {
		sets = append(sets, []any{"SMEMBERS", a.o.Schema.PartKey(p.ID, job.DependentsPart)})
	}
	replies, err := a.o.Redis.Pipeline(ctx, db, sets)
	if err != nil {
		return nil, err
	}
	var rows []*job.Row
	for _, r := range replies {
		ids, _ := r.([]any) // another type of value has no members
		for _, id := range ids {
			if id, ok := id.(string); ok {
				rows = append(rows, &job.Row{DB: int32(db), ID: id})
				hashes = append(hashes, []any{"HGETALL", a.o.Schema.PartKey(id, job.HashPart)})
			}
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	if replies, err = a.o.Redis.Pipeline(ctx, db, hashes); err != nil {
		return nil, err
	}
	var waiting []*job.Row
	for i, r := range replies {
		fields, _ := r.([]any)
		for j := 0; j+1 < len(fields); j += 2 {
			name, _ := fields[j].(string)
			value, _ := fields[j+1].(string)
			if a.o.Schema.Wants([]byte(name)) {
				a.o.Schema.Fill(rows[i], []byte(name), []byte(value))
			}
		}
		if rows[i].Exists && rows[i].Status == job.Deferred && rows[i].Problem == "" {
			waiting = append(waiting, rows[i])
		}
	}
	return waiting, nil
}

// forget removes a finished job's set of children: what stood in it would run again with
// the job's next end.
func (a *applier) forget(p *job.Row) Call {
	key := a.o.Schema.PartKey(p.ID, job.DependentsPart)
	c := &call{keys: []string{a.w.ledger, key}}
	a.w.head(c, "children:"+p.ID, statePlaced, guardOnce, "")
	c.add(0, 0, "steps", 0)
	c.step(nil, "DEL", key)
	return Call{Keys: c.keys, Args: c.args}
}
