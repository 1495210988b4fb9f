package command

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"rqvault/internal/lineage"
	"rqvault/internal/report"
	"rqvault/internal/snapshot"
	"rqvault/restore"
	"rqvault/verify"
)

// diffOut is diff --json.
type diffOut struct {
	Snapshot snapshot.ID            `json:"snapshot"`
	Mode     lineage.Mode           `json:"mode"`
	Reasons  []string               `json:"reasons"`
	Policy   verify.Policy          `json:"policy"`
	Counts   map[verify.Verdict]int `json:"counts"`
	Deleted  int                    `json:"deleted"` // of those completed: RQ would still have the record of their end
	Findings []verify.Finding       `json:"findings"`
	Break    *torn                  `json:"break,omitempty"`
}

func (e *env) diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare live Redis with a snapshot; changes nothing",
		ArgsUsage: "[SNAPSHOT]",
		Flags: flags(redisFlags(), storeFlags(), keyFlags(), compareFlags(), []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "write the plan to `FILE`, for review and restore --plan"},
			reportFlag(),
		}, outputFlags()),
		Action: e.diff,
	}
}

func (e *env) diff(c *cli.Context) error {
	e.goLater()
	page, err := e.openReport(c)
	if err != nil {
		return err
	}
	defer page.discard()
	cat, m, err := e.pick(c)
	if err != nil {
		return err
	}
	cmp, err := e.open(c, cat, m, true)
	if err != nil {
		return err
	}
	defer cmp.close()
	e.startProgress(c.Bool("quiet"))
	result, plan, err := e.plan(c, cmp)
	if err != nil {
		return err
	}
	if out := c.String("out"); out != "" {
		if err := savePlan(out, plan); err != nil {
			return err
		}
	}
	torn, err := e.unrestored(c, cmp, plan)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		out := diffJSON(m, result, plan.Policy)
		out.Break = torn
		err = e.printJSON(out)
	} else {
		e.printDiff(c, m, result, plan)
		e.printTorn(c, torn)
	}
	if err == nil {
		err = page.write(func() *report.Data { return e.compared(c, cmp, result, plan, torn) })
	}
	if err == nil && (len(plan.Steps) > 0 || torn != nil) {
		return errFindings
	}
	return err
}

func diffJSON(m *snapshot.Manifest, r *verify.Result, p verify.Policy) diffOut {
	out := diffOut{Snapshot: m.ID, Mode: r.Lineage.Mode, Reasons: r.Lineage.Reasons, Policy: p,
		Counts: map[verify.Verdict]int{}, Deleted: r.Deleted, Findings: r.Findings}
	for _, v := range verify.Verdicts {
		out.Counts[v] = r.Counts[v]
	}
	if out.Findings == nil {
		out.Findings = []verify.Finding{}
	}
	return out
}

func (e *env) printDiff(c *cli.Context, m *snapshot.Manifest, r *verify.Result, p *restore.Plan) {
	fmt.Fprintf(e.out, "live Redis against snapshot %s, taken %s ago\n", m.ID, age(e.now().Sub(m.CreatedAt)))
	e.printLineage(r.Lineage)
	e.printSteps(p, evident(c))
	t := newTable(e.out, "VERDICT", "JOBS", "MEANING")
	for _, v := range verify.Verdicts {
		if n := r.Counts[v]; n > 0 {
			t.row(v, n, meanings[v])
		}
	}
	_ = t.flush()
	if r.Deleted > 0 {
		fmt.Fprintf(e.out, "\n%s were deleted since the snapshot: gone, and RQ would still have the record of their end. If nobody deleted jobs, keys were lost: %s --assume %s\n",
			plural(int64(r.Deleted), "job"), e.again(c, "diff", string(p.Snapshot)), lineage.Vanished)
	}
	e.nextAfterDiff(c, p)
}

// meanings say each verdict in a few words.
var meanings = map[verify.Verdict]string{
	verify.Lost:      "gone, and nothing says that it ended: restore puts it back",
	verify.Misplaced: "there, but its id is not where it must be: restore repairs that",
	verify.Regressed: "live shows an older state than the snapshot: it must not run again",
	verify.Uncertain: "cannot be decided from what is at hand: the policy decides",
	verify.InFlight:  "a worker may still be at it: wait, then compare again",
	verify.Expired:   "its own time to live has passed",
	verify.Completed: "gone because it ended, or was deleted",
	verify.Advanced:  "live is newer: live wins",
	verify.New:       "only live has it",
	verify.Intact:    "same version, same place",
}

