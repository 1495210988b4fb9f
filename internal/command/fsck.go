package command

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/index"
	"rqvault/internal/snapshot"
	"rqvault/restore"
	"rqvault/verify"
)

// fsckOut is verify --live --json and restore --repair --json.
type fsckOut struct {
	Jobs     int64                  `json:"jobs"`
	Breaches []verify.Breach        `json:"breaches"`
	Applied  bool                   `json:"applied"`
	Counts   map[restore.Result]int `json:"counts,omitempty"`
	Repairs  []restore.Repair       `json:"repairs,omitempty"`
}

func invariantFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "invariant", Usage: "only this `INVARIANT`; may be repeated (docs/invariants.md lists them)"}
}

// onlyFlags complains of flags that mean nothing here.
func onlyFlags(c *cli.Context, with string, names ...string) error {
	for _, n := range names {
		if c.IsSet(n) {
			return usage("--%s does not go with --%s", n, with)
		}
	}
	if c.Args().Present() {
		return usage("--%s looks at live Redis: give no snapshot beside it", with)
	}
	return nil
}

// fsck holds live Redis against RQ's invariants. Close the server afterwards.
func (e *env) fsck(c *cli.Context, readOnly bool) (*verify.Checkup, *liveRedis, error) {
	server, err := e.dial(c, readOnly)
	if err != nil {
		return nil, nil, err
	}
	r := e.liveRedis(c, server)
	r.image.Marks = verify.NewMarks(e.schema)
	facts, err := server.Facts(c.Context)
	if err != nil {
		_ = server.Close()
		return nil, nil, err
	}
	for _, db := range facts.Keyspace {
		r.dbs = append(r.dbs, db.DB)
	}
	up, err := verify.Fsck(c.Context, verify.FsckOptions{Live: r, Schema: e.schema, Only: c.StringSlice("invariant"), Now: e.now,
		Patience: c.Duration("patience"), Waiting: func(d time.Duration, n int) {
			e.stopProgress()
			e.warn([]string{fmt.Sprintf("%s may come of a job on its way: looked at again in %s (--patience)", plural(int64(n), "finding"), d.Round(time.Second))})
		}})
	e.stopProgress()
	if err == nil {
		err = e.known(c, up.Breaches)
	}
	if err != nil {
		_ = server.Close()
		return nil, nil, err
	}
	return up, r, nil
}

// knownSnapshots is how many snapshots are asked for what is gone: the latest may be from
// after the loss.
const knownSnapshots = 5

func (e *env) knownBy(c *cli.Context, cat *snapshot.Catalog, id snapshot.ID, breaches []verify.Breach) (left int, err error) {
	m, err := cat.Manifest(c.Context, id)
	if err != nil {
		return 0, err
	}
	rows, done, err := e.rows(c, cat, m)
	if err != nil {
		return 0, err
	}
	defer done()
	return verify.Known(breaches, rows(), e.now().UnixMilli())
}

// known withholds repairs where one of the latest snapshots has what is missing. Without a
// store or a snapshot there is none.
func (e *env) known(c *cli.Context, breaches []verify.Breach) error {
	if len(breaches) == 0 {
		return nil
	}
	cat, err := e.catalog(c)
	var ids []snapshot.ID
	if err == nil {
		ids, err = cat.IDs(c.Context)
	}
	left := 1
	for i := len(ids) - 1; i >= max(0, len(ids)-knownSnapshots) && left > 0 && err == nil; i-- {
		left, err = e.knownBy(c, cat, ids[i], breaches)
	}
	if err == nil || errors.Is(err, snapshot.ErrNoStore) || errors.Is(err, snapshot.ErrNoSnapshot) {
		return nil
	}
	if errors.Is(err, snapshot.ErrNoIdentity) && !c.Bool("apply") {
		e.warn([]string{"the snapshots are encrypted and no identity was given (--identity), so that they were not asked what is gone"})
		return nil
	}
	return fmt.Errorf("look into the latest snapshots: %w", err)
}

