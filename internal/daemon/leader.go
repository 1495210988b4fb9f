package daemon

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"

	"rqvault/internal/config"
	"rqvault/internal/lease"
	"rqvault/internal/snapshot"
	"rqvault/schedule"
)

// leader leads, or waits to lead, what is kept in one store.
type leader struct {
	d         *Daemon
	name, url string
	runner    *schedule.Runner
	over      chan struct{} // closed: lead no more
	once      sync.Once

	mu      sync.Mutex
	sources map[string]*charge
	store   Store           // while this process leads
	ctx     context.Context // likewise
	moves   []time.Time     // when the leader changed
}

func newLeader(d *Daemon, name, url string, grace time.Duration) *leader {
	l := &leader{d: d, name: name, url: url, over: make(chan struct{}), sources: map[string]*charge{}}
	l.runner = schedule.New(schedule.Options{State: l, Watch: l, Grace: grace})
	return l
}

func (l *leader) quit() { l.once.Do(func() { close(l.over) }) }

// follow takes over what a configuration says about the store's sources.
func (l *leader) follow(cfg *config.Config) {
	var tasks []schedule.Task
	l.mu.Lock()
	sources := map[string]*charge{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Sources)) {
		if cfg.Sources[name].Store != l.name {
			continue
		}
		s := l.sources[name]
		if s == nil {
			s = newCharge(l, name)
		}
		sources[name] = s
		tasks = append(tasks, s.follow(cfg)...)
	}
	l.sources = sources
	l.mu.Unlock()
	l.recall()
	l.runner.Set(tasks)
}

// recall has the sources learn what the store knows of them, if this process leads.
func (l *leader) recall() {
	l.mu.Lock()
	ctx, store := l.ctx, l.store
	l.mu.Unlock()
	if store == nil {
		return
	}
	for _, s := range l.all() {
		s.recall(ctx, store)
	}
}

// leads notes that this process leads, or, without a store, that it does not.
func (l *leader) leads(ctx context.Context, s Store) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx, l.store = ctx, s
}

func (l *leader) charge(name string) *charge {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sources[name]
}

func (l *leader) all() []*charge {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.sources))
}

// names are those of the sources.
func (l *leader) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.sources))
}

// The pauses between tries to open a store that does not answer.
const (
	openAfter = time.Second
	openMost  = time.Minute
)

// run leads whenever it can, until the daemon ends or its store is not configured any more.
func (l *leader) run() {
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		select {
		case <-l.d.stop:
		case <-l.over:
		}
	}()
	for after := openAfter; ; after = min(2*after, openMost) {
		err := l.contend(stop)
		select {
		case <-stop:
			return
		default:
		}
		l.d.Metrics.Store(l.name, false)
		l.d.Health.Set("store "+l.name, false, "it cannot be opened", 2*openMost)
		l.d.Log.Error("no lease: nothing can be done in this store", "store", l.name, "again_in", after, "error", line(err))
		select {
		case <-time.After(after):
		case <-stop:
			return
		}
	}
}

// contend waits for the lease and leads, until stop is closed.
func (l *leader) contend(stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := l.d.Open(ctx, l.url)
	if err != nil {
		return err
	}
	if err := snapshot.Found(ctx, s, l.d.Now(), rand.Reader); err != nil {
		return err
	}
	key, err := lease.Key("schedule")
	if err != nil {
		return err
	}
	cell, err := s.Cell(key)
	if err != nil {
		return err
	}
	held, err := lease.New(cell, lease.Options{Owner: owner(), TTL: l.d.Current().Daemon.LeaseTTL, Now: l.d.Now, Stop: stop})
	if err != nil {
		return err
	}
	watched := make(chan struct{})
	defer close(watched)
	go l.watch(held, watched)
	return held.Keep(ctx, func(ctx context.Context) error {
		l.lead(ctx, s, stop)
		return nil
	})
}

// lead does what is scheduled as long as the lease is ours and stop is open.
func (l *leader) lead(ctx context.Context, s Store, stop <-chan struct{}) {
	l.d.Log.Info("this process leads", "store", l.name)
	l.leads(ctx, s)
	l.recall()
	looking, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { l.look(looking, s) })
	l.runner.Run(ctx, stop)
	cancel()
	all.Wait()
	if cause := context.Cause(ctx); cause != nil {
		l.d.Log.Warn("this process leads no more", "store", l.name, "why", line(cause))
	} else {
		l.d.Log.Info("the lease is given back", "store", l.name)
	}
	l.leads(ctx, nil)
	for _, src := range l.all() {
		src.rest()
	}
}

// watch shows who leads.
func (l *leader) watch(held *lease.Lease, over <-chan struct{}) {
	every := time.NewTicker(tick / 5)
	defer every.Stop()
	var generation uint64
	for {
		st := held.Status()
		l.d.Metrics.Lease(l.name, st.Leading, int64(st.Generation))
		l.d.Metrics.Store(l.name, st.Err == nil)
		words := "leads"
		if !st.Leading {
			words = "waits; the leader is " + st.Holder
		}
		if st.Err != nil {
			words = "the store does not answer"
		}
		l.d.Health.Set("store "+l.name, st.Err == nil, words, 4*tick)
		if generation != 0 && st.Generation != generation {
			l.moved()
		}
		generation = st.Generation
		select {
		case <-every.C:
		case <-over:
			return
		}
	}
}

func (l *leader) moved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moves = append(l.moves, l.d.Now())
}

// movesLately is how often the leader changed within the last hour.
func (l *leader) movesLately() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moves = slices.DeleteFunc(l.moves, func(t time.Time) bool { return l.d.Now().Sub(t) > time.Hour })
	return len(l.moves)
}
