package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/live"
	"rqvault/internal/snapshot"
	"rqvault/restore"
)

// intoOut is restore --into --json.
type intoOut struct {
	Snapshot  snapshot.ID          `json:"snapshot"`
	Into      string               `json:"into"`
	Applied   bool                 `json:"applied"`
	Mask      bool                 `json:"mask"`
	Removed   int64                `json:"removed"` // keys that the target held before
	Counts    restore.IntoCounts   `json:"counts"`
	Suspended []int                `json:"suspended"` // databases whose workers wait
	Functions int                  `json:"functions"` // function libraries that were not put back
	Whole     bool                 `json:"whole"`     // it was loaded as a dump, not key by key
	Failures  []restore.KeyFailure `json:"failures"`
}

// notWithInto are the flags that choose single jobs, or judge them.
var notWithInto = []string{"queue", "job", "status", "plan", "keys", "policy", "started", "assume", "extend-ttl", "patience",
	"via", "dump-dir", "save-timeout", "resume-rate", "max-queue-depth", "repair", "invariant", "suspend", "evidence", "report"}

// checkInto refuses command lines that mix the two kinds of restore.
func (e *env) checkInto(c *cli.Context) error {
	if !c.IsSet("into") {
		for _, name := range []string{"replace-all", "mask"} {
			if c.Bool(name) {
				return usage("--%s is about a whole snapshot: give it with --into URL", name)
			}
		}
		return nil
	}
	for _, name := range notWithInto {
		if typed(e.args, []string{name}) {
			return usage("--into puts a whole snapshot into a server: give it without --%s", name)
		}
	}
	return nil
}

// restoreOrFill tells the two kinds of restore apart.
func (e *env) restoreOrFill(c *cli.Context) error {
	if err := e.checkInto(c); err != nil {
		return err
	}
	if c.IsSet("into") {
		return e.into(c)
	}
	return e.restore(c)
}

// into is restore --into.
func (e *env) into(c *cli.Context) error {
	cat, m, err := e.pick(c)
	if err != nil {
		return err
	}
	t, err := e.dialTarget(c, m, !c.Bool("apply"))
	if err != nil {
		return err
	}
	defer func() { _ = t.server.Close() }()
	out := &intoOut{Snapshot: m.ID, Into: t.url, Applied: c.Bool("apply"), Mask: c.Bool("mask"), Removed: t.holds,
		Suspended: []int{}, Failures: []restore.KeyFailure{}}
	progress := e.startProgress(c.Bool("quiet"))
	if !out.Applied {
		keys, done, err := e.keyRows(c, &comparison{cat: cat, manifest: m})
		if err != nil {
			return err
		}
		defer done()
		if out.Counts, err = restore.CountInto(keys, e.schema, out.Mask, t.now().UnixMilli()); err != nil {
			return err
		}
	} else {
		r, _, failed := e.fill(c, cat, m, t, progress)
		if failed != nil && !errors.Is(failed, errPartly) {
			return failed
		}
		err = failed
		out.Counts, out.Functions, out.Whole = r.Counts, r.Functions, r.Whole
		out.Suspended = append(out.Suspended, r.Suspended...)
		out.Failures = append(out.Failures, r.Failures...)
	}
	e.stopProgress()
	if c.Bool("json") {
		return errors.Join(err, e.printJSON(out))
	}
	if err == nil {
		e.printInto(c, out)
	}
	return err
}

// empty removes everything from the target.
func (t *target) empty(ctx context.Context) error {
	if t.holds == 0 {
		return nil
	}
	replies, err := t.server.Pipeline(ctx, 0, [][]any{{"FLUSHALL", "ASYNC"}})
	if err == nil {
		err, _ = replies[0].(error)
	}
	if err != nil {
		return fmt.Errorf("empty the target: %w", err)
	}
	return nil
}

// fill empties the target and puts the snapshot into it, as a whole where the target takes
// that, else key by key. Whatever it held is only removed, and of what goes in key by key
// the first only written, once the dump is proven.
func (e *env) fill(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest, t *target, progress *bar) (restore.IntoResult, map[string]time.Duration, error) {
	f := &fillRun{env: e, c: c, cat: cat, m: m, t: t, progress: progress, took: map[string]time.Duration{}}
	if t.holds == 0 && !c.Bool("mask") {
		dump, _, err := cat.OpenDump(c.Context, m)
		if err != nil {
			return restore.IntoResult{}, f.took, err
		}
		if r, err := f.load(dump); !errors.Is(err, live.ErrNotTaken) {
			return r, f.took, err
		}
	}
	dump, err := f.prove()
	if err != nil {
		return restore.IntoResult{}, f.took, err
	}
	if t.holds > 0 {
		if err := t.empty(c.Context); err != nil {
			return restore.IntoResult{}, f.took, errors.Join(err, dump.Close())
		}
		if !c.Bool("mask") {
			if r, err := f.load(dump); !errors.Is(err, live.ErrNotTaken) {
				return r, f.took, emptied(err)
			}
			if dump, err = f.prove(); err != nil {
				return restore.IntoResult{}, f.took, err
			}
		}
	}
	r, err := f.write(dump)
	return r, f.took, err
}

// emptied says that the target lost what it held, and got nothing for it.
func emptied(err error) error {
	if err == nil || errors.Is(err, errPartly) {
		return err
	}
	return &advice{fmt.Errorf("%w: the target was emptied, and holds nothing yet: %w", errPartly, err), "run the same command again"}
}

