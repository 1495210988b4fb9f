package doctor_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"rqvault/internal/doctor"
)

// doctorDoc is where people read about the checks.
const doctorDoc = "../../docs/doctor.md"

func TestTheChecksAreDocumented(t *testing.T) {
	text, err := os.ReadFile(doctorDoc)
	if err != nil {
		t.Fatal(err)
	}
	dash := func(s string) string {
		if s == "" {
			return "–"
		}
		return s
	}
	var table, lines []string
	for _, d := range doctor.Definitions {
		table = append(table, fmt.Sprintf("| `%s` | %s | %s | `%s` |", d.Name, dash(d.Warns), dash(d.Fails), d.Next))
	}
	for _, k := range doctor.KnownLines {
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", k.Name, k.Level, k.Means))
	}
	for _, want := range [][]string{table, lines} {
		if want := strings.Join(want, "\n") + "\n"; !strings.Contains(string(text), want) {
			t.Errorf("a table of %s is not that of the code, which is:\n%s", doctorDoc, want)
		}
	}
}

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// well is a server that nothing is wrong with.
func well() doctor.Facts {
	return doctor.Facts{
		At: now, Reach: doctor.Reach{Where: "h:6379"},
		Limits: doctor.Limits{MaxWait: time.Hour, MaxAge: time.Hour},
		Server: &doctor.Server{
			Now: now, Pings: []time.Duration{time.Millisecond},
			Info: doctor.Fields{"loading": "0", "role": "master", "used_memory": "1000000", "used_memory_rss": "2000000", "maxmemory": "0",
				"maxmemory_policy": "noeviction", "mem_fragmentation_ratio": "2", "mem_fragmentation_bytes": "1000000", "connected_clients": "1",
				"maxclients": "100", "rdb_last_bgsave_status": "ok", "rdb_last_save_time": fmt.Sprint(now.Add(-time.Minute).Unix()),
				"aof_enabled": "0", "master_failover_state": "no-failover", "run_id": "r", "uptime_in_seconds": "100"},
			Settings: doctor.Fields{"save": "300 1", "stop-writes-on-bgsave-error": "yes", "disable-thp": "yes"},
		},
		Host:  &doctor.Host{Memory: 1 << 34, Available: 1 << 33, Overcommit: "0", HugePages: "madvise", Dir: "/data", Free: 1 << 30},
		Store: &doctor.Store{Newest: &doctor.Snapshot{ID: "s", At: now.Add(-time.Minute), RunID: "r"}, Verified: now.Add(-time.Minute)},
		Queues: &doctor.Queues{All: []doctor.Queue{{Name: "q", Before: 200, Depth: 200, Oldest: now}},
			Workers: []doctor.Worker{{Name: "w", Queues: []string{"q"}, Alive: true}}},
	}
}

// levelOf is how one check comes out.
func levelOf(t testing.TB, f doctor.Facts, name string) (doctor.Level, string) {
	t.Helper()
	r := doctor.Judge(f)
	for _, c := range r.Checks {
		if c.Name == name {
			return c.Level, c.What
		}
	}
	t.Fatalf("there is no check %s", name)
	return "", ""
}

func TestNothingIsFoundWhereNothingIsWrong(t *testing.T) {
	for _, c := range doctor.Judge(well()).Checks {
		if c.Level == doctor.Warn || c.Level == doctor.Fail {
			t.Errorf("%s is %s: %s", c.Name, c.Level, c.What)
		}
	}
}

