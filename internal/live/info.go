package live

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"rqvault/internal/lineage"
)

// infoFields are the lines of an INFO reply by name.
type infoFields map[string]string

func (f infoFields) str(name string) string { return f[name] }

func (f infoFields) has(name string) bool { _, ok := f[name]; return ok }

func (f infoFields) hasPrefix(p string) bool {
	for name := range f {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// num is 0 for a field that is absent or no whole number.
func (f infoFields) num(name string) int64 {
	n, err := strconv.ParseInt(f[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (f infoFields) flag(name string) bool { return f.num(name) != 0 }

// fields reads the k=v,k=v form of commandstats and keyspace lines.
func (f infoFields) fields(name string) infoFields { return commaFields(f[name]) }

func commaFields(s string) infoFields {
	m := infoFields{}
	for pair := range strings.SplitSeq(s, ",") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			m[k] = v
		}
	}
	return m
}

func parseInfo(text string) infoFields {
	f := infoFields{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if k, v, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			f[k] = v
		}
	}
	return f
}

// info asks for one section of INFO; "" is the server's default selection.
func (s *Server) info(ctx context.Context, section string) (infoFields, error) {
	args := []any{"info"}
	if section != "" {
		args = append(args, section)
	}
	cmd := redis.NewStringCmd(ctx, args...)
	if err := s.exec(ctx, s.target.DB, cmd); err != nil {
		return nil, wrap(ctx, "read INFO "+section, err)
	}
	return parseInfo(cmd.Val()), nil
}

// keyspace lists the databases that hold keys, by number, as INFO shows them.
func (f infoFields) keyspace() []lineage.DBFacts {
	var dbs []lineage.DBFacts
	for name := range f {
		digits, ok := strings.CutPrefix(name, "db")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil {
			continue
		}
		v := f.fields(name)
		if !v.has("keys") {
			continue
		}
		dbs = append(dbs, lineage.DBFacts{DB: n, Keys: v.num("keys"), Expires: v.num("expires")})
	}
	slices.SortFunc(dbs, func(a, b lineage.DBFacts) int { return a.DB - b.DB })
	return dbs
}

// config reads one setting. Servers before 7.0 take one name per call.
func (s *Server) config(ctx context.Context, name string) (string, error) {
	cmd := redis.NewStringSliceCmd(ctx, "config", "get", name)
	if err := s.exec(ctx, s.target.DB, cmd); err != nil {
		return "", wrap(ctx, "read CONFIG GET "+name, err)
	}
	if kv := cmd.Val(); len(kv) == 2 {
		return kv[1], nil
	}
	return "", &ReplyError{Text: "ERR no setting named " + name}
}

// clock is the server's time, and how far it is ahead of ours, with the round trip
// split in half.
func (s *Server) clock(ctx context.Context) (server time.Time, skew time.Duration, err error) {
	cmd := redis.NewTimeCmd(ctx, "time")
	before := s.opts.Now()
	if err := s.exec(ctx, s.target.DB, cmd); err != nil {
		return time.Time{}, 0, wrap(ctx, "read TIME", err)
	}
	after := s.opts.Now()
	return cmd.Val(), cmd.Val().Sub(before.Add(after.Sub(before) / 2)), nil
}
