package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/seal"
	"rqvault/internal/snapshot"
	"rqvault/internal/source"
	"rqvault/verify"
)

// verifyOut is one element of verify --json.
type verifyOut struct {
	Snapshot snapshot.ID `json:"snapshot"`
	Source   string      `json:"source"`
	OK       bool        `json:"ok"`
	Bytes    int64       `json:"bytes"`
	Seconds  float64     `json:"seconds"`
	Problems []string    `json:"problems"`
	// Breaches are the invariants of RQ that do not hold in it.
	Breaches []verify.Breach `json:"breaches,omitempty"`
	// Unopened: it is encrypted, and only its stored bytes were proven.
	Unopened bool `json:"unopened,omitempty"`
	// Unproven: it is not signed, or not by whom it should be.
	Unproven bool     `json:"unproven,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

func (e *env) verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "read every stored byte of a snapshot back and prove it; with --live: check RQ's own rules in live Redis",
		ArgsUsage: "[SNAPSHOT]",
		Flags: flags(storeFlags(), keyFlags(), redisFlags(), viaFlags(source.Scan, "with --live: how to read the jobs: scan (no fork), sync or bgsave (one instant)"), []cli.Flag{
			&cli.BoolFlag{Name: "live", Usage: "check RQ's invariants in live Redis, not a snapshot; changes nothing"},
			invariantFlag(),
			&cli.DurationFlag{Name: "patience", Usage: "with --live: how long what a job on its way breaks may stay so while workers are alive", Value: 2 * time.Minute, EnvVars: []string{"RQVAULT_PATIENCE"}},
			&cli.BoolFlag{Name: "all", Usage: "every snapshot of the source"},
			&cli.BoolFlag{Name: "no-stamp", Usage: "do not store the result beside the snapshot"},
		}, outputFlags()),
		Action: e.verify,
	}
}

func (e *env) verify(c *cli.Context) error {
	e.goLater()
	for _, name := range c.StringSlice("invariant") {
		if verify.InvariantOf(name) == nil {
			return fmt.Errorf("%w: %s", verify.ErrInvariant, name)
		}
	}
	if c.Bool("live") {
		return e.verifyLive(c)
	}
	cat, err := e.catalog(c)
	if err != nil {
		return err
	}
	ids, err := e.toVerify(c, cat)
	if err != nil {
		return err
	}
	progress := e.startProgress(c.Bool("quiet"))
	out, damaged, broken, forged := []verifyOut{}, 0, 0, 0
	for _, id := range ids {
		r, err := e.verifyOne(c, cat, id, progress)
		if err != nil {
			return err
		}
		e.stopProgress()
		out = append(out, r)
		switch {
		case r.Unproven:
			forged++
		case !r.OK:
			damaged++
		}
		broken += counted(r.Breaches, grave)
		if !c.Bool("json") && !(r.OK && c.Bool("quiet")) {
			e.printVerified(r)
		}
	}
	if c.Bool("json") {
		if err := e.printJSON(out); err != nil {
			return err
		}
	}
	if forged > 0 {
		if !c.Bool("json") {
			fmt.Fprintln(e.err, "next: trust nothing of it before you know who wrote it; use a snapshot that is signed")
		}
		return errForged
	}
	if damaged > 0 {
		if !c.Bool("json") {
			fmt.Fprintln(e.err, "next: use an undamaged snapshot (rqvault snapshots shows which were verified), and if Redis is well, take a new one: rqvault backup")
		}
		return errDamage
	}
	if broken > 0 {
		return errFindings
	}
	return nil
}

func (e *env) toVerify(c *cli.Context, cat *snapshot.Catalog) ([]snapshot.ID, error) {
	if !c.Bool("all") {
		if c.NArg() > 1 {
			return nil, usage("one snapshot at most, or --all")
		}
		id, err := cat.Resolve(c.Context, c.Args().First())
		return []snapshot.ID{id}, err
	}
	if c.Args().Present() {
		return nil, usage("either --all or one snapshot")
	}
	ids, err := cat.IDs(c.Context)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("%w: source %s in %s has none yet", snapshot.ErrNoSnapshot, cat.Source(), cat.Store())
	}
	return ids, err
}

func (e *env) verifyOne(c *cli.Context, cat *snapshot.Catalog, id snapshot.ID, progress *bar) (verifyOut, error) {
	began := e.now()
	out := verifyOut{Snapshot: id, Source: cat.Source(), Problems: []string{}}
	m, err := cat.Manifest(c.Context, id)
	if errors.Is(err, snapshot.ErrDamaged) || errors.Is(err, snapshot.ErrNoSnapshot) || unproven(err) {
		out.Problems, out.Unproven = append(out.Problems, err.Error()), unproven(err)
		return out, nil
	}
	if err == nil && errors.Is(m.Locked(), snapshot.ErrWrongKey) {
		err = m.Locked()
	}
	if err == nil {
		out.Warnings, err = e.unencrypted(c, cat, m)
	}
	if err != nil {
		return out, err
	}
	out.Unopened = m.Locked() != nil
	look, total := verify.Stored, m.Dump.Size
	if out.Unopened {
		look, total = verify.Outside, m.StoredSize()
	}
	progress.Begin("verifying "+string(id), total)
	problems, err := look(c.Context, m, verify.StoredOptions{Catalog: cat, Schema: e.schema, TempDir: c.String("temp-dir"), Progress: progress.Update})
	if err != nil {
		return out, err
	}
	out.Problems = append(out.Problems, problems...)
	out.OK, out.Bytes = len(problems) == 0, m.StoredSize()
	if out.OK && !out.Unopened {
		if out.Breaches, err = e.invariants(c, cat, m); err != nil {
			return out, err
		}
	}
	out.Seconds = e.now().Sub(began).Round(time.Millisecond).Seconds()
	if !c.Bool("no-stamp") {
		e.stamp(c.Context, cat, m, snapshot.Verification{Kind: out.kind(), Snapshot: id, At: e.now().UTC(), OK: out.OK, Bytes: out.Bytes, Problems: out.Problems})
	}
	return out, nil
}

// stamp stores the result; a store that may only be read is no reason to fail.
// What was found may name keys and jobs, and is not written beside what hides them.
func (e *env) stamp(ctx context.Context, cat *snapshot.Catalog, m *snapshot.Manifest, v snapshot.Verification) {
	if n := len(v.Problems); n > 0 && m.Encryption != nil {
		v.Problems = []string{plural(int64(n), "problem") + ", not kept beside an encrypted snapshot: run it again to see"}
	}
	if err := cat.Stamp(ctx, v); err != nil {
		e.warn([]string{"the result could not be stored: " + err.Error()})
	}
}

// kind is what a verification proved. Damage is damage, also where only the outside was
// looked at.
func (r *verifyOut) kind() snapshot.Kind {
	if r.OK && r.Unopened {
		return snapshot.Outside
	}
	return snapshot.Full
}

func unproven(err error) bool {
	return errors.Is(err, snapshot.ErrForged) || errors.Is(err, snapshot.ErrUnsigned)
}

// unencrypted warns of a snapshot that is not encrypted although the store had keys when it
// was taken.
func (e *env) unencrypted(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest) ([]string, error) {
	if m.Encryption != nil {
		return nil, nil
	}
	since, err := seal.NewKeyring(cat.Store(), seal.Options{}).FoundedAt(c.Context)
	if err != nil || since.IsZero() || m.FinishedAt.Before(since) {
		return nil, err
	}
	w := fmt.Sprintf("%s is not encrypted although the store has had keys since %s: see who wrote it", m.ID, since.Format(time.RFC3339))
	if !c.Bool("json") {
		e.warn([]string{w})
	}
	return []string{w}, nil
}

func (e *env) printVerified(r verifyOut) {
	if r.OK && r.Unopened {
		fmt.Fprintf(e.out, "%s is stored whole: %s read in %.1f s, and every digest agrees. It is encrypted, and no identity was given, so that nobody looked inside\nnext: rqvault verify %s --identity FILE\n",
			r.Snapshot, size(r.Bytes), r.Seconds, r.Snapshot)
		return
	}
	if r.OK {
		fmt.Fprintf(e.out, "%s is whole: %s read in %.1f s, every digest, the dump's own checksum and all counts agree\n", r.Snapshot, size(r.Bytes), r.Seconds)
		if len(r.Breaches) > 0 {
			fmt.Fprintf(e.out, "\nat that moment, of RQ's invariants these did not hold:\n\n")
			e.printBreaches(r.Breaches)
			fmt.Fprintf(e.out, "whether they hold now: rqvault verify --live\n")
		}
		return
	}
	what := "DAMAGED"
	if r.Unproven {
		what = "NOT PROVEN"
	}
	fmt.Fprintf(e.out, "%s is %s:\n", r.Snapshot, what)
	for _, p := range r.Problems {
		fmt.Fprintf(e.out, "  %s\n", clean(p))
	}
}
