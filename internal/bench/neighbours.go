package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"rqvault/internal/rq"
)

// neighbourRows are about those who use Redis meanwhile.
var neighbourRows = []row{
	{name: "p99 latency of others during diff", peer: "during a BGSAVE", goal: 1.1, unit: "ms", before: startStored, after: stopLive, run: func(b *bench) (float64, float64, error) {
		return neighbours(ours(b, "diff"), bgsave)
	}},
	{name: "p99 latency of others during backup --via bgsave", peer: "during a BGSAVE", goal: 1.1, unit: "ms", before: startStored, after: stopLive, run: func(b *bench) (float64, float64, error) {
		return neighbours(ours(b, "backup", "--via", "bgsave"), bgsave)
	}},
	{name: "p99 latency of others during backup --via sync", peer: "during a BGSAVE", goal: 1.1, unit: "ms", before: startStored, after: stopLive, run: func(b *bench) (float64, float64, error) {
		return neighbours(ours(b, "backup", "--via", "sync"), bgsave)
	}},
	{name: "p99 latency of others during backup --via sync", peer: "during redis-cli --rdb", goal: 1.1, unit: "ms", before: startStored, after: stopLive, run: func(b *bench) (float64, float64, error) {
		return neighbours(ours(b, "backup", "--via", "sync"), b.cliDump)
	}},
}

// reads is a second server that holds the jobs' hashes under names that redis-benchmark can
// make.
var reads *server

// startReads is startStored, and copies the hashes.
func startReads(b *bench) (err error) {
	if err := startStored(b); err != nil {
		return err
	}
	if reads, err = start(filepath.Join(b.work, "reads")); err != nil {
		return errors.Join(err, live.stop())
	}
	ctx, n := context.Background(), 0
	err = scan(live, "rq:job:*", func(keys []string) error {
		from, to := live.Pipeline(), reads.Pipeline()
		for _, k := range keys {
			if strings.Count(k, ":") == 2 {
				from.Dump(ctx, k)
			}
		}
		dumps, err := from.Exec(ctx)
		if err != nil {
			return err
		}
		for _, d := range dumps {
			to.Do(ctx, "RESTORE", fmt.Sprintf("job:%012d", n), 0, d.(interface{ Val() string }).Val())
			n++
		}
		_, err = to.Exec(ctx)
		return err
	})
	if err != nil {
		err = errors.Join(err, reads.stop(), live.stop())
	}
	return err
}

func stopReads(b *bench) error { return errors.Join(reads.stop(), stopLive(b)) }

// readsAlone has redis-benchmark do the reads that diff does of each job, as many and in
// pipelines as long, on one connection.
func readsAlone(b *bench) error {
	const key, pipeline = "job:__rand_int__", "64"
	for _, c := range [][]string{append([]string{"HMGET", key}, rq.Schema{}.FieldsToCompare()...), {"HSTRLEN", key, "data"}, {"PEXPIRETIME", key}} {
		args := []string{"-s", reads.socket(), "-c", "1", "-P", pipeline, "-n", strconv.Itoa(b.set.jobs), "-r", strconv.Itoa(b.set.jobs), "-q"}
		if err := command("redis-benchmark", append(args, c...)...); err != nil {
			return err
		}
	}
	return nil
}

// neighbours measures the 99th percentile, in milliseconds, of what other clients wait for
// a reply, while ours goes on again and again and while the peer's does.
func neighbours(ours, peer func() error) (o, p float64, err error) {
	if p, err = p99(peer); err == nil {
		o, err = p99(ours)
	}
	return o, p, err
}

// ours is a command of rqvault on the live server.
func ours(b *bench, args ...string) func() error {
	return func() error {
		_, _, err := b.rqvault(live, b.store(), nil, args...)
		return err
	}
}

// bgsave has the server save, and waits for that.
func bgsave() error {
	idle(live) // it may still be at a save for a replica that has gone
	err := live.Do(context.Background(), "BGSAVE").Err()
	idle(live)
	return err
}

// idle waits until the server saves nothing.
func idle(s *server) {
	for strings.Contains(s.Info(context.Background(), "persistence").Val(), "rdb_bgsave_in_progress:1") {
		time.Sleep(5 * time.Millisecond)
	}
}

// load is what the other clients do: so many GETs, each of eight clients as soon as it has
// the last reply.
var load = []string{"-c", "8", "-n", "600000", "-t", "get", "-r", "100000", "--csv"}

// p99 runs the load, and work beside it until it is over.
func p99(work func() error) (ms float64, err error) {
	var out []byte
	var failed error
	over := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		defer close(over)
		out, failed = exec.Command("redis-benchmark", append([]string{"-s", live.socket()}, load...)...).Output()
	})
	for running := true; running && err == nil; {
		err = work()
		select {
		case <-over:
			running = false
		default:
		}
	}
	wait.Wait()
	if err := errors.Join(err, failed); err != nil {
		return 0, err
	}
	return column(string(out), "p99_latency_ms")
}

// column reads a number of the first row of a table as redis-benchmark prints it.
func column(csv, name string) (float64, error) {
	lines := strings.Split(strings.TrimSpace(csv), "\n")
	for i, title := range strings.Split(lines[0], ",") {
		if strings.Trim(title, `"`) != name || len(lines) < 2 {
			continue
		}
		if cells := strings.Split(lines[1], ","); i < len(cells) {
			return strconv.ParseFloat(strings.Trim(cells[i], `"`), 64)
		}
	}
	return 0, fmt.Errorf("redis-benchmark printed no %s: %s", name, csv)
}
