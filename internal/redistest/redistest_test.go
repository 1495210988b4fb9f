package redistest_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"rqvault/internal/redistest"
)

func TestServerComesBackWithOrWithoutItsData(t *testing.T) {
	s := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword("p@ss:w/rd"))
	s.Do("SET", "a", "1")
	before := s.Digest(context.Background())
	s.Save()
	if _, err := os.Stat(s.DumpPath()); err != nil {
		t.Fatal(err)
	}
	pid, addr := s.Pid(), s.Addr()
	s.Kill()
	if s.Pid() != 0 {
		t.Errorf("pid after kill: got %d, want 0", s.Pid())
	}
	s.Restart(false)
	if s.Pid() == pid || s.Addr() != addr {
		t.Errorf("after restart: pid %d (was %d), address %s (was %s)", s.Pid(), pid, s.Addr(), addr)
	}
	if got := s.Digest(context.Background()); got != before {
		t.Errorf("digest after restart: got %s, want %s", got, before)
	}
	s.Stop()
	s.Restart(true)
	if got := s.Do("DBSIZE"); got != int64(0) {
		t.Errorf("keys after an empty restart: got %v, want 0", got)
	}
	if got := s.Info("server", "process_id"); got == "" {
		t.Error("INFO shows no process id")
	}
	if want := "redis://:p%40ss%3Aw%2Frd@127.0.0.1:"; !strings.HasPrefix(s.URL(), want) {
		t.Errorf("URL: got %s, want prefix %s", s.URL(), want)
	}
}

func TestRQScriptsReachTheServer(t *testing.T) {
	s := redistest.Start(t)
	out := redistest.RQ(t, s, `
import os, redis, rq
q = rq.Queue("mail", connection=redis.from_url(os.environ["REDIS_URL"]))
print(q.enqueue("builtins.len", "four").id)
`)
	if n := s.Do("EXISTS", "rq:job:"+strings.TrimSpace(out)); n != int64(1) {
		t.Errorf("job hash of %q: got %v, want 1", out, n)
	}
}

func TestSentinelNamesItsMaster(t *testing.T) {
	m := redistest.Start(t, redistest.WithTCP())
	s := redistest.StartSentinel(t, "jobs", m)
	got, _ := s.Do("SENTINEL", "get-master-addr-by-name", "jobs").([]any)
	if len(got) != 2 || got[0].(string)+":"+got[1].(string) != m.Addr() {
		t.Errorf("master: got %v, want %s", got, m.Addr())
	}
}
