package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/rdb"
	"rqvault/verify"
)

// ImageOptions say how to read the jobs of a live Redis.
type ImageOptions struct {
	Options
	TempDir string
	Before  time.Time // the image's watermark is below this instant; zero: there is none
	// Versions leaves out, by scan, what tells nothing of a job's version: see verify.Look.
	Versions bool
	// Ours reports whether a restore put the job there; it may be nil.
	Ours func(db int, id string) bool
	// Marks takes what keys tell besides jobs, afresh for each image; nil: nobody asks.
	Marks *verify.Marks
	// Seen is told how many keys were read; it may be nil.
	Seen func(keys int64)
}

// Image reads the jobs of a live Redis into an index. By scan, the default here, it
// looks only at the queue library's own keys and never makes the server fork; by
// another way it reads one instant of everything.
func Image(ctx context.Context, o ImageOptions) (verify.Image, error) {
	bo := index.Options{TempDir: o.TempDir, Ours: o.Ours}
	if !o.Before.IsZero() {
		bo.Before = o.Before.UnixMicro()
	}
	im := &image{marks: o.Marks, seen: o.Seen}
	if o.Marks != nil {
		o.Marks.Reset()
		bo.Keys = o.Marks.Note
	}
	im.b = index.NewBuilder(o.Schema, bo)
	var err error
	if o.Via == "" || o.Via == Auto || o.Via == Scan {
		err = im.scan(ctx, o)
	} else {
		im.atomic = true
		err = im.dump(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read live jobs: %w", err), im.b.Close())
	}
	return im, nil
}

type image struct {
	b      *index.Builder
	marks  *verify.Marks
	atomic bool
	keys   int64
	seen   func(int64)
}

func (im *image) Rows() verify.Rows { return index.Ahead(im.b.Jobs()) }
func (im *image) Atomic() bool      { return im.atomic }
func (im *image) Close() error      { return im.b.Close() }

func (im *image) Marks() *verify.Marks            { return im.marks }
func (im *image) Registered() map[string][]string { return im.b.Registered() }

func (im *image) Workers() []job.Worker { return im.b.Workers() }

func (im *image) Watermark() time.Time {
	if im.b.Watermark() == 0 {
		return time.Time{}
	}
	return time.UnixMicro(im.b.Watermark()).UTC()
}

func (im *image) count(n int) {
	im.keys += int64(n)
	if im.seen != nil {
		im.seen(im.keys)
	}
}

func (im *image) dump(ctx context.Context, o ImageOptions) error {
	r, err := New(o.Options)
	if err != nil {
		return err
	}
	d, err := r.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = d.Body.Close() }()
	w := rdb.NewWalker(d.Body, rdb.Options{Size: max(d.Size, 0), Trailing: d.Trailing})
	for {
		c, err := w.Next()
		if errors.Is(err, io.EOF) {
			if n := len(w.Rest()); n > 0 {
				return fmt.Errorf("read the dump: %d bytes follow its end", n)
			}
			return d.Body.Close()
		}
		if err != nil {
			return err
		}
		for i := range c.Records {
			if err := im.b.Add(&c.Records[i], c.Index); err != nil {
				return err
			}
		}
		im.count(len(c.Records))
		c.Release()
	}
}
