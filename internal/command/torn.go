package command

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/lineage"
	"rqvault/internal/snapshot"
	"rqvault/restore"
	"rqvault/verify"
)

// torn is a break before the latest snapshot, of which something is still missing.
type torn struct {
	snapshot.Break
	Missing int `json:"missing"` // jobs that a restore of the snapshot from before would put back
}

// unrestored looks behind the latest snapshot. When backups went on after an outage, it
// is one of what was left, and nothing of that is missing. It returns nil where the
// command named its snapshot, where that one itself has something to put back, or where
// the one from before has not.
func (e *env) unrestored(c *cli.Context, cmp *comparison, p *restore.Plan) (*torn, error) {
	b := cmp.manifest.Lineage.Break
	if b == nil || c.Args().Present() || c.String("plan") != "" || p.Lineage.Mode != lineage.Complete ||
		e.now().Sub(b.At) > restore.LedgerLife { // older than what the ledger remembers
		return nil, nil
	}
	m, err := cmp.cat.Manifest(c.Context, b.Snapshot)
	if errors.Is(err, snapshot.ErrNoSnapshot) {
		return nil, nil // nothing left to go back to
	}
	if err != nil {
		return nil, err
	}
	older, err := e.open(c, cmp.cat, m, true)
	if err != nil {
		return nil, err
	}
	defer older.close()
	_, plan, err := e.plan(c, older)
	if errors.Is(err, errUsage) {
		return nil, nil // it knows no queue or job of that name
	}
	if err != nil {
		return nil, err
	}
	t := &torn{Break: *b}
	for _, s := range plan.Steps {
		if s.Action != verify.Hold {
			t.Missing++
		}
	}
	if t.Missing == 0 {
		return nil, nil
	}
	return t, nil
}

func (t *torn) String() string {
	why := t.Why()
	if why != "" {
		why = " (" + why + ")"
	}
	return clean(fmt.Sprintf("Redis had lost data%s before %s, and of snapshot %s from before that, %s missing", why,
		t.At.UTC().Format(time.RFC3339), t.Snapshot, are(t.Missing)))
}

func are(n int) string {
	if n == 1 {
		return "1 job is"
	}
	return plural(int64(n), "job") + " are"
}

func (e *env) printTorn(c *cli.Context, t *torn) {
	if t == nil {
		return
	}
	fmt.Fprintf(e.out, "\nBUT: %s\nnext: %s\n", t, e.again(c, "diff", string(t.Snapshot)))
}

// refused turns a restore away from the wrong snapshot.
func (t *torn) refused(e *env, c *cli.Context, latest snapshot.ID) error {
	return &advice{fmt.Errorf("%w: the latest snapshot, %s, is no help: %s", errRefused, latest, t),
		fmt.Sprintf("name that one: %s; or, if you mean the latest: %s", e.again(c, "diff", string(t.Snapshot)), e.again(c, "restore", "latest"))}
}
