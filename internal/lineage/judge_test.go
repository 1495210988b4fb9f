package lineage_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rqvault/internal/lineage"
)

const (
	runA  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	runB  = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	replA = "1111111111111111111111111111111111111111"
	replB = "2222222222222222222222222222222222222222"
)

// taken is the snapshot's instant; the live server is looked at a day later.
var (
	taken = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	later = taken.Add(24 * time.Hour)
)

// facts are those of a master that has run for that long.
func facts(runID string, at time.Time, up time.Duration) lineage.Facts {
	return lineage.Facts{ServerTime: at, TakenAt: at, Server: "redis", Version: "7.0.15", RunID: runID, UptimeSeconds: int64(up / time.Second),
		Replication: lineage.Replication{Role: "master", MasterReplID: replA}, Calls: map[string]int64{},
		Persistence: lineage.Persistence{LastLoadKeysLoaded: 10}, Memory: lineage.Memory{MaxPolicy: "noeviction"}}
}

func past() lineage.Past {
	before := facts(runA, taken, time.Hour)
	return lineage.NewPast(before, before, taken, nil)
}

// same is the process of the snapshot, a day later; restarted another one, an hour old.
func same() lineage.Facts      { return facts(runA, later, 25*time.Hour) }
func restarted() lineage.Facts { return facts(runB, later, time.Hour) }