// fillRun is one filling of a target.
type fillRun struct {
	*env
	c        *cli.Context
	cat      *snapshot.Catalog
	m        *snapshot.Manifest
	t        *target
	progress *bar
	took     map[string]time.Duration
}

// prove fetches the dump; it is proven before its first byte can be read.
func (f *fillRun) prove() (io.ReadCloser, error) {
	began := f.now()
	f.progress.begin("fetching the dump", -1, true)
	dump, err := f.cat.SpoolDump(f.c.Context, f.m, f.c.String("temp-dir"))
	f.took["fetch"] += f.now().Sub(began)
	return dump, err
}

// load makes the target load the dump as one of its own, and closes it. What is wrong with
// the dump leaves the target empty. The error is live.ErrNotTaken if this target does not
// do that.
func (f *fillRun) load(dump io.ReadCloser) (r restore.IntoResult, err error) {
	defer func() { _ = dump.Close() }()
	began := f.now()
	f.progress.begin("restoring", f.m.Dump.Size, true)
	err = f.t.server.LoadRDB(f.c.Context, func(w io.Writer) (err error) {
		r, err = restore.Stream(f.c.Context, w, restore.StreamOptions{Dump: dump, Size: f.m.Dump.Size, Schema: f.schema,
			Now: f.t.now().UnixMilli(), Sizes: keysByDB(f.m), Progress: f.progress.at})
		return err
	})
	if errors.Is(err, restore.ErrOneByOne) {
		err = fmt.Errorf("%w: %w", live.ErrNotTaken, err)
	}
	if errors.Is(err, live.ErrHalfTaken) {
		err = &advice{fmt.Errorf("%w: %w", errPartly, err), fmt.Sprintf("if redis-cli -u %s info replication says slave: redis-cli -u %s replicaof no one; then run the same command again with --replace-all, which empties the target first", quote(f.t.url), quote(f.t.url))}
	}
	f.took["load"] = f.now().Sub(began)
	r.Whole = err == nil
	return r, err
}

// write puts the dump, proven, into the target key by key, and closes it.
func (f *fillRun) write(dump io.ReadCloser) (restore.IntoResult, error) {
	defer func() { _ = dump.Close() }()
	began := f.now()
	f.progress.begin("restoring", f.m.Dump.Size, true)
	r, err := restore.Into(f.c.Context, restore.IntoOptions{Target: f.t.server, Dump: dump, Size: f.m.Dump.Size, Schema: f.schema,
		Mask: f.c.Bool("mask"), Now: f.t.now, Progress: f.progress.at})
	f.took["load"] = f.now().Sub(began)
	return r, halfFilled(f.t, r, err)
}

// halfFilled says what to do about a target that took a part of the snapshot.
func halfFilled(t *target, r restore.IntoResult, err error) error {
	if err == nil && r.Counts.Failed == 0 {
		return nil
	}
	next := "run the same command again with --replace-all, which empties the target first"
	why := ""
	if err == nil {
		why = r.Failures[0].Reason
		err = fmt.Errorf("refused by the target: %s, the first being %s: %s", plural(r.Counts.Failed, "key"), quote(r.Failures[0].Key), why)
	} else {
		why = err.Error()
	}
	if better := afterRefusal(why); better != "" {
		next = strings.ReplaceAll(better, "run the same command again", next)
	}
	return &advice{fmt.Errorf("%w: the target holds a part of the snapshot: %w", errPartly, err), next}
}

func (e *env) printInto(c *cli.Context, o *intoOut) {
	verb := map[bool]string{true: "put into", false: "would go into"}[o.Applied]
	if o.Removed > 0 {
		fmt.Fprintf(e.out, "%s of the target %s\n", plural(o.Removed, "key"), map[bool]string{true: "removed", false: "would be removed first"}[o.Applied])
	}
	fmt.Fprintf(e.out, "snapshot %s: %s %s %s\n", o.Snapshot, plural(o.Counts.Keys, "key"), verb, clean(o.Into))
	for _, line := range []struct {
		n    int64
		what string
	}{
		{o.Counts.Masked, "of jobs masked: their arguments, results, descriptions and meta are blanked"},
		{o.Counts.Workers, "left out: workers, schedulers, locks"},
		{o.Counts.Running, "left out: registries of running jobs"},
		{o.Counts.Unknown, "left out: under rq: in no known form, so they cannot be masked"},
		{o.Counts.Expired, "left out: their own expiry has passed"},
		{int64(o.Functions), "not put back: function libraries of the server"},
	} {
		if line.n > 0 {
			fmt.Fprintf(e.out, "  %-6d %s\n", line.n, line.what)
		}
	}
	if o.Mask {
		fmt.Fprintln(e.out, "keys that are no jobs, such as sessions, are copied as they are")
	}
	if !o.Applied {
		fmt.Fprintf(e.out, "dry run, nothing was changed. next: %s --apply\n", e.again(c, "restore", string(o.Snapshot)))
		return
	}
	if len(o.Suspended) > 0 {
		fmt.Fprintf(e.out, "workers wait in %s. next: look at it, and to let them run: redis-cli -u %s -n %d del %s\n",
			databases(o.Suspended), quote(o.Into), o.Suspended[0], e.schema.SuspendKey())
	}
}

// databases lists databases for people.
func databases(dbs []int) string {
	if len(dbs) == 1 {
		return fmt.Sprintf("database %d", dbs[0])
	}
	var names []string
	for _, db := range dbs {
		names = append(names, fmt.Sprint(db))
	}
	return "databases " + strings.Join(names, ", ")
}
