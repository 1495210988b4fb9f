package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"rqvault/backup"
	"rqvault/internal/alarm"
	"rqvault/internal/config"
	"rqvault/internal/live"
	"rqvault/internal/queues"
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
	cat   *snapshot.Catalog // nil while this process does not lead
	facts alarm.Facts
	since time.Time // when this process first heard of the source
	spent map[watch.Task][]watch.Phase
	limit map[watch.Task]time.Duration // how old a task's last success may be
	last  *snapshot.Manifest           // the newest one
	sizes map[snapshot.ID]int64        // of the stored snapshots, as far as they were read
}

func newCharge(l *leader, name string) *charge {
	return &charge{l: l, name: name, facts: alarm.Facts{Source: name}, spent: map[watch.Task][]watch.Phase{}, since: l.d.Now(),
		limit: map[watch.Task]time.Duration{}, sizes: map[snapshot.ID]int64{}}
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

// tasks are all there are.
var tasks = []watch.Task{watch.Backup, watch.Verify, watch.Drill, watch.Diff, watch.Fsck, watch.Prune}

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
			s.l.d.Metrics.NextRun(s.name, sp.task, time.Time{})
			s.expect(sp.task, 0)
			continue
		}
		times, err := schedule.Parse(sp.times, sched.Zone())
		if err != nil {
			s.l.d.Log.Error("a time that cannot be read", "source", s.name, "task", sp.task, "error", line(err))
			continue // the configuration was checked
		}
		limit := sp.limit
		if limit == 0 {
			_, longest := schedule.Between(times, s.l.d.Now())
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit[task] = limit
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

// recall learns from the store what other processes did before this one leads, and shows it.
func (s *charge) recall(ctx context.Context, store snapshot.Store) {
	ctx, cancel := context.WithTimeout(ctx, tick)
	defer cancel()
	cat, err := snapshot.NewCatalog(store, s.name)
	if err == nil {
		cat, err = s.l.d.Keys(s.settings(), cat)
	}
	if err != nil {
		s.l.d.Log.Error("the keys of a source cannot be read", "source", s.name, "error", line(err))
		cat = nil
	}
	s.mu.Lock()
	s.cat = cat
	for _, task := range tasks {
		if limit := s.limit[task]; limit > 0 {
			s.l.d.Metrics.Expect(s.name, task, limit, s.since)
		}
	}
	s.mu.Unlock()
	if cat == nil {
		return
	}
	for _, task := range tasks {
		if _, ok, err := cat.LastRuns(ctx, string(task)); err == nil && !ok.IsZero() {
			s.succeeded(task, ok)
		}
	}
}

// rest forgets what only a leader knows.
func (s *charge) rest() {
	s.mu.Lock()
	s.cat, s.last = nil, nil
	s.mu.Unlock()
	s.l.d.Metrics.StandDown(s.name)
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
	s.l.d.Metrics.Succeeded(s.name, task, at)
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

// look shows whether Redis answers, and at times what is in the store.
func (s *charge) look(ctx context.Context, inStore bool) {
	ctx, cancel := context.WithTimeout(ctx, tick)
	defer cancel()
	if inStore {
		s.down(&s.facts.StoreDown, s.lookAtStore(ctx))
	}
	err := s.lookAtRedis(ctx)
	s.down(&s.facts.RedisDown, err)
	why := "Redis answers"
	if err != nil {
		why = "Redis does not answer"
	}
	s.l.d.Health.Set("source "+s.name, err == nil, why, 4*tick)
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
		*since = s.l.d.Now()
	}
}

// newest is the newest snapshot's manifest; nil if there is none.
func (s *charge) newest(ctx context.Context, cat *snapshot.Catalog, ids []snapshot.ID) (*snapshot.Manifest, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	id := ids[len(ids)-1]
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if last != nil && last.ID == id {
		return last, nil
	}
	m, err := cat.Manifest(ctx, id)
	if err == nil {
		s.mu.Lock()
		s.last = m
		s.mu.Unlock()
	}
	return m, err
}

func (s *charge) lookAtStore(ctx context.Context) error {
	cat := s.catalog()
	if cat == nil {
		return errNoKeys
	}
	ids, err := cat.IDs(ctx)
	if err != nil {
		return err
	}
	m, err := s.newest(ctx, cat, ids)
	if err != nil {
		return err
	}
	shown := watch.Snapshot{Source: s.name}
	if m != nil {
		shown = watch.Snapshot{Source: s.name, CreatedAt: m.CreatedAt, Jobs: m.Counts.Queues, Keys: m.Counts.Keys, DumpBytes: m.Dump.Size, StoredBytes: m.StoredSize()}
	}
	s.l.d.Metrics.Snapshot(shown)
	s.weigh(ctx, cat, ids)
	proofs, err := cat.Verified(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if p := proofs[id]; !p.OK.IsZero() || !p.Failed.IsZero() {
			s.l.d.Metrics.Verified(s.name, id.Time(), !p.Damaged())
		}
	}
	return s.frozen(ctx, cat)
}

// mostWeighed bounds how many manifests are read at one look, only to add up their sizes.
const mostWeighed = 100

// weigh shows how much is stored. Of one whose manifest cannot be read nothing is known, and
// verify tells it.
func (s *charge) weigh(ctx context.Context, cat *snapshot.Catalog, ids []snapshot.ID) {
	s.mu.Lock()
	before := s.sizes
	s.mu.Unlock()
	sizes, total, unread := map[snapshot.ID]int64{}, int64(0), 0
	for _, id := range slices.Backward(ids) {
		n, known := before[id]
		if !known {
			if unread++; unread > mostWeighed {
				continue
			}
			if m, err := cat.Manifest(ctx, id); err == nil {
				n = m.StoredSize()
			}
		}
		sizes[id] = n
		total += n
	}
	s.mu.Lock()
	s.sizes = sizes
	s.mu.Unlock()
	if len(sizes) == len(ids) {
		s.l.d.Metrics.Stored(s.name, len(ids), total)
	}
}

// frozen notes whether a wipe keeps retention frozen.
func (s *charge) frozen(ctx context.Context, cat *snapshot.Catalog) error {
	freezes, err := backup.Frozen(ctx, cat)
	if err != nil {
		return err
	}
	s.l.d.Metrics.Frozen(s.name, len(freezes) > 0)
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
	now, err := s.liveQueues(ctx)
	now.Source, now.Up = s.name, err == nil
	s.l.d.Metrics.Live(now)
	return err
}

func (s *charge) liveQueues(ctx context.Context) (watch.Live, error) {
	c := s.settings()
	t, err := live.ParseURL(c.Redis)
	if err != nil {
		return watch.Live{}, err
	}
	server, err := live.Dial(ctx, t.WithPassword(c.RedisPassword), live.Options{ReadOnly: true})
	if err != nil {
		return watch.Live{}, err
	}
	defer func() { _ = server.Close() }()
	var now watch.Live
	look := queues.New(ctx, server, t.DB, s.l.d.Schema, s.l.d.Now)
	workers := look.Workers()
	for _, q := range look.All(workers) {
		now.Queues = append(now.Queues, watch.Queue{Name: q.Name, Jobs: q.Depth, Oldest: q.Oldest})
	}
	for _, w := range workers {
		if w.Alive {
			now.Workers++
		}
	}
	return now, look.Err
}
