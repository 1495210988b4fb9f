package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/config"
	"rqvault/internal/live"
	"rqvault/internal/snapshot"
	"rqvault/internal/source"
)

// checkTimeout bounds the look at one thing that the configuration names.
const checkTimeout = 10 * time.Second

// reached is one thing that the configuration names, and what became of reaching it.
type reached struct {
	What  string `json:"what"`
	OK    bool   `json:"ok"`
	Found string `json:"found"`
}

// checkConfig reaches everything that the configuration names: stores, servers, the
// programs it starts, and the hosts of URLs that it calls, which are not called.
func (e *env) checkConfig(c *cli.Context, cfg *config.Config) error {
	var all []reached
	try := func(what string, look func(ctx context.Context) (string, error)) {
		ctx, cancel := context.WithTimeout(c.Context, checkTimeout)
		defer cancel()
		found, err := look(ctx)
		if err != nil {
			found = oneLine(err)
		}
		all = append(all, reached{what, err == nil, found})
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Stores)) {
		try("store "+name, func(ctx context.Context) (string, error) { return reachStore(ctx, cfg.Stores[name].URL) })
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Sources)) {
		s := cfg.Sources[name]
		try("source "+name, func(ctx context.Context) (string, error) { return reachRedis(ctx, s.Redis, s.RedisPassword, s.Via) })
		switch {
		case s.Schedule.DrillInto != "":
			try("drill_into of "+name, func(ctx context.Context) (string, error) { return reachRedis(ctx, s.Schedule.DrillInto, "", "") })
		case s.Schedule.Drill != "":
			try("drill of "+name, func(context.Context) (string, error) { return lookFor("redis-server") })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Alarms.Webhooks)) {
		try("webhook "+name, func(ctx context.Context) (string, error) { return reachHost(ctx, cfg.Alarms.Webhooks[name].URL) })
	}
	if u := cfg.Alarms.HeartbeatURL; u != "" {
		try("heartbeat", func(ctx context.Context) (string, error) { return reachHost(ctx, u) })
	}
	if len(cfg.Alarms.Command) > 0 {
		try("alarm command", func(context.Context) (string, error) { return lookFor(cfg.Alarms.Command[0]) })
	}
	return e.printReached(c, all)
}

func (e *env) printReached(c *cli.Context, all []reached) error {
	failed := slices.IndexFunc(all, func(r reached) bool { return !r.OK })
	if c.Bool("json") {
		if err := e.printJSON(all); err != nil {
			return err
		}
	} else {
		t := newTable(e.out, "WHAT", "", "FOUND")
		for _, r := range all {
			mark := "ok"
			if !r.OK {
				mark = "FAIL"
			}
			t.row(r.What, mark, r.Found)
		}
		_ = t.flush()
	}
	if failed < 0 {
		return nil
	}
	if source, is := strings.CutPrefix(all[failed].What, "source "); is && !c.Bool("json") {
		fmt.Fprintf(e.out, "next: rqvault doctor --source %s%s\n", quote(source), e.configured(c))
	}
	return errFindings
}

func reachStore(ctx context.Context, name string) (string, error) {
	s, err := openStore(ctx, name)
	if err != nil {
		return "", err
	}
	err = snapshot.CheckRepository(ctx, s)
	switch {
	case errors.Is(err, snapshot.ErrNotFound), errors.Is(err, snapshot.ErrNoStore) && !strings.Contains(name, "s3://"):
		return "nothing yet; the first backup founds it", nil
	case err != nil:
		return "", err
	}
	names, err := snapshot.Sources(ctx, s)
	return fmt.Sprintf("%s of %s", plural(int64(len(names)), "source"), s), err
}

// reachRedis asks a server who it is, and, where backups come over the replication link,
// whether it would open one.
func reachRedis(ctx context.Context, name, password, via string) (string, error) {
	t, err := live.ParseURL(name)
	if err != nil {
		return "", err
	}
	s, err := live.Dial(ctx, t.WithPassword(password), live.Options{ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	f, err := s.Facts(ctx)
	if err != nil {
		return "", err
	}
	if via == "sync" {
		err = source.MaySync(ctx, s)
	}
	return fmt.Sprintf("Redis %s, %s", f.Version, f.Replication.Role), err
}

// reachHost connects to the host of a URL. The URL itself is a secret.
func reachHost(ctx context.Context, text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", errors.New("it is no URL")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "", err
	}
	_ = conn.Close()
	return u.Hostname() + " answers; it was not called", nil
}

func lookFor(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", err
	}
	return path, nil
}
