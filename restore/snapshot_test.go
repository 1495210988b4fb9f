package restore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/lineage"
	"rqvault/internal/live"
	"rqvault/internal/rdb"
	"rqvault/internal/redistest"
	"rqvault/internal/rq"
	"rqvault/restore"
	"rqvault/verify"
)

var schema = rq.Schema{}

const snapshotID = "20261123T061500.123Z-4f2a9c01"

// taken is a snapshot in memory: a server's own dump, and the two tables made of it.
type taken struct {
	t          testing.TB
	raw        []byte
	format     keyspace.Format
	jobs       []*job.Row
	keys       []*index.KeyRow
	registered map[string][]string
	at         time.Time // by the server's clock
}

// take has the server save and indexes what it wrote.
func take(t testing.TB, s *redistest.Server) *taken {
	t.Helper()
	s.Save()
	raw, err := os.ReadFile(s.DumpPath())
	if err != nil {
		t.Fatal(err)
	}
	d := &taken{t: t, raw: raw, at: clock(t, s)}
	b := index.NewBuilder(schema, index.Options{TempDir: t.TempDir(), Keys: func(k *index.KeyRow) error {
		row := *k
		row.Key, row.Raw = string(k.Name()), slices.Clone(k.Raw)
		d.keys = append(d.keys, &row)
		return nil
	}})
	defer b.Close()
	w := rdb.NewWalker(bytes.NewReader(raw), rdb.Options{Size: int64(len(raw))})
	for {
		c, err := w.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.Records {
			if err := b.Add(&c.Records[i], c.Index); err != nil {
				t.Fatal(err)
			}
		}
		c.Release()
	}
	for row, err := range b.Jobs() {
		if err != nil {
			t.Fatal(err)
		}
		d.jobs = append(d.jobs, row)
	}
	d.format, d.registered = w.Summary().Format, b.Registered()
	return d
}