func (e *env) printLineage(j lineage.Judgement) {
	words := map[lineage.Mode]string{
		lineage.Complete: "complete: live holds everything up to the snapshot",
		lineage.Older:    "older: live data is from before the snapshot",
		lineage.Vanished: "vanished: Redis ran on, but lost keys",
	}
	what := words[j.Mode]
	if j.Unsure {
		what = "vanished: nothing tells whether this server lost keys, or ever had them"
	}
	fmt.Fprintf(e.out, "mode %s\n", what)
	for _, r := range j.Reasons {
		fmt.Fprintf(e.out, "  because %s\n", clean(r))
	}
	if j.Flushed {
		fmt.Fprintln(e.out, "  a flush can have been meant: restore only if it was not")
	}
	fmt.Fprintln(e.out)
}

// maxLines bounds what a person is shown of each queue and verdict; --json has all.
const maxLines = 10

var symbols = map[verify.Action]string{verify.Restore: "+", verify.Place: "~", verify.Requeue: "+", verify.Fail: "+", verify.Forward: "-", verify.Start: "~", verify.Hold: "!"}

// evident reports whether a person asked for the evidence, in words or by naming jobs.
func evident(c *cli.Context) bool { return c.Bool("evidence") || len(c.StringSlice("job")) > 0 }

// printSteps shows what would be done, grouped by queue and verdict, as a plan is read.
func (e *env) printSteps(p *restore.Plan, evidence bool) {
	steps := p.Steps
	counts := map[verify.Action]int{}
	for i := 0; i < len(steps); {
		first := &steps[i]
		same := i
		for same < len(steps) && steps[same].DB == first.DB && steps[same].Queue == first.Queue && steps[same].Verdict == first.Verdict {
			same++
		}
		e.printGroup(steps[i:same], evidence)
		for _, s := range steps[i:same] {
			counts[s.Action]++
		}
		i = same
	}
	fmt.Fprintf(e.out, "%d to restore (+), %d to repair (~), ", counts[verify.Restore]+counts[verify.Requeue]+counts[verify.Fail], counts[verify.Place]+counts[verify.Start])
	if n := counts[verify.Forward]; n > 0 {
		fmt.Fprintf(e.out, "%d to take out of queues (-), ", n)
	}
	stay := -len(steps)
	for _, n := range p.Counts {
		stay += n
	}
	fmt.Fprintf(e.out, "%d held for you (!), %d stay as they are (=)\n\n", counts[verify.Hold], max(stay, 0))
}

func (e *env) printGroup(group []restore.Step, evidence bool) {
	first := group[0]
	where := "queue " + first.Queue
	if first.Key != "" {
		where = "keys"
	}
	if first.DB != 0 {
		where += fmt.Sprintf(" (db %d)", first.DB)
	}
	fmt.Fprintf(e.out, "%s: %d %s\n", clean(where), len(group), first.Verdict)
	t := newTable(e.out)
	for i, s := range group {
		if i == maxLines {
			t.row("", fmt.Sprintf("… and %d more (--json lists all)", len(group)-i))
			break
		}
		t.row("  "+symbols[s.Action], s.JobID+s.Key, s.Status, s.Reason)
		if evidence {
			for _, words := range s.Evidence {
				t.row("", "", "", "  "+words)
			}
		}
	}
	_ = t.flush()
	fmt.Fprintln(e.out)
}

func (e *env) nextAfterDiff(c *cli.Context, p *restore.Plan) {
	fmt.Fprintln(e.out)
	act, held := 0, 0
	for _, s := range p.Steps {
		if s.Action == verify.Hold {
			held++
		} else {
			act++
		}
	}
	switch {
	case act > 0 && c.String("out") != "":
		fmt.Fprintf(e.out, "nothing was changed; the plan is in %s. next: rqvault show %s; then: %s\n", c.String("out"),
			quote(c.String("out")), e.againPlan(c, c.String("out")))
	case act > 0:
		fmt.Fprintf(e.out, "nothing was changed. next: %s --apply\n", e.again(c, "restore", string(p.Snapshot)))
	case held > 0:
		fmt.Fprintf(e.out, "nothing was changed, and nothing can be restored by itself: %d held\n", held)
		e.printDecisions(c, p)
	case p.Lineage.Mode != lineage.Complete:
		fmt.Fprintln(e.out, "no job is missing and nothing was changed; what was enqueued between the snapshot and the loss is in no snapshot")
		fmt.Fprintf(e.out, "keys beside the queues are not compared here: %s --keys '*' lists those that are missing\n", e.again(c, "restore", string(p.Snapshot)))
	default:
		fmt.Fprintln(e.out, "no job is missing and nothing was changed")
	}
}
