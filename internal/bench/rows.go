package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	library "github.com/hdt3213/rdb/core"
	"github.com/hdt3213/rdb/model"
	"github.com/redis/go-redis/v9"

	"rqvault/internal/index"
	"rqvault/internal/rdb"
	"rqvault/internal/rq"
)

// bench is what all rows work with.
type bench struct {
	work    string // a directory of the benchmark's own
	data    string // the directory with the dataset's dump.rdb
	program string // rqvault
	set     dataset
	runs    int
	peaks   map[string][]float64 // of memory, in MiB, that other rows came by
	floors  map[string][]floor   // that other rows came by
	worked  float64              // seconds of processor time that the last run of rqvault took
}

func (b *bench) dump() string { return filepath.Join(b.data, "dump.rdb") }

// row is one path that is measured against a peer, both in the same run.
type row struct {
	name, peer string
	goal       float64 // ours as a share of the peer's, at most; 0 where there is none
	needs      string  // a program without which the row is left out
	unit       string  // "s" if empty
	runs       int     // at most, where each takes minutes; 0 for as many as asked for
	run        func(*bench) (ours, peer float64, err error)
	// before is run once, untimed; it may be nil. after undoes it.
	before func(*bench) error
	after  func(*bench) error
}

// seconds measures one call.
func seconds(f func() error) (float64, error) {
	began := time.Now()
	err := f()
	return time.Since(began).Seconds(), err
}

// both measures two calls, one after the other.
func both(ours, peer func() error) (o, p float64, err error) {
	if p, err = seconds(peer); err == nil {
		o, err = seconds(ours)
	}
	return o, p, err
}

// walk reads a dump and checks it, handing each chunk to take, which releases it.
func walk(path string, take func(*rdb.Chunk)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	w := rdb.NewWalker(f, rdb.Options{Size: info.Size()})
	for {
		c, err := w.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		take(c)
	}
}

// decode is hdt3213/rdb's decoding of a whole dump.
func decode(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return library.NewDecoder(f).Parse(func(model.RedisObject) bool { return true })
}

// indexWalk walks in one goroutine and indexes in others, as a backup does.
func indexWalk(path string, builder *index.Builder) error {
	crew := index.NewCrew(builder, 0)
	var failed error
	err := walk(path, func(c *rdb.Chunk) {
		if err := crew.Add(c, c.Release); failed == nil {
			failed = err
		}
	})
	return errors.Join(err, failed, crew.Close())
}

// indexed walks a dump and writes both index files.
func indexed(b *bench) error {
	keys, err := os.Create(filepath.Join(b.work, "keys.parquet"))
	if err != nil {
		return err
	}
	defer func() { _ = keys.Close() }()
	jobs, err := os.Create(filepath.Join(b.work, "jobs.parquet"))
	if err != nil {
		return err
	}
	defer func() { _ = jobs.Close() }()
	kw := index.NewKeysWriter(keys)
	defer kw.Stop()
	builder := index.NewBuilder(rq.Schema{}, index.Options{TempDir: b.work, Keys: kw.Write})
	defer func() { _ = builder.Close() }()
	if err := indexWalk(b.dump(), builder); err != nil {
		return err
	}
	if err := kw.Close(); err != nil {
		return err
	}
	jw := index.NewJobsWriter(jobs)
	defer jw.Stop()
	if err := builder.WriteJobs(jw); err != nil {
		return err
	}
	return jw.Close()
}

// rqvault runs the program and returns its peak memory in MiB and what it printed. Exit
// codes given beside 0 are no failure.
func (b *bench) rqvault(s *server, store string, codes []int, args ...string) (mib float64, out []byte, err error) {
	args = append(args, "--store", store, "--quiet")
	if s != nil {
		args = append(args, "--redis", s.url(), "--temp-dir", b.work)
	}
	cmd := exec.Command(b.program, args...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err = cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		for _, c := range codes {
			if exit.ExitCode() == c {
				err = nil
			}
		}
	}
	if err != nil {
		err = fmt.Errorf("rqvault %s: %w: %s", strings.Join(args, " "), err, complaint.String())
	}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		mib = float64(u.Maxrss) / 1024
	}
	b.worked = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return mib, out, err
}

// serve loads the dataset into a server over a copy of its directory.
func (b *bench) serve() (*server, error) { return b.serveIn("live") }

func (b *bench) serveIn(name string) (*server, error) {
	dir := filepath.Join(b.work, name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := link(b.dump(), filepath.Join(dir, "dump.rdb")); err != nil {
		return nil, err
	}
	return start(dir)
}

// link copies a file where it cannot be linked.
func link(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// command runs another program.
func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// saved waits until the save that runs is over, and returns when that was.
func saved(s *server, done <-chan struct{}) (from, to time.Time) {
	for {
		info := s.Info(context.Background(), "persistence").Val()
		running := strings.Contains(info, "rdb_bgsave_in_progress:1")
		switch {
		case running && from.IsZero():
			from = time.Now()
		case !running && !from.IsZero():
			return from, time.Now()
		}
		select {
		case <-done:
			return from, time.Now()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// scan calls each with the keys that match, a page at a time.
func scan(s *server, match string, each func(keys []string) error) error {
	var cursor uint64
	for {
		keys, next, err := s.Scan(context.Background(), cursor, match, 1000).Result()
		if err == nil {
			err = each(keys)
		}
		if err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// scanDump reads all keys by SCAN and DUMP, in pipelines, as a program on go-redis does.
func scanDump(s *server) error {
	ctx := context.Background()
	return scan(s, "", func(keys []string) error {
		p := s.Pipeline()
		for _, k := range keys {
			p.Dump(ctx, k)
			p.PTTL(ctx, k)
		}
		_, err := p.Exec(ctx)
		return err
	})
}

// storedDump is the size of a snapshot's dump as it is stored.
func (b *bench) storedDump(store string) (float64, error) {
	_, out, err := b.rqvault(nil, store, nil, "show", "--json")
	if err != nil {
		return 0, err
	}
	var m struct {
		Objects []struct {
			Name string
			Size float64
		}
	}
	if err := json.Unmarshal(out, &m); err != nil {
		return 0, err
	}
	for _, o := range m.Objects {
		if strings.HasPrefix(o.Name, "dump") {
			return o.Size, nil
		}
	}
	return 0, errors.New("the snapshot lists no dump")
}

// restores writes the commands that put the keys of jobs back, as redis-cli --pipe reads
// them.
func restores(s *server, path string) error {
	return dumped(s, "rq:job:*", path, plainRestores)
}

func plainRestores(w *pipeline, keys, dumps []string) {
	for i, k := range keys {
		w.command("RESTORE", k, "0", dumps[i])
	}
}

// dumped writes commands about the keys that match, a page at a time.
func dumped(s *server, match, path string, each func(w *pipeline, keys, dumps []string)) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := &pipeline{Writer: bufio.NewWriterSize(f, 1<<20)}
	ctx := context.Background()
	err = scan(s, match, func(keys []string) error {
		p := s.Pipeline()
		dumps := make([]*redis.StringCmd, len(keys))
		for i, k := range keys {
			dumps[i] = p.Dump(ctx, k)
		}
		if _, err := p.Exec(ctx); err != nil {
			return err
		}
		texts := make([]string, len(dumps))
		for i, d := range dumps {
			texts[i] = d.Val()
		}
		each(w, keys, texts)
		return nil
	})
	return errors.Join(err, w.Flush(), f.Close())
}
