package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"rqvault/backup"
	"rqvault/internal/snapshot"
	"rqvault/internal/watch"
	"rqvault/verify"
)

// Outcome is what a command's exit code says.
type Outcome int

// The outcomes.
const (
	OK       Outcome = iota
	Failed           // it could not do its work
	Findings         // it did, and found something
	Damaged          // what is stored is not what was stored
	Partly           // it did a part
	Refused          // for safety
	Locked           // a key is missing, or a signature is not to be trusted
)

// Done is what became of a command.
type Done struct {
	Outcome Outcome
	Err     error  // nil only if it is OK
	Out     []byte // the JSON that it printed
	Phases  []watch.Phase
}

// command runs a command line as a person would type it, and decodes its JSON into doc,
// which may be nil.
func (s *charge) command(ctx context.Context, name string, doc any, args ...string) Done {
	d := s.l.d.Do(ctx, s.config(), s.name, name, args...)
	s.spend(watch.Task(name), d.Phases)
	if doc != nil && d.Outcome != Failed && d.Outcome != Refused {
		if err := json.Unmarshal(d.Out, doc); err != nil && d.Err == nil {
			d.Outcome, d.Err = Failed, fmt.Errorf("%s printed no JSON: %w", name, err)
		}
	}
	return d
}

// failure is an outcome that is no success for a task.
type failure struct {
	error
	outcome Outcome
}

func (f *failure) Unwrap() error { return f.error }

// is reports whether an error is that outcome of a command.
func (o Outcome) is(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.outcome == o
}

// failed turns an outcome that is no success for a task into its error.
func (d Done) failed(fine ...Outcome) error {
	if d.Outcome == OK || slices.Contains(fine, d.Outcome) {
		return nil
	}
	return &failure{d.Err, d.Outcome}
}

// backup takes a snapshot, unless this slot has one: a leader may have died between the
// snapshot and its note.
func (s *charge) backup(ctx context.Context, slot time.Time) error {
	cat := s.catalog()
	ids, err := cat.IDs(ctx)
	if err == nil {
		if m, err := s.newest(ctx, cat, ids); err == nil && m != nil && !m.Slot.Before(slot) {
			return nil
		}
	}
	var m snapshot.Manifest
	d := s.command(ctx, "backup", &m, "--slot="+slot.UTC().Format(time.RFC3339))
	if err := d.failed(); err != nil {
		return err
	}
	s.l.d.Log.Info("snapshot", "source", s.name, "id", m.ID, "jobs", m.Counts.Jobs, "keys", m.Counts.Keys, "bytes", m.StoredSize())
	for _, w := range m.Warnings {
		s.l.d.Log.Warn(w, "source", s.name, "id", m.ID)
	}
	go s.l.d.beat(context.WithoutCancel(ctx))
	if err := s.frozen(ctx, cat); err != nil {
		return err
	}
	return s.prepare(ctx)
}

// prepare stores, beside the last good snapshot from before a wipe, what the person who is
// called will need first: the comparison and the plan.
func (s *charge) prepare(ctx context.Context) error {
	cat := s.catalog()
	freezes, err := backup.Frozen(ctx, cat)
	if err != nil {
		return err
	}
	for _, f := range freezes {
		there, err := cat.Incidents(ctx, f.Snapshot)
		if err != nil {
			return err
		}
		if len(there) > 0 {
			continue
		}
		dir, err := os.MkdirTemp(s.settings().TempDir, "rqvault-incident-*")
		if err != nil {
			return fmt.Errorf("prepare a plan: %w", err)
		}
		plan := filepath.Join(dir, "plan.json")
		d := s.command(ctx, "diff", nil, "--out="+plan, string(f.Snapshot))
		err = d.failed(Findings)
		if err == nil {
			err = errors.Join(s.keepIncident(ctx, f.Snapshot, "diff.json", d.Out), s.keepPlan(ctx, f.Snapshot, plan))
		}
		_ = os.RemoveAll(dir)
		if err != nil {
			return err
		}
		s.l.d.Log.Warn("data was lost: comparison and plan are stored beside the last snapshot from before", "source", s.name, "snapshot", f.Snapshot)
	}
	return nil
}

func (s *charge) keepPlan(ctx context.Context, id snapshot.ID, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("keep the plan: %w", err)
	}
	return s.keepIncident(ctx, id, "plan.json", b)
}

func (s *charge) keepIncident(ctx context.Context, id snapshot.ID, name string, b []byte) error {
	err := s.catalog().StoreIncident(ctx, id, name, bytes.NewReader(b))
	if errors.Is(err, snapshot.ErrExists) {
		return nil
	}
	return err
}

// snapshots lists those of the source. That there is none yet is a failure like others: it
// is tried again, and soon there is one.
func (s *charge) snapshots(ctx context.Context) ([]snapshot.ID, error) {
	ids, err := s.catalog().IDs(ctx)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("%w: there is none yet", snapshot.ErrNoSnapshot)
	}
	return ids, err
}

