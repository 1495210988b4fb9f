package command

import (
	"errors"
	"fmt"
	"slices"
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
	Missing int     `json:"missing"`         // jobs that a restore of the snapshot from before would put back
	Flying  int     `json:"in_flight"`       // jobs that may still be running
	Later   []*torn `json:"later,omitempty"` // breaks after this one, likewise
}

// breaksFollowed bounds how many outages in a row are looked behind.
const breaksFollowed = 8

// unrestored looks behind the latest snapshot. When backups went on after an outage, it
// is one of what was left, and nothing of that is missing. It returns the oldest of the
// breaks of which anything is, and nil where the command named its snapshot, or where that
// one itself has something to put back.
func (e *env) unrestored(c *cli.Context, cmp *comparison, p *restore.Plan) (*torn, error) {
	acts := slices.ContainsFunc(p.Steps, func(s restore.Step) bool { return s.Action != verify.Hold })
	if c.Args().Present() || c.String("plan") != "" || acts && p.Lineage.Mode != lineage.Complete {
		return nil, nil
	}
	var oldest *torn
	b := cmp.manifest.Lineage.Break
	for range breaksFollowed {
		if b == nil || e.now().Sub(b.At) > restore.LedgerLife { // older than what the ledger remembers
			break
		}
		t, before, err := e.tornAt(c, cmp, b)
		if err != nil {
			return nil, err
		}
		if t != nil {
			if oldest != nil {
				t.Later, oldest.Later = append([]*torn{oldest}, oldest.Later...), nil
			}
			oldest = t
		}
		b = before
	}
	return oldest, nil
}

// tornAt compares live with the snapshot from before a break, which may have one before it
// itself. t is nil if nothing of it is missing.
func (e *env) tornAt(c *cli.Context, cmp *comparison, b *snapshot.Break) (t *torn, before *snapshot.Break, err error) {
	m, err := cmp.cat.Manifest(c.Context, b.Snapshot)
	if errors.Is(err, snapshot.ErrNoSnapshot) {
		return nil, nil, nil // nothing left to go back to
	}
	if err != nil {
		return nil, nil, err
	}
	older, err := e.open(c, cmp.cat, m, true)
	if err != nil {
		return nil, nil, err
	}
	defer older.close()
	_, plan, err := e.plan(c, older)
	if errors.Is(err, errUsage) {
		return nil, m.Lineage.Break, nil // it knows no queue or job of that name
	}
	if err != nil {
		return nil, nil, err
	}
	t = &torn{Break: *b}
	for _, s := range plan.Steps {
		switch {
		case s.Action != verify.Hold:
			t.Missing++
		case s.Verdict == verify.InFlight:
			t.Flying++
		}
	}
	if t.Missing+t.Flying == 0 {
		t = nil
	}
	return t, m.Lineage.Break, nil
}

func (t *torn) String() string {
	why := t.Why()
	if why != "" {
		why = " (" + why + ")"
	}
	what := are(t.Missing) + " missing"
	switch {
	case t.Missing == 0:
		what = are(t.Flying) + " gone that may still be running"
	case t.Flying > 0:
		what += ", and " + are(t.Flying) + " gone that may still be running"
	}
	return clean(fmt.Sprintf("Redis had lost data%s before %s, and of snapshot %s from before that, %s", why,
		t.At.UTC().Format(time.RFC3339), t.Snapshot, what))
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
	for _, l := range t.Later {
		fmt.Fprintf(e.out, "\nAND: %s\nthen: %s\n", l, e.again(c, "diff", string(l.Snapshot)))
	}
}

// refused turns a restore away from the wrong snapshot.
func (t *torn) refused(e *env, c *cli.Context, latest snapshot.ID) error {
	return &advice{fmt.Errorf("%w: the latest snapshot, %s, is no help: %s", errRefused, latest, t),
		fmt.Sprintf("name that one: %s; or, if you mean the latest: %s", e.again(c, "diff", string(t.Snapshot)), e.again(c, "restore", "latest"))}
}
