package command

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/report"
	"rqvault/internal/secret"
	"rqvault/internal/snapshot"
	"rqvault/restore"
	"rqvault/verify"
)

func reportFlag() cli.Flag {
	return &cli.StringFlag{Name: "report", Usage: "write an incident report, one HTML page complete in itself, to `FILE`"}
}

// reportFile is where a report goes. It is opened before anything is done, so that a place
// which cannot be written is no surprise after a restore, and gets its name when it is
// complete. A nil one takes no report.
type reportFile struct {
	e    *env
	name string
	temp *os.File
	told bool // on standard output, that it was written
}

// openReport prepares what --report names; nil if it names nothing.
func (e *env) openReport(c *cli.Context) (*reportFile, error) {
	name := c.String("report")
	if name == "" {
		return nil, nil
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, usage("--report %s: that is no file; name one, such as incident.html", quote(name))
	}
	temp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.tmp") // for nobody else to read
	if err != nil {
		return nil, &advice{fmt.Errorf("write the report: %w", err), "name a file in a directory that is there and that you may write to; nothing was done yet"}
	}
	return &reportFile{e: e, name: name, temp: temp, told: !c.Bool("json")}, nil
}

// write makes the report, if one is wanted.
func (f *reportFile) write(data func() *report.Data) error {
	if f == nil {
		return nil
	}
	err := report.Write(f.temp, data())
	err = errors.Join(err, f.temp.Sync(), f.temp.Close())
	if err == nil {
		err = os.Rename(f.temp.Name(), f.name)
	}
	if err != nil {
		return &advice{fmt.Errorf("only the report is missing, all else is done: %w", err), "make room for it, or name another place, and see what there is to report: rqvault diff --report FILE"}
	}
	if f.told {
		fmt.Fprintf(f.e.out, "the report is in %s\n", quote(f.name))
	}
	return nil
}

// discard removes what did not become a report.
func (f *reportFile) discard() {
	if f != nil {
		_ = f.temp.Close()
		_ = os.Remove(f.temp.Name())
	}
}

// page is what reports of comparisons and of restores have in common.
func (e *env) page(c *cli.Context, cmp *comparison, r *verify.Result, p *restore.Plan) *report.Data {
	m := cmp.manifest
	return &report.Data{Source: m.Source, Version: version(), MadeAt: e.now(), Command: commandLine(e.args),
		Snapshot: report.Snapshot{ID: string(m.ID), Taken: m.CreatedAt, Via: m.Via, Atomic: m.Atomic, Jobs: m.Counts.Jobs, Keys: m.Counts.Keys},
		Lineage:  r.Lineage, Then: m.Lineage.Before, Now: r.Facts, Compared: p.CreatedAt, Policy: policyWords(p),
		Counts: r.Counts, Meanings: meanings, Intact: r.Intact, Keys: len(p.Steps) > 0 && p.Steps[0].Key != ""}
}

// compared is the report of a diff.
func (e *env) compared(c *cli.Context, cmp *comparison, r *verify.Result, p *restore.Plan, t *torn) *report.Data {
	d := e.planned(c, report.Diff, cmp, r, p)
	if t != nil {
		d.Warning = t.String()
		d.Next = []report.Choice{{Title: "Compare with the snapshot from before", Command: e.again(c, "diff", string(t.Snapshot))}}
	}
	return d
}

// planned is the report of what has not been done yet.
func (e *env) planned(c *cli.Context, kind report.Kind, cmp *comparison, r *verify.Result, p *restore.Plan) *report.Data {
	d := e.page(c, cmp, r, p)
	d.Kind, d.Jobs = kind, reportJobs(r, p, nil)
	d.Decide = e.decisions(c, p, func(s *restore.Step) bool { return s.Action == verify.Hold })
	if !slices.ContainsFunc(p.Steps, func(s restore.Step) bool { return s.Action != verify.Hold }) {
		return d
	}
	next := e.again(c, "restore", string(p.Snapshot)) + " --apply"
	for _, name := range []string{"out", "plan"} { // diff knows the one, restore the other
		if plan := c.String(name); plan != "" {
			next = e.againPlan(c, plan)
		}
	}
	d.Next = []report.Choice{{Title: "Put back what is lost, and repair what is not right", Command: next}}
	return d
}

