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

	"github.com/redis/go-redis/v9"

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
// make, and what diff asks of them: of each job some fields, of so many the expiry too, and
// of so many everything.
var reads struct {
	*server
	expiries, whole int
}

// readsPeer names what readsAlone does.
var readsPeer = fmt.Sprintf("redis-benchmark with the same reads (HMGET of %d fields; where it matters PEXPIRETIME; of jobs that run or wait for others HMGET of %d, HSTRLEN, PEXPIRETIME)",
	rq.Schema{}.FieldsAtFirst(), len(rq.Schema{}.FieldsToCompare()))

// startReads is startStored, and copies the hashes.
func startReads(b *bench) (err error) {
	if err := startStored(b); err != nil {
		return err
	}
	reads.expiries, reads.whole = 0, 0
	if reads.server, err = start(filepath.Join(b.work, "reads")); err != nil {
		return errors.Join(err, live.stop())
	}
	ctx, n := context.Background(), 0
	schema := rq.Schema{}
	first := schema.FieldsToCompare()[:schema.FieldsAtFirst()]
	err = scan(live, "rq:job:*", func(keys []string) error {
		from, to := live.Pipeline(), reads.Pipeline()
		var dumps []*redis.StringCmd
		var values []*redis.SliceCmd
		for _, k := range keys {
			if strings.Count(k, ":") == 2 {
				dumps, values = append(dumps, from.Dump(ctx, k)), append(values, from.HMGet(ctx, k, first...))
			}
		}
		if _, err := from.Exec(ctx); err != nil {
			return err
		}
		for i, d := range dumps {
			to.Do(ctx, "RESTORE", fmt.Sprintf("job:%012d", n), 0, d.Val())
			n++
			switch enough, ends := schema.Glance(texts(values[i].Val())); {
			case !enough:
				reads.whole++
			case ends:
				reads.expiries++
			}
		}
		_, err := to.Exec(ctx)
		return err
	})
	if err != nil {
		err = errors.Join(err, reads.stop(), live.stop())
	}
	return err
}

func stopReads(b *bench) error { return errors.Join(reads.stop(), stopLive(b)) }

// texts are values as they were read, nil for one that is not there.
func texts(values []any) [][]byte {
	all := make([][]byte, len(values))
	for i, v := range values {
		if text, ok := v.(string); ok {
			all[i] = []byte(text)
		}
	}
	return all
}

// readsAlone has redis-benchmark do the reads that diff does of jobs, as many of each and in
// pipelines as long, on one connection.
func readsAlone(b *bench) error {
	const key, pipeline = "job:__rand_int__", "128"
	schema := rq.Schema{}
	fields := schema.FieldsToCompare()
	for _, c := range []struct {
		n     int
		words []string
	}{
		{b.set.jobs, append([]string{"HMGET", key}, fields[:schema.FieldsAtFirst()]...)},
		{reads.expiries + reads.whole, []string{"PEXPIRETIME", key}},
		{reads.whole, append([]string{"HMGET", key}, fields...)},
		{reads.whole, []string{"HSTRLEN", key, schema.PayloadField()}},
	} {
		args := []string{"-s", reads.socket(), "-c", "1", "-P", pipeline, "-n", strconv.Itoa(c.n), "-r", strconv.Itoa(b.set.jobs), "-q"}
		if err := command("redis-benchmark", append(args, c.words...)...); err != nil {
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
var load = []string{"-c", "8", "-n", "900000", "-t", "get", "-r", "100000", "--csv"}

// steady waits until the load has been there for as long as the server's own measure of it
// reaches back, about a second and a half, or is over.
func steady(over <-chan struct{}) {
	select {
	case <-over:
	case <-time.After(1600 * time.Millisecond):
	}
}

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
	steady(over)
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
