package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/keyspace"
	"rqvault/internal/live"
	"rqvault/internal/report"
	"rqvault/internal/scratch"
	"rqvault/internal/snapshot"
	"rqvault/restore"
	"rqvault/verify"
)

func (e *env) drillCommand() *cli.Command {
	return &cli.Command{
		Name:      "drill",
		Usage:     "prove that a snapshot can be restored: load it into a private redis-server, compare everything, measure",
		ArgsUsage: "[SNAPSHOT]",
		Flags: flags(storeFlags(), keyFlags(), []cli.Flag{
			&cli.StringFlag{Name: "redis-server", Usage: "the program to run, by `PATH` or name", Value: "redis-server", EnvVars: []string{"RQVAULT_REDIS_SERVER"}},
		}, intoFlags(), redisFlags(), []cli.Flag{
			reportFlag(),
			&cli.BoolFlag{Name: "no-stamp", Usage: "do not store the result beside the snapshot"},
			&cli.StringFlag{Name: "temp-dir", Usage: "`DIR` for temporary files", EnvVars: []string{"RQVAULT_TEMP_DIR"}},
		}, outputFlags()),
		Action: e.drill,
	}
}

// trial is a snapshot in a server, ready to be compared.
type trial struct {
	server  *live.Server
	values  verify.Values
	now     func() time.Time
	omitted bool          // what a restore leaves out is not there
	added   map[int]int64 // keys that are there besides
	close   func()
}

func (e *env) drill(c *cli.Context) error {
	if c.Bool("replace-all") && !c.IsSet("into") {
		return usage("--replace-all is about another server: give it with --into URL")
	}
	cat, m, err := e.pick(c)
	if err != nil {
		return err
	}
	page, err := e.openReport(c)
	if err != nil {
		return err
	}
	defer page.discard()
	progress := e.startProgress(c.Bool("quiet"))
	r := &restore.DrillResult{Snapshot: m.ID, Source: m.Source, At: e.now().UTC(), Differences: []verify.Difference{}}
	prepare := e.drillScratch
	if c.IsSet("into") {
		prepare = e.drillInto
	}
	t, err := prepare(c, cat, m, r, progress)
	if err != nil {
		return err
	}
	defer t.close()
	if err := e.compareTrial(c, cat, m, t, r, progress); err != nil {
		return err
	}
	e.stopProgress()
	if !c.Bool("no-stamp") {
		e.stamp(c.Context, cat, m, r.Verification(m.StoredSize()))
	}
	if c.Bool("json") {
		err = e.printJSON(r)
	} else {
		e.printDrill(r)
	}
	if err == nil {
		err = page.write(func() *report.Data { return e.drilled(m, r) })
	}
	if err == nil && !r.OK {
		return errFindings
	}
	return err
}

// drillScratch lets a private server load the dump: while it is fetched and proven, or where
// the server does not do that, after.
func (e *env) drillScratch(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest, r *restore.DrillResult, progress *bar) (*trial, error) {
	t, err := e.drillOn(c, r, func(s *scratch.Server) (*trial, error) { return e.feedScratch(c, cat, m, s, r, progress) })
	if !errors.Is(err, live.ErrNotTaken) && !errors.Is(err, live.ErrHalfTaken) || c.Context.Err() != nil {
		return t, err
	}
	return e.drillOn(c, r, func(s *scratch.Server) (*trial, error) { return e.startScratch(c, cat, m, s, r, progress) })
}

