package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"rqvault/internal/alarm"
	"rqvault/internal/config"
	"rqvault/internal/notify"
	"rqvault/internal/watch"
)

// daemon is rqvault schedule. Of each store one process leads, and does all that is
// scheduled for the sources that are kept there.
type daemon struct {
	e       *env
	log     *slog.Logger
	metrics *watch.Metrics
	health  *watch.Health

	mu      sync.Mutex
	cfg     *config.Config
	leaders map[string]*leader // by store
	outbox  *notify.Outbox
	stop    chan struct{} // closed when the daemon is to end
	all     sync.WaitGroup
}

// tick is how often the daemon looks around: alarms, health, live queues.
const tick = 15 * time.Second

func newDaemon(e *env, cfg *config.Config) *daemon {
	return &daemon{e: e, log: e.newLog(cfg), metrics: watch.New(version()), health: watch.NewHealth(e.now, 4*tick),
		cfg: cfg, leaders: map[string]*leader{}, stop: make(chan struct{})}
}

func (d *daemon) config() *config.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg
}

// run works until ctx ends, and then until what has begun has ended, or the grace is over.
func (d *daemon) run(ctx context.Context) {
	work := context.WithoutCancel(ctx)
	d.follow(d.config())
	beat := time.NewTicker(tick / 3)
	defer beat.Stop()
	for ctx.Err() == nil {
		d.health.Tick()
		select {
		case <-beat.C:
		case <-ctx.Done():
		}
	}
	d.log.Info("stopping: nothing more is begun", "grace", d.config().Daemon.Grace)
	close(d.stop)
	d.all.Wait()
	_ = work
	d.log.Info("stopped")
}

// follow puts a configuration into force.
func (d *daemon) follow(cfg *config.Config) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.cfg
	d.cfg = cfg
	for name := range old.Sources {
		if cfg.Sources[name] == nil {
			d.metrics.Forget(name)
		}
	}
	for name, l := range d.leaders {
		if s := cfg.Stores[name]; s == nil || s.URL != l.url {
			l.quit()
			delete(d.leaders, name)
		}
	}
	targets, err := d.targets(cfg)
	if err != nil {
		d.log.Error("alarms", "error", oneLine(err))
	}
	outbox := notify.NewOutbox(targets, d.sent)
	d.outbox = outbox
	d.all.Go(func() { d.send(outbox) })
	for _, name := range slices.Sorted(maps.Keys(cfg.Stores)) {
		l := d.leaders[name]
		if l == nil {
			l = newLeader(d, name, cfg.Stores[name].URL)
			d.leaders[name] = l
			d.all.Go(l.run)
		}
		l.follow(cfg)
	}
}

// send empties an outbox until the daemon ends or a later configuration has another one.
func (d *daemon) send(o *notify.Outbox) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		watched := time.NewTicker(time.Second)
		defer watched.Stop()
		for {
			select {
			case <-d.stop:
			case <-watched.C:
				if d.current(o) {
					continue
				}
			case <-ctx.Done():
			}
			cancel()
			return
		}
	}()
	o.Run(ctx, 5*time.Second)
}

func (d *daemon) current(o *notify.Outbox) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.outbox == o
}

// sent notes what became of a message.
func (d *daemon) sent(o notify.Outcome) {
	result := watch.Sent
	switch {
	case o.Dropped:
		result = watch.Dropped
	case o.Err != nil:
		result = watch.Failed
	}
	d.metrics.Message(o.Target, result, d.e.now())
	if o.Err != nil {
		d.log.Warn("an alarm was not delivered", "target", o.Target, "alarm", o.Notice.Alarm.Name, "given_up", o.Dropped, "error", oneLine(o.Err))
	}
}

// targets are those who are told of alarms.
func (d *daemon) targets(cfg *config.Config) ([]notify.Target, error) {
	var ts []notify.Target
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Alarms.Webhooks)) {
		w := cfg.Alarms.Webhooks[name]
		u, err := notify.ParseSecret(w.URL)
		if err != nil {
			errs = append(errs, fmt.Errorf("webhook %s: %w", name, err))
			continue
		}
		var s notify.Sender = notify.Webhook{URL: u, Key: []byte(w.Key), Now: d.e.now}
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