func clock(t testing.TB, s *redistest.Server) time.Time {
	t.Helper()
	now, err := s.Client().Time(context.Background()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func rows(all ...*job.Row) verify.Rows { return all2(all, nil) }

// all2 yields the values, then the error if there is one.
func all2[T any](values []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range values {
			if !yield(v, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

func (d *taken) row(id string) *job.Row {
	d.t.Helper()
	i := slices.IndexFunc(d.jobs, func(r *job.Row) bool { return r.ID == id })
	if i < 0 {
		d.t.Fatalf("the snapshot has no job %s", id)
	}
	return d.jobs[i]
}

// Read keeps the promise of restore.Values and no more: what it gave before is gone.
func (v *values) Read(_ context.Context, offset, length int64) ([]byte, error) {
	for i := range v.last {
		v.last[i] = 0xEE
	}
	if offset < 0 || length < 0 || offset+length > int64(len(v.raw)) {
		return nil, io.ErrUnexpectedEOF
	}
	v.last = slices.Clone(v.raw[offset : offset+length])
	return v.last, nil
}

type values struct{ raw, last []byte }

// plan compares the server with the snapshot, taking it for older data, and plans what is
// selected.
func (d *taken) plan(s *redistest.Server, sel restore.Selection) *restore.Plan {
	d.t.Helper()
	now, signed := take(d.t, s), d.signed(s)
	p := restore.NewPlanner(sel)
	c := verify.Context{Schema: schema, Lineage: lineage.Judgement{Mode: lineage.Older, StartedAt: time.Now()}, Policy: verify.AtLeastOnce,
		Now: now.at, Survivor: p.Survivors().Note,
		Restored: func(k verify.JobKey) bool { return signed[k] != "" && restore.Settled(signed[k]) },
		Halfway:  func(k verify.JobKey) bool { return signed[k] != "" && !restore.Settled(signed[k]) }}
	var piece []verify.Finding
	for f, err := range verify.Compare(rows(d.jobs...), rows(now.jobs...), c) {
		if err != nil {
			d.t.Fatal(err)
		}
		piece = append(piece, f)
	}
	p.Add(piece)
	steps, err := p.Steps(func() verify.Rows { return rows(d.jobs...) })
	if err != nil {
		d.t.Fatal(err)
	}
	return &restore.Plan{Snapshot: snapshotID, Source: "default", Policy: verify.AtLeastOnce, Lineage: c.Lineage,
		Counts: p.Counts(), Steps: steps}
}

// signed reads the ledgers of the databases 0 to 2 for what was put back since the snapshot.
func (d *taken) signed(s *redistest.Server) map[verify.JobKey]string {
	d.t.Helper()
	all := map[verify.JobKey]string{}
	for db := range int32(3) {
		entries, err := s.Client().Eval(context.Background(), `redis.call('select', ARGV[1]) return redis.call('hgetall', ARGV[2])`,
			nil, db, restore.LedgerKey).StringSlice()
		if err != nil {
			d.t.Fatal(err)
		}
		for i := 0; i < len(entries); i += 2 {
			if id, ok := strings.CutPrefix(entries[i], restore.JobEntry("")); ok && restore.Signed(entries[i+1], d.at) {
				all[verify.JobKey{DB: db, ID: id}] = entries[i+1]
			}
		}
	}
	return all
}

// everything selects it all.
var everything restore.Selection

// conn is a server as a restore sees it. before, if there is one, is called ahead of each
// script call and may stop or change the server.
type conn struct {
	s       *live.Server
	mu      sync.Mutex
	scripts map[string]*live.Script
	before  func() // called before each script call; calls are then made one at a time
}

var _ restore.Redis = (*conn)(nil)

// connect dials the server, as that user of the password "pw" if one is named.
func connect(t testing.TB, s *redistest.Server, user string) *conn {
	t.Helper()
	target, err := live.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		target.Username, target.Password = user, "pw"
	}
	l, err := live.Dial(t.Context(), target, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &conn{s: l, scripts: map[string]*live.Script{}}
}

func (c *conn) Run(ctx context.Context, db int, script restore.Script, calls []restore.Call) ([]any, error) {
	c.mu.Lock()
	s := c.scripts[script.Source]
	if s == nil {
		s = live.NewScript(script.Source)
		c.scripts[script.Source] = s
	}
	batch := make([]live.Call, len(calls))
	for i, call := range calls {
		batch[i] = live.Call{Keys: call.Keys, Args: call.Args}
	}
	if c.before == nil {
		c.mu.Unlock()
		return c.s.Run(ctx, db, s, batch)
	}
	defer c.mu.Unlock()
	replies := make([]any, 0, len(calls))
	for i := range batch {
		c.before()
		r, err := c.s.Run(ctx, db, s, batch[i:i+1])
		replies = append(replies, r...)
		if err != nil {
			return append(replies, make([]any, len(batch)-len(replies))...), err
		}
	}
	return replies, nil
}

func (c *conn) Pipeline(ctx context.Context, db int, commands [][]any) ([]any, error) {
	return c.s.Pipeline(ctx, db, commands)
}

// told is what a restore said of its steps.
type told struct {
	outcomes []restore.Outcome
	progress []int
	err      error
}

// with lists the jobs and keys that came to that result, sorted.
func (d *told) with(r restore.Result) []string {
	out := []string{}
	for _, o := range d.outcomes {
		if o.Result == r {
			out = append(out, o.JobID+o.Key)
		}
	}
	slices.Sort(out)
	return out
}

// of returns the one outcome of a job.
func (d *told) of(t testing.TB, id string) restore.Outcome {
	t.Helper()
	var found []restore.Outcome
	for _, o := range d.outcomes {
		if o.JobID == id {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s: got outcomes %+v, want one", id, found)
	}
	return found[0]
}

func (d *taken) options(s *redistest.Server, c *conn, out *told) restore.Options {
	ahead := time.Until(clock(d.t, s)) // asked once, as the command does: the server may be gone later
	return restore.Options{Redis: c, Values: &values{raw: d.raw}, Schema: schema, Format: d.format,
		Rows: func() verify.Rows { return rows(d.jobs...) }, Registered: d.registered, TakenAt: d.at,
		Now:      func() time.Time { return time.Now().Add(ahead) },
		Outcome:  func(o restore.Outcome) { out.outcomes = append(out.outcomes, o) },
		Progress: func(done, _ int) { out.progress = append(out.progress, done) }}
}

// apply carries a plan out.
func (d *taken) apply(s *redistest.Server, c *conn, p *restore.Plan) *told {
	d.t.Helper()
	out := &told{}
	out.err = restore.Apply(d.t.Context(), p, d.options(s, c, out))
	return out
}

// restore plans everything, carries it out, and fails the test unless it came through.
func (d *taken) restore(s *redistest.Server) *told {
	d.t.Helper()
	out := d.apply(s, connect(d.t, s, ""), d.plan(s, everything))
	if out.err != nil {
		d.t.Fatal(out.err)
	}
	return out
}
