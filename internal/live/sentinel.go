package live

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"
)

// dialSentinels asks the sentinels in turn and connects to the first master that
// says of itself that it is one. A sentinel that was cut off can name yesterday's
// master, so its word alone is not enough.
func dialSentinels(ctx context.Context, t Target, opts Options) (*Server, error) {
	var tried []error
	for _, addr := range t.Sentinels {
		master, err := askSentinel(ctx, t, addr, opts)
		if err == nil {
			var s *Server
			if s, err = dialMaster(ctx, t, master, opts); err == nil {
				return s, nil
			}
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("find master %s: %w", t.Master, context.Cause(ctx))
		}
		tried = append(tried, fmt.Errorf("sentinel %s: %w", addr, err))
	}
	return nil, fmt.Errorf("find master %s: %w: %w", t.Master, ErrNoMaster, errors.Join(tried...))
}

func askSentinel(ctx context.Context, t Target, addr string, opts Options) (string, error) {
	s, err := dialServer(ctx, Target{
		Network: "tcp", Addr: addr, TLS: t.TLS, Username: t.SentinelUsername, Password: t.SentinelPassword,
	}, opts)
	if err != nil {
		return "", err
	}
	defer s.Close()
	cmd := redis.NewStringSliceCmd(ctx, "sentinel", "get-master-addr-by-name", t.Master)
	err = s.exec(ctx, 0, cmd)
	if errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("knows no master of the name %s", t.Master)
	}
	if err != nil {
		return "", wrap(ctx, "ask for the master", err)
	}
	hp := cmd.Val()
	if len(hp) != 2 {
		return "", fmt.Errorf("answered %d words in place of host and port", len(hp))
	}
	return net.JoinHostPort(hp[0], hp[1]), nil
}

func dialMaster(ctx context.Context, t Target, addr string, opts Options) (*Server, error) {
	t.Network, t.Addr = "tcp", addr
	s, err := dialServer(ctx, t, opts)
	if err != nil {
		return nil, err
	}
	in, err := s.info(ctx, "replication")
	if err == nil && in.str("role") != "master" {
		err = fmt.Errorf("%s says its role is %q: %w", addr, in.str("role"), ErrNoMaster)
	}
	if err != nil && !errors.Is(err, ErrDenied) {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}
