package command

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"rqvault/backup"
	"rqvault/internal/alarm"
	"rqvault/internal/config"
	"rqvault/internal/live"
	"rqvault/internal/snapshot"
	"rqvault/internal/watch"
	"rqvault/schedule"
)

// charge is one Redis that the daemon keeps safe: a source, and what is known of it.
type charge struct {
	l    *leader
	name string

	mu    sync.Mutex
	cfg   *config.Config
	cat   *snapshot.Catalog
	facts alarm.Facts
	since time.Time // when this process first heard of the source
	spent map[watch.Task][]watch.Phase
}

func newCharge(l *leader, name string) *charge {
	return &charge{l: l, name: name, facts: alarm.Facts{Source: name}, spent: map[watch.Task][]watch.Phase{}, since: l.d.e.now()}
}

// spec is one task of a source: its times, and how old its last success may be.
type spec struct {
	task  watch.Task
	times string
	limit time.Duration // 0: what its times say
	run   func(ctx context.Context, slot time.Time) error
}

func (s *charge) specs() []spec {
	c := s.settings()
	return []spec{
		{watch.Backup, c.Schedule.Backup, s.config().Alarms.MaxAge, s.backup},
		{watch.Verify, c.Schedule.Verify, s.config().Alarms.MaxVerified, s.verify},
		{watch.Drill, c.Schedule.Drill, 0, s.drill},
		{watch.Diff, c.Schedule.Diff, 0, s.diff},
		{watch.Fsck, c.Schedule.Fsck, 0, s.fsck},
		{watch.Prune, c.Schedule.Prune, 0, s.prune},
	}
}

// lateAfter is after how many of a task's intervals without success it is late.
const lateAfter = 3

const year = 366 * 24 * time.Hour

// follow takes over a configuration and returns the source's tasks.
func (s *charge) follow(cfg *config.Config) []schedule.Task {
	s.mu.Lock()
	s.cfg = cfg
	s.mu.Unlock()
	sched := s.settings().Schedule
	var tasks []schedule.Task
	for _, sp := range s.specs() {
		if sp.times == "" {
			s.l.d.metrics.NextRun(s.name, sp.task, time.Time{})
			s.expect(sp.task, 0)
			continue
		}
		times, err := schedule.Parse(sp.times, sched.Zone())
		if err != nil {
			s.l.d.log.Error("a time that cannot be read", "source", s.name, "task", sp.task, "error", oneLine(err))
			continue // the configuration was checked
		}
		limit := sp.limit
		if limit == 0 {
			_, longest := schedule.Between(times, s.l.d.e.now())
			limit = lateAfter * min(longest, year)
		}
		s.expect(sp.task, limit)
		tasks = append(tasks, schedule.Task{Source: s.name, Name: string(sp.task), Times: times, Jitter: sched.Jitter,
			Retries: sched.Retries, RetryAfter: sched.RetryAfter, Timeout: sched.Timeout, Run: sp.run})
	}
	return tasks
}

// expect says how old a task's last success may be; 0: it is not scheduled.
func (s *charge) expect(task watch.Task, limit time.Duration) {
	if limit > 0 {
		s.l.d.metrics.Expect(s.name, task, limit, s.since)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.task(task); t != nil {
		t.Limit, t.From = limit, s.since
	}
}

// task returns what is known of a task that alarms are about; nil for others. The source is
// locked.
func (s *charge) task(name watch.Task) *alarm.Task {
	return map[watch.Task]*alarm.Task{watch.Backup: &s.facts.Backup, watch.Verify: &s.facts.Verify, watch.Drill: &s.facts.Drill, watch.Prune: &s.facts.Prune}[name]
}

func (s *charge) config() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg
}

func (s *charge) settings() *config.Source { return s.config().Sources[s.name] }

func (s *charge) catalog() *snapshot.Catalog {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cat
}

// recall learns from the store what other processes did before this one leads.
func (s *charge) recall(ctx context.Context, store snapshot.Store) {
	cat, err := snapshot.NewCatalog(store, s.name)
	if err == nil {
		c := s.settings()
		cat, err = keyed(keyFiles{passphrase: c.Passphrase, signKey: c.SignKey, identities: c.Identities, verifyKeys: c.VerifyKeys}, cat)
	}
	if err != nil {
		s.l.d.log.Error("the keys of a source cannot be read", "source", s.name, "error", oneLine(err))
		return
	}
	s.mu.Lock()
	s.cat = cat
	s.mu.Unlock()
	for _, task := range []watch.Task{watch.Backup, watch.Verify, watch.Drill, watch.Prune, watch.Diff, watch.Fsck} {
		if _, ok, err := cat.LastRuns(ctx, string(task)); err == nil && !ok.IsZero() {
			s.succeeded(task, ok)
		}
	}
	s.look(ctx)
}

