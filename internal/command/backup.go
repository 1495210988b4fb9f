package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/backup"
	"rqvault/internal/lease"
	"rqvault/internal/snapshot"
	"rqvault/internal/source"
	"rqvault/internal/store/s3"
)

func viaFlags(value, usage string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "via", Usage: usage, Value: value, EnvVars: []string{"RQVAULT_VIA"}},
		&cli.StringFlag{Name: "dump-dir", Usage: "`DIR` where Redis' data directory is seen from here (for bgsave)", EnvVars: []string{"RQVAULT_DUMP_DIR"}},
		&cli.DurationFlag{Name: "save-timeout", Usage: "how long Redis' own save may take", Value: 30 * time.Minute, EnvVars: []string{"RQVAULT_SAVE_TIMEOUT"}},
		&cli.StringFlag{Name: "limit-rate", Usage: "read from and write to Redis at most at this `RATE`, such as 50MB/s", EnvVars: []string{"RQVAULT_LIMIT_RATE"}, DefaultText: "no limit"},
		&cli.StringFlag{Name: "temp-dir", Usage: "`DIR` for temporary files", EnvVars: []string{"RQVAULT_TEMP_DIR"}},
	}
}

func (e *env) backupCommand() *cli.Command {
	return &cli.Command{
		Name:  "backup",
		Usage: "take a snapshot of Redis and store it",
		Flags: flags(redisFlags(), storeFlags(), writeKeyFlags(), viaFlags(source.Auto, "how to take the dump: "+strings.Join(source.Ways, ", ")), []cli.Flag{
			&cli.BoolFlag{Name: "fast", Usage: "compress for speed rather than size", EnvVars: []string{"RQVAULT_FAST"}},
			&cli.TimestampFlag{Name: "slot", Usage: "the time it was scheduled for", Layout: time.RFC3339, Hidden: true},
		}, outputFlags()),
		Action: e.backup,
	}
}

func (e *env) backup(c *cli.Context) error {
	e.goLater()
	if c.Args().Present() {
		return usage("backup takes no arguments, only flags")
	}
	cat, err := e.catalog(c)
	if err != nil {
		return err
	}
	if err := e.probeStore(c.Context, cat.Store()); err != nil {
		return err
	}
	server, err := e.dial(c, true)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	progress := e.startProgress(c.Bool("quiet"))
	o := source.Options{Server: server, Limit: server.Limit(), Schema: e.schema, Via: c.String("via"), DumpDir: c.String("dump-dir"), Timeout: c.Duration("save-timeout")}
	if progress != nil {
		o.Saving = func(done, total int64, waiting bool) {
			what := "redis saves"
			if waiting {
				what = "waiting for another save"
			}
			progress.begun(what, done, max(total, -1))
		}
	}
	src, err := source.New(o)
	if err != nil {
		return err
	}
	bo := backup.Options{Catalog: cat, Source: src, Schema: e.schema, Now: e.now, Random: rand.Reader,
		ToolVersion: version(), TempDir: c.String("temp-dir"), Fast: c.Bool("fast")}
	bo.Check = lease.Check
	if slot := c.Timestamp("slot"); slot != nil {
		bo.Slot = slot.UTC()
	}
	if progress != nil {
		bo.Progress = progress
	} else if e.phases != nil {
		bo.Progress = e.phases
	}
	defer boundMemory()()
	began := e.now()
	m, err := backup.Save(c.Context, bo)
	e.stopProgress()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return e.printJSON(m)
	}
	if c.Bool("quiet") {
		e.warn(news(c.Context, cat, m))
		return nil
	}
	e.printSaved(m, e.now().Sub(began), cat)
	e.warn(m.Warnings)
	e.warn(stillFrozen(c.Context, cat, m))
	return nil
}

// boundMemory makes the runtime collect garbage early enough to stay near a bound that a
// backup's own buffers keep well below; what it returns undoes that. A GOMEMLIMIT set by
// somebody wins.
func boundMemory() (undo func()) {
	const bound = 192 << 20
	before := debug.SetMemoryLimit(-1)
	if before == math.MaxInt64 {
		debug.SetMemoryLimit(bound)
	}
	return func() { debug.SetMemoryLimit(before) }
}

// news returns the warnings that the snapshot before did not have: who asked for quiet
// has been told of those.
func news(ctx context.Context, cat *snapshot.Catalog, m *snapshot.Manifest) []string {
	ids, err := cat.IDs(ctx)
	if at := slices.Index(ids, m.ID); err == nil && at > 0 {
		if before, err := cat.Manifest(ctx, ids[at-1]); err == nil {
			return slices.DeleteFunc(slices.Clone(m.Warnings), func(w string) bool { return slices.Contains(before.Warnings, w) })
		}
	}
	return m.Warnings
}

// probeStore looks, before the first snapshot goes into a store, whether the service
// keeps the promise every commit rests on: that an object is created only if absent.
func (e *env) probeStore(ctx context.Context, s snapshot.Store) error {
	p, ok := s.(interface {
		ProbeConditional(ctx context.Context) error
	})
	if !ok || !errors.Is(snapshot.CheckRepository(ctx, s), snapshot.ErrNotFound) {
		return nil
	}
	err := p.ProbeConditional(ctx)
	if errors.Is(err, s3.ErrUnconditional) {
		e.warn([]string{"this S3 service ignores create-only writes (" + err.Error() + "): let only one rqvault write to it at a time"})
		return nil
	}
	return err
}

func (e *env) printSaved(m *snapshot.Manifest, took time.Duration, cat *snapshot.Catalog) {
	fmt.Fprintf(e.out, "saved %s: %s, %s, %s as %s, by %s in %.1f s\n", m.ID, plural(m.Counts.Jobs, "job"), plural(m.Counts.Keys, "key"),
		size(m.Dump.Size), size(m.StoredSize()), m.Via, took.Seconds())
	fmt.Fprintf(e.out, "to %s, source %s\n", cat.Store(), m.Source)
	for _, s := range slices.Sorted(maps.Keys(m.Counts.Status)) {
		fmt.Fprintf(e.out, "  %-10s %d\n", s, m.Counts.Status[s])
	}
	if _, others, ok := strings.Cut(m.ViaReason, "; not "); ok {
		fmt.Fprintf(e.out, "by %s, not %s\n", m.Via, clean(others))
	}
}

func (e *env) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(e.err, "warning: "+clean(w))
	}
}
