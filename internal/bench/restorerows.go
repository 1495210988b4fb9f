package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"rqvault/restore"
)

// restoreRows are the paths that put a snapshot, or a part of it, back.
var restoreRows = []row{
	{name: "restore --apply of all jobs", peer: "redis-cli --pipe of plain RESTOREs", goal: 1, before: startStored, after: stopLive, run: restoreAll},
	{name: "restore --into an empty server", peer: "redis-server's own load", goal: 1.1, before: startStored, after: stopLive, run: func(b *bench) (float64, float64, error) {
		return restoreInto(b)
	}},
	{name: "restore --into a server that takes key by key", peer: "redis-server's own load", before: startStored, after: stopLive, run: func(b *bench) (float64, float64, error) {
		return restoreInto(b, "--rename-command", "REPLICAOF", "")
	}},
	{name: "drill, until the snapshot is back", peer: "redis-server's own load", goal: 1.1, before: startStored, after: stopLive, run: drilled},
	{name: "one job from S3", peer: "1 s", goal: 1, before: startStoredInS3, after: stopLiveAndS3, run: func(b *bench) (float64, float64, error) {
		s, _, err := oneFromS3(b)
		return s, 1, err
	}},
	{name: "one job from S3, read", peer: "20 MiB", goal: 1, unit: "MiB", before: startStoredInS3, after: stopLiveAndS3, run: func(b *bench) (float64, float64, error) {
		_, bytes, err := oneFromS3(b)
		return bytes / (1 << 20), 20, err
	}},
}

// restoreAll loses every key and puts the jobs back, once by plain RESTOREs of all that
// belongs to jobs and once by rqvault.
func restoreAll(b *bench) (ours, peer float64, err error) {
	pipe := filepath.Join(b.work, "restores-"+b.set.name)
	if _, err := os.Stat(pipe); err != nil {
		if err := restores(live, pipe); err != nil {
			return 0, 0, err
		}
	}
	if peer, err = piped(pipe); err != nil {
		return 0, 0, err
	}
	if err := live.FlushAll(context.Background()).Err(); err != nil {
		return 0, 0, err
	}
	ours, err = seconds(func() error {
		_, _, err := b.rqvault(live, b.store(), nil, "restore", "--apply", "--assume", "older")
		return err
	})
	return ours, peer, err
}

// load measures how long a redis-server takes to start over the dataset's dump, and ends it.
func (b *bench) load() (float64, error) {
	s := (*server)(nil)
	took, err := seconds(func() (err error) {
		s, err = b.serveIn("load")
		return err
	})
	if err != nil {
		return 0, err
	}
	return took, s.stop()
}

// restoreInto fills an empty server, started with more arguments, beside the one that the
// snapshot is of.
func restoreInto(b *bench, args ...string) (ours, peer float64, err error) {
	if peer, err = b.load(); err != nil {
		return 0, 0, err
	}
	dir := filepath.Join(b.work, "empty")
	if err := os.RemoveAll(dir); err != nil {
		return 0, 0, err
	}
	s, err := start(dir, args...)
	if err != nil {
		return 0, 0, err
	}
	ours, err = seconds(func() error {
		_, _, err := b.rqvault(nil, b.store(), nil, "restore", "--into", "unix://"+s.socket(), "--apply", "--temp-dir", b.work)
		return err
	})
	return ours, peer, errors.Join(err, s.stop())
}

// drilled is how long a drill takes until its private server has everything, by its own
// clock: what it fetches and proves included, the comparison that follows not.
func drilled(b *bench) (ours, peer float64, err error) {
	if peer, err = b.load(); err != nil {
		return 0, 0, err
	}
	_, out, err := b.rqvault(nil, b.store(), nil, "drill", "--no-stamp", "--json", "--temp-dir", b.work)
	if err != nil {
		return 0, 0, err
	}
	var drill struct {
		Seconds struct{ Recovery float64 }
	}
	return drill.Seconds.Recovery, peer, errors.Join(json.Unmarshal(out, &drill), err)
}

// oneFromS3 loses one job and puts it back from a snapshot in S3. It returns the seconds and
// how many bytes of objects were read.
func oneFromS3(b *bench) (took, bytes float64, err error) {
	ctx := context.Background()
	id, err := live.LIndex(ctx, "rq:queue:"+queues[0], 0).Result()
	if err != nil {
		return 0, 0, err
	}
	if err := errors.Join(live.Del(ctx, "rq:job:"+id, restore.LedgerKey, restore.SettledKey).Err(), live.LRem(ctx, "rq:queue:"+queues[0], 0, id).Err()); err != nil {
		return 0, 0, err
	}
	stored.read.Store(0)
	var out []byte
	took, err = seconds(func() (err error) {
		_, out, err = b.rqvault(live, stored.store(), nil, "restore", "--job", id, "--assume", "older", "--apply", "--json")
		return err
	})
	var result struct{ Counts struct{ Restored int } }
	if err == nil {
		err = json.Unmarshal(out, &result)
	}
	if err == nil && result.Counts.Restored != 1 {
		err = fmt.Errorf("job %s was not restored: %s", id, out)
	}
	return took, float64(stored.read.Load()), err
}

// stored is the S3 service of the rows that need one.
var stored *gateway

func startStoredInS3(b *bench) (err error) {
	if err := startLive(b); err != nil {
		return err
	}
	if stored, err = startGateway(filepath.Join(b.work, "s3")); err != nil {
		return err
	}
	_, _, err = b.rqvault(live, stored.store(), nil, "backup", "--via", "sync")
	return err
}

func stopLiveAndS3(b *bench) error { return errors.Join(stored.stop(), stopLive(b)) }
