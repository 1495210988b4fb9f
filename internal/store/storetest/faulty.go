package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"

	"rqvault/internal/snapshot"
)

// ErrInjected is the error of an operation that a Faulty store was told to fail.
var ErrInjected = errors.New("injected fault")

// Faulty is a store whose operation number FailAt, counted from 0, fails without
// having been done. Operations are each Create, Write, Commit, Open, Read, List,
// Stat, Remove, Abandoned and Discard. A fault walk runs a flow with 0, 1, 2 … until
// Failed says that no fault was met:
//
//	for n := 0; ; n++ {
//		f := storetest.NewFaulty(store, n)
//		err := flow(f)
//		if !f.Failed() { break }
//		…
//	}
//
// A failed Commit leaves nothing visible, as the contract demands. Abort never
// fails and is not counted.
type Faulty struct {
	snapshot.Store
	failAt int64
	down   bool
	count  atomic.Int64
	failed atomic.Bool
}

var _ snapshot.Store = (*Faulty)(nil)

// NewFaulty wraps a store so that operation number failAt fails, once. A negative
// number fails nothing and only counts.
func NewFaulty(s snapshot.Store, failAt int) *Faulty {
	return &Faulty{Store: s, failAt: int64(failAt)}
}

// NewCrashing is like NewFaulty, but all operations from failAt on fail and Abort
// does nothing any more: the process or the network died at that moment.
func NewCrashing(s snapshot.Store, failAt int) *Faulty {
	f := NewFaulty(s, failAt)
	f.down = true
	return f
}

// Failed tells whether an operation was made to fail.
func (f *Faulty) Failed() bool { return f.failed.Load() }

// Operations returns how many operations were begun so far.
func (f *Faulty) Operations() int { return int(f.count.Load()) }

// next counts one operation and returns its fault, if it is the one.
func (f *Faulty) next(act, key string) error {
	n := f.count.Add(1) - 1
	if f.failAt < 0 || n < f.failAt || (n > f.failAt && !f.down) {
		return nil
	}
	f.failed.Store(true)
	return fmt.Errorf("%s %s: %w (operation %d)", act, key, ErrInjected, n)
}

// Create implements snapshot.Store.
func (f *Faulty) Create(ctx context.Context, key string) (snapshot.Writer, error) {
	if err := f.next("create", key); err != nil {
		return nil, err
	}
	w, err := f.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &faultyWriter{f: f, w: w, key: key}, nil
}

// Open implements snapshot.Store.
func (f *Faulty) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := f.next("open", key); err != nil {
		return nil, err
	}
	r, err := f.Store.Open(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	return &faultyReader{f: f, r: r, key: key}, nil
}

// Stat implements snapshot.Store.
func (f *Faulty) Stat(ctx context.Context, key string) (snapshot.Object, error) {
	if err := f.next("stat", key); err != nil {
		return snapshot.Object{}, err
	}
	return f.Store.Stat(ctx, key)
}

// List implements snapshot.Store.
func (f *Faulty) List(ctx context.Context, prefix, after string) iter.Seq2[snapshot.Object, error] {
	return f.listing("list", prefix, f.Store.List(ctx, prefix, after))
}

// Abandoned implements snapshot.Store.
func (f *Faulty) Abandoned(ctx context.Context) iter.Seq2[snapshot.Object, error] {
	return f.listing("list leftovers", "", f.Store.Abandoned(ctx))
}

func (f *Faulty) listing(act, key string, seq iter.Seq2[snapshot.Object, error]) iter.Seq2[snapshot.Object, error] {
	return func(yield func(snapshot.Object, error) bool) {
		if err := f.next(act, key); err != nil {
			yield(snapshot.Object{}, err)
			return
		}
		seq(yield)
	}
}

// Remove implements snapshot.Store.
func (f *Faulty) Remove(ctx context.Context, key string) error {
	if err := f.next("remove", key); err != nil {
		return err
	}
	return f.Store.Remove(ctx, key)
}

// Discard implements snapshot.Store.
func (f *Faulty) Discard(ctx context.Context, o snapshot.Object) error {
	if err := f.next("discard", o.Key); err != nil {
		return err
	}
	return f.Store.Discard(ctx, o)
}

type faultyWriter struct {
	f      *Faulty
	w      snapshot.Writer
	key    string
	failed bool // a writer that failed once cannot succeed any more
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if err := w.f.next("write", w.key); err != nil {
		w.failed = true
		return 0, err
	}
	return w.w.Write(p)
}

func (w *faultyWriter) Commit(ctx context.Context) error {
	err := w.f.next("commit", w.key)
	if err == nil && w.failed {
		err = fmt.Errorf("commit %s: %w earlier", w.key, ErrInjected)
	}
	if err != nil {
		w.Abort()
		return err
	}
	return w.w.Commit(ctx)
}

func (w *faultyWriter) Abort() {
	if w.f.down && w.f.Failed() {
		return // dead
	}
	w.w.Abort()
}

type faultyReader struct {
	f   *Faulty
	r   io.ReadCloser
	key string
}

func (r *faultyReader) Read(p []byte) (int, error) {
	if err := r.f.next("read", r.key); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (r *faultyReader) Close() error { return r.r.Close() }
