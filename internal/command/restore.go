package command

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/keyspace"
	"rqvault/internal/lineage"
	"rqvault/internal/report"
	"rqvault/internal/snapshot"
	"rqvault/restore"
	"rqvault/verify"
)

// restoreOut is restore --json.
type restoreOut struct {
	Snapshot snapshot.ID            `json:"snapshot"`
	Applied  bool                   `json:"applied"`
	Mode     lineage.Mode           `json:"mode"`
	Counts   map[restore.Result]int `json:"counts"`
	Outcomes []restore.Outcome      `json:"outcomes"`
	// brief keeps of each result only as many outcomes as text shows.
	brief bool
	total int // outcomes, kept or not
}

func (e *env) restoreCommand() *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "put lost jobs back; shows what it would do unless --apply is given",
		ArgsUsage: "[SNAPSHOT]",
		Flags: flags(redisFlags(), storeFlags(), keyFlags(), compareFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "apply", Usage: "do it"},
			&cli.IntFlag{Name: "resume-rate", Usage: "put at most so many ids per second back into queues; 0 for no limit", EnvVars: []string{"RQVAULT_RESUME_RATE"}},
			&cli.Int64Flag{Name: "max-queue-depth", Usage: "put none into a queue that is this long, until it has shrunk; 0 for no limit", EnvVars: []string{"RQVAULT_MAX_QUEUE_DEPTH"}},
			&cli.BoolFlag{Name: "repair", Usage: "instead: repair what breaks RQ's own invariants in live Redis (see verify --live); needs no snapshot"},
			invariantFlag(),
			&cli.BoolFlag{Name: "suspend", Usage: "keep RQ's workers from taking new jobs until all ids are back"},
			&cli.StringFlag{Name: "plan", Usage: "do exactly what this plan `FILE` says (from diff --out)"},
			&cli.StringSliceFlag{Name: "keys", Usage: "instead of jobs: other keys that match this glob `PATTERN`, such as 'session:*'; may be repeated"},
			reportFlag(),
		}, intoFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "mask", Usage: "with --into: blank the arguments, results, descriptions and meta of jobs"},
		}, outputFlags()),
		Action: e.restoreOrFill,
	}
}

func (e *env) restore(c *cli.Context) error {
	if c.Bool("repair") {
		return e.repair(c)
	}
	reviewed, err := e.reviewed(c)
	if err != nil {
		return err
	}
	ref := c.Args().First()
	if reviewed != nil {
		ref = string(reviewed.Snapshot)
	}
	page, err := e.openReport(c)
	if err != nil {
		return err
	}
	defer page.discard()
	cat, err := e.catalog(c)
	if err != nil {
		return err
	}
	if reviewed != nil && reviewed.Source != cat.Source() {
		return usage("the plan is for source %s: add --source %s", reviewed.Source, reviewed.Source)
	}
	m, err := e.find(c.Context, cat, ref)
	if err != nil {
		if reviewed != nil {
			err = fmt.Errorf("the plan's snapshot: %w", err)
		}
		return err
	}
	cmp, err := e.open(c, cat, m, !c.Bool("apply"))
	if err != nil {
		return err
	}
	defer cmp.close()
	if c.Bool("apply") {
		cmp.fetch = newFetch(c.Context, cat, m, c.String("temp-dir"))
		defer cmp.fetch.close()
	}
	defer spare(m, sparing)()
	progress := e.startProgress(c.Bool("quiet"))
	result, plan, err := e.choose(c, cmp, reviewed)
	if err != nil {
		return err
	}
	if len(c.StringSlice("keys")) == 0 {
		torn, err := e.unrestored(c, cmp, plan)
		if err != nil {
			return err
		}
		if torn != nil && torn.Missing > 0 {
			return torn.refused(e, c, m.ID)
		}
	}
	if !c.Bool("apply") {
		if err := e.dryRun(c, plan); err != nil {
			return err
		}
		return page.write(func() *report.Data { return e.planned(c, report.Dry, cmp, result, plan) })
	}
	began := e.now()
	out, err := e.apply(c, cmp, plan, progress)
	if out != nil {
		err = errors.Join(err, page.write(func() *report.Data { return e.applied(c, cmp, result, plan, out, began, err) }))
	}
	return err
}

