package command

import (
	"context"
	"runtime"
	"runtime/debug"

	"rqvault/internal/snapshot"
	"rqvault/restore"
	"rqvault/verify"
)

// unpackAbove is how many jobs make it cheaper to unpack the whole dump once than to
// fetch a frame for each.
const unpackAbove = 64

// unpackHere is up to which size a dump is unpacked into memory: a read for each of its
// values costs as much as all else that is done to them here.
const unpackHere = 64 << 20

// sparingAbove is how many jobs make it worth more to keep memory down than to collect
// garbage seldom; sparing is by how much, in percent, the memory in use then grows before.
// Once all is decided, what led to it is garbage itself, and there is room to be less sparing.
const (
	sparingAbove = 200_000
	sparing      = 40
	decided      = 90
)

// spare keeps down the memory that work on a snapshot of very many jobs takes, until the
// function that it returns is called.
func spare(m *snapshot.Manifest, percent int) (undo func()) {
	if m.Counts.Jobs < sparingAbove {
		return func() {}
	}
	if percent == decided {
		runtime.GC() // what is in use is counted anew
	}
	before := debug.SetGCPercent(percent)
	return func() { debug.SetGCPercent(before) }
}

// fetch is the dump of a snapshot that is restored. It is unpacked as soon as the
// comparison has found so many jobs to put back that it will be needed, beside it.
type fetch struct {
	cat    *snapshot.Catalog
	m      *snapshot.Manifest
	dir    string
	ctx    context.Context
	cancel context.CancelFunc
	found  int           // jobs to put back
	done   chan struct{} // nil before it has begun
	values *snapshot.Values
	err    error
}

func newFetch(ctx context.Context, cat *snapshot.Catalog, m *snapshot.Manifest, dir string) *fetch {
	f := &fetch{cat: cat, m: m, dir: dir}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// note takes a finding that is selected. What a second look makes of it does not matter.
func (f *fetch) note(x *verify.Finding) {
	if f == nil || !x.Action.Puts() {
		return
	}
	if f.found++; f.found == unpackAbove+1 {
		f.begin(true)
	}
}

func (f *fetch) begin(whole bool) {
	if f.done != nil {
		return
	}
	f.done = make(chan struct{})
	go func() {
		defer close(f.done)
		if f.values, f.err = f.cat.Values(f.ctx, f.m); f.err == nil && whole {
			f.err = f.values.Unpack(f.ctx, f.dir, unpackHere)
		}
	}()
}

// of returns the values that a plan needs, once they are there.
func (f *fetch) of(p *restore.Plan, progress *bar) (*snapshot.Values, error) {
	// Frames of a dump that is not encrypted say nothing of who wrote them, the whole does.
	whole := len(p.Steps) > unpackAbove || f.cat.Distrusts() && f.m.Encryption == nil
	if whole {
		progress.begin("fetching the dump", -1, true)
	}
	f.begin(whole)
	if <-f.done; f.err == nil && whole {
		f.err = f.values.Unpack(f.ctx, f.dir, unpackHere) // nothing is left to do where it was begun so
	}
	return f.values, f.err
}

// close ends it.
func (f *fetch) close() {
	f.cancel()
	if f.done == nil {
		return
	}
	if <-f.done; f.values != nil {
		_ = f.values.Close()
	}
}
