// Package daemon is rqvault schedule: it does what rqvault.yml says, at the times that it
// says, for as long as the process lives. Of each store one process leads (leader.go); a
// leader has the sources that are kept there in its charge (charge.go), runs their tasks
// (tasks.go), notes in the store what became of them (journal.go), and tells people what
// they must hear of (alarms.go). Each task is a command line as a person would type it.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"rqvault/internal/alarm"
	"rqvault/internal/config"
	"rqvault/internal/lease"
	"rqvault/internal/notify"
	"rqvault/internal/rq"
	"rqvault/internal/snapshot"
	"rqvault/internal/watch"
)

// Options are what a daemon works with. All but File are needed.
type Options struct {
	Config *config.Config
	Schema rq.Schema
	Log    *slog.Logger
	Now    func() time.Time
	// File is the configuration's, for commands that people are told to type; "" if it is
	// where they look for it.
	File string
	// Version is the program's.
	Version string
	// Do runs a command for a source, with what the configuration says of it and with the
	// arguments given.
	Do func(ctx context.Context, cfg *config.Config, source, command string, args ...string) Done
	// Open opens a store by its URL.
	Open func(ctx context.Context, url string) (Store, error)
	// Keys gives a catalog the keys that the configuration names.
	Keys func(s *config.Source, cat *snapshot.Catalog) (*snapshot.Catalog, error)
}

// Store is a store that can keep small values which change by compare-and-swap.
type Store interface {
	snapshot.Store
	Cell(key string) (lease.Cell, error)
}

// Daemon is rqvault schedule.
type Daemon struct {
	Options
	Metrics *watch.Metrics
	Health  *watch.Health

	mu      sync.Mutex
	cfg     *config.Config
	leaders map[string]*leader // by store
	outbox  *notify.Outbox
	retire  func()        // ends the outbox's sending
	stop    chan struct{} // closed when the daemon is to end
	leading sync.WaitGroup
	sending sync.WaitGroup
}

// tick is how often the daemon looks around: alarms, health, live queues.
const tick = 15 * time.Second

// New returns a daemon that does nothing before Run.
func New(o Options) *Daemon {
	d := &Daemon{Options: o, Metrics: watch.New(o.Version), Health: watch.NewHealth(o.Now, 4*tick),
		cfg: o.Config, leaders: map[string]*leader{}, retire: func() {}, stop: make(chan struct{})}
	d.Metrics.ConfigReloaded(true, o.Now())
	return d
}

// Current is the configuration that is in force.
func (d *Daemon) Current() *config.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg
}

// Run works until ctx ends, and then until what has begun has ended, or the grace is over.
func (d *Daemon) Run(ctx context.Context) {
	d.Follow(d.Current())
	beat := time.NewTicker(tick / 3)
	defer beat.Stop()
	for ctx.Err() == nil {
		d.Health.Tick()
		select {
		case <-beat.C:
		case <-ctx.Done():
		}
	}
	d.Log.Info("stopping: nothing more is begun", "grace", d.Current().Daemon.Grace)
	close(d.stop)
	d.leading.Wait()
	d.mu.Lock()
	d.retire()
	d.mu.Unlock()
	d.sending.Wait()
	d.Log.Info("stopped")
}

// Follow puts a configuration into force.
func (d *Daemon) Follow(cfg *config.Config) {
	for _, l := range d.adopt(cfg) {
		l.follow(cfg)
	}
}

// adopt takes over what a configuration says of stores and alarms, and returns the leaders
// of its stores.
func (d *Daemon) adopt(cfg *config.Config) []*leader {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.cfg
	d.cfg = cfg
	for name := range old.Sources {
		if cfg.Sources[name] == nil {
			d.Metrics.Forget(name)
		}
	}
	for name, l := range d.leaders {
		if s := cfg.Stores[name]; s == nil || s.URL != l.url {
			l.quit()
			delete(d.leaders, name)
		}
	}
	d.tell(cfg)
	for name, s := range cfg.Stores {
		if d.leaders[name] == nil {
			l := newLeader(d, name, s.URL, cfg.Daemon.Grace)
			d.leaders[name] = l
			d.leading.Go(l.run)
		}
	}
	return slices.Collect(maps.Values(d.leaders))
}

// tell replaces those who are told of alarms.
func (d *Daemon) tell(cfg *config.Config) {
	targets, err := d.targets(cfg)
	if err != nil {
		d.Log.Error("alarms", "error", line(err))
	}
	d.retire()
	ctx, cancel := context.WithCancel(context.Background())
	outbox := notify.NewOutbox(targets, d.sent)
	d.outbox, d.retire = outbox, cancel
	d.sending.Go(func() { outbox.Run(ctx, 5*time.Second) })
}

// put hands notices to whoever is to be told.
func (d *Daemon) put(notices []alarm.Notice) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outbox.Put(notices)
}

// sent notes what became of a message.
func (d *Daemon) sent(o notify.Outcome) {
	result := watch.Sent
	switch {
	case o.Dropped:
		result = watch.Dropped
	case o.Err != nil:
		result = watch.Failed
	}
	d.Metrics.Message(o.Target, result, d.Now())
	if o.Err != nil {
		d.Log.Warn("an alarm was not delivered", "target", o.Target, "alarm", o.Notice.Alarm.Name, "given_up", o.Dropped, "error", line(o.Err))
	}
}

// targets are those who are told of alarms.
func (d *Daemon) targets(cfg *config.Config) ([]notify.Target, error) {
	var ts []notify.Target
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Alarms.Webhooks)) {
		w := cfg.Alarms.Webhooks[name]
		u, err := notify.ParseSecret(w.URL)
		if err != nil {
			errs = append(errs, fmt.Errorf("webhook %s: %w", name, err))
			continue
		}
		var s notify.Sender = notify.Webhook{URL: u, Key: []byte(w.Key), Now: d.Now}
		if w.Format == "slack" {
			s = notify.Slack{URL: u}
		}
		ts = append(ts, notify.Target{Name: name, Least: least(w.Severity), Sender: s})
	}
	if len(cfg.Alarms.Command) > 0 {
		ts = append(ts, notify.Target{Name: "command", Least: alarm.Warning, Sender: notify.Mail{Argv: cfg.Alarms.Command}})
	}
	return ts, errors.Join(errs...)
}

func least(name string) alarm.Severity {
	if name == alarm.Critical.String() {
		return alarm.Critical
	}
	return alarm.Warning
}

// beat tells the dead man's switch that a snapshot was taken.
func (d *Daemon) beat(ctx context.Context) {
	u := d.Current().Alarms.HeartbeatURL
	if u == "" {
		return
	}
	to, err := notify.ParseSecret(u)
	if err == nil {
		err = notify.Heartbeat{URL: to}.Beat(ctx)
	}
	if err != nil {
		d.Log.Warn("the heartbeat was not delivered", "error", line(err))
	}
}

// owner names this process to people.
func owner() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown host"
	}
	return fmt.Sprintf("%s pid %d", name, os.Getpid())
}

// line writes an error as one line of a log.
func line(err error) string {
	return strings.Join(slices.Compact(strings.Split(err.Error(), "\n")), "; ")
}
