package main

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
)

// floorRows are the least that a restore can cost by what it has to keep: they measure
// Redis, not rqvault, and have no goal.
var floorRows = []row{
	{name: "floor of restore --apply: a script that reads a ledger, RESTOREs and signs", peer: "redis-cli --pipe of plain RESTOREs", before: startLive, after: stopLive, run: guardedFloor},
	{name: "floor of restore --into: a plain RESTORE of every key", peer: "redis-server's own load", before: startLive, after: stopLive, run: keysFloor},
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
