package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"rqvault/internal/config"
	"rqvault/internal/watch"
)

func (e *env) scheduleCommand() *cli.Command {
	return &cli.Command{
		Name:  "schedule",
		Usage: "run the daemon: backups, verification, drills, comparisons and pruning at the times that rqvault.yml says",
		Flags: []cli.Flag{configFlag()},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("schedule takes no arguments: rqvault.yml says what is done")
			}
			return e.schedule(c)
		},
	}
}

// schedule runs until the process is told to stop.
func (e *env) schedule(c *cli.Context) error {
	cfg, err := e.configuration(c)
	if err != nil {
		return err
	}
	if cfg == nil {
		return usage("there is no %s: name a file with --config, or make one: rqvault config default", configPath)
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	d := newDaemon(e, cfg)
	stopped, cancel := context.WithCancel(context.WithoutCancel(c.Context))
	defer cancel()
	if cfg.Daemon.Listen != "" {
		l, err := watch.Listen(stopped, cfg.Daemon.Listen)
		if err != nil {
			return &advice{err, "name another address as daemon.listen in rqvault.yml"}
		}
		d.log.Info("metrics", "url", "http://"+l.Addr().String()+"/metrics")
		go func() {
			if err := watch.Serve(stopped, l, watch.Handler(d.metrics, d.health)); err != nil {
				d.log.Error("the metrics are not served any more", "error", oneLine(err))
			}
		}()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.run(c.Context)
	}()
	for {
		select {
		case <-again:
			e.reload(c, d)
		case <-ended:
			return nil
		}
	}
}

// reload takes over a changed configuration. One that cannot be followed changes nothing.
func (e *env) reload(c *cli.Context, d *daemon) {
	cfg, err := e.configuration(c)
	if err == nil && cfg == nil {
		err = errors.New("the file is gone")
	}
	d.metrics.ConfigReloaded(err == nil, e.now())
	if err != nil {
		d.log.Error("the new configuration is not followed; the one before stays in force", "error", oneLine(err))
		return
	}
	if old := d.config(); cfg.Daemon != old.Daemon {
		d.log.Warn("what changed under daemon: counts from the next start on")
	}
	d.follow(cfg)
	d.log.Info("the configuration was read again")
}

// newLog writes the daemon's log lines to standard error.
func (e *env) newLog(cfg *config.Config) *slog.Logger {
	if cfg.Daemon.Log == "json" {
		return slog.New(slog.NewJSONHandler(e.err, nil))
	}
	return slog.New(slog.NewTextHandler(e.err, nil))
}

// owner names this process to people.
func owner() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown host"
	}
	return fmt.Sprintf("%s pid %d", name, os.Getpid())
}
