package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"rqvault/internal/pace"
	"rqvault/internal/snapshot"
	"rqvault/schedule"
)

// minLease is the shortest lease that a store answering in a second can keep.
const minLease = 5 * time.Second

// check looks at what single keys cannot tell.
func (r *reader) check(c *Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Stores)) {
		if p := "stores." + name; c.Stores[name].URL == "" {
			r.complain(r.line(p), p, "has no url")
		} else {
			r.url(p+".url", c.Stores[name].URL, r.env.Store)
		}
	}
	if len(c.Sources) == 0 {
		r.complain(0, "sources", "names no Redis to keep safe")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		r.source(c, name, c.Sources[name])
	}
	if c.Daemon.LeaseTTL < minLease {
		r.at("daemon.lease_ttl", "%s is too short: a store may take that long to answer; use %s or more", c.Daemon.LeaseTTL, minLease)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Alarms.Webhooks)) {
		w, p := c.Alarms.Webhooks[name], "alarms.webhooks."+name
		switch {
		case w.URL == "":
			r.complain(r.line(p), p, "has no url")
		case !web(w.URL):
			r.at(p+".url", "is no http:// or https:// URL")
		case w.Key != "" && w.Format == "slack":
			r.at(p+".key", "a body of the format slack is not signed: leave the key out, or use the format json")
		}
	}
	if h := c.Alarms.HeartbeatURL; h != "" && !web(h) {
		r.at("alarms.heartbeat_url", "is no http:// or https:// URL")
	}
}

// url has somebody look at a URL who knows such.
func (r *reader) url(path, text string, look func(string) error) {
	if look == nil || text == "" {
		return
	}
	if err := look(text); err != nil {
		r.at(path, "%v", err)
	}
}

// web reports whether a text is a URL to call. The text may hold a secret.
func web(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// at complains of a key, where it stands.
func (r *reader) at(path, format string, args ...any) {
	r.complain(r.line(path), path, format, args...)
}

// line is where a path, or the nearest above it, stands.
func (r *reader) line(path string) int {
	for path != "" {
		if n := r.lines[path]; n > 0 {
			return n
		}
		path = path[:max(strings.LastIndexByte(path, '.'), 0)]
	}
	return 0
}

func (r *reader) source(c *Config, name string, s *Source) {
	p := "sources." + name
	if err := snapshot.ValidSource(name); err != nil {
		r.complain(r.line(p), p, "%v", err)
	}
	switch {
	case len(c.Stores) == 0:
		r.complain(0, "stores", "names no place for the snapshots of %s", name)
	case s.Store == "" && len(c.Stores) == 1:
		for only := range c.Stores {
			s.Store = only
		}
	case s.Store == "":
		r.complain(r.line(p), p, "has no store, and there are several: %s", strings.Join(slices.Sorted(maps.Keys(c.Stores)), ", "))
	case c.Stores[s.Store] == nil:
		r.at(p+".store", "there is no store %s; here are %s", s.Store, strings.Join(slices.Sorted(maps.Keys(c.Stores)), ", "))
	}
	r.url(p+".redis", s.Redis, r.env.Redis)
	r.url(p+".schedule.drill_into", s.Schedule.DrillInto, r.env.Redis)
	if _, err := pace.Parse(s.LimitRate); err != nil {
		r.at(p+".limit_rate", "%v", err)
	}
	if u, err := url.Parse(s.Redis); err == nil && u.User != nil && s.RedisPassword != "" {
		if _, both := u.User.Password(); both {
			r.at(p+".redis_password", "the URL of redis has a password already")
		}
	}
	if s.Via != "auto" && s.Via != "bgsave" && s.DumpDir != "" {
		r.at(p+".dump_dir", "is for bgsave, and via is %s", s.Via)
	}
	if s.Schedule.DrillInto != "" && s.Schedule.DrillInto == s.Redis {
		r.at(p+".schedule.drill_into", "is the source itself, and a drill empties its target")
	}
	r.schedule(c, p, &s.Schedule)
}

// schedule checks the times of a source, and that alarms leave them room.
func (r *reader) schedule(c *Config, p string, s *Schedule) {
	p += ".schedule"
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil {
		r.at(p+".time_zone", "%q is no time zone such as UTC or Europe/Berlin", s.TimeZone)
		return
	}
	for _, task := range []struct{ key, spec string }{{"backup", s.Backup}, {"verify", s.Verify}, {"drill", s.Drill}, {"diff", s.Diff}, {"fsck", s.Fsck}, {"prune", s.Prune}} {
		if task.spec == "" {
			continue
		}
		times, err := schedule.Parse(task.spec, zone)
		if err != nil {
			r.at(p+"."+task.key, "%v", err)
			continue
		}
		shortest, longest := schedule.Between(times, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		if s.Jitter >= shortest {
			r.at(p+".jitter", "%s is as long as the time between two runs of %s (%s)", s.Jitter, task.key, shortest)
		}
		for _, limit := range []struct {
			task, key string
			age       time.Duration
		}{{"backup", "max_snapshot_age", c.Alarms.MaxAge}, {"verify", "max_verified_age", c.Alarms.MaxVerified}} {
			if limit.task == task.key && limit.age > 0 && limit.age <= longest {
				r.at("alarms."+limit.key, "%s would raise an alarm between two runs of %s.%s, which are %s apart", limit.age, p, task.key, longest)
			}
		}
	}
}

// Zone is the time zone of the source's schedule. Parse has checked it.
func (s *Schedule) Zone() *time.Location {
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil {
		return time.UTC
	}
	return zone
}

// Pick returns the source of that name, or the only one.
func (c *Config) Pick(name string) (string, *Source, error) {
	names := slices.Sorted(maps.Keys(c.Sources))
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	if s := c.Sources[name]; s != nil {
		return name, s, nil
	}
	if name == "" {
		return "", nil, fmt.Errorf("the configuration names several sources: say which with --source: %s", strings.Join(names, ", "))
	}
	return "", nil, fmt.Errorf("the configuration names no source %s; here are %s", name, strings.Join(names, ", "))
}
