package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"rqvault/backup"
	"rqvault/internal/snapshot"
	"rqvault/internal/watch"
	"rqvault/verify"
)

// done is what became of a command line that the daemon ran.
type done struct {
	code int
	err  error
	out  []byte
}

// command runs a command line as a person would type it, and decodes its JSON. What the
// configuration says stands on that line, so that nothing else decides.
func (s *charge) command(ctx context.Context, name string, doc any, args ...string) done {
	line := []string{"rqvault", name, "--config=", "--json", "--quiet"}
	values := settings(s.config(), s.name, s.settings(), name)
	known := flagNames(name)
	for _, flag := range slices.Sorted(maps.Keys(values)) {
		for _, v := range values[flag] {
			if known[flag] {
				line = append(line, "--"+flag+"="+v)
			}
		}
	}
	var out, complaints bytes.Buffer
	e := &env{ctx: ctx, args: append(line, args...), out: &out, err: &complaints, phases: &phases{now: s.l.d.e.now}}
	err := e.execute(ctx)
	s.spend(watch.Task(name), e.phases.all())
	code := e.exit(ctx, err)
	d := done{code: code, err: err, out: out.Bytes()}
	if doc != nil && (code == exitOK || code == exitFindings || code == exitDamaged || code == exitPartly) {
		if jsonErr := json.Unmarshal(out.Bytes(), doc); jsonErr != nil && err == nil {
			d.err = fmt.Errorf("%s printed no JSON: %w", name, jsonErr)
		}
	}
	return d
}

// flagNames are the flags that a command has.
func flagNames(command string) map[string]bool {
	names := map[string]bool{}
	for _, f := range newApp(&env{}).Command(command).Flags {
		names[f.Names()[0]] = true
	}
	return names
}

// failed turns an exit code that is no success for a task into its error.
func (d done) failed(fine ...int) error {
	if slices.Contains(append(fine, exitOK), d.code) {
		return nil
	}
	if d.err == nil {
		return fmt.Errorf("exit code %d", d.code)
	}
	return d.err
}

// backup takes a snapshot, unless this slot has one: a leader may have died between the
// snapshot and its note.
func (s *charge) backup(ctx context.Context, slot time.Time) error {
	cat := s.catalog()
	if m, err := newest(ctx, cat); err == nil && m != nil && !m.Slot.Before(slot) {
		return nil
	}
	var m snapshot.Manifest
	d := s.command(ctx, "backup", &m, "--slot="+slot.UTC().Format(time.RFC3339))
	if err := d.failed(); err != nil {
		return err
	}
	s.l.d.log.Info("snapshot", "source", s.name, "id", m.ID, "jobs", m.Counts.Jobs, "keys", m.Counts.Keys, "bytes", m.StoredSize())
	for _, w := range m.Warnings {
		s.l.d.log.Warn(w, "source", s.name, "id", m.ID)
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
		err = d.failed(exitFindings)
		if err == nil {
			err = errors.Join(s.keepIncident(ctx, f.Snapshot, "diff.json", d.out), s.keepPlan(ctx, f.Snapshot, plan))
		}
		_ = os.RemoveAll(dir)
		if err != nil {
			return err
		}
		s.l.d.log.Warn("data was lost: comparison and plan are stored beside the last snapshot from before", "source", s.name, "snapshot", f.Snapshot)
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
		err := s.command(ctx, "verify", nil, string(id)).failed(exitFindings)
		if err == nil || errors.Is(err, errDamage) {
			s.l.d.metrics.Verified(s.name, id.Time(), err == nil)
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
	if d.code == exitOK || d.code == exitFindings {
		s.spend(watch.Drill, drilled(out.Seconds))
		s.l.d.metrics.Drilled(s.name, out.Snapshot.Time(), time.Duration(out.Seconds["recovery"]*float64(time.Second)), out.OK)
	}
	return d.failed()
}

// diff compares live Redis with the newest snapshot.
func (s *charge) diff(ctx context.Context, _ time.Time) error {
	if _, err := s.snapshots(ctx); err != nil {
		return err
	}
	var out diffOut
	d := s.command(ctx, "diff", &out)
	if err := d.failed(exitFindings); err != nil {
		return err
	}
	counts := map[string]int64{}
	for v, n := range out.Counts {
		counts[string(v)] = int64(n)
	}
	s.l.d.metrics.Diff(s.name, counts)
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
		lost += int64(out.Break.Missing)
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
	if err := s.command(ctx, "verify", &out, "--live").failed(exitFindings); err != nil {
		return err
	}
	counts, grave := map[string]int64{}, int64(0)
	for _, b := range out.Breaches {
		counts[b.Severity]++
		if b.Severity == string(verify.High) || b.Severity == string(verify.Critical) {
			grave++
		}
	}
	s.l.d.metrics.Fsck(s.name, counts)
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
	for _, task := range []watch.Task{watch.Backup, watch.Verify, watch.Drill, watch.Diff, watch.Fsck, watch.Prune} {
		errs = append(errs, s.catalog().TrimRuns(ctx, string(task), runsKept))
	}
	return errors.Join(append(errs, s.command(ctx, "prune", nil, "--apply").failed(exitRefused))...)
}
