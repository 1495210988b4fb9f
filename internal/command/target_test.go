package command_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

func TestTargetsThatLookLikeProductionAreRefused(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq("queue('q').enqueue('tasks.note', job_id='a')")
	v.s.Do("SET", "there", "1")
	v.backup()
	for name, c := range map[string]struct {
		target func(t *testing.T) *redistest.Server
		says   string
	}{
		"the server of the snapshot": {func(*testing.T) *redistest.Server { return v.s }, "the very server that snapshot"},
		"one with a replica": {func(t *testing.T) *redistest.Server {
			master := redistest.Start(t, redistest.WithTCP())
			follow(t, redistest.Start(t), master)
			return master
		}, "1 replica attached"},
		"a replica": {func(t *testing.T) *redistest.Server {
			s := redistest.Start(t)
			follow(t, s, redistest.Start(t, redistest.WithTCP()))
			return s
		}, "the target is a replica of"},
		"a cluster": {func(t *testing.T) *redistest.Server {
			return redistest.Start(t, redistest.WithTCP(), redistest.WithArgs("--cluster-enabled", "yes"))
		}, "Redis Cluster"},
		"one with a registered worker": {func(t *testing.T) *redistest.Server {
			s := redistest.Start(t)
			redistest.RQ(t, s, "import os, redis\nfrom rq import Queue, Worker\nc = redis.from_url(os.environ['REDIS_URL'])\nWorker([Queue('q', connection=c)], connection=c, name='bob').register_birth()")
			return s
		}, "worker bob is registered"},
		"an empty one with a waiting worker": {func(t *testing.T) *redistest.Server {
			s := redistest.Start(t)
			block(t, s)
			return s
		}, "1 client is blocked"},
		"one with keys": {func(t *testing.T) *redistest.Server {
			s := redistest.Start(t)
			s.Do("SET", "somebody", "needs this")
			return s
		}, "holds 1 key"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vault{t: t, s: v.s, redis: "unix:///nowhere?db=0", store: v.store}
			s := c.target(t)
			before := s.Do("DBSIZE")
			for _, args := range [][]string{{}, {"--apply"}, {"--apply", "--replace-all"}} {
				if name == "one with keys" && len(args) == 2 {
					continue // that is what it is for
				}
				r := v.want(7, append([]string{"restore", "--into", s.URL()}, args...)...)
				if !strings.Contains(r.err, c.says) || !strings.Contains(r.err, "\nnext: ") {
					t.Errorf("%v: it says %s, want %q", args, r.err, c.says)
				}
			}
			if after := s.Do("DBSIZE"); after != before {
				t.Errorf("the target held %v keys, and now %v", before, after)
			}
		})
	}
	t.Run("one that is loading", func(t *testing.T) {
		s := redistest.Start(t, redistest.WithReadyWhileLoading(), redistest.WithArgs("--enable-debug-command", "yes", "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"))
		s.Do("DEBUG", "POPULATE", "20000", "k", "100")
		s.Save()
		s.Restart(false)
		r := v.want(7, "restore", "--into", s.URL(), "--apply", "--replace-all")
		if !strings.Contains(r.err, "loading") {
			t.Errorf("it says %s", r.err)
		}
	})
	t.Run("the one that --redis names", func(t *testing.T) {
		s := redistest.Start(t, redistest.WithTCP())
		for _, other := range []string{s.URL(), s.SocketURL()} { // by another address too
			r := v.want(7, "restore", "--into", s.URL(), "--redis", other, "--apply")
			if !strings.Contains(r.err, "name the same server") {
				t.Errorf("--redis %s: it says %s", other, r.err)
			}
		}
	})
}

// follow makes s a replica of the master and waits until it is.
func follow(t testing.TB, s, master *redistest.Server) {
	t.Helper()
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	s.Do("REPLICAOF", host, port)
	err = redistest.Poll(20*time.Second, func() error {
		if up := s.Info("replication", "master_link_status"); up != "up" || master.Info("replication", "connected_slaves") != "1" {
			return fmt.Errorf("link %s", up)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// block has a client wait for a job, as a worker does, until the test ends.
func block(t testing.TB, s *redistest.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	c := client(t, s, 0)
	go func() {
		defer close(done)
		_ = c.BLPop(ctx, 0, "rq:queue:q").Err()
	}()
	t.Cleanup(func() { cancel(); _ = c.Close(); s.Kill(); <-done })
	err := redistest.Poll(20*time.Second, func() error {
		if n := s.Info("clients", "blocked_clients"); n != "1" {
			return fmt.Errorf("%s clients are blocked", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestATargetWithTooFewDatabases(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	client(t, v.s, 3).Set(context.Background(), "k", "x", 0)
	v.backup()
	r := v.want(7, "restore", "--into", redistest.Start(t, redistest.WithArgs("--databases", "3")).URL())
	if !strings.Contains(r.err, "no database 3") || !strings.Contains(r.err, "databases 4 in redis.conf") {
		t.Errorf("it says %s", r.err)
	}
}