// verifyLive is verify --live.
func (e *env) verifyLive(c *cli.Context) error {
	if err := onlyFlags(c, "live", "all", "no-stamp"); err != nil {
		return err
	}
	e.startProgress(c.Bool("quiet"))
	up, r, err := e.fsck(c, true)
	if err != nil {
		return err
	}
	defer func() { _ = r.s.Close() }()
	if c.Bool("json") {
		if err := e.printJSON(fsckOut{Jobs: up.Jobs, Breaches: append([]verify.Breach{}, up.Breaches...)}); err != nil {
			return err
		}
	} else if len(up.Breaches) > 0 || !c.Bool("quiet") {
		fmt.Fprintf(e.out, "live Redis against RQ's invariants: %s looked at\n\n", plural(up.Jobs, "job"))
		e.printBreaches(up.Breaches)
		repairable := slices.ContainsFunc(up.Breaches, func(b verify.Breach) bool { return b.Repair != "" })
		switch {
		case len(up.Breaches) == 0:
			fmt.Fprintln(e.out, "all of them hold")
		case repairable:
			fmt.Fprintf(e.out, "nothing was changed. next: see the repairs: %s\n", e.again(c, "restore", "--repair"))
		default:
			fmt.Fprintln(e.out, "nothing was changed, and nothing of this can be repaired by itself")
		}
	}
	if counted(up.Breaches, verify.Severity.Counts) > 0 {
		return errFindings
	}
	return nil
}

// counted is how many breaches are of such a severity.
func counted(all []verify.Breach, counts func(verify.Severity) bool) int {
	n := 0
	for i := range all {
		if counts(all[i].Severity) {
			n++
		}
	}
	return n
}

// grave is what hurts jobs. In a snapshot nothing leaks any more.
func grave(s verify.Severity) bool { return s == verify.Critical || s == verify.High }

// printBreaches lists what does not hold, by invariant, the worst first.
func (e *env) printBreaches(all []verify.Breach) {
	for i := 0; i < len(all); {
		n := i
		for n < len(all) && all[n].Invariant == all[i].Invariant {
			n++
		}
		e.printInvariant(all[i:n])
		i = n
	}
}

func (e *env) printInvariant(group []verify.Breach) {
	first := group[0]
	inv := verify.InvariantOf(first.Invariant)
	fmt.Fprintf(e.out, "%s (%s): %d. %s\n", first.Invariant, first.Severity, len(group), sentence(inv.Means))
	t := newTable(e.out)
	for i, b := range group {
		if i == maxLines {
			t.row("", fmt.Sprintf("… and %d more (--json lists all)", len(group)-i))
			break
		}
		symbol := "~"
		if b.Repair == "" {
			symbol = "!"
		}
		where := b.Queue
		if b.DB != 0 {
			where += fmt.Sprintf(" (db %d)", b.DB)
		}
		t.row("  "+symbol, b.JobID+b.Key, where, b.Detail)
	}
	_ = t.flush()
	if inv.Repair != "" {
		fmt.Fprintf(e.out, "  repair (~): %s\n", inv.Repair)
	}
	fmt.Fprintln(e.out)
}

// sentence begins with a capital and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return string(s[0]-'a'+'A') + s[1:] + "."
}

// repair is restore --repair.
func (e *env) repair(c *cli.Context) error {
	if err := onlyFlags(c, "repair", "plan", "keys", "queue", "job", "status", "assume", "extend-ttl", "resume-rate", "max-queue-depth", "suspend", "report"); err != nil {
		return err
	}
	all, queues, err := policies(c)
	if err != nil {
		return err
	}
	started, err := startedFlag(c)
	if err != nil {
		return err
	}
	policy := func(queue string) verify.Policy { return cmp.Or(queues[queue], all) }
	e.startProgress(c.Bool("quiet"))
	up, r, err := e.fsck(c, !c.Bool("apply"))
	if err != nil {
		return err
	}
	defer func() { _ = r.s.Close() }()
	if !c.Bool("apply") {
		return e.repairDryRun(c, up)
	}
	if err := refuseTarget(up.Facts); err != nil {
		return err
	}
	skew := time.Duration(up.Facts.ClockSkewMS) * time.Millisecond
	out := fsckOut{Jobs: up.Jobs, Applied: true, Counts: map[restore.Result]int{restore.Repaired: 0, restore.Skipped: 0, restore.Held: 0, restore.Failed: 0},
		Breaches: []verify.Breach{}, Repairs: []restore.Repair{}}
	err = restore.Repairs(c.Context, up.Breaches, restore.RepairOptions{Redis: r, Schema: e.schema, Started: started, Policy: policy, Manned: verify.Manned(up.Workers),
		Now: func() time.Time { return e.now().Add(skew) }, Outcome: func(x restore.Repair) {
			out.Counts[x.Result]++
			out.Repairs = append(out.Repairs, x)
		}})
	if c.Bool("json") {
		err = errors.Join(err, e.printJSON(out))
	} else {
		e.printRepairs(c, &out)
	}
	switch {
	case err != nil && out.Counts[restore.Repaired] > 0 || err == nil && out.Counts[restore.Failed] > 0:
		return errors.Join(errPartly, err)
	case err != nil:
		return fmt.Errorf("nothing was repaired: %w", err)
	}
	return nil
}

