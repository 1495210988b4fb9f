package restore

import (
	"context"
	"fmt"

	"rqvault/internal/job"
	"rqvault/verify"
)

// Bounds of what is on its way to the server. A batch is one pipeline, so neither side holds
// more than that at once; a call is one run of restore.lua, during which nobody else is
// served, so it has to stay in the order of a millisecond.
const (
	batchCalls = 256
	batchJobs  = 1024
	batchBytes = 8 << 20
	callJobs   = 32
	callBytes  = 256 << 10
	// The first jobs go one a call: what this server refuses altogether, it refuses to few.
	firstJobs = 128
)

// pending is a job on its way to the server.
type pending struct {
	row   *job.Row
	step  *Step
	block *block
	// fields says that the block writes field by field.
	fields bool
}

// light reports whether the script's work does not grow with what else is in live: it looks
// through no list.
func (p *pending) light() bool { return p.step.Guard == verify.GuardAbsent }

// flight is a batch that was sent. The server works on it while the next is made ready.
type flight struct {
	batch   []pending
	calls   []int // how many jobs each call is about
	replies []any
	err     error
	landed  chan struct{}
}

// add takes up a job, and sends the batch when it is large enough.
func (a *applier) add(ctx context.Context, row *job.Row, s *Step) error {
	if len(a.batch) > 0 && a.batch[0].row.DB != row.DB {
		if err := a.send(ctx); err != nil {
			return err
		}
	}
	b, err := a.w.job(ctx, row, s)
	if err != nil {
		return err
	}
	a.batch = append(a.batch, pending{row, s, b, a.w.fields})
	a.batchBytes += bytesOf(b.args)
	most := batchJobs
	if a.sent < firstJobs {
		most = firstJobs
	}
	if len(a.batch) < most && a.batchBytes < batchBytes {
		return nil
	}
	return a.send(ctx)
}

// send sends the batch once the one before it is done with.
func (a *applier) send(ctx context.Context) error {
	batch := a.batch
	a.batch, a.batchBytes = nil, 0
	if err := a.land(ctx); err != nil {
		return err
	}
	if len(batch) > 0 {
		a.flight = a.launch(ctx, batch)
	}
	return nil
}

// flush sends the batch and waits until all is done.
func (a *applier) flush(ctx context.Context) error {
	if err := a.send(ctx); err != nil {
		return err
	}
	return a.land(ctx)
}

// launch sends jobs of one database.
func (a *applier) launch(ctx context.Context, batch []pending) *flight {
	f := &flight{batch: batch, landed: make(chan struct{})}
	calls := f.pack(&a.w, a.sent < firstJobs)
	a.sent += len(batch)
	go func() {
		defer close(f.landed)
		f.replies, f.err = a.o.Redis.Run(ctx, int(batch[0].row.DB), restoreScript, calls)
	}()
	return f
}

// pack makes the calls of a batch; each about one job only, if they are single.
func (f *flight) pack(w *writer, single bool) (calls []Call) {
	var blocks []*block
	bytes := 0
	flush := func() {
		if len(blocks) > 0 {
			calls = append(calls, w.call(blocks...))
			f.calls = append(f.calls, len(blocks))
		}
		blocks, bytes = nil, 0
	}
	for i := range f.batch {
		p := &f.batch[i]
		n := bytesOf(p.block.args)
		if single || len(blocks) == callJobs || bytes+n > callBytes || !p.light() || i > 0 && !f.batch[i-1].light() {
			flush()
		}
		blocks, bytes = append(blocks, p.block), bytes+n
	}
	flush()
	return calls
}

// land waits for the batch that was sent, if one was. Those of its jobs that have to be
// written another way are sent once more: where RESTORE is refused, they and all later ones
// are written field by field.
func (a *applier) land(ctx context.Context) error {
	f := a.flight
	if f == nil {
		return nil
	}
	a.flight = nil
	again, err := a.read(f)
	for err == nil && len(again) > 0 {
		for i := range again {
			p := &again[i]
			if p.block, err = a.w.job(ctx, p.row, p.step); err != nil {
				return err
			}
			p.fields = a.w.fields
		}
		again, err = a.read(a.launch(ctx, again))
	}
	return err
}

// read waits for what a batch's calls answer. It returns the jobs that have to be tried
// another way.
func (a *applier) read(f *flight) (again []pending, err error) {
	<-f.landed
	if f.err != nil {
		return nil, fmt.Errorf("write jobs: %w", f.err)
	}
	batch := f.batch
	for i, n := range f.calls {
		for k := range n {
			if a.reply(batch[k], f.replies[i], k) {
				again = append(again, batch[k])
				continue
			}
			a.progress()
		}
		batch = batch[n:]
	}
	return again, nil
}
