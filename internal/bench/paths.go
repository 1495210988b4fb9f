package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"rqvault/internal/rdb"
)

// live is the server of the rows that need one, and the store they use.
var live *server

func (b *bench) store() string { return filepath.Join(b.work, "store") }

func startLive(b *bench) (err error) {
	if err := os.RemoveAll(b.store()); err != nil {
		return err
	}
	live, err = b.serve()
	return err
}

func startStored(b *bench) error {
	if err := startLive(b); err != nil {
		return err
	}
	_, _, err := b.rqvault(live, b.store(), nil, "backup", "--via", "sync")
	return err
}

func stopLive(*bench) error { return live.stop() }

// rows are the paths, in the order of the table.
var rows = []row{
	{name: "walk and CRC64 of a dump", peer: "hdt3213/rdb decode", goal: 1.0 / 15, run: func(b *bench) (float64, float64, error) {
		return both(func() error { return walk(b.dump(), (*rdb.Chunk).Release) }, func() error { return decode(b.dump()) })
	}},
	{name: "walk, CRC64, both index files", peer: "hdt3213/rdb decode", goal: 1.0 / 6, run: indexBoth},
	{name: "backup --via bgsave, after Redis has saved", peer: "the BGSAVE", goal: 0.25, before: startLive, after: stopLive, run: afterBgsave},
	{name: "backup --via sync, all of it", peer: "redis-cli --rdb", goal: 1.05, before: startLive, after: stopLive, run: syncWhole},
	{name: "stored dump", peer: "zstd -3", goal: 1.03, unit: "bytes", before: startStored, after: stopLive, run: storedSize},
	{name: "peak memory of backup", peer: "256 MiB", goal: 1, unit: "MiB", before: startLive, after: stopLive, run: func(b *bench) (float64, float64, error) {
		mib, err := b.peak("backup", "--via", "sync")
		return mib, 256, err
	}},
	{name: "diff, nothing lost", peer: "RedisFullCheck, full values", goal: 0.25, runs: 3, needs: fullCheck, before: startTwin, after: stopTwin, run: func(b *bench) (float64, float64, error) {
		return both(func() error { return b.noted("diff") }, b.fullCheck)
	}},
	{name: "diff, nothing lost", peer: "SCAN and DUMP by go-redis", before: startStored, after: stopLive, run: func(b *bench) (float64, float64, error) {
		return both(func() error { return b.noted("diff") }, func() error { return scanDump(live) })
	}},
	{name: "peak memory of diff", peer: "512 MiB", goal: 1, unit: "MiB", before: startStored, after: stopLive, run: func(b *bench) (float64, float64, error) {
		mib, err := b.peak("diff")
		return mib, 512, err
	}},
	{name: "diff, all of it, against its reads of jobs alone", peer: readsPeer, goal: 1 / 0.7, before: startReads, after: stopReads, run: func(b *bench) (float64, float64, error) {
		return both(ours(b, "diff"), func() error { return readsAlone(b) })
	}},
}

// cliDump has redis-cli take the live server's dump.
func (b *bench) cliDump() error {
	return command("redis-cli", "-s", live.socket(), "--rdb", filepath.Join(b.work, "cli.rdb"))
}

// noted runs rqvault on the live server and notes its peak memory for the row about that.
func (b *bench) noted(args ...string) error {
	mib, _, err := b.rqvault(live, b.store(), nil, args...)
	if err == nil {
		b.peaks[args[0]] = append(b.peaks[args[0]], mib)
	}
	return err
}

// peak is the peak memory of a command in MiB, of a run that another row has measured
// already or of one now.
func (b *bench) peak(args ...string) (float64, error) {
	if len(b.peaks[args[0]]) == 0 {
		if err := b.noted(args...); err != nil {
			return 0, err
		}
	}
	all := b.peaks[args[0]]
	b.peaks[args[0]] = all[1:]
	return all[0], nil
}

// fullCheck is the program of RedisFullCheck, and twin the second server that it compares
// with the live one.
const fullCheck = "redis-full-check"

var twin *server

func startTwin(b *bench) (err error) {
	if err := startStored(b); err != nil {
		return err
	}
	if twin, err = b.serveIn("twin"); err != nil {
		err = errors.Join(err, live.stop())
	}
	return err
}

func stopTwin(b *bench) error { return errors.Join(twin.stop(), stopLive(b)) }

// fullCheck has RedisFullCheck compare all values of both servers once.
func (b *bench) fullCheck() error {
	return command(fullCheck, "-s", live.address(), "-t", twin.address(), "--comparemode=1", "--comparetimes=1", "--qps=5000000",
		"--db="+filepath.Join(b.work, "fullcheck.db"), "--log="+filepath.Join(b.work, "fullcheck.log"))
}

// afterBgsave measures what is left to do once the server's own save is over, against
// that save.
func afterBgsave(b *bench) (ours, peer float64, err error) {
	done := make(chan struct{})
	var from, to time.Time
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		from, to = saved(live, done)
	}()
	_, _, err = b.rqvault(live, b.store(), nil, "backup", "--via", "bgsave")
	end := time.Now()
	close(done)
	<-watched
	return end.Sub(to).Seconds(), to.Sub(from).Seconds(), err
}

func storedSize(b *bench) (ours, peer float64, err error) {
	if ours, err = b.storedDump(b.store()); err != nil {
		return 0, 0, err
	}
	packed := filepath.Join(b.work, "packed.zst")
	if err := command("zstd", "-3", "-q", "-f", b.dump(), "-o", packed); err != nil {
		return 0, 0, err
	}
	info, err := os.Stat(packed)
	if err != nil {
		return 0, 0, err
	}
	return ours, float64(info.Size()), nil
}
