package main

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// floorRows are the least that something can cost on this machine: where cores are what
// limits it, all processor time spread evenly over them; or Redis' share of what has to be
// done, without rqvault. They have no goal.
var floorRows = []row{
	{name: "floor of both index files: their processor time over all cores", peer: "hdt3213/rdb decode", run: func(b *bench) (float64, float64, error) {
		return b.floor("index", indexBoth)
	}},
	{name: "floor of backup --via sync: processor time of Redis and rqvault over all cores", peer: "redis-cli --rdb", before: startLive, after: stopLive, run: func(b *bench) (float64, float64, error) {
		return b.floor("sync", syncWhole)
	}},
	{name: "floor of restore --apply: a script that reads a ledger, RESTOREs and signs", peer: "redis-cli --pipe of plain RESTOREs", before: startLive, after: stopLive, run: guardedFloor},
	{name: "floor of restore --into: a plain RESTORE of every key", peer: "redis-server's own load", before: startLive, after: stopLive, run: keysFloor},
}

// floor is what a row came by beside its own measure: processor time over all cores, and the
// peer's time, in seconds.
type floor struct{ ours, peer float64 }

// spread notes processor time as the floor of a row.
func (b *bench) spread(name string, worked, peer float64) {
	b.floors[name] = append(b.floors[name], floor{worked / float64(runtime.NumCPU()), peer})
}

// floor is what a run of that row came by, of one that was measured already or of one now.
func (b *bench) floor(name string, run func(*bench) (ours, peer float64, err error)) (ours, peer float64, err error) {
	if len(b.floors[name]) == 0 {
		if _, _, err := run(b); err != nil {
			return 0, 0, err
		}
	}
	f := b.floors[name][0]
	b.floors[name] = b.floors[name][1:]
	return f.ours, f.peer, nil
}

// indexBoth writes both index files of a dump, and decodes it by hdt3213/rdb.
func indexBoth(b *bench) (ours, peer float64, err error) {
	worked := 0.0
	ours, peer, err = both(func() error {
		before := processorTime()
		defer func() { worked = processorTime() - before }()
		return indexed(b)
	}, func() error { return decode(b.dump()) })
	b.spread("index", worked, peer)
	return ours, peer, err
}

// processorTime is the server's, in seconds, with that of its children once they have ended.
func (s *server) processorTime() (sum float64) {
	idle(s)
	for line := range strings.Lines(s.Info(context.Background(), "cpu").Val()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_cpu_sys", "used_cpu_user", "used_cpu_sys_children", "used_cpu_user_children":
			seconds, _ := strconv.ParseFloat(value, 64)
			sum += seconds
		}
	}
	return sum
}

// processorTime is this process', in seconds.
func processorTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// syncWhole takes a backup over the replication link, and has redis-cli take the dump.
func syncWhole(b *bench) (ours, peer float64, err error) {
	if peer, err = seconds(b.cliDump); err != nil {
		return 0, 0, err
	}
	before := live.processorTime()
	if ours, err = seconds(func() error { return b.noted("backup", "--via", "sync") }); err != nil {
		return 0, 0, err
	}
	b.spread("sync", b.worked+live.processorTime()-before, peer)
	return ours, peer, nil
}

// leastScript puts back what the ledger does not know, and signs for it.
const leastScript = `local n = #KEYS - 1
local signed = redis.call('HMGET', KEYS[1], unpack(ARGV, 1, n))
for i = 1, n do
  if not signed[i] then redis.pcall('RESTORE', KEYS[1 + i], '0', ARGV[3 * n + i]) end
end
redis.call('HSET', KEYS[1], unpack(ARGV, n + 1, 3 * n))
return false`

// leastJobs is how many keys one call of it is about.
const leastJobs = 64

// leastCalls writes calls of leastScript about keys.
func leastCalls(w *pipeline, keys, dumps []string) {
	for len(keys) > 0 {
		n := min(leastJobs, len(keys))
		call := append([]string{"EVAL", leastScript, strconv.Itoa(n + 1), "ledger"}, keys[:n]...)
		call = append(call, keys[:n]...)
		for _, k := range keys[:n] {
			call = append(call, k, "placed:1700000000000")
		}
		w.command(append(call, dumps[:n]...)...)
		keys, dumps = keys[n:], dumps[n:]
	}
}

// piped is how long an empty server takes for a file of commands.
func piped(path string) (float64, error) {
	if err := live.FlushAll(context.Background()).Err(); err != nil {
		return 0, err
	}
	return seconds(func() error { return command("sh", "-c", "redis-cli -s "+live.socket()+" --pipe < "+path) })
}

// guardedFloor is restoreAll by the least script that never puts a job back a second time.
func guardedFloor(b *bench) (ours, peer float64, err error) {
	plain, guarded := filepath.Join(b.work, "floor-plain"), filepath.Join(b.work, "floor-guarded")
	if live.DBSize(context.Background()).Val() > 0 { // the first run
		if err := errors.Join(restores(live, plain), dumped(live, "rq:job:*", guarded, leastCalls)); err != nil {
			return 0, 0, err
		}
	}
	if peer, err = piped(plain); err == nil {
		ours, err = piped(guarded)
	}
	return ours, peer, errors.Join(err, live.FlushAll(context.Background()).Err())
}

// keysFloor is restoreInto without rqvault.
func keysFloor(b *bench) (ours, peer float64, err error) {
	path := filepath.Join(b.work, "floor-keys")
	if live.DBSize(context.Background()).Val() > 0 { // the first run
		if err = dumped(live, "", path, plainRestores); err != nil {
			return 0, 0, err
		}
	}
	if peer, err = b.load(); err == nil {
		ours, err = piped(path)
	}
	return ours, peer, errors.Join(err, live.FlushAll(context.Background()).Err())
}