func TestJudge(t *testing.T) {
	type change func(p *lineage.Past, live *lineage.Facts)
	calls := func(name string, before, after int64) change {
		return func(p *lineage.Past, l *lineage.Facts) {
			p.Before.Calls = map[string]int64{name: before}
			l.Calls = map[string]int64{name: after}
		}
	}
	repl := func(id string, offset int64, live lineage.Replication) change {
		return func(p *lineage.Past, l *lineage.Facts) {
			p.ReplID, p.ReplOffset = id, offset
			live.Role = "master"
			l.Replication = live
		}
	}
	both := func(cs ...change) change {
		return func(p *lineage.Past, l *lineage.Facts) {
			for _, c := range cs {
				c(p, l)
			}
		}
	}
	for _, c := range []struct {
		name      string
		live      lineage.Facts
		change    change
		watermark time.Time
		mode      lineage.Mode
		flushed   bool
		says      string // in a reason
	}{
		{"same process, nothing special", same(), nil, time.Time{}, lineage.Complete, false, "same Redis process"},
		{"same process, an old watermark does not matter", same(), nil, taken.Add(-time.Hour), lineage.Complete, false, ""},
		{"same process, flushall", same(), calls("flushall", 0, 1), time.Time{}, lineage.Vanished, true, "flushall was called once"},
		{"same process, flushdb", same(), calls("flushdb", 2, 4), time.Time{}, lineage.Vanished, true, "flushdb was called 2 times"},
		{"same process, flushed before the snapshot only", same(), calls("flushall", 3, 3), time.Time{}, lineage.Complete, false, ""},
		{"same process, swapdb", same(), calls("swapdb", 0, 1), time.Time{}, lineage.Vanished, true, "swapdb"},
		{"same process, made a replica", same(), calls("replicaof", 0, 1), time.Time{}, lineage.Vanished, true, "replicaof"},
		{"same process, made a replica in old words", same(), calls("slaveof", 0, 1), time.Time{}, lineage.Vanished, true, "slaveof"},
		{"same process, a replica that was promoted", same(), both(calls("replicaof", 1, 2),
			repl(replA, 500, lineage.Replication{MasterReplID: replB, MasterReplID2: replA, MasterReplOffset: 900, SecondReplOffset: 800})),
			time.Time{}, lineage.Complete, false, "continues"},
		{"same process, deletes are RQ's own", same(), calls("del", 1, 1000), time.Time{}, lineage.Complete, false, ""},
		{"same process, evicted", same(), func(_ *lineage.Past, l *lineage.Facts) { l.EvictedKeys, l.Memory.MaxPolicy = 5, "allkeys-lru" },
			time.Time{}, lineage.Vanished, false, "evicted 5 keys"},
		{"same process, evicted before the snapshot only", same(), func(p *lineage.Past, l *lineage.Facts) { p.Before.EvictedKeys, l.EvictedKeys = 5, 5 },
			time.Time{}, lineage.Complete, false, ""},
		{"same process, evicted and flushed", same(), both(calls("flushdb", 0, 1), func(_ *lineage.Past, l *lineage.Facts) { l.EvictedKeys = 5 }),
			time.Time{}, lineage.Vanished, true, ""},
		{"same process, counters reset", same(), calls("config|resetstat", 0, 1), time.Time{}, lineage.Complete, false, "could be missed"},
		{"same process, flushed as often after a reset as before, by fewer commands", same(), func(p *lineage.Past, l *lineage.Facts) {
			p.Before.Calls, p.Before.TotalCommands = map[string]int64{"flushall": 1, "config|resetstat": 1}, 900
			l.Calls, l.TotalCommands = map[string]int64{"flushall": 1, "config|resetstat": 1}, 30
		}, time.Time{}, lineage.Vanished, true, "flushall was called once"},
		// RESETSTAT sets its own count back too: one before and one after look alike.
		{"same process, counters reset again", same(), func(p *lineage.Past, l *lineage.Facts) {
			p.Before.Calls = map[string]int64{"config|resetstat": 1, "del": 900}
			l.Calls = map[string]int64{"config|resetstat": 1, "del": 3}
		}, time.Time{}, lineage.Complete, false, "could be missed"},
		{"same process, flushed after the counters were reset", same(), func(p *lineage.Past, l *lineage.Facts) {
			p.Before.Calls = map[string]int64{"flushall": 3}
			l.Calls = map[string]int64{"flushall": 1, "config|resetstat": 1}
		}, time.Time{}, lineage.Vanished, true, "flushall was called once"},
		{"same process, flushed as often after a reset as before", same(), func(p *lineage.Past, l *lineage.Facts) {
			p.Before.Calls = map[string]int64{"flushall": 3, "del": 50}
			l.Calls = map[string]int64{"flushall": 3, "del": 1, "config|resetstat": 1}
		}, time.Time{}, lineage.Vanished, true, "flushall was called 3 times"},
		{"same process, evicted after the counters were reset", same(), func(p *lineage.Past, l *lineage.Facts) {
			p.Before.EvictedKeys, l.EvictedKeys = 100, 7
		}, time.Time{}, lineage.Vanished, false, "evicted 7 keys"},
		{"same process, no counts now", same(), func(_ *lineage.Past, l *lineage.Facts) { l.Unavailable, l.Calls = []string{"INFO commandstats"}, nil },
			time.Time{}, lineage.Complete, false, "could be missed"},
		{"same process, no counts at the snapshot", same(), func(p *lineage.Past, l *lineage.Facts) {
			p.Before.Unavailable, p.Before.Calls = []string{"INFO commandstats"}, nil
			l.Calls = map[string]int64{"flushall": 5}
		}, time.Time{}, lineage.Complete, false, "could be missed"},
		{"same process by what it said after the dump", same(), func(p *lineage.Past, _ *lineage.Facts) { p.Before.RunID = "" }, time.Time{}, lineage.Complete, false, ""},
		{"same process by what it said before the dump", same(), func(p *lineage.Past, _ *lineage.Facts) { p.After = lineage.Facts{} }, time.Time{}, lineage.Complete, false, ""},

		{"restarted, empty", restarted(), func(_ *lineage.Past, l *lineage.Facts) { l.Persistence.LastLoadKeysLoaded = 0 }, time.Time{}, lineage.Older, false, "without loading any key"},
		{"restarted, empty, though clients were at once there", restarted(), func(_ *lineage.Past, l *lineage.Facts) { l.Persistence.LastLoadKeysLoaded = 0 },
			later, lineage.Older, false, "without loading any key"},
		{"restarted, empty Valkey", restarted(), func(_ *lineage.Past, l *lineage.Facts) {
			l.Server, l.Version, l.Persistence.LastLoadKeysLoaded = "valkey", "8.0.1", 0
		}, later, lineage.Older, false, "without loading any key"},
		{"restarted, an older server has no count of loaded keys", restarted(), func(_ *lineage.Past, l *lineage.Facts) {
			l.Version, l.Persistence.LastLoadKeysLoaded = "6.2.14", 0
		}, taken.Add(time.Minute), lineage.Complete, false, "after the snapshot"},
		{"restarted from an AOF, which the count leaves out", restarted(), func(_ *lineage.Past, l *lineage.Facts) {
			l.Persistence.LastLoadKeysLoaded, l.Persistence.AOFEnabled = 0, true
		}, taken.Add(time.Minute), lineage.Complete, false, "after the snapshot"},
		{"restarted as a replica, filled by its master", restarted(), func(_ *lineage.Past, l *lineage.Facts) {
			l.Persistence.LastLoadKeysLoaded, l.Replication.Role = 0, "slave"
		}, taken.Add(time.Minute), lineage.Complete, false, ""},
		{"restarted with data, nothing dated", restarted(), nil, time.Time{}, lineage.Vanished, false, "may have loaded data"},
		{"restarted before servers told what they load, nothing dated", restarted(), func(_ *lineage.Past, l *lineage.Facts) { l.Version = "6.2.14" },
			time.Time{}, lineage.Older, false, "nothing in it"},
		{"restarted, data from before", restarted(), nil, taken.Add(-time.Second), lineage.Older, false, "before the snapshot"},
		{"restarted, data from a microsecond before", restarted(), nil, taken.Add(-time.Microsecond), lineage.Older, false, ""},
		{"restarted, data from that very instant", restarted(), nil, taken, lineage.Complete, false, ""},
		{"restarted, data from after", restarted(), nil, taken.Add(time.Hour), lineage.Complete, false, "after the snapshot"},
		{"restarted with data from after, then flushed", restarted(), calls("flushall", 0, 1), taken.Add(time.Hour), lineage.Vanished, true, "flushall was called once"},
		{"restarted with data from after, then evicting", restarted(), func(_ *lineage.Past, l *lineage.Facts) { l.EvictedKeys = 3 },
			taken.Add(time.Hour), lineage.Vanished, false, "evicted 3 keys"},
		{"restarted empty and flushed: older all the same", restarted(), both(calls("flushall", 0, 1), func(_ *lineage.Past, l *lineage.Facts) {
			l.Persistence.LastLoadKeysLoaded = 0
		}), time.Time{}, lineage.Older, false, ""},

		{"history goes on under the old name", restarted(), repl(replA, 500, lineage.Replication{MasterReplID: replA, MasterReplOffset: 500}), time.Time{}, lineage.Complete, false, "continues"},
		{"history ends before the snapshot", restarted(), repl(replA, 500, lineage.Replication{MasterReplID: replA, MasterReplOffset: 499}), taken.Add(-time.Minute), lineage.Older, false, "before the snapshot"},
		{"failover: history changed its name after", restarted(), repl(replA, 500, lineage.Replication{MasterReplID: replB, MasterReplID2: replA, MasterReplOffset: 9000, SecondReplOffset: 501}),
			time.Time{}, lineage.Complete, false, "continues"},
		{"failover: the replica lagged behind the snapshot", restarted(), repl(replA, 500, lineage.Replication{MasterReplID: replB, MasterReplID2: replA, MasterReplOffset: 9000, SecondReplOffset: 500}),
			taken.Add(-time.Minute), lineage.Older, false, ""},
		{"another history at a later offset proves nothing", restarted(), repl(replA, 500, lineage.Replication{MasterReplID: replB, MasterReplOffset: 9000}), taken.Add(-time.Minute), lineage.Older, false, ""},
		{"no second history", restarted(), repl(replA, 0, lineage.Replication{MasterReplID: replB, MasterReplID2: strings.Repeat("0", 40), SecondReplOffset: -1}), taken.Add(-time.Minute), lineage.Older, false, ""},
		{"the snapshot had no place in a history", restarted(), repl("", -1, lineage.Replication{MasterReplOffset: 9000}), taken.Add(-time.Minute), lineage.Older, false, ""},
		{"history goes on, but was flushed since", restarted(), both(calls("flushall", 0, 2), repl(replA, 500, lineage.Replication{MasterReplID: replA, MasterReplOffset: 900})),
			time.Time{}, lineage.Vanished, true, "flushall was called 2 times"},
		{"history goes on, but keys were evicted since", restarted(), both(func(_ *lineage.Past, l *lineage.Facts) { l.EvictedKeys = 9 },
			repl(replA, 500, lineage.Replication{MasterReplID: replA, MasterReplOffset: 900})), time.Time{}, lineage.Vanished, false, "evicted 9 keys"},
		{"history goes on in a replica older than the snapshot, flushed long ago", facts(runB, later, 1000*time.Hour), both(calls("flushall", 0, 1),
			repl(replA, 500, lineage.Replication{MasterReplID: replB, MasterReplID2: replA, SecondReplOffset: 900})), time.Time{}, lineage.Complete, false, "continues"},

		{"restarted within the second of the snapshot", facts(runB, later.Add(-900*time.Millisecond), 24*time.Hour), nil, taken.Add(-time.Minute), lineage.Older, false, ""},
		// It ran before the snapshot was taken, so it cannot have come back from anything.
		{"another process that is older than the snapshot", facts(runB, later, 1000*time.Hour), nil, taken.Add(-2000 * time.Hour), lineage.Vanished, false, "cannot be told"},
		{"a replica that began empty, long before the snapshot", facts(runB, later, 1000*time.Hour), func(_ *lineage.Past, l *lineage.Facts) { l.Persistence.LastLoadKeysLoaded = 0 },
			time.Time{}, lineage.Vanished, false, "cannot be told"},
		// A managed server that hides its run id may be the very same one.
		{"no run id at all", facts("", later, 0), func(p *lineage.Past, _ *lineage.Facts) { p.Before.RunID, p.After.RunID = "", "" }, time.Time{}, lineage.Vanished, false, "does not tell its run id"},
		{"no run id, but a history that goes on", facts("", later, 0), repl(replA, 500, lineage.Replication{MasterReplID: replA, MasterReplOffset: 900}), time.Time{}, lineage.Complete, false, "continues"},
	} {
		p, live := past(), c.live
		if c.change != nil {
			c.change(&p, &live)
		}
		got, err := lineage.Judge(p, live, c.watermark)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.Mode != c.mode || got.Flushed != c.flushed {
			t.Errorf("%s: got %s, flushed %v, want %s, %v; because %q", c.name, got.Mode, got.Flushed, c.mode, c.flushed, got.Reasons)
		}
		if unsure := strings.Contains(strings.Join(got.Reasons, "; "), "cannot be told") || strings.Contains(strings.Join(got.Reasons, "; "), "may have loaded"); got.Unsure != unsure {
			t.Errorf("%s: got unsure %v, want %v; because %q", c.name, got.Unsure, unsure, got.Reasons)
		}
		if len(got.Reasons) == 0 || !strings.Contains(strings.Join(got.Reasons, "; "), c.says) {
			t.Errorf("%s: got reasons %q, want %q among them", c.name, got.Reasons, c.says)
		}
	}
}