// TestTheLimits holds what no test can stage on a server against both sides of its limit.
func TestTheLimits(t *testing.T) {
	info := func(pairs ...string) func(*doctor.Facts) {
		return func(f *doctor.Facts) {
			for i := 0; i < len(pairs); i += 2 {
				f.Server.Info[pairs[i]] = pairs[i+1]
			}
		}
	}
	set := func(name, value string) func(*doctor.Facts) {
		return func(f *doctor.Facts) { f.Server.Settings[name] = value }
	}
	ping := func(each ...time.Duration) func(*doctor.Facts) {
		return func(f *doctor.Facts) { f.Server.Pings = each }
	}
	slow := func(took ...time.Duration) func(*doctor.Facts) {
		return func(f *doctor.Facts) {
			for _, d := range took {
				f.Server.Slow = append(f.Server.Slow, doctor.SlowCommand{Name: "keys", At: now.Add(-time.Minute), Took: d})
			}
		}
	}
	saved := fmt.Sprint(now.Add(-12 * time.Minute).Unix())
	for _, c := range []struct {
		check string
		is    func(*doctor.Facts)
		want  doctor.Level
	}{
		{"latency", ping(250*time.Millisecond, 250*time.Millisecond, time.Second), doctor.OK},
		{"latency", ping(251*time.Millisecond, 251*time.Millisecond, 0), doctor.Warn},
		{"latency", ping(0, 0, 2001*time.Millisecond), doctor.Warn},
		{"latency", ping(1100 * time.Millisecond), doctor.Fail},
		{"latency", ping(), doctor.Unknown},
		{"slow-log", slow(300*time.Millisecond, 300*time.Millisecond), doctor.OK},
		{"slow-log", slow(300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond), doctor.Warn},
		{"slow-log", slow(time.Second), doctor.Warn},
		{"replication", info("slave0", "ip=h,port=1,state=online,offset=1,lag=4"), doctor.OK},
		{"replication", info("slave0", "ip=h,port=1,state=online,offset=1,lag=1", "slave1", "ip=h,port=2,state=online,offset=1,lag=60"), doctor.Fail},
		{"replication", info("slave0", "ip=h,port=1,state=wait_bgsave,offset=0,lag=0"), doctor.Warn},
		{"replication", info("role", "slave", "master_link_status", "up", "master_last_io_seconds_ago", "31"), doctor.Warn},
		{"replication", info("role", "slave", "master_link_status", "down", "master_sync_in_progress", "1"), doctor.Warn},
		{"failover", info("master_failover_state", "waiting-for-sync"), doctor.Warn},
		{"memory", info("maxmemory", "1111112"), doctor.OK},
		{"memory", info("maxmemory", "1111111"), doctor.Warn},
		{"memory", info("maxmemory", "1000000"), doctor.Fail},
		{"memory", info("maxmemory", "1000000", "mem_not_counted_for_evict", "200000"), doctor.OK},
		{"eviction", info("maxmemory_policy", "allkeys-lru"), doctor.OK},
		{"eviction", info("maxmemory_policy", "allkeys-random", "maxmemory", "5000000"), doctor.Fail},
		{"eviction", info("maxmemory_policy", "volatile-ttl", "maxmemory", "5000000"), doctor.OK},
		{"eviction", info("evicted_keys", "1"), doctor.Warn},
		{"fragmentation", info("mem_fragmentation_ratio", "1.6", "mem_fragmentation_bytes", "200000000"), doctor.Warn},
		{"fragmentation", info("mem_fragmentation_ratio", "0.5", "used_memory", "200000000"), doctor.Warn},
		{"buffers", info("mem_clients_normal", "300000000"), doctor.Warn},
		{"buffers", info("client_output_buffer_limit_disconnections", "1"), doctor.Warn},
		{"buffers", func(f *doctor.Facts) { f.Server.LargestOutput = 300 << 20 }, doctor.Warn},
		{"clients", info("connected_clients", "79"), doctor.OK},
		{"clients", info("connected_clients", "80"), doctor.Warn},
		{"clients", info("connected_clients", "95"), doctor.Fail},
		{"fork", func(f *doctor.Facts) { f.Host.Available = 1 << 20 }, doctor.Warn},
		{"fork", func(f *doctor.Facts) { f.Host.Available, f.Host.Overcommit = 1<<20, "1" }, doctor.OK},
		{"fork", func(f *doctor.Facts) { f.Host.Overcommit = "2" }, doctor.Warn},
		{"fork", info("latest_fork_usec", "1000001"), doctor.Warn},
		{"huge-pages", func(f *doctor.Facts) { f.Host.HugePages = "always" }, doctor.OK},
		{"huge-pages", func(f *doctor.Facts) { f.Host.HugePages, f.Server.Settings["disable-thp"] = "always", "no" }, doctor.Warn},
		{"disk", func(f *doctor.Facts) { f.Host.Free = 999999 }, doctor.Warn},
		{"disk", func(f *doctor.Facts) { f.Host.Free, f.Host.Dump = 999999, 1000000 }, doctor.Fail},
		{"disk", func(f *doctor.Facts) { f.Host.DirProblem = "permission denied" }, doctor.Unknown},
		{"last-save", info("rdb_last_save_time", saved, "rdb_changes_since_last_save", "1"), doctor.Warn},
		{"last-save", info("rdb_last_save_time", saved), doctor.OK},
		{"aof", info("aof_enabled", "1", "aof_last_write_status", "err"), doctor.Fail},
		{"aof", info("aof_enabled", "1", "aof_last_write_status", "ok", "aof_last_bgrewrite_status", "err"), doctor.Warn},
		{"misconf", info("rdb_last_bgsave_status", "err"), doctor.Fail},
		{"persistence", set("save", ""), doctor.Warn},
		{"persistence", func(f *doctor.Facts) { f.Server.Settings, f.Server.SettingsProblem = nil, "NOPERM" }, doctor.Unknown},
		{"growing", func(f *doctor.Facts) { f.Queues.All[0].Before = 199 }, doctor.Warn},
		{"growing", func(f *doctor.Facts) { f.Queues.All[0].Before, f.Queues.All[0].Depth = 98, 99 }, doctor.OK},
		{"scheduler", func(f *doctor.Facts) { f.Queues.All[0].Overdue, f.Queues.All[0].Scheduler = 1, true }, doctor.OK},
		{"queues", func(f *doctor.Facts) { f.Queues = &doctor.Queues{Problem: "NOPERM"} }, doctor.Unknown},
		{"rules", func(f *doctor.Facts) { f.Queues.RulesProblem = "too many keys" }, doctor.Unknown},
		{"rules", func(f *doctor.Facts) { f.Queues.Rules = []doctor.Broken{{Name: "job-without-group"}} }, doctor.Warn},
		{"snapshot", func(f *doctor.Facts) { f.Store = &doctor.Store{Problem: "no network"} }, doctor.Fail},
		{"restarted", info("run_id", "other"), doctor.Warn},
	} {
		f := well()
		c.is(&f)
		if got, what := levelOf(t, f, c.check); got != c.want {
			t.Errorf("%s is %s, want %s: %s", c.check, got, c.want, what)
		}
	}
}

