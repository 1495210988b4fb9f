package live_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/lineage"
	"rqvault/internal/live"
	"rqvault/internal/redistest"
)

func TestFactsTellTheWholeStory(t *testing.T) {
	r := redistest.Start(t, redistest.WithArgs("--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb"))
	fill(r, 5)
	r.Do("SET", "short", "x", "PX", "1")
	r.Do("FLUSHDB")
	fill(r, 7)
	r.Do("EXPIRE", "k1", 100)
	r.Do("DEL", "k2")
	if err := r.Client().Do(context.Background(), "COPY", "k1", "k1", "DB", 4).Err(); err != nil {
		t.Fatal(err)
	}
	r.Save()
	ahead := 90 * time.Second
	s := dial(t, r.URL(), live.Options{ReadOnly: true, Now: func() time.Time { return time.Now().Add(-ahead) }})
	f, err := s.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Unavailable) != 0 {
		t.Errorf("unavailable: %v", f.Unavailable)
	}
	if f.Server != "redis" || f.Version != r.Info("server", "redis_version") || f.RunID != r.Info("server", "run_id") ||
		f.ProcessID != int64(r.Pid()) || f.Mode != "standalone" {
		t.Errorf("server: %+v", f)
	}
	if f.ClockSkewMS < 89_000 || f.ClockSkewMS > 91_000 || time.Since(f.ServerTime) > time.Minute {
		t.Errorf("clock: skew %d ms, server time %s", f.ClockSkewMS, f.ServerTime)
	}
	want := []lineage.DBFacts{{DB: 0, Keys: 6, Expires: 1}, {DB: 4, Keys: 1, Expires: 1}}
	if !slices.Equal(f.Keyspace, want) {
		t.Errorf("keyspace: got %v, want %v", f.Keyspace, want)
	}
	if f.Calls["flushdb"] != 1 || f.Calls["del"] != 1 || f.Calls["flushall"] != 0 {
		t.Errorf("calls: %v", f.Calls)
	}
	p := f.Persistence
	if p.Dir != r.Dir() || p.DBFilename != "dump.rdb" || p.RDBChecksum != "yes" || p.LastBgsaveStatus != "ok" || p.Saves != 1 {
		t.Errorf("persistence: %+v", p)
	}
	if f.Memory.Max != 100<<20 || f.Memory.MaxPolicy != "allkeys-lru" || f.Memory.Used == 0 {
		t.Errorf("memory: %+v", f.Memory)
	}
	if len(f.Replication.MasterReplID) != 40 || f.Replication.Role != "master" {
		t.Errorf("replication: %+v", f.Replication)
	}
	b, err := json.Marshal(f)
	if err != nil || !strings.Contains(string(b), `"master_replid"`) {
		t.Errorf("json: %s %v", b, err)
	}
	before := f
	r.Restart(false)
	if f, err = s.Facts(context.Background()); err != nil {
		t.Fatal(err)
	}
	if f.RunID == before.RunID || f.Persistence.LastLoadKeysLoaded != 7 || f.UptimeSeconds > 60 {
		t.Errorf("after the restart: run id %s, %d keys loaded", f.RunID, f.Persistence.LastLoadKeysLoaded)
	}
}

func TestFactsOfAServerThatTellsLittle(t *testing.T) {
	r := redistest.Start(t, redistest.WithTCP(), redistest.WithUser("quiet on >pw ~* +@all -info -config -time"),
		redistest.WithUser("some on >pw ~* +@all -config"))
	fill(r, 3)
	s := dial(t, "redis://quiet:pw@"+r.Addr(), live.Options{})
	f, err := s.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"INFO", "TIME", "CONFIG GET dir", "CONFIG GET maxmemory-policy"} {
		if !slices.Contains(f.Unavailable, want) {
			t.Errorf("unavailable: %v lacks %s", f.Unavailable, want)
		}
	}
	// Without INFO the databases are found by looking.
	if dbs, err := s.Databases(context.Background()); err != nil || !slices.Equal(dbs, []int{0}) {
		t.Errorf("databases: got %v, %v", dbs, err)
	}
	s = dial(t, "redis://some:pw@"+r.Addr(), live.Options{})
	if f, err = s.Facts(context.Background()); err != nil || f.RunID == "" || len(f.Unavailable) != 4 {
		t.Errorf("without CONFIG: %v %v", f.Unavailable, err)
	}
}

func TestFactsOfAReplica(t *testing.T) {
	m := redistest.Start(t, redistest.WithTCP(), redistest.WithArgs("--repl-diskless-sync-delay", "0"))
	r := redistest.Start(t)
	host, port, _ := strings.Cut(m.Addr(), ":")
	r.Do("REPLICAOF", host, port)
	waitFor(t, "the link", func() bool { return r.Info("replication", "master_link_status") == "up" })
	f, err := dial(t, r.URL(), live.Options{}).Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if f.Replication.Role != "slave" || f.Replication.MasterLinkStatus != "up" || f.Replication.MasterPort != int64(m.Port()) ||
		f.Replication.MasterReplID != m.Info("replication", "master_replid") {
		t.Errorf("replication: %+v", f.Replication)
	}
}