// reviewed checks what the command line asks for, and reads the plan that it names; nil
// where it names none.
func (e *env) reviewed(c *cli.Context) (p *restore.Plan, err error) {
	if name := c.String("plan"); name != "" {
		if c.Args().Present() || c.IsSet("queue") || c.IsSet("job") || c.IsSet("status") || c.IsSet("keys") {
			return nil, usage("--plan says itself what to restore: give no snapshot and no selection beside it")
		}
		for _, n := range []string{"policy", "started", "assume", "extend-ttl"} {
			if typed(e.args, []string{n}) {
				return nil, usage("--%s belongs to the comparison that made the plan: make a new one with rqvault diff --%s … --out plan.json", n, n)
			}
		}
		if p, err = readPlan(name); err != nil {
			return nil, err
		}
	} else if c.NArg() > 1 {
		return nil, usage("one snapshot at most")
	}
	if c.Int("resume-rate") < 0 || c.Int64("max-queue-depth") < 0 {
		return nil, usage("--resume-rate and --max-queue-depth are counts: use 0 for no limit")
	}
	if c.Bool("suspend") && (c.Int64("max-queue-depth") > 0 || c.IsSet("keys")) {
		return nil, usage("--suspend goes with jobs, and without --max-queue-depth: queues do not shrink while the workers are suspended")
	}
	return p, nil
}

// choose makes the plan, or checks that a reviewed one still fits the server. The result
// of a reviewed one, and of one about keys, has no findings.
func (e *env) choose(c *cli.Context, cmp *comparison, reviewed *restore.Plan) (*verify.Result, *restore.Plan, error) {
	if reviewed == nil {
		if c.IsSet("keys") {
			return e.planKeys(c, cmp)
		}
		return e.plan(c, cmp)
	}
	facts, err := cmp.redis.Facts(c.Context)
	if err != nil {
		return nil, nil, err
	}
	if facts.Persistence.Loading {
		return nil, nil, lineage.ErrLoading
	}
	if facts.RunID != reviewed.RunID {
		return nil, nil, fmt.Errorf("%w: the plan was made for another Redis process (run id %.8s…, now %.8s…): it restarted, or this is another server",
			errLineage, reviewed.RunID, facts.RunID)
	}
	if err := cmp.pick(c.Context, reviewed); err != nil {
		return nil, nil, err
	}
	return &verify.Result{Lineage: reviewed.Lineage, Facts: facts, Counts: reviewed.Counts}, reviewed, nil
}

// dryRun shows the plan as outcomes that have not happened.
func (e *env) dryRun(c *cli.Context, p *restore.Plan) error {
	if !c.Bool("json") {
		fmt.Fprintf(e.out, "restore from snapshot %s: dry run, nothing is changed\n", p.Snapshot)
		e.printLineage(p.Lineage)
		e.printSteps(p, evident(c))
		if len(p.Steps) == 0 {
			fmt.Fprintln(e.out, "nothing to restore")
			return nil
		}
		if !slices.ContainsFunc(p.Steps, func(s restore.Step) bool { return s.Action != verify.Hold }) {
			e.nextAfterDiff(c, p)
			return nil
		}
		next := e.again(c, "restore", string(p.Snapshot)) + " --apply"
		if plan := c.String("plan"); plan != "" {
			next = e.againPlan(c, plan)
		}
		fmt.Fprintln(e.out, "next: "+next)
		return nil
	}
	out := newRestoreOut(p, false)
	for _, s := range p.Steps {
		r := restore.Restored
		switch s.Action {
		case verify.Hold:
			r = restore.Held
		case verify.Place, verify.Forward, verify.Start:
			r = restore.Repaired
		}
		out.add(restore.Outcome{DB: s.DB, JobID: s.JobID, Key: s.Key, Queue: s.Queue, Action: s.Action, Result: r, Reason: s.Reason})
	}
	return e.printJSON(out)
}

func newRestoreOut(p *restore.Plan, applied bool) *restoreOut {
	out := &restoreOut{Snapshot: p.Snapshot, Applied: applied, Mode: p.Lineage.Mode, Counts: map[restore.Result]int{}, Outcomes: []restore.Outcome{}}
	for _, r := range restore.Results {
		out.Counts[r] = 0
	}
	return out
}

func (o *restoreOut) add(x restore.Outcome) {
	o.Counts[x.Result]++
	o.total++
	if !o.brief || o.Counts[x.Result] <= maxLines {
		o.Outcomes = append(o.Outcomes, x)
	}
}

