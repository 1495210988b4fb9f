package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"rqvault/internal/lineage"
	"rqvault/internal/live"
	"rqvault/internal/source"
	"rqvault/restore"
	"rqvault/verify"
)

// mostJobs is how many jobs are looked at one by one. More are found in everything.
const mostJobs = 100

// alone reports whether the jobs that are asked for may be compared without all others:
// they are few, and a person says what live is. A page, an instant of everything, and
// queues that are named and may not exist are about more.
func (e *env) alone(c *cli.Context) bool {
	n := len(c.StringSlice("job"))
	via := c.String("via")
	if len(c.StringSlice("queue")) > 0 || typed(e.args, []string{"policy"}) && slices.ContainsFunc(c.StringSlice("policy"), func(p string) bool { return strings.Contains(p, "=") }) {
		return false
	}
	return n > 0 && n <= mostJobs && c.String("assume") == string(lineage.Older) && (via == "" || via == source.Scan || via == source.Auto) &&
		c.String("report") == "" && c.String("plan") == "" && len(c.StringSlice("keys")) == 0
}

// against compares, with the jobs asked for alone where that gives the same.
func (e *env) against(c *cli.Context, cmp *comparison, o verify.Options) (*verify.Result, error) {
	if e.alone(c) {
		f := &verify.Few{IDs: c.StringSlice("job"), Queues: slices.Collect(maps.Keys(cmp.manifest.Counts.Queues)),
			Rows: cmp.index.of, Children: cmp.index.children, Order: cmp.index.order,
			Image: cmp.redis.few, Listed: cmp.redis.listed, Signed: cmp.redis.signedOf}
		r, rows, err := verify.AgainstFew(c.Context, o, f)
		if err == nil {
			cmp.rows = few(rows)
			return r, nil
		}
		if !errors.Is(err, verify.ErrWhole) {
			return nil, err
		}
	}
	if err := cmp.index.fetch(); err != nil {
		return nil, err
	}
	return verify.Against(c.Context, o)
}

// pick has a plan that names few jobs read the rows of those alone.
func (cmp *comparison) pick(ctx context.Context, p *restore.Plan) error {
	var ids []string
	for i := range p.Steps {
		if p.Steps[i].JobID != "" {
			ids = append(ids, p.Steps[i].JobID)
		}
	}
	if len(ids) == 0 || len(ids) > mostJobs {
		return nil
	}
	rows, err := cmp.index.of(ctx, ids)
	if err == nil {
		cmp.rows = few(rows)
	}
	return err
}

// few reads some jobs.
func (r *liveRedis) few(ctx context.Context, w verify.Wanted) (verify.Image, error) {
	return source.Few(ctx, source.FewOptions{Server: r.s, Schema: r.schema, TempDir: r.image.TempDir, Wanted: w})
}

// listed returns the ids in a queue.
func (r *liveRedis) listed(ctx context.Context, db int32, queue string) (map[string]bool, error) {
	return source.Listed(ctx, r.s, r.schema, int(db), queue)
}

// signedOf is Restored for some jobs.
func (r *liveRedis) signedOf(ctx context.Context, ids []string) (map[verify.JobKey]bool, error) {
	done := map[verify.JobKey]bool{}
	if len(ids) == 0 {
		return done, nil
	}
	ask := []any{"HMGET", restore.LedgerKey}
	for _, id := range ids {
		ask = append(ask, restore.JobEntry(id))
	}
	for _, db := range r.dbs {
		replies, err := r.s.Pipeline(ctx, db, [][]any{ask})
		if err == nil {
			err, _ = replies[0].(error)
		}
		if refused := new(live.ReplyError); errors.As(err, &refused) {
			return nil, verify.ErrWhole
		}
		if err != nil {
			return nil, fmt.Errorf("read the ledger (%s): %w", restore.LedgerKey, err)
		}
		entries, _ := replies[0].([]any)
		for i, entry := range entries {
			if text, ok := entry.(string); ok && restore.Signed(text, r.since) {
				done[verify.JobKey{DB: int32(db), ID: ids[i]}] = restore.Settled(text)
			}
		}
	}
	return done, nil
}