func TestAServerThatTellsNothingIsNoFinding(t *testing.T) {
	f := well()
	f.Server = &doctor.Server{InfoProblem: "NOPERM", SettingsProblem: "NOPERM", SlowProblem: "NOPERM", PingProblem: "NOPERM", RightsProblem: "NOPERM"}
	f.Queues, f.Host = &doctor.Queues{Problem: "NOPERM"}, nil
	for _, c := range doctor.Judge(f).Checks {
		if c.Level == doctor.Warn || c.Level == doctor.Fail {
			t.Errorf("%s is %s: %s", c.Name, c.Level, c.What)
		}
	}
}

func TestProblemsComeFirst(t *testing.T) {
	f := well()
	f.Server.Info["run_id"], f.Server.Info["connected_clients"] = "other", "99"
	r := doctor.Judge(f)
	if r.Checks[0].Name != "clients" || r.Checks[1].Name != "restarted" || r.Findings() != 2 {
		t.Errorf("first come %s and %s, %d findings", r.Checks[0].Name, r.Checks[1].Name, r.Findings())
	}
}

func TestReadLog(t *testing.T) {
	const text = `1:M 21 Nov 2026 12:00:00.000 # Can't save in background: fork: Cannot allocate memory
1:M 23 Nov 2026 11:00:00.000 * Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer without waiting
1:M 23 Nov 2026 11:30:00.000 * Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer without waiting
1:M 23 Nov 2026 11:31:00.000 # WARNING overcommit_memory is set to 0! Background save may fail
1:M 23 Nov 2026 11:32:00.000 * payload-of-a-job in a line that nobody knows
1:M 23 Nov 2026 11:33:00.000 # Bad file format reading the append only file: make a backup
a line without a time: Short read or OOM loading DB
`
	f := well()
	f.Log = &doctor.Log{Path: "/log", Lines: doctor.ReadLog(text, now)}
	got := map[string]int{}
	for _, l := range f.Log.Lines {
		got[l.Known.Name] = l.Count
	}
	want := map[string]int{"aof-slow": 2, "overcommit": 1, "aof-broken": 1, "dump-broken": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("found %v, want %v", got, want)
	}
	level, what := levelOf(t, f, "log")
	if level != doctor.Fail || strings.Contains(what, "payload") || !strings.Contains(what, "redis-check-aof") {
		t.Errorf("%s: %s", level, what)
	}
	f.Log.Lines = doctor.ReadLog("1:M 23 Nov 2026 10:59:00.000 # Background saving error\n", now)
	if level, what := levelOf(t, f, "log"); level != doctor.Warn {
		t.Errorf("an hour later: %s: %s", level, what)
	}
	f.Log.Lines = doctor.ReadLog(strings.Join(strings.SplitAfter(text, "\n")[1:5], ""), now)
	if level, what := levelOf(t, f, "log"); level != doctor.Warn {
		t.Errorf("%s: %s", level, what)
	}
}
