package command

import (
	"fmt"
	"iter"
	"strings"

	"github.com/urfave/cli/v2"

	"rqvault/internal/index"
	"rqvault/internal/lineage"
	"rqvault/internal/snapshot"
	"rqvault/restore"
	"rqvault/verify"
)

// keyRows fetches a snapshot's table of keys, proven.
func (e *env) keyRows(c *cli.Context, cmp *comparison) (restore.Keys, func(), error) {
	f, n, err := cmp.cat.Spool(c.Context, cmp.manifest, snapshot.KeysName, c.String("temp-dir"))
	if err != nil {
		return nil, nil, err
	}
	return func() iter.Seq2[*index.KeyRow, error] { return index.ReadKeys(f, n) }, func() { _ = f.Close() }, nil
}

// planKeys plans the return of keys that are no jobs.
func (e *env) planKeys(c *cli.Context, cmp *comparison) (*verify.Result, *restore.Plan, error) {
	if c.IsSet("queue") || c.IsSet("job") || c.IsSet("status") {
		return nil, nil, usage("--keys is about keys that are no jobs: give it without --queue, --job and --status")
	}
	facts, err := cmp.redis.Facts(c.Context)
	if err != nil {
		return nil, nil, err
	}
	if _, err := cmp.redis.Restored(c.Context); err != nil {
		return nil, nil, err
	}
	image, err := cmp.redis.Image(c.Context, verify.Look{Before: facts.Loaded(), Versions: true})
	if err != nil {
		return nil, nil, err
	}
	watermark := image.Watermark()
	if err := image.Close(); err != nil {
		return nil, nil, err
	}
	m := cmp.manifest
	past := lineage.NewPast(m.Lineage.Before, m.Lineage.After, m.CreatedAt, m.Dump.Aux)
	judgement, err := lineage.Judge(past, facts, watermark)
	if err != nil {
		return nil, nil, err
	}
	keys, done, err := e.keyRows(c, cmp)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	now := e.now().UTC()
	steps, n, err := restore.PlanKeys(c.Context, cmp.redis, keys, c.StringSlice("keys"), now.UnixMilli())
	e.stopProgress()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case len(steps)+n.Present+n.Expired > 0:
	case n.Queues > 0:
		return nil, nil, usage("the %s that match belong to the job queues: jobs are restored whole, without --keys", plural(int64(n.Queues), "key"))
	default:
		return nil, nil, usage("no key of the snapshot matches %s", strings.Join(c.StringSlice("keys"), ", "))
	}
	fmt.Fprintf(e.err, "%s missing, %d there already, %d expired meanwhile\n", plural(int64(len(steps)), "key"), n.Present, n.Expired)
	pol, _, err := policies(c)
	if err != nil {
		return nil, nil, err
	}
	counts := map[verify.Verdict]int{verify.Lost: len(steps), verify.Expired: n.Expired, verify.Intact: n.Present}
	return &verify.Result{Lineage: judgement, Facts: facts, Counts: counts}, &restore.Plan{Snapshot: m.ID, Source: m.Source, CreatedAt: now,
		RunID: facts.RunID, Policy: pol, Lineage: judgement, Counts: counts, Steps: steps}, nil
}

func (e *env) applyKeys(c *cli.Context, cmp *comparison, p *restore.Plan, o restore.Options) error {
	any := false
	for i := range p.Steps {
		any = any || p.Steps[i].Key != ""
	}
	if !any {
		return nil
	}
	keys, done, err := e.keyRows(c, cmp)
	if err != nil {
		return err
	}
	defer done()
	return restore.ApplyKeys(c.Context, p, keys, o)
}
