package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"rqvault/internal/config"
	"rqvault/internal/lease"
	"rqvault/internal/snapshot"
	"rqvault/schedule"
)

// celled is a store that can keep small values which change by compare-and-swap.
type celled interface {
	Cell(key string) (lease.Cell, error)
}

// leader leads, or waits to lead, what is kept in one store.
type leader struct {
	d         *daemon
	name, url string
	runner    *schedule.Runner
	over      chan struct{} // closed: lead no more
	once      sync.Once

	mu      sync.Mutex
	sources map[string]*charge
	moves   []time.Time // when the leader changed
}

func newLeader(d *daemon, name, url string) *leader {
	l := &leader{d: d, name: name, url: url, over: make(chan struct{}), sources: map[string]*charge{}}
	l.runner = schedule.New(schedule.Options{State: l, Watch: l, Grace: d.cfg.Daemon.Grace})
	return l
}

func (l *leader) quit() { l.once.Do(func() { close(l.over) }) }

// follow takes over what a configuration says about the store's sources.
func (l *leader) follow(cfg *config.Config) {
	l.mu.Lock()
	sources := map[string]*charge{}
	var tasks []schedule.Task
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
	l.runner.Set(tasks)
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

// The pauses between tries to open a store that does not answer.
const (
	openAfter = time.Second
	openMost  = time.Minute
)

// run leads whenever it can, until the daemon ends.
func (l *leader) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		select {
		case <-l.d.stop:
		case <-l.over:
		}
	}()
	for after := openAfter; ; after = min(2*after, openMost) {
		err := l.contend(ctx, stop)
		select {
		case <-stop:
			return
		default:
		}
		l.d.metrics.Store(l.name, false)
		l.d.health.Set("store "+l.name, false, "it cannot be opened", 2*openMost)
		l.d.log.Error("no lease: nothing can be done in this store", "store", l.name, "again_in", after, "error", oneLine(err))
		select {
		case <-time.After(after):
		case <-stop:
			return
		}
	}
}

// contend waits for the lease and leads, until stop is closed.
func (l *leader) contend(ctx context.Context, stop <-chan struct{}) error {
	s, err := openStore(ctx, l.url)
	if err != nil {
		return err
	}
	if err := snapshot.Found(ctx, s, l.d.e.now(), rand.Reader); err != nil {
		return err
	}
	cells, ok := s.(celled)
	if !ok {
		return fmt.Errorf("%s cannot keep a lease", s)
	}
	key, err := lease.Key("schedule")
	if err != nil {
		return err
	}
	cell, err := cells.Cell(key)
	if err != nil {
		return err
	}
	held, err := lease.New(cell, lease.Options{Owner: owner(), TTL: l.d.config().Daemon.LeaseTTL, Now: l.d.e.now})
	if err != nil {
		return err
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	leading := false
	var mu sync.Mutex
	go func() { // one that only waits has nothing to wind up
		select {
		case <-stop:
		case <-waiting.Done():
		}
		mu.Lock()
		defer mu.Unlock()
		if !leading {
			cancel()
		}
	}()
	watched := make(chan struct{})
	defer close(watched)
	go l.watch(held, watched)
	err = held.Keep(waiting, func(ctx context.Context) error {
		mu.Lock()
		leading = true
		mu.Unlock()
		defer func() {
			mu.Lock()
			leading = false
			mu.Unlock()
		}()
		select {
		case <-stop:
			return nil
		default:
		}
		l.lead(ctx, s, cells, stop)
		return nil
	})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// lead does what is scheduled as long as the lease is ours and stop is open.
func (l *leader) lead(ctx context.Context, s snapshot.Store, cells celled, stop <-chan struct{}) {
	l.d.log.Info("this process leads", "store", l.name)
	for _, src := range l.all() {
		src.recall(ctx, s)
	}
	looking, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { l.look(looking, s, cells) })
	l.runner.Run(ctx, stop)
	cancel()
	all.Wait()
	if cause := context.Cause(ctx); cause != nil {
		l.d.log.Warn("this process leads no more", "store", l.name, "why", oneLine(cause))
	} else {
		l.d.log.Info("the lease is given back", "store", l.name)
	}
	l.d.metrics.StandDown()
}

// watch shows who leads.
func (l *leader) watch(held *lease.Lease, over <-chan struct{}) {
	every := time.NewTicker(tick / 5)
	defer every.Stop()
	var generation uint64
	for {
		st := held.Status()
		l.d.metrics.Lease(l.name, st.Leading, int64(st.Generation))
		l.d.metrics.Store(l.name, st.Err == nil)
		words := "leads"
		if !st.Leading {
			words = "waits; the leader is " + st.Holder
		}
		if st.Err != nil {
			words = "the store does not answer"
		}
		l.d.health.Set("store "+l.name, st.Err == nil, words, 4*tick)
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
	l.moves = append(l.moves, l.d.e.now())
}

// movesLately is how often the leader changed within the last hour.
func (l *leader) movesLately() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moves = slices.DeleteFunc(l.moves, func(t time.Time) bool { return l.d.e.now().Sub(t) > time.Hour })
	return len(l.moves)
}
