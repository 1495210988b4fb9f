package live

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Info is one section of INFO by field; "" is the server's default selection, "all"
// everything.
func (s *Server) Info(ctx context.Context, section string) (map[string]string, error) {
	return s.info(ctx, section)
}

// Settings asks for each setting by its name. One that the server does not know, as old
// ones do not, is left out. The error is the server's refusal of CONFIG GET as such.
func (s *Server) Settings(ctx context.Context, names ...string) (map[string]string, error) {
	found := map[string]string{}
	var commands [][]any
	for _, name := range names {
		commands = append(commands, []any{"config", "get", name})
	}
	replies, err := s.Pipeline(ctx, s.target.DB, commands)
	if err != nil {
		return found, err
	}
	for i, r := range replies {
		if err, refused := r.(error); refused {
			return found, fmt.Errorf("read CONFIG GET %s: %w", names[i], err)
		}
		if kv, _ := r.([]any); len(kv) == 2 {
			found[names[i]], _ = kv[1].(string)
		}
	}
	return found, nil
}

// Ping measures one round trip. A server that answers with an error to PING has
// answered.
func (s *Server) Ping(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := s.exec(ctx, s.target.DB, redis.NewStatusCmd(ctx, "ping"))
	took := time.Since(began)
	if err != nil && replyError(err) == nil {
		return 0, wrap(ctx, "ping", err)
	}
	return took, nil
}

// Clock is the server's time.
func (s *Server) Clock(ctx context.Context) (time.Time, error) {
	now, _, err := s.clock(ctx)
	return now, err
}

// SameHost reports whether the other end of the last connection was this machine.
func (s *Server) SameHost() bool { return s.sameHost.Load() }

// FreeSpace is the number of bytes that can still be written below dir; false where that
// is not known.
func FreeSpace(dir string) (uint64, bool) { return freeSpace(dir) }

// SlowCommand is an entry of the slow log, without the arguments: they may be payloads.
type SlowCommand struct {
	Name string // of the command, in small letters
	At   time.Time
	Took time.Duration
}

// SlowLog lists the newest entries of the slow log, at most n.
func (s *Server) SlowLog(ctx context.Context, n int) ([]SlowCommand, error) {
	cmd := redis.NewSlowLogCmd(ctx, "slowlog", "get", n)
	if err := s.exec(ctx, s.target.DB, cmd); err != nil {
		return nil, wrap(ctx, "read SLOWLOG", err)
	}
	var out []SlowCommand
	for _, e := range cmd.Val() {
		name := "unknown"
		if len(e.Args) > 0 {
			name = strings.ToLower(e.Args[0])
		}
		out = append(out, SlowCommand{Name: name, At: e.Time, Took: e.Duration})
	}
	return out, nil
}

// LargestOutput is the size in bytes of the largest output buffer among the clients.
func (s *Server) LargestOutput(ctx context.Context) (int64, error) {
	cmd := redis.NewStringCmd(ctx, "client", "list")
	if err := s.exec(ctx, s.target.DB, cmd); err != nil {
		return 0, wrap(ctx, "list clients", err)
	}
	largest := int64(0)
	for word := range strings.FieldsSeq(cmd.Val()) {
		if n, ok := strings.CutPrefix(word, "omem="); ok {
			if bytes, err := strconv.ParseInt(n, 10, 64); err == nil {
				largest = max(largest, bytes)
			}
		}
	}
	return largest, nil
}

// ClusterInfo is CLUSTER INFO by field.
func (s *Server) ClusterInfo(ctx context.Context) (map[string]string, error) {
	cmd := redis.NewStringCmd(ctx, "cluster", "info")
	if err := s.exec(ctx, s.target.DB, cmd); err != nil {
		return nil, wrap(ctx, "read CLUSTER INFO", err)
	}
	return parseInfo(cmd.Val()), nil
}

// Whoami is the ACL user that is logged in.
func (s *Server) Whoami(ctx context.Context) (string, error) {
	cmd := redis.NewStringCmd(ctx, "acl", "whoami")
	if err := s.exec(ctx, s.target.DB, cmd); err != nil {
		return "", wrap(ctx, "read ACL WHOAMI", err)
	}
	return cmd.Val(), nil
}

// MayRun asks, without running them, which commands a user may run with these
// arguments. It needs Redis 7 and the right to ACL DRYRUN; the error says where that is
// missing.
func (s *Server) MayRun(ctx context.Context, user string, commands [][]string) ([]bool, error) {
	var asked [][]any
	for _, words := range commands {
		args := []any{"acl", "dryrun", user}
		for _, w := range words {
			args = append(args, w)
		}
		asked = append(asked, args)
	}
	replies, err := s.Pipeline(ctx, s.target.DB, asked)
	if err != nil {
		return nil, err
	}
	may := make([]bool, len(commands))
	for i, r := range replies {
		if err, refused := r.(error); refused {
			return nil, fmt.Errorf("ask ACL DRYRUN: %w", err)
		}
		may[i] = r == "OK"
	}
	return may, nil
}