func (e *env) repairDryRun(c *cli.Context, up *verify.Checkup) error {
	if c.Bool("json") {
		return e.printJSON(fsckOut{Jobs: up.Jobs, Breaches: append([]verify.Breach{}, up.Breaches...)})
	}
	fmt.Fprintf(e.out, "repair of live Redis by RQ's invariants: dry run, nothing is changed\n\n")
	e.printBreaches(up.Breaches)
	n := 0
	for _, b := range up.Breaches {
		if b.Repair != "" {
			n++
		}
	}
	fmt.Fprintf(e.out, "%d to repair (~), %d held for you (!)\n", n, len(up.Breaches)-n)
	if n > 0 {
		fmt.Fprintf(e.out, "next: %s --apply\n", e.again(c, "restore", "--repair"))
	}
	return nil
}

func (e *env) printRepairs(c *cli.Context, out *fsckOut) {
	t := newTable(e.out, "RESULT", "INVARIANT", "JOB", "REASON")
	shown := map[restore.Result]int{}
	for _, res := range []restore.Result{restore.Failed, restore.Held, restore.Skipped, restore.Repaired} {
		for _, x := range out.Repairs {
			if x.Result != res {
				continue
			}
			if shown[res]++; shown[res] <= maxLines {
				t.row(res, x.Invariant, x.JobID+x.Key, x.Reason)
			}
		}
		if n := shown[res] - maxLines; n > 0 {
			t.row(res, fmt.Sprintf("… and %d more", n))
		}
	}
	if len(out.Repairs) == 0 {
		fmt.Fprintln(e.out, "all of RQ's invariants hold, and nothing was changed")
		return
	}
	_ = t.flush()
	fmt.Fprintf(e.out, "\n%d repaired, %d skipped, %d held, %d failed\n", out.Counts[restore.Repaired], out.Counts[restore.Skipped], out.Counts[restore.Held], out.Counts[restore.Failed])
	fmt.Fprintf(e.out, "next: see what is left: %s\n", e.again(c, "verify", "--live"))
}

// invariants holds a snapshot's index against RQ's invariants.
func (e *env) invariants(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest) ([]verify.Breach, error) {
	if !m.Atomic {
		return nil, nil // a job on the move may be seen in two places, or in none
	}
	rows, done, err := e.rows(c, cat, m)
	if err != nil {
		return nil, err
	}
	defer done()
	marks, err := e.marks(c, cat, m)
	if err != nil {
		return nil, err
	}
	found, err := verify.Check(verify.CheckOptions{Schema: e.schema, Rows: func() verify.Rows { return rows() }, Marks: marks,
		Registered: m.Registered, Now: m.CreatedAt, Moment: true})
	if only := c.StringSlice("invariant"); len(only) > 0 {
		found = slices.DeleteFunc(found, func(b verify.Breach) bool { return !slices.Contains(only, b.Invariant) })
	}
	return found, err
}

// marks goes through a snapshot's table of keys.
func (e *env) marks(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest) (*verify.Marks, error) {
	f, n, err := cat.Spool(c.Context, m, snapshot.KeysName, c.String("temp-dir"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	marks := verify.NewMarks(e.schema)
	for k, err := range index.ReadKeys(f, n) {
		if err == nil {
			err = marks.Note(k)
		}
		if err != nil {
			return nil, err
		}
	}
	return marks, nil
}
