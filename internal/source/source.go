// Package source gets the data out of a running Redis: its own dump file (bgsave), its
// replication link (sync), or its keys one after another (scan). Each becomes a
// backup.Dump. Auto takes the first that this server allows.
package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rqvault/backup"
	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/internal/live"
	"rqvault/internal/pace"
	"rqvault/internal/replica"
)

// The ways to a dump.
const (
	Auto   = "auto"
	Bgsave = "bgsave"
	Sync   = "sync"
	Scan   = "scan"
)

// Ways lists them for people.
var Ways = []string{Auto, Bgsave, Sync, Scan}

// ErrUnknownWay: no such way to a dump.
var ErrUnknownWay = errors.New("unknown way to take a dump")

// Options say how to get a dump. Server and Schema are needed.
type Options struct {
	Server  *live.Server
	Schema  job.Schema
	Via     string        // one of Ways; "" is Auto
	DumpDir string        // where the server's data directory is seen from here; "" asks the server
	Timeout time.Duration // for the server's save; 0 is the default of live.SaveOptions
	// Limit bounds the bytes per second of a dump that comes by bgsave or sync; what is read
	// key by key is bounded by the Server's own. Nil: nothing does.
	Limit *pace.Limit
	// Saving is told how far the server's own save is, in keys; it may be nil.
	Saving func(done, total int64, waiting bool)
}

// Redis is a backup.Source.
type Redis struct {
	o Options
	// What reading a dump has taught, for when it is opened once more.
	waits  bool  // read none before the server has finished it
	gaveUp error // why not by bgsave
}

var _ backup.Source = (*Redis)(nil)

// New checks the options.
func New(o Options) (*Redis, error) {
	switch o.Via {
	case "":
		o.Via = Auto
	case Auto, Bgsave, Sync, Scan:
	default:
		return nil, fmt.Errorf("%w: %q", ErrUnknownWay, o.Via)
	}
	return &Redis{o: o}, nil
}

// Open produces a dump by the chosen way. Auto goes on to the next way only where a
// server cannot or will not serve one, never past a fault in the middle of it.
func (r *Redis) Open(ctx context.Context) (*backup.Dump, error) {
	before, err := r.o.Server.Facts(ctx)
	if err != nil {
		return nil, err
	}
	if before.Persistence.Loading {
		return nil, fmt.Errorf("take a dump: %w", live.ErrLoading)
	}
	ways := map[string]func(context.Context) (*backup.Dump, error){Bgsave: r.bgsave, Sync: r.sync, Scan: r.scan}
	order := []string{r.o.Via}
	if r.o.Via == Auto {
		order = []string{Bgsave, Sync, Scan}
	}
	var refused []error
	for i, way := range order {
		d, err := ways[way](ctx)
		if err == nil {
			return r.complete(d, way, before, refused), nil
		}
		if i == len(order)-1 || !passable(err) || ctx.Err() != nil {
			return nil, err
		}
		refused = append(refused, fmt.Errorf("%s: %w", way, err))
	}
	return nil, errors.Join(refused...)
}

// passable reports whether the server cannot be read this way, but may be another.
func passable(err error) bool {
	for _, target := range []error{live.ErrDumpUnreachable, live.ErrDenied, live.ErrSaveFailed, live.ErrNoSpace,
		replica.ErrDenied, replica.ErrNotReady} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func (r *Redis) complete(d *backup.Dump, way string, before lineage.Facts, refused []error) *backup.Dump {
	d.Via, d.Before = way, before
	if way != Scan {
		d.Body = r.o.Limit.Reader(d.Body)
	}
	d.Reason = "asked for"
	if r.o.Via == Auto {
		d.Reason = "it was the first way that worked"
		for _, err := range refused {
			d.Reason += "; not " + err.Error()
			if errors.Is(err, live.ErrSaveFailed) || errors.Is(err, live.ErrNoSpace) {
				d.Warnings = append(d.Warnings, "Redis could not save to its own disk: "+err.Error())
			}
		}
	}
	if d.At.IsZero() {
		d.At = before.ServerTime
	}
	late := d.After
	d.After = func(ctx context.Context) (lineage.Facts, []string) {
		var warnings []string
		if late != nil {
			_, warnings = late(ctx)
		}
		after, err := r.o.Server.Facts(ctx)
		if err != nil {
			return lineage.Facts{}, append(warnings, "Redis did not answer after the dump; what it said before stands")
		}
		return after, warnings
	}
	if before.RunID == "" {
		d.Warnings = append(d.Warnings, "the server does not tell its run id: after an outage, restarts cannot be recognized by it")
	}
	return d
}

func (r *Redis) bgsave(ctx context.Context) (*backup.Dump, error) {
	if r.gaveUp != nil {
		return nil, r.gaveUp
	}
	o := live.SaveOptions{Dir: r.o.DumpDir, Timeout: r.o.Timeout, WaitForOther: true}
	if r.o.Saving != nil {
		o.Progress = func(p live.SaveProgress) { r.o.Saving(p.KeysDone, p.KeysTotal, p.Waiting) }
	}
	if r.waits {
		f, info, err := r.o.Server.SaveRDB(ctx, o)
		if err != nil {
			return nil, err
		}
		return &backup.Dump{Body: f, Size: info.Size, Atomic: true, At: info.Started, Warnings: superseded(info)}, nil
	}
	f, err := r.o.Server.FollowRDB(ctx, o)
	if err != nil {
		return nil, err
	}
	return &backup.Dump{Body: &followed{f, r}, Size: -1, Atomic: true, At: f.Started(), After: func(context.Context) (lineage.Facts, []string) {
		return lineage.Facts{}, superseded(f.Info())
	}}, nil
}

func superseded(info live.SaveInfo) []string {
	if !info.Superseded {
		return nil
	}
	return []string{"another save began right after ours; the dump may be that one's, a moment newer"}
}

// followed is a dump that is read while the server writes it, and what is learnt for the
// next try where that goes wrong.
type followed struct {
	*live.Following
	r *Redis
}

func (f *followed) Read(p []byte) (int, error) {
	n, err := f.Following.Read(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, live.ErrReplaced):
		f.r.waits = true
	case f.r.o.Via == Auto && passable(err):
		f.r.gaveUp = err
	default:
		return n, err
	}
	return n, fmt.Errorf("%w: %w", backup.ErrTryAgain, err)
}