// applied is the report of what a restore did, whether or not it came to its end.
func (e *env) applied(c *cli.Context, cmp *comparison, r *verify.Result, p *restore.Plan, out *restoreOut, began time.Time, stopped error) *report.Data {
	d := e.page(c, cmp, r, p)
	results := map[verify.JobKey]*restore.Outcome{}
	for i := range out.Outcomes {
		x := &out.Outcomes[i]
		results[verify.JobKey{DB: x.DB, ID: x.JobID + x.Key}] = x
	}
	d.Kind, d.Restored, d.Jobs = report.Applied, report.Span{From: began, To: e.now()}, reportJobs(r, p, results)
	d.Decide = e.decisions(c, p, func(s *restore.Step) bool {
		x := results[verify.JobKey{DB: s.DB, ID: s.JobID + s.Key}]
		return x != nil && x.Result == restore.Held
	})
	if stopped != nil {
		_, next := classify(stopped)
		d.Warning = "it did not come to its end: " + oneLine(stopped)
		d.Next = []report.Choice{{Title: "Run the same command again", Why: strings.ReplaceAll(next, "$REDIS", quote(e.target)), Command: d.Command}}
		switch {
		case errors.Is(stopped, snapshot.ErrDamaged):
			d.Next[0].Title, d.Next[0].Command = "Use an undamaged snapshot", "rqvault verify --all"+e.reach(c)
		case out.Counts[restore.Refused] > 0 && out.Counts[restore.Failed] == 0:
			d.Next[0].Title, d.Next[0].Command = "Make a new plan of what is left", e.again(c, "diff", string(p.Snapshot))+" --out plan.json"
		}
		return d
	}
	next := e.again(c, "diff", string(p.Snapshot))
	if d.Keys {
		next = e.again(c, "restore", string(p.Snapshot))
	}
	d.Next = []report.Choice{{Title: "See that nothing is missing", Command: next}}
	return d
}

// reportJobs makes the rows: of all that was found or, where a plan is all there is, of
// its steps.
func reportJobs(r *verify.Result, p *restore.Plan, results map[verify.JobKey]*restore.Outcome) []report.Job {
	jobs := make([]report.Job, 0, max(len(r.Findings), len(p.Steps)))
	for i := range r.Findings {
		f := &r.Findings[i]
		jobs = append(jobs, report.Job{DB: f.DB, ID: f.JobID, Queue: f.Queue, Status: string(f.Status), Verdict: f.Verdict, Action: f.Action, Reason: f.Reason, Evidence: f.Evidence})
	}
	if r.Findings == nil {
		for i := range p.Steps {
			s := &p.Steps[i]
			jobs = append(jobs, report.Job{DB: s.DB, ID: s.JobID + s.Key, Queue: s.Queue, Status: string(s.Status), Verdict: s.Verdict, Action: s.Action, Reason: s.Reason, Evidence: s.Evidence})
		}
	}
	for i := range jobs {
		j := &jobs[i]
		x := results[verify.JobKey{DB: j.DB, ID: j.ID}]
		if x == nil {
			continue
		}
		j.Result = string(x.Result)
		if x.Result != restore.Restored && x.Result != restore.Repaired && x.Reason != j.Reason {
			j.Evidence = append([]string{"when compared: " + j.Reason}, j.Evidence...)
			j.Reason = x.Reason
		}
	}
	return jobs
}

func policyWords(p *restore.Plan) string {
	words := []string{string(p.Policy)}
	for _, q := range slices.Sorted(maps.Keys(p.Policies)) {
		words = append(words, fmt.Sprintf("%s for %s", p.Policies[q], q))
	}
	return strings.Join(words, ", ")
}

// commandLine writes the arguments as they were typed, without passwords.
func commandLine(args []string) string {
	words := []string{"rqvault"}
	hidden := false
	for _, arg := range args[1:] {
		name, _, assigned := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		isFlag := strings.HasPrefix(arg, "-")
		switch {
		case hidden:
			arg, hidden = secret.Blank, false
		case isFlag && isSecret(name) && assigned:
			arg = "--" + name + "=" + secret.Blank
		case isFlag && isSecret(name):
			hidden = true
		}
		words = append(words, quote(secret.WithoutPassword(arg)))
	}
	return strings.Join(words, " ")
}