// spend notes what the last run of a task spent its time on.
func (s *charge) spend(task watch.Task, on []watch.Phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(on) > 0 {
		s.spent[task] = on
	}
}

// spentOn returns that, once.
func (s *charge) spentOn(task watch.Task) []watch.Phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	on := s.spent[task]
	delete(s.spent, task)
	return on
}

func (s *charge) succeeded(task watch.Task, at time.Time) {
	s.l.d.metrics.Succeeded(s.name, task, at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.task(task); t != nil {
		t.Success, t.Failed, t.Failure, t.Reason = at, 0, time.Time{}, ""
	}
}

func (s *charge) failed(task watch.Task, at time.Time, why watch.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.task(task)
	if t == nil || why == watch.Interrupted || why == watch.LeaseLost {
		return
	}
	if t.Failed == 0 {
		t.Failure = at
	}
	t.Failed++
	t.Reason = string(why)
}

// look shows the newest snapshot and what is known of it, and whether Redis and the store
// answer.
func (s *charge) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tick)
	defer cancel()
	s.down(&s.facts.StoreDown, s.lookAtStore(ctx))
	err := s.lookAtRedis(ctx)
	s.down(&s.facts.RedisDown, err)
	why := "Redis answers"
	if err != nil {
		why = "Redis does not answer"
	}
	s.l.d.health.Set("source "+s.name, err == nil, why, 4*tick)
}

// down notes since when something does not answer.
func (s *charge) down(since *time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, context.Canceled):
	case err == nil:
		*since = time.Time{}
	case since.IsZero():
		*since = s.l.d.e.now()
	}
}

func (s *charge) lookAtStore(ctx context.Context) error {
	cat := s.catalog()
	if cat == nil {
		return errNoKeys
	}
	ids, err := cat.IDs(ctx)
	if err != nil || len(ids) == 0 {
		s.l.d.metrics.Snapshot(watch.Snapshot{Source: s.name})
		return err
	}
	m, err := cat.Manifest(ctx, ids[len(ids)-1])
	if err != nil {
		return err
	}
	s.l.d.metrics.Snapshot(watch.Snapshot{Source: s.name, CreatedAt: m.CreatedAt, Jobs: m.Counts.Queues, Keys: m.Counts.Keys, DumpBytes: m.Dump.Size, StoredBytes: m.StoredSize()})
	proofs, err := cat.Verified(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if p := proofs[id]; !p.OK.IsZero() || !p.Failed.IsZero() {
			s.l.d.metrics.Verified(s.name, id.Time(), !p.Damaged())
		}
	}
	return s.frozen(ctx, cat)
}

// frozen notes whether a wipe keeps retention frozen.
func (s *charge) frozen(ctx context.Context, cat *snapshot.Catalog) error {
	freezes, err := backup.Frozen(ctx, cat)
	if err != nil {
		return err
	}
	s.l.d.metrics.Frozen(s.name, len(freezes) > 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts.Frozen, s.facts.FrozenWhy = time.Time{}, ""
	if len(freezes) > 0 {
		s.facts.Frozen, s.facts.FrozenWhy = freezes[0].Since, strings.Join(freezes[0].Reasons, "; ")
	}
	return nil
}

// lookAtRedis asks for what people want to see at any time: queues and workers.
func (s *charge) lookAtRedis(ctx context.Context) error {
	c := s.settings()
	t, err := live.ParseURL(c.Redis)
	if err != nil {
		return err
	}
	if c.RedisPassword != "" {
		t.Password = c.RedisPassword
	}
	server, err := live.Dial(ctx, t, live.Options{ReadOnly: true})
	if err != nil {
		s.l.d.metrics.Live(watch.Live{Source: s.name})
		return err
	}
	defer func() { _ = server.Close() }()
	now, err := queuesNow(ctx, server, t.DB, s.l.d.e.schema)
	if err != nil {
		return err
	}
	now.Source, now.Up = s.name, true
	s.l.d.metrics.Live(now)
	return nil
}