func TestReplicaOfAnotherHistory(t *testing.T) {
	zero := strings.Repeat("0", 40)
	for name, c := range map[string]struct {
		role, id, id2 string
		past          func(p *lineage.Past)
		refused       bool
	}{
		"a master of whatever history":       {role: "master", id: replB},
		"a replica of the same":              {role: "slave", id: replA, id2: zero},
		"a replica of what came of it":       {role: "slave", id: replB, id2: replA},
		"a replica of another":               {role: "slave", id: replB, id2: zero, refused: true},
		"the snapshot knows by its dump":     {role: "slave", id: replB, past: func(p *lineage.Past) { p.ReplID = replB }},
		"the snapshot knows of none":         {role: "slave", id: replB, past: func(p *lineage.Past) { p.Before, p.After = lineage.Facts{}, lineage.Facts{} }},
		"no history is not the same history": {role: "slave", id: zero, past: func(p *lineage.Past) { p.Before.Replication.MasterReplID2 = zero }, refused: true},
	} {
		p, live := past(), restarted()
		if c.past != nil {
			c.past(&p)
		}
		live.Replication = lineage.Replication{Role: c.role, MasterReplID: c.id, MasterReplID2: c.id2}
		if _, err := lineage.Judge(p, live, time.Time{}); errors.Is(err, lineage.ErrForeign) != c.refused {
			t.Errorf("%s: got %v, want refused %v", name, err, c.refused)
		}
	}
}

