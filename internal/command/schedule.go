package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"rqvault/internal/config"
	"rqvault/internal/daemon"
	"rqvault/internal/snapshot"
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
	e.goLater()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	file := ""
	if c.IsSet("config") {
		if file, err = filepath.Abs(c.String("config")); err != nil {
			return usage("--config: %v", err)
		}
	}
	log := e.newLog(cfg)
	d := daemon.New(daemon.Options{Config: cfg, File: file, Schema: e.schema, Log: log, Now: e.now, Version: version(), Do: e.do, Open: openLeased, Keys: configuredKeys})
	stopped, cancel := context.WithCancel(context.WithoutCancel(c.Context))
	defer cancel()
	if cfg.Daemon.Listen != "" {
		l, err := watch.Listen(stopped, cfg.Daemon.Listen)
		if err != nil {
			return &advice{err, "name another address as daemon.listen in rqvault.yml"}
		}
		log.Info("metrics", "url", "http://"+l.Addr().String()+"/metrics")
		go func() {
			if err := watch.Serve(stopped, l, watch.Handler(d.Metrics, d.Health)); err != nil {
				log.Error("the metrics are not served any more", "error", oneLine(err))
			}
		}()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Run(c.Context)
	}()
	for {
		select {
		case <-again:
			e.reload(c, d, log)
		case <-ended:
			return nil
		}
	}
}

// reload takes over a changed configuration. One that cannot be followed changes nothing.
func (e *env) reload(c *cli.Context, d *daemon.Daemon, log *slog.Logger) {
	cfg, err := e.configuration(c)
	if err == nil && cfg == nil {
		err = errors.New("the file is gone")
	}
	d.Metrics.ConfigReloaded(err == nil, e.now())
	if err != nil {
		log.Error("the new configuration is not followed; the one before stays in force", "error", oneLine(err))
		return
	}
	if changed := began(d.Config.Daemon, cfg.Daemon); len(changed) > 0 {
		log.Warn("what differs from the start counts from the next start on", "keys", strings.Join(changed, ", "))
	}
	d.Follow(cfg)
	log.Info("the configuration was read again")
}

// began lists the keys under daemon that count at the start only, and differ from then.
func began(then, now config.Daemon) (keys []string) {
	for key, differs := range map[string]bool{"listen": then.Listen != now.Listen, "log": then.Log != now.Log, "lease_ttl": then.LeaseTTL != now.LeaseTTL, "grace": then.Grace != now.Grace} {
		if differs {
			keys = append(keys, "daemon."+key)
		}
	}
	slices.Sort(keys)
	return keys
}

// newLog writes the daemon's log lines to standard error.
func (e *env) newLog(cfg *config.Config) *slog.Logger {
	if cfg.Daemon.Log == "json" {
		return slog.New(slog.NewJSONHandler(e.err, nil))
	}
	return slog.New(slog.NewTextHandler(e.err, nil))
}

// do runs a command of the daemon's: the line that a person would type. What the
// configuration says stands on it, so that nothing else decides.
func (e *env) do(ctx context.Context, cfg *config.Config, source, command string, args ...string) daemon.Done {
	line := []string{"rqvault", command, "--config=", "--json", "--quiet"}
	values := settings(cfg, source, cfg.Sources[source], command)
	known := flagNames(command)
	for _, flag := range slices.Sorted(maps.Keys(values)) {
		for _, v := range values[flag] {
			if known[flag] {
				line = append(line, "--"+flag+"="+v)
			}
		}
	}
	var out, complaints bytes.Buffer
	one := &env{ctx: ctx, args: append(line, args...), out: &out, err: &complaints, schema: e.schema, beside: true, giveWay: func(int) {}, phases: &phases{now: e.now}}
	err := one.execute(ctx)
	d := daemon.Done{Err: err, Out: out.Bytes(), Phases: one.phases.all()}
	code := one.exit(ctx, err)
	if code == exitOK {
		return d
	}
	d.Outcome = daemon.Failed
	if o, ok := outcomes[code]; ok {
		d.Outcome = o
	}
	if err == nil {
		d.Err = fmt.Errorf("exit code %d", code)
	}
	return d
}

// outcomes are what the exit codes say.
var outcomes = map[int]daemon.Outcome{exitFindings: daemon.Findings, exitDamaged: daemon.Damaged, exitPartly: daemon.Partly,
	exitRefused: daemon.Refused, exitLocked: daemon.Locked, exitForged: daemon.Locked}

// flagNames are the flags that a command has.
func flagNames(command string) map[string]bool {
	names := map[string]bool{}
	for _, f := range newApp(&env{}).Command(command).Flags {
		names[f.Names()[0]] = true
	}
	return names
}

// openLeased opens a store that can keep a lease.
func openLeased(ctx context.Context, url string) (daemon.Store, error) {
	s, err := openStore(ctx, url)
	if err != nil {
		return nil, err
	}
	leased, ok := s.(daemon.Store)
	if !ok {
		return nil, fmt.Errorf("%s cannot keep a lease", s)
	}
	return leased, nil
}

// configuredKeys gives a catalog the keys that the configuration names.
func configuredKeys(s *config.Source, cat *snapshot.Catalog) (*snapshot.Catalog, error) {
	return keyed(keyFiles{passphrase: s.Passphrase, signKey: s.SignKey, identities: s.Identities, verifyKeys: s.VerifyKeys}, cat)
}