// drillOn makes the place of a private server and fills it.
func (e *env) drillOn(c *cli.Context, r *restore.DrillResult, fill func(s *scratch.Server) (*trial, error)) (*trial, error) {
	s, err := scratch.New(c.Context, c.String("redis-server"), c.String("temp-dir"))
	if err != nil {
		return nil, err
	}
	r.Server = s.Version()
	t, err := fill(s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	values, server := t.close, t.server
	t.now, t.close = e.now, func() { _ = server.Close(); values(); _ = s.Close() }
	return t, nil
}

// feedScratch starts the server empty and makes it load the dump as it comes out of the
// store. A copy stays, for the comparison.
func (e *env) feedScratch(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest, s *scratch.Server, r *restore.DrillResult, progress *bar) (*trial, error) {
	progress.begin("loading", m.Dump.Size, true)
	began := e.now()
	if err := s.Start(c.Context, databasesOf(m)); err != nil {
		return nil, err
	}
	server, err := e.dialScratch(c, s, false)
	if err != nil {
		return nil, err
	}
	var dump *os.File
	err = server.LoadRDB(c.Context, func(w io.Writer) (err error) {
		dump, err = unpackTo(c.Context, cat, m, s.DumpPath(), w)
		return err
	})
	if err != nil {
		if dump != nil {
			_ = dump.Close()
		}
		_ = server.Close()
		return nil, err
	}
	r.Seconds.Fetch, r.Seconds.Load = 0, seconds(e.now().Sub(began))
	_ = os.Remove(s.DumpPath()) // an open file is enough; should we be killed, nothing stays
	return &trial{server: server, values: fileValues{dump}, close: func() { _ = dump.Close() }}, nil
}

// startScratch starts the server over the dump, as it starts over its own.
func (e *env) startScratch(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest, s *scratch.Server, r *restore.DrillResult, progress *bar) (*trial, error) {
	progress.begin("fetching the dump", m.Dump.Size, true)
	began := e.now()
	dump, err := unpackTo(c.Context, cat, m, s.DumpPath(), io.Discard)
	if err != nil {
		return nil, err
	}
	r.Seconds.Fetch = seconds(e.now().Sub(began))
	progress.begin("loading", -1, false)
	began = e.now()
	if err := s.Start(c.Context, databasesOf(m)); err != nil {
		return nil, errors.Join(fmt.Errorf("load the dump of %s (%s): %w", m.ID, m.Dump.Format, err), dump.Close())
	}
	r.Seconds.Load = seconds(e.now().Sub(began))
	server, err := e.dialScratch(c, s, true)
	if err != nil {
		return nil, errors.Join(err, dump.Close())
	}
	return &trial{server: server, values: fileValues{dump}, close: func() { _ = dump.Close() }}, nil
}

// databasesOf is how many databases a server needs for a snapshot.
func databasesOf(m *snapshot.Manifest) int { return max(lastDB(m)+1, 16) }

func (e *env) dialScratch(c *cli.Context, s *scratch.Server, readOnly bool) (*live.Server, error) {
	to, err := live.ParseURL(s.URL())
	if err != nil {
		return nil, err
	}
	return live.Dial(c.Context, to, live.Options{ReadOnly: readOnly})
}

// drillInto restores into the server that --into names.
func (e *env) drillInto(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest, r *restore.DrillResult, progress *bar) (*trial, error) {
	to, err := e.dialTarget(c, m, false)
	if err != nil {
		return nil, err
	}
	t := &trial{server: to.server, now: to.now, omitted: true, added: map[int]int64{}, close: func() { _ = to.server.Close() }}
	r.Into, r.Server = to.url, to.facts.Server+" "+to.facts.Version
	filled, took, err := e.fill(c, cat, m, to, progress)
	if err == nil || filled.Counts.Failed > 0 && errors.Is(err, errPartly) && len(filled.Failures) > 0 && c.Context.Err() == nil {
		r.Failures = filled.Failures // the comparison finds them missing
		for _, db := range filled.Suspended {
			t.added[db] = 1
		}
		r.Seconds.Fetch, r.Seconds.Load = seconds(took["fetch"]), seconds(took["load"])
		t.values, err = cat.Values(c.Context, m)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// compareTrial holds the server against the snapshot.
func (e *env) compareTrial(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest, t *trial, r *restore.DrillResult, progress *bar) error {
	format, err := keyspace.ParseFormat(m.Dump.Format)
	if err != nil {
		return fmt.Errorf("%w: %w", snapshot.ErrDamaged, err)
	}
	keys, keysDone, err := e.keyRows(c, &comparison{cat: cat, manifest: m})
	if err != nil {
		return err
	}
	defer keysDone()
	rows, rowsDone, err := e.rows(c, cat, m)
	if err != nil {
		return err
	}
	defer rowsDone()
	o := verify.WholeOptions{
		Filled: &filled{t.server}, Keys: keys, Rows: func() verify.Rows { return rows() }, Values: t.values, Format: format, Schema: e.schema,
		Now: t.now, TempDir: c.String("temp-dir"), Added: t.added,
		Progress: func(n int64) { progress.begun("comparing (keys)", n, m.Counts.Keys) },
	}
	if t.omitted {
		o.Omitted = func(name []byte, kind keyspace.Kind) bool { return restore.Omitted(e.schema, name, kind) }
	}
	began := e.now()
	w, err := verify.Whole(c.Context, o)
	if err != nil {
		return err
	}
	r.Seconds.Compare = seconds(e.now().Sub(began))
	r.Seconds.Recovery = round(r.Seconds.Fetch + r.Seconds.Load)
	r.Seconds.Total = round(r.Seconds.Recovery + r.Seconds.Compare)
	r.Counts = restore.DrillCounts{Keys: w.Keys, Jobs: w.Jobs, LeftOut: w.Omitted, Expired: w.Expired, Differences: w.Count}
	r.Differences = append(r.Differences, w.Differences...)
	r.OK = w.Count == 0
	return nil
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

func round(s float64) float64 { return seconds(time.Duration(s * float64(time.Second))) }

// unpackTo writes a snapshot's dump into a new file, which stays open, and to w. It is
// proven once there is no error.
func unpackTo(ctx context.Context, cat *snapshot.Catalog, m *snapshot.Manifest, path string, w io.Writer) (*os.File, error) {
	r, _, err := cat.OpenDump(ctx, m)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("unpack the dump of %s: %w", m.ID, err), r.Close())
	}
	_, err = snapshot.Copy(io.MultiWriter(w, f), r)
	if err == nil {
		err = r.Close()
	} else {
		_ = r.Close()
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("unpack the dump of %s: %w", m.ID, err)
	}
	return f, nil
}

// fileValues reads values out of an unpacked dump.
type fileValues struct{ f *os.File }

func (v fileValues) Read(_ context.Context, offset, length int64) ([]byte, error) {
	b := make([]byte, length)
	_, err := v.f.ReadAt(b, offset)
	return b, err
}

func (e *env) printDrill(r *restore.DrillResult) {
	where := "a private " + r.Server
	if r.Into != "" {
		where = clean(r.Into) + " (" + clean(r.Server) + ")"
	}
	if r.OK {
		stages := "fetched while it was loaded"
		if r.Seconds.Fetch > 0 {
			stages = fmt.Sprintf("%s to fetch, %s to load", took(r.Seconds.Fetch), took(r.Seconds.Load))
		}
		fmt.Fprintf(e.out, "%s came back whole in %s (%s) in %s: %s and %s are just as in the snapshot, compared in %s\n",
			r.Snapshot, took(r.Seconds.Recovery), stages, where, plural(r.Counts.Keys, "key"), plural(r.Counts.Jobs, "job"), took(r.Seconds.Compare))
		if r.Into != "" {
			fmt.Fprintln(e.out, "  all of it stays there, payloads included, and workers there wait: flush that server when you are done")
		}
	} else {
		fmt.Fprintf(e.out, "%s did NOT come back whole in %s: %s\n", r.Snapshot, where, plural(r.Counts.Differences, "difference"))
		for i, d := range r.Differences {
			if i == maxLines {
				fmt.Fprintf(e.out, "  … and %d more (--json lists more)\n", r.Counts.Differences-int64(i))
				break
			}
			fmt.Fprintf(e.out, "  %s\n", clean(d.String()))
		}
		for i, f := range r.Failures {
			if i < maxLines {
				fmt.Fprintf(e.out, "  the target refused key %s: %s\n", quote(f.Key), clean(f.Reason))
			}
		}
	}
	if n := r.Counts.LeftOut; n > 0 {
		fmt.Fprintf(e.out, "  %d keys of workers, locks and running jobs were left out, as a restore does\n", n)
	}
	if n := r.Counts.Expired; n > 0 {
		fmt.Fprintf(e.out, "  %d keys have expired since the snapshot\n", n)
	}
	if !r.OK {
		fmt.Fprintf(e.err, "next: prove the stored bytes: rqvault verify %s; if they are whole, look for who else writes to the server, and for its maxmemory and version\n", r.Snapshot)
	}
}

// drilled is the report of a drill.
func (e *env) drilled(m *snapshot.Manifest, r *restore.DrillResult) *report.Data {
	into := "a private " + r.Server
	if r.Into != "" {
		into = r.Into + " (" + r.Server + ")"
	}
	d := &report.Drill{Into: into, Recovery: r.Seconds.Recovery, Jobs: r.Counts.Jobs, Keys: r.Counts.Keys,
		Took:    []report.Took{{What: "fetch", Seconds: r.Seconds.Fetch}, {What: "load", Seconds: r.Seconds.Load}, {What: "compare", Seconds: r.Seconds.Compare}},
		LeftOut: r.Counts.LeftOut + r.Counts.Expired, Different: r.Counts.Differences}
	d.Took = slices.DeleteFunc(d.Took, func(t report.Took) bool { return t.Seconds == 0 })
	for _, x := range r.Differences {
		d.Differs = append(d.Differs, report.Difference{What: x.Name(), Why: x.What})
	}
	return &report.Data{Kind: report.Drilled, Source: m.Source, Version: version(), MadeAt: e.now(), Command: commandLine(e.args),
		Snapshot: report.Snapshot{ID: string(m.ID), Taken: m.CreatedAt, Via: m.Via, Atomic: m.Atomic, Jobs: m.Counts.Jobs, Keys: m.Counts.Keys},
		Then:     m.Lineage.Before, Restored: report.Span{From: r.At, To: e.now()}, Meanings: meanings, Drill: d}
}

// printLastDrill says how the snapshot's last drill went, if there was one.
func (e *env) printLastDrill(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest) error {
	v, err := cat.LastDrill(c.Context, m.ID)
	if v == nil || err != nil {
		return err
	}
	ago := age(e.now().Sub(v.At))
	if v.OK {
		fmt.Fprintf(e.out, "\ndrilled %s ago: it came back whole in %s\n", ago, took(v.Seconds["recovery"]))
		return nil
	}
	fmt.Fprintf(e.out, "\ndrilled %s ago, and it did NOT come back whole: %s\n", ago, plural(v.Counts["differences"], "difference"))
	for _, p := range v.Problems {
		fmt.Fprintf(e.out, "  %s\n", clean(p))
	}
	return nil
}
