package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"rqvault/internal/report"
	"rqvault/restore"
	"rqvault/verify"
)

// wayOut is what a person can do about held jobs of one kind: words, in the singular and
// the plural, and the flags that decide, "" if none does.
type wayOut struct {
	one, many, why string
	command        string
	flag           string
}

// The ways out. Each command only shows what it would do.
var (
	waitForIt = wayOut{"may still be running", "may still be running",
		"A worker may be at work on it. Wait until it has ended, or until the time that the table names, and compare again.", "diff", ""}
	knowIt = wayOut{"is gone, and nothing tells whether it ended or was lost", "are gone, and nothing tells whether they ended or were lost",
		"If you know that Redis lost its data, say so.", "restore", "--assume older"}
	runItAgain = wayOut{"was running, and its run is dead", "were running, and their runs are dead",
		"Nothing tells how much of the work was done. This lets it run again; --started fail, instead, ends it as failed.", "restore", "--started requeue"}
	allowIt = wayOut{"may have run between the snapshot and the loss", "may have run between the snapshot and the loss",
		"The policy at-most-once forbids to guess. This lets what may have run come back, and perhaps run twice.", "restore", "--policy"}
	mendIt = wayOut{"stands where it must not", "stand where they must not",
		"That breaks RQ's own rules, outage or not. What is safe to mend is shown first, for all queues.", "restore", "--repair"}
	seeIt = wayOut{"cannot be put right by rqvault alone", "cannot be put right by rqvault alone",
		"The table says why. See what the snapshot has, and decide by hand.", "jobs", ""}
)

// wayOutOf finds what can be done about a held step.
func wayOutOf(s *restore.Step) *wayOut {
	switch {
	case s.Decider == verify.ByAssume:
		return &knowIt
	case s.Decider == verify.ByStarted:
		return &runItAgain
	case s.Decider == verify.ByPolicy:
		return &allowIt
	case s.Verdict == verify.InFlight:
		return &waitForIt
	case s.Verdict == verify.Misplaced:
		return &mendIt
	}
	return &seeIt
}

// namedJobs is how many jobs a command names one by one; more go by their queue.
const namedJobs = 5

// decisions groups what is held by what can be done about it and by queue, in the order of
// the plan.
func (e *env) decisions(c *cli.Context, p *restore.Plan, held func(*restore.Step) bool) []report.Choice {
	type group struct {
		way   *wayOut
		queue verify.Queue
	}
	steps := map[group][]*restore.Step{}
	var order []group
	for i := range p.Steps {
		s := &p.Steps[i]
		if !held(s) {
			continue
		}
		g := group{wayOutOf(s), verify.Queue{DB: s.DB, Name: s.Queue}}
		if steps[g] == nil {
			order = append(order, g)
		}
		steps[g] = append(steps[g], s)
	}
	var out []report.Choice
	for _, g := range order {
		out = append(out, e.decision(c, p, g.way, steps[g]))
	}
	return out
}

func (e *env) decision(c *cli.Context, p *restore.Plan, w *wayOut, steps []*restore.Step) report.Choice {
	noun, says := "jobs", w.many
	if len(steps) == 1 {
		noun, says = "job", w.one
	}
	queue := steps[0].Queue
	if steps[0].DB != 0 {
		queue += fmt.Sprintf(" (db %d)", steps[0].DB)
	}
	choice := report.Choice{Title: fmt.Sprintf("%s of queue %s %s", noun, queue, says), Why: w.why, Count: len(steps)}
	for _, s := range steps {
		choice.Names = append(choice.Names, s.JobID)
	}
	if w == &mendIt { // which takes no selection
		choice.Command = "rqvault restore --repair" + e.reach(c)
		return choice
	}
	line := e.again(c, w.command, string(p.Snapshot))
	if c.String("plan") != "" && w.command != "jobs" {
		line += policyFlags(p) // again knows those that were typed
	}
	switch {
	case w.flag == "--policy" && typeable(steps[0].Queue):
		line += " --policy " + quote(steps[0].Queue+"="+string(verify.AtLeastOnce))
	case w.flag == "--policy":
		line += " --policy " + string(verify.AtLeastOnce)
	case w.flag != "":
		line += " " + w.flag
	}
	if more := selecting(w, steps); !strings.Contains(line+" ", more+" ") {
		line += more
	}
	choice.Command = line
	return choice
}

// decisionsShown bounds how many ways out a person is shown below a table.
const decisionsShown = 5

// printDecisions says what can be done about the jobs that are held.
func (e *env) printDecisions(c *cli.Context, p *restore.Plan) {
	all := e.decisions(c, p, func(s *restore.Step) bool { return s.Action == verify.Hold })
	for i, d := range all {
		if i == decisionsShown {
			fmt.Fprintf(e.out, "  … and %d more: --report FILE.html lists them\n", len(all)-i)
			return
		}
		fmt.Fprintf(e.out, "%d %s. %s\nnext: %s\n", d.Count, clean(d.Title), d.Why, d.Command)
	}
}

// policyFlags writes what a plan was made under, where that is not the default.
func policyFlags(p *restore.Plan) string {
	line := ""
	if p.Policy != verify.AtLeastOnce {
		line += " --policy " + string(p.Policy)
	}
	for _, q := range slices.Sorted(maps.Keys(p.Policies)) {
		line += " --policy " + quote(q+"="+string(p.Policies[q]))
	}
	return line
}

// selecting writes the flags that narrow a command to these jobs, if that can be typed.
func selecting(w *wayOut, steps []*restore.Step) string {
	flag, line := "--job", ""
	if w.command == "jobs" {
		flag = "--id"
	}
	all := !slices.ContainsFunc(steps, func(s *restore.Step) bool { return !typeable(s.JobID) })
	switch {
	case len(steps) <= namedJobs && all:
		for _, s := range steps {
			line += " " + flag + " " + quote(s.JobID)
		}
	case typeable(steps[0].Queue):
		line = " --queue " + quote(steps[0].Queue)
		if status := steps[0].Status; !slices.ContainsFunc(steps, func(s *restore.Step) bool { return s.Status != status }) && status.Known() {
			line += " --status " + string(status)
		}
	}
	return line
}

// typeable reports whether a name can be given on a command line as it is.
func typeable(name string) bool { return name != "" && clean(name) == name && verify.Raw(name) == nil }