// apply carries the plan out. What it returns beside an error is how far it came, nil if
// it did not begin.
func (e *env) apply(c *cli.Context, cmp *comparison, p *restore.Plan, progress *bar) (*restoreOut, error) {
	m := cmp.manifest
	values, err := cmp.fetch.of(p, progress)
	if err != nil {
		return nil, err
	}
	format, err := keyspace.ParseFormat(m.Dump.Format)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", snapshot.ErrDamaged, err)
	}
	facts, err := cmp.redis.Facts(c.Context)
	if err != nil {
		return nil, err
	}
	if err := refuseTarget(facts); err != nil {
		return nil, err
	}
	skew := time.Duration(facts.ClockSkewMS) * time.Millisecond
	now := func() time.Time { return e.now().Add(skew) }
	out := newRestoreOut(p, true)
	if out.brief = !c.Bool("json") && c.String("report") == ""; !out.brief {
		out.Outcomes = make([]restore.Outcome, 0, len(p.Steps))
	}
	o := restore.Options{Redis: cmp.redis, Values: values, Schema: e.schema, Format: format, Rows: cmp.rows,
		Reviewed: c.String("plan") != "", Pace: e.pace(c, progress), Suspend: c.Bool("suspend"), Suspended: e.suspended, Registered: m.Registered, TakenAt: m.CreatedAt, Now: now, Outcome: out.add,
		Progress: func(done, total int) { progress.begun("restoring (jobs)", int64(done), int64(total)) }}
	if out.brief {
		defer spare(m, decided)()
	}
	err = restore.Apply(c.Context, p, o)
	if err == nil {
		err = e.applyKeys(c, cmp, p, o)
	}
	e.stopProgress()
	if c.Bool("json") {
		err = errors.Join(err, e.printJSON(out))
	} else {
		e.printRestored(c, p, out, err == nil)
	}
	return out, partly(out, err)
}

// suspended says what a suspension does, and what it does not.
func (e *env) suspended(db int, ours bool) {
	flag := fmt.Sprintf("%s in database %d", e.schema.SuspendKey(), db)
	text := fmt.Sprintf("workers are suspended (%s) until the ids are back, and at most %s should this restore die; one that already waits for a job still takes one",
		flag, restore.SuspendLife)
	if !ours {
		text = fmt.Sprintf("workers were suspended already (%s), and that is left as it is; when you want them to go on: redis-cli -u %s -n %d del %s",
			flag, quote(e.target), db, e.schema.SuspendKey())
	}
	e.stopProgress()
	e.warn([]string{text})
}

// pace reads how slowly ids return to their queues.
func (e *env) pace(c *cli.Context, progress *bar) restore.Pace {
	told := false
	return restore.Pace{PerSecond: c.Int("resume-rate"), MaxDepth: c.Int64("max-queue-depth"), Waiting: func(left int, deepest string, depth int64) {
		if !told && progress == nil && !c.Bool("quiet") {
			told = true
			e.warn([]string{fmt.Sprintf("%d ids wait until their queues have shrunk; %s holds %d. Stop at any moment: the same command goes on", left, quote(deepest), depth)})
		}
	}}
}

func (e *env) printRestored(c *cli.Context, p *restore.Plan, out *restoreOut, whole bool) {
	shown := map[restore.Result]int{}
	t := newTable(e.out, "RESULT", "JOB", "QUEUE", "REASON")
	for _, r := range []restore.Result{restore.Failed, restore.Refused, restore.Held, restore.Skipped, restore.Repaired, restore.Restored} {
		for _, x := range out.Outcomes {
			if x.Result != r || shown[r] == maxLines {
				continue
			}
			shown[r]++
			t.row(r, x.JobID+x.Key, x.Queue, x.Reason)
		}
		if n := out.Counts[r] - maxLines; n > 0 {
			t.row(r, fmt.Sprintf("… and %d more", n))
		}
	}
	if len(out.Outcomes) > 0 {
		_ = t.flush()
		fmt.Fprintln(e.out)
	}
	n := out.Counts
	refused := ""
	if n[restore.Refused] > 0 {
		refused = fmt.Sprintf("%d refused, ", n[restore.Refused])
	}
	if left := len(p.Steps) - out.total; !whole && left > 0 {
		refused += fmt.Sprintf("%d not reached, ", left)
	}
	fmt.Fprintf(e.out, "%d restored, %d repaired, %d skipped, %s%d held, %d failed\n",
		n[restore.Restored], n[restore.Repaired], n[restore.Skipped], refused, n[restore.Held], n[restore.Failed])
	if !whole || n[restore.Failed]+n[restore.Refused] > 0 {
		return
	}
	if len(out.Outcomes) == 0 && c.IsSet("keys") {
		fmt.Fprintln(e.out, "no key that matches is missing, and nothing was changed")
		return
	}
	if len(out.Outcomes) == 0 {
		fmt.Fprintf(e.out, "nothing of snapshot %s is missing, and nothing was changed\n", out.Snapshot)
		return
	}
	if len(c.StringSlice("keys")) > 0 || len(p.Steps) > 0 && p.Steps[0].Key != "" {
		fmt.Fprintf(e.out, "next: see that nothing is missing: %s\n", e.again(c, "restore", string(out.Snapshot)))
		return
	}
	fmt.Fprintf(e.out, "next: see that nothing is missing: %s; then take a new snapshot: %s\n", e.again(c, "diff", string(out.Snapshot)), "rqvault backup"+e.where(c))
}
