package command

import (
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/internal/live"
	"rqvault/internal/snapshot"
	"rqvault/internal/source"
	"rqvault/restore"
	"rqvault/verify"
)

func compareFlags() []cli.Flag {
	return flags(viaFlags(source.Scan, "how to read the live jobs: scan (no fork), sync or bgsave (one instant)"), []cli.Flag{
		&cli.StringSliceFlag{Name: "policy", Usage: "for what cannot be known: at-least-once or at-most-once; QUEUE=POLICY for one queue; may be repeated", EnvVars: []string{"RQVAULT_POLICY"}, DefaultText: string(verify.AtLeastOnce)},
		&cli.BoolFlag{Name: "extend-ttl", Usage: "let jobs that wait, and have a ttl, live on by the time since the snapshot", EnvVars: []string{"RQVAULT_EXTEND_TTL"}},
		&cli.StringFlag{Name: "started", Usage: "what becomes of jobs that were running, once their runs are dead: requeue, fail or hold; by default what --policy says", EnvVars: []string{"RQVAULT_STARTED"}},
		&cli.StringFlag{Name: "assume", Usage: "what you know of the live data: older (it lost what the snapshot has), vanished (single keys were deleted) or complete; instead of judging by the evidence"},
		&cli.DurationFlag{Name: "patience", Usage: "how long a job may be in no list while workers are alive, before that counts", Value: 2 * time.Minute, EnvVars: []string{"RQVAULT_PATIENCE"}},
		&cli.StringSliceFlag{Name: "queue", Usage: "only jobs of this queue; may be repeated"},
		&cli.StringSliceFlag{Name: "job", Usage: "only this job id; may be repeated"},
		&cli.BoolFlag{Name: "evidence", Usage: "show what each verdict rests on; always on with --job"},
		&cli.StringSliceFlag{Name: "status", Usage: "only jobs with this status in the snapshot; may be repeated"},
	})
}

// comparison is a snapshot held against a live Redis: what diff shows and restore acts on.
type comparison struct {
	cat      *snapshot.Catalog
	manifest *snapshot.Manifest
	server   *live.Server
	redis    *liveRedis
	index    *picked
	rows     func() iter.Seq2[*job.Row, error]
	fetch    *fetch // nil where nothing is put back
	close    func()
}

// open prepares a comparison; readOnly keeps its connection from writing anything.
func (e *env) open(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest, readOnly bool) (*comparison, error) {
	e.warnDamaged(c, cat, m.ID)
	server, err := e.dial(c, readOnly)
	if err != nil {
		return nil, err
	}
	index := e.picked(c, cat, m)
	if !e.alone(c) && c.String("plan") == "" {
		if err := index.fetch(); err != nil {
			_ = server.Close()
			return nil, err
		}
	}
	r := e.liveRedis(c, server)
	r.since = m.CreatedAt
	r.dbs = slices.Sorted(maps.Keys(keysByDB(m)))
	return &comparison{cat: cat, manifest: m, server: server, redis: r, index: index, rows: index.all, close: func() {
		index.close()
		_ = server.Close()
	}}, nil
}

// warnDamaged says so where a verification found the snapshot damaged, and which one to take
// instead. What cannot be listed says nothing.
func (e *env) warnDamaged(c *cli.Context, cat *snapshot.Catalog, id snapshot.ID) {
	proofs, err := cat.Verified(c.Context)
	if err != nil || !proofs[id].Damaged() {
		return
	}
	text := fmt.Sprintf("snapshot %s was found damaged when it was last read back", id)
	ids, err := cat.IDs(c.Context)
	if err != nil {
		ids = nil
	}
	for _, other := range slices.Backward(ids) {
		if other < id && !proofs[other].Damaged() {
			e.warn([]string{fmt.Sprintf("%s; the newest before it that was not: %s", text, e.again(c, c.Command.Name, string(other)))})
			return
		}
	}
	e.warn([]string{text + ", and there is none before it that was not: rqvault verify --all says what is whole"})
}

func selection(c *cli.Context) (restore.Selection, error) {
	sel := restore.Selection{Queues: c.StringSlice("queue"), Jobs: c.StringSlice("job")}
	for _, s := range c.StringSlice("status") {
		if !job.Status(s).Known() {
			return sel, usage("--status %s is no status of RQ", s)
		}
		sel.Statuses = append(sel.Statuses, job.Status(s))
	}
	return sel, nil
}

// policies reads --policy: one for all, and those of single queues.
func policies(c *cli.Context) (verify.Policy, map[string]verify.Policy, error) {
	all, queues := verify.AtLeastOnce, map[string]verify.Policy{}
	for _, text := range c.StringSlice("policy") {
		queue, name := "", text
		at := strings.LastIndexByte(text, '=')
		if at >= 0 {
			queue, name = text[:at], text[at+1:]
		}
		p := verify.Policy(name)
		if p != verify.AtLeastOnce && p != verify.AtMostOnce {
			return "", nil, usage("--policy %s: use %s or %s, or QUEUE=%[2]s", text, verify.AtLeastOnce, verify.AtMostOnce)
		}
		if at >= 0 {
			queues[queue] = p
		} else {
			all = p
		}
	}
	return all, queues, nil
}

// assumed is what a person says of live data.
func assumed(c *cli.Context) (lineage.Mode, error) {
	m := lineage.Mode(c.String("assume"))
	if m != "" && m != lineage.Older && m != lineage.Complete && m != lineage.Vanished {
		return "", usage("--assume %s: use %s, %s or %s", m, lineage.Older, lineage.Vanished, lineage.Complete)
	}
	return m, nil
}

