package restore

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"rqvault/internal/job"
	"rqvault/verify"
)

// Bounds of what is on its way to the server. A batch is one pipeline, so neither side holds
// more than that at once; a call is one run of a script, during which nobody else is
// served, so it has to stay in the order of a millisecond.
const (
	batchCalls = 256
	batchJobs  = 1024
	batchBytes = 8 << 20
	callJobs   = 32 // by restore.lua
	bulkJobs   = 64 // by bulk.lua, which needs a third of the time for each
	callBytes  = 256 << 10
	// The first jobs go one a call: what this server refuses altogether, it refuses to few.
	firstJobs = 128
	// How many batches are on their way at once, so that the server need not wait for the
	// next while we read what it answered.
	maxFlights = 2
)

// pending is a job on its way to the server, by one of two scripts.
type pending struct {
	row    *job.Row
	task   *task
	parcel *parcel // for bulk.lua, nil for none
	block  *block  // for restore.lua
	// fields says that the block writes field by field.
	fields bool
}

// light reports whether the script's work does not grow with what else is in live: it looks
// through no list.
func (p *pending) light() bool { return p.task.Guard == verify.GuardAbsent }

func (p *pending) size() int {
	if p.parcel != nil {
		return p.parcel.size()
	}
	return bytesOf(p.block.args)
}

// load gathers jobs of one database, for one of the scripts.
type load struct {
	jobs  []pending
	bytes int
}

// flight is a load that was sent. The server works on it while the next is made ready.
type flight struct {
	batch   []pending
	bulk    bool
	sizes   []int // how many jobs each call is about
	replies []any
	err     error
	landed  chan struct{}
}

// add takes up a job, and sends its load when that is large enough.
func (a *applier) add(ctx context.Context, row *job.Row, t *task) error {
	for _, l := range a.loads() {
		if len(l.jobs) > 0 && l.jobs[0].row.DB != row.DB {
			if err := a.send(ctx, l); err != nil {
				return err
			}
		}
	}
	p, err := a.pending(ctx, row, t)
	if err != nil {
		return err
	}
	l, most := &a.blocks, batchJobs
	if p.parcel != nil {
		l = &a.parcels
	}
	if a.sent < firstJobs {
		most = firstJobs
	}
	l.jobs = append(l.jobs, p)
	l.bytes += p.size()
	if len(l.jobs) < most && l.bytes < batchBytes {
		return nil
	}
	return a.send(ctx, l)
}

func (a *applier) loads() []*load { return []*load{&a.parcels, &a.blocks} }

// pending says how a job is written.
func (a *applier) pending(ctx context.Context, row *job.Row, t *task) (p pending, err error) {
	p = pending{row: row, task: t}
	if a.sent >= firstJobs {
		if p.parcel, err = a.w.parcel(ctx, row, t.Step); err != nil || p.parcel != nil {
			return p, err
		}
	}
	p.block, err = a.w.job(ctx, row, t.Step)
	p.fields = a.w.fields
	return p, err
}

// send sends a load, once one of those before it is done with.
func (a *applier) send(ctx context.Context, l *load) error {
	if len(l.jobs) == 0 {
		return nil
	}
	if a.inOrder {
		if err := a.landAll(ctx); err != nil {
			return err
		}
	}
	single := a.sent < firstJobs
	a.flights = append(a.flights, a.launch(ctx, l.jobs, single))
	a.sent += len(l.jobs)
	*l = load{}
	for len(a.flights) > maxFlights || single && len(a.flights) > 0 {
		if err := a.land(ctx); err != nil {
			return err
		}
	}
	return nil
}

// flush sends what is gathered, and waits until all is done.
func (a *applier) flush(ctx context.Context) error {
	for _, l := range a.loads() {
		if err := a.send(ctx, l); err != nil {
			return err
		}
	}
	return a.landAll(ctx)
}

// launch sends jobs of one database, once few enough others are on their way. After a batch
// that broke off nothing more is sent.
func (a *applier) launch(ctx context.Context, batch []pending, single bool) *flight {
	f := &flight{batch: batch, bulk: batch[0].parcel != nil, landed: make(chan struct{})}
	script, calls := restoreScript, []Call(nil)
	if f.bulk {
		script = bulkScript
		slices.SortFunc(batch, func(x, y pending) int { return cmp.Compare(x.parcel.place, y.parcel.place) }) // one ZADD for many
	}
	f.pack(single, func(jobs []pending) {
		f.sizes = append(f.sizes, len(jobs))
		calls = append(calls, a.w.callOf(jobs))
	})
	before, redis := a.launched[0], a.o.Redis
	copy(a.launched[:], a.launched[1:])
	a.launched[maxFlights-1] = f
	go func() {
		defer close(f.landed)
		if before != nil {
			if <-before.landed; before.err != nil {
				f.err = before.err
				return
			}
		}
		f.replies, f.err = redis.Run(ctx, int(batch[0].row.DB), script, calls)
	}()
	return f
}

// pack tells of the jobs of each call; of one each, if they are single.
func (f *flight) pack(single bool, call func([]pending)) {
	from, bytes, most := 0, 0, callJobs
	if f.bulk {
		most = bulkJobs
	}
	for i := range f.batch {
		p := &f.batch[i]
		n := p.size()
		if i > from && (single || i-from == most || bytes+n > callBytes || !p.light() || !f.batch[i-1].light()) {
			call(f.batch[from:i])
			from, bytes = i, 0
		}
		bytes += n
	}
	call(f.batch[from:])
}

// callOf makes the call about jobs that go by the same script.
func (w *writer) callOf(jobs []pending) Call {
	if jobs[0].parcel != nil {
		return w.bulkCall(jobs)
	}
	blocks := make([]*block, len(jobs))
	for i := range jobs {
		blocks[i] = jobs[i].block
	}
	return w.call(blocks...)
}

// landAll waits for all that was sent, also for what was sent beside a batch that broke off:
// its jobs are back.
func (a *applier) landAll(ctx context.Context) (err error) {
	for len(a.flights) > 0 {
		err = cmp.Or(err, a.land(ctx))
	}
	return err
}

// land waits for the oldest batch that was sent. Those of its jobs that have to be written
// another way are sent once more: where RESTORE is refused, they and all later ones are
// written field by field.
func (a *applier) land(ctx context.Context) error {
	f := a.flights[0]
	a.flights = a.flights[1:]
	again, err := a.read(f)
	for err == nil && len(again) > 0 && !a.broken {
		for i := range again {
			p := &again[i]
			if p.block, err = a.w.job(ctx, p.row, p.task.Step); err != nil {
				return err
			}
			p.parcel, p.fields = nil, a.w.fields
		}
		again, err = a.read(a.launch(ctx, again, false))
	}
	return err
}

// read waits for what a batch's calls answer. It returns the jobs that have to be tried
// another way.
func (a *applier) read(f *flight) (again []pending, err error) {
	<-f.landed
	if f.err != nil {
		a.broken = true
		return nil, fmt.Errorf("write jobs: %w", f.err)
	}
	batch := f.batch
	for i, n := range f.sizes {
		jobs := batch[:n]
		batch = batch[n:]
		if f.bulk {
			again = append(again, a.bulkReply(jobs, f.replies[i])...)
			continue
		}
		for k := range jobs {
			if a.reply(jobs[k], f.replies[i], k) {
				again = append(again, jobs[k])
				continue
			}
			a.progress()
		}
	}
	return again, nil
}