// verify reads the newest snapshot back, and of the older ones those that were not for the
// longest time.
func (s *charge) verify(ctx context.Context, _ time.Time) error {
	cat := s.catalog()
	ids, err := s.snapshots(ctx)
	if err != nil {
		return err
	}
	proofs, err := cat.Verified(ctx)
	if err != nil {
		return err
	}
	older := slices.Clone(ids[:len(ids)-1])
	slices.SortStableFunc(older, func(a, b snapshot.ID) int { return proofs[a].OK.Compare(proofs[b].OK) })
	var errs []error
	for _, id := range append(ids[len(ids)-1:], older[:min(len(older), s.settings().Schedule.VerifyOlder)]...) {
		err := s.command(ctx, "verify", nil, string(id)).failed(Findings)
		if err == nil || Damaged.is(err) {
			s.l.d.Metrics.Verified(s.name, id.Time(), err == nil)
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// drill restores the newest snapshot into a private server and compares.
func (s *charge) drill(ctx context.Context, _ time.Time) error {
	if _, err := s.snapshots(ctx); err != nil {
		return err
	}
	var out struct {
		Snapshot snapshot.ID        `json:"snapshot"`
		OK       bool               `json:"ok"`
		Seconds  map[string]float64 `json:"seconds"`
	}
	var args []string
	if s.settings().Schedule.DrillInto != "" {
		args = []string{"--replace-all"}
	}
	d := s.command(ctx, "drill", &out, args...)
	if d.Outcome == OK || d.Outcome == Findings {
		s.spend(watch.Drill, drilled(out.Seconds))
		s.l.d.Metrics.Drilled(s.name, out.Snapshot.Time(), time.Duration(out.Seconds["recovery"]*float64(time.Second)), out.OK)
	}
	return d.failed()
}

// drilled are the phases of a drill.
func drilled(seconds map[string]float64) []watch.Phase {
	var all []watch.Phase
	for _, name := range []string{"fetch", "load", "compare"} {
		if s, ok := seconds[name]; ok {
			all = append(all, watch.Phase{Name: name, Took: time.Duration(s * float64(time.Second))})
		}
	}
	return all
}

// diff compares live Redis with the newest snapshot.
func (s *charge) diff(ctx context.Context, _ time.Time) error {
	if _, err := s.snapshots(ctx); err != nil {
		return err
	}
	var out struct {
		Counts   map[string]int64 `json:"counts"`
		Findings []struct {
			Verdict verify.Verdict `json:"verdict"`
			Action  verify.Action  `json:"action"`
		} `json:"findings"`
		Break *struct {
			Missing int64 `json:"missing"`
		} `json:"break"`
	}
	d := s.command(ctx, "diff", &out)
	if err := d.failed(Findings); err != nil {
		return err
	}
	counts := map[string]int64{}
	for _, v := range verify.Verdicts {
		counts[string(v)] = out.Counts[string(v)]
	}
	s.l.d.Metrics.Diff(s.name, counts)
	var lost, uncertain int64
	for i := range out.Findings {
		switch f := &out.Findings[i]; f.Action {
		case verify.None:
		case verify.Hold:
			if f.Verdict != verify.InFlight { // it settles itself
				uncertain++
			}
		default:
			lost++
		}
	}
	if out.Break != nil {
		lost += out.Break.Missing
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts.Lost, s.facts.Uncertain = lost, uncertain
	return nil
}

// fsck checks RQ's invariants in live Redis.
func (s *charge) fsck(ctx context.Context, _ time.Time) error {
	var out struct {
		Breaches []struct {
			Severity string `json:"severity"`
			Count    int64  `json:"count"`
		} `json:"breaches"`
	}
	if err := s.command(ctx, "verify", &out, "--live").failed(Findings); err != nil {
		return err
	}
	counts, grave := map[string]int64{}, int64(0)
	for _, severity := range []verify.Severity{verify.Critical, verify.High, verify.Medium, verify.Low} {
		counts[string(severity)] = 0 // so that a graph shows that it looked
	}
	for _, b := range out.Breaches {
		counts[b.Severity]++
		if b.Severity == string(verify.High) || b.Severity == string(verify.Critical) {
			grave++
		}
	}
	s.l.d.Metrics.Fsck(s.name, counts)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts.Breaches = grave
	return nil
}

// runsKept is how many runs of each task are remembered in the store.
const runsKept = 500

// prune removes what the policy does not keep. Where it is frozen that is no failure: the
// freeze has an alarm of its own.
func (s *charge) prune(ctx context.Context, _ time.Time) error {
	var errs []error
	for _, task := range tasks {
		errs = append(errs, s.catalog().TrimRuns(ctx, string(task), runsKept))
	}
	return errors.Join(append(errs, s.command(ctx, "prune", nil, "--apply").failed(Refused))...)
}