// startedFlag is what becomes of jobs that were running; "" leaves it to the policy.
func startedFlag(c *cli.Context) (verify.OnStarted, error) {
	started := verify.OnStarted(c.String("started"))
	if !slices.Contains([]verify.OnStarted{"", verify.StartedRequeue, verify.StartedFail, verify.StartedHold}, started) {
		return "", usage("--started %s: use requeue, fail or hold", started)
	}
	return started, nil
}

// plan compares and makes a plan of what is selected.
func (e *env) plan(c *cli.Context, cmp *comparison) (*verify.Result, *restore.Plan, error) {
	sel, err := selection(c)
	if err != nil {
		return nil, nil, err
	}
	pol, queues, err := policies(c)
	if err != nil {
		return nil, nil, err
	}
	mode, err := assumed(c)
	if err != nil {
		return nil, nil, err
	}
	started, err := startedFlag(c)
	if err != nil {
		return nil, nil, err
	}
	m := cmp.manifest
	planner := restore.NewPlanner(sel)
	seen := newSeen(sel)
	if typed(e.args, []string{"policy"}) { // what stands in the environment may be for other servers too
		for q := range queues {
			seen.queues[q] = false
		}
	}
	result, err := e.against(c, cmp, verify.Options{
		Live: cmp.redis, Select: func(f *verify.Finding) bool {
			seen.note(f)
			has := sel.Has(f)
			if has {
				cmp.fetch.note(f)
			}
			return has
		}, Rows: cmp.rows, Schema: e.schema, Policy: pol, Queues: queues, ExtendTTL: c.Bool("extend-ttl"), Started: started, Assume: mode, Now: e.now, Survivor: planner.Survivors().Note,
		Pieces:   c.String("report") == "" && !c.Bool("json"),
		Brief:    !(evident(c) || c.Bool("json") || c.String("out") != "" || c.String("report") != ""),
		Patience: c.Duration("patience"), Waiting: func(d time.Duration, jobs int) {
			e.stopProgress()
			e.warn([]string{fmt.Sprintf("%s in no list: a worker may just have taken them, so they are looked at again in %s (--patience)",
				are(jobs), d.Round(time.Second))})
		},
		Past: lineage.NewPast(m.Lineage.Before, m.Lineage.After, m.CreatedAt, m.Dump.Aux),
	})
	e.stopProgress()
	if err != nil {
		return nil, nil, err
	}
	if err := seen.missing(m); err != nil {
		return nil, nil, err
	}
	pieces := append(result.Pieces, result.Findings)
	result.Pieces = nil // they can be millions, and the plan has what is to be done
	planner.Add(pieces...)
	steps, err := planner.Steps(cmp.rows)
	if err != nil {
		return nil, nil, err
	}
	result.Findings = slices.DeleteFunc(result.Findings, func(f verify.Finding) bool { return !sel.Has(&f) })
	return result, &restore.Plan{Snapshot: m.ID, Source: m.Source, CreatedAt: e.now().UTC(), RunID: result.Facts.RunID,
		Policy: pol, Policies: queues, Lineage: result.Lineage, Counts: result.Counts, Settled: result.Settled.Without(cmp.redis.settled), Steps: steps}, nil
}

// seen notes which of the queues and jobs asked for there are at all.
type seen struct{ queues, jobs map[string]bool }

func newSeen(sel restore.Selection) *seen {
	s := &seen{map[string]bool{}, map[string]bool{}}
	for _, q := range sel.Queues {
		s.queues[q] = false
	}
	for _, id := range sel.Jobs {
		s.jobs[id] = false
	}
	return s
}

func (s *seen) note(f *verify.Finding) {
	if _, asked := s.queues[f.Queue]; asked {
		s.queues[f.Queue] = true
	}
	if _, asked := s.jobs[f.JobID]; asked {
		s.jobs[f.JobID] = true
	}
}

// How many queues a complaint lists, and how much of a name.
const (
	namesShown = 20
	nameShown  = 60
)

// missing complains of what was asked for and is nowhere: more often a slip of the
// finger than good news.
func (s *seen) missing(m *snapshot.Manifest) error {
	for _, q := range slices.Sorted(maps.Keys(s.queues)) {
		if s.queues[q] || m.Counts.Queues[q] != nil {
			continue
		}
		var there []string
		for _, name := range slices.Sorted(maps.Keys(m.Counts.Queues)) {
			there = append(there, quote(name[:min(len(name), nameShown)]))
		}
		if len(there) > namesShown {
			there = append(there[:namesShown], "…")
		}
		return usage("no queue %s in the snapshot or in live; the snapshot has %s", quote(q), strings.Join(there, ", "))
	}
	for _, id := range slices.Sorted(maps.Keys(s.jobs)) {
		if !s.jobs[id] {
			return usage("no job %s in the snapshot or in live; rqvault jobs %s --func NAME, --queue NAME or --since 2h finds ids", quote(id), m.ID)
		}
	}
	return nil
}

// savePlan writes a plan beside its name first, so that a full disk leaves no half one.
func savePlan(name string, p *restore.Plan) error {
	b, err := p.Marshal()
	if err != nil {
		return err
	}
	tmp := name + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		_ = os.Remove(tmp)
		return &advice{fmt.Errorf("write the plan: %w", err), "name a file in a directory that exists and can be written to: --out FILE"}
	}
	if err := os.Rename(tmp, name); err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("write the plan: %w", err)
	}
	return nil
}