func TestLoadingServerIsNotJudged(t *testing.T) {
	for _, live := range []lineage.Facts{same(), restarted()} {
		for _, async := range []bool{false, true} {
			l := live
			l.Persistence.Loading, l.Persistence.AsyncLoading = !async, async
			if got, err := lineage.Judge(past(), l, later); !errors.Is(err, lineage.ErrLoading) {
				t.Errorf("got %+v, %v, want ErrLoading", got, err)
			}
		}
	}
}

func TestNewPast(t *testing.T) {
	for _, c := range []struct {
		aux    map[string]string
		id     string
		offset int64
	}{
		{nil, "", -1},
		{map[string]string{"repl-id": replA, "repl-offset": "42"}, replA, 42},
		{map[string]string{"repl-id": replA}, replA, -1},
		{map[string]string{"repl-offset": "42"}, "", -1},
		{map[string]string{"repl-id": replA, "repl-offset": "x"}, replA, -1},
	} {
		if p := lineage.NewPast(lineage.Facts{}, lineage.Facts{}, taken, c.aux); p.ReplID != c.id || p.ReplOffset != c.offset {
			t.Errorf("%v: got %q at %d, want %q at %d", c.aux, p.ReplID, p.ReplOffset, c.id, c.offset)
		}
	}
}

func TestStartedAt(t *testing.T) {
	f := facts(runA, later, time.Hour)
	if got := f.StartedAt(); !got.Equal(later.Add(-time.Hour)) {
		t.Errorf("got %s, want an hour before %s", got, later)
	}
	for _, f := range []lineage.Facts{{RunID: runA}, {ServerTime: later}} {
		if got := f.StartedAt(); !got.IsZero() {
			t.Errorf("a server that does not tell: got %s, want none", got)
		}
	}
}
