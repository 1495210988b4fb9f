package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/live"
	"rqvault/internal/rdb"
	"rqvault/verify"
)

// FewOptions say which jobs of a live Redis to read, and where they may stand.
type FewOptions struct {
	Server  *live.Server
	Schema  job.Schema
	TempDir string
	verify.Wanted
}

// Bounds above which reading everything is no worse.
const (
	maxSights = 50_000  // questions where an id stands
	maxRuns   = 200_000 // members of one registry of running jobs
	shortList = 2000    // ids; a shorter list is read whole
	fewIDs    = 8       // more than that are not looked for one by one in a list
)

// Few reads what a live Redis has of some jobs: their own keys, and where their ids stand.
// It looks into the lists and registries of all queues that are registered, that the jobs
// name, or that Wanted does. It is verify.ErrWhole where it cannot be told so.
func Few(ctx context.Context, o FewOptions) (verify.Image, error) {
	dbs, err := o.Server.Databases(ctx)
	if err != nil {
		return nil, err
	}
	r := &fewReader{o: o, ctx: ctx, ids: map[string]bool{}, im: &image{b: index.NewBuilder(o.Schema, index.Options{TempDir: o.TempDir})}}
	for _, id := range o.IDs {
		r.ids[id] = true
	}
	for _, db := range dbs {
		if err := r.database(db); err != nil {
			return nil, errors.Join(err, r.im.b.Close())
		}
	}
	return &few{r.im, r.ids}, nil
}

// few is an image of some jobs.
type few struct {
	*image
	ids map[string]bool
}

// Rows leaves out those of jobs that were only met on the way.
func (f *few) Rows() verify.Rows {
	return func(yield func(*job.Row, error) bool) {
		for row, err := range f.b.Jobs() {
			if (err != nil || f.ids[row.ID]) && !yield(row, err) {
				return
			}
		}
	}
}

// fewReader reads the jobs of one database after the other.
type fewReader struct {
	o   FewOptions
	ctx context.Context
	ids map[string]bool
	im  *image
	db  int
}

func (r *fewReader) database(db int) error {
	r.db = db
	names, groups, parents, err := r.named()
	if err != nil {
		return err
	}
	if err := r.keys(parents); err != nil {
		return err
	}
	// Ids come after the jobs, as everywhere: one that is then in no list has really left it.
	if len(names)*len(registryKinds)*len(r.o.IDs) > maxSights {
		return verify.ErrWhole
	}
	lists, runs := map[string]bool{}, map[string]bool{} // a queue may be called like another's list of popped ids
	for _, name := range names {
		lists[r.o.Schema.PlaceKey(job.InQueue, name)] = true
		lists[r.o.Schema.PlaceKey(job.InIntermediate, name)] = true
		runs[r.o.Schema.PlaceKey(job.InWip, name)] = true
	}
	if err := r.each("LLEN", lists, r.list); err != nil {
		return err
	}
	if err := r.each("ZCARD", runs, r.runs); err != nil {
		return err
	}
	if err := r.registries(names); err != nil {
		return err
	}
	return r.groups(groups)
}

// named returns the queues, groups and parents that may have to do with the jobs: what is
// wanted, and what is registered or the jobs themselves say now.
func (r *fewReader) named() (queues, groups, parents []string, err error) {
	b := index.NewBuilder(r.o.Schema, index.Options{TempDir: r.o.TempDir})
	defer func() { err = errors.Join(err, b.Close()) }()
	keys := [][]byte{[]byte(r.o.Schema.QueuesKey())}
	for _, id := range r.o.IDs {
		keys = append(keys, []byte(r.o.Schema.PartKey(id, job.HashPart)))
	}
	if err := r.dump(b, keys); err != nil {
		return nil, nil, nil, err
	}
	all, grouped, above := set(r.o.Queues), set(r.o.Groups), set(r.o.Parents)
	for row, err := range b.Jobs() {
		if err != nil {
			return nil, nil, nil, err
		}
		if row.Queue != "" {
			all[row.Queue] = true
		}
		if row.Group != "" {
			grouped[row.Group] = true
		}
		for _, p := range row.Parents {
			above[p] = true
		}
	}
	for _, list := range b.Registered()[strconv.Itoa(r.db)] {
		all[strings.TrimPrefix(list, r.o.Schema.PlaceKey(job.InQueue, ""))] = true
	}
	return slices.Sorted(maps.Keys(all)), slices.Sorted(maps.Keys(grouped)), slices.Sorted(maps.Keys(above)), nil
}

func set(names []string) map[string]bool {
	all := map[string]bool{}
	for _, n := range names {
		all[n] = true
	}
	return all
}

// keys reads the keys of the jobs, and the sets in which their parents name them.
func (r *fewReader) keys(parents []string) error {
	names := map[string]bool{r.o.Schema.QueuesKey(): true}
	for _, id := range r.o.IDs {
		for _, part := range []job.PartName{job.HashPart, job.DependentsPart, job.DependenciesPart, job.ResultsPart, job.ExecutionsPart} {
			names[r.o.Schema.PartKey(id, part)] = true
		}
	}
	for _, id := range parents {
		names[r.o.Schema.PartKey(id, job.DependentsPart)] = true
	}
	var keys [][]byte
	for _, n := range slices.Sorted(maps.Keys(names)) {
		keys = append(keys, []byte(n))
	}
	return r.dump(r.im.b, keys)
}

func (r *fewReader) dump(b *index.Builder, keys [][]byte) error {
	for rec, err := range Named(r.ctx, r.o.Server, r.db, keys) {
		if err == nil {
			err = b.Add(rec, 0)
		}
		if only := new(live.KeyError); errors.As(err, &only) {
			return verify.ErrWhole // such as a payload that is too large, of which others ask only the fields
		}
		if err != nil {
			return fmt.Errorf("read live jobs: %w", err)
		}
	}
	return nil
}

// ask sends commands. A key of another type answers nil; what the server refuses or does
// not know is verify.ErrWhole.
func (r *fewReader) ask(commands [][]any) ([]any, error) {
	replies, err := r.o.Server.Pipeline(r.ctx, r.db, commands)
	if err != nil {
		return nil, fmt.Errorf("read live jobs: %w", err)
	}
	for i := range replies {
		var refused *live.ReplyError
		if err, ok := replies[i].(error); ok {
			if !errors.As(err, &refused) {
				return nil, fmt.Errorf("read live jobs: %w", err)
			}
			if refused.Code() != "WRONGTYPE" {
				return nil, verify.ErrWhole
			}
			replies[i] = nil
		}
	}
	return replies, nil
}

func (r *fewReader) sight(s index.Sight) error {
	s.DB = r.db
	return r.im.b.AddSight(s)
}

// each calls read for those of the keys that hold anything.
func (r *fewReader) each(size string, keys map[string]bool, read func(key string, n int64) error) error {
	names := slices.Sorted(maps.Keys(keys))
	var commands [][]any
	for _, key := range names {
		commands = append(commands, []any{size, key})
	}
	replies, err := r.ask(commands)
	for i := range replies {
		if n, _ := replies[i].(int64); n > 0 && err == nil {
			err = read(names[i], n)
		}
	}
	return err
}

// list looks for the ids in one list.
func (r *fewReader) list(key string, n int64) error {
	if n > shortList && len(r.o.IDs) <= fewIDs {
		err := r.positions(key)
		if !errors.Is(err, verify.ErrWhole) { // servers before 6.0.6 have no LPOS
			return err
		}
	}
	members, err := r.members("LRANGE", key)
	if err != nil {
		return err
	}
	for at, m := range members {
		if r.ids[m] {
			if err := r.sight(index.Sight{Key: []byte(key), Kind: keyspace.List, Member: []byte(m), Position: int64(at)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// positions asks the server where in a list the ids stand.
func (r *fewReader) positions(key string) error {
	var commands [][]any
	for _, id := range r.o.IDs {
		commands = append(commands, []any{"LPOS", key, id, "COUNT", 0})
	}
	replies, err := r.ask(commands)
	if err != nil {
		return err
	}
	for i, reply := range replies {
		all, _ := reply.([]any)
		for _, at := range all {
			n, _ := at.(int64)
			if err := r.sight(index.Sight{Key: []byte(key), Kind: keyspace.List, Member: []byte(r.o.IDs[i]), Position: n}); err != nil {
				return err
			}
		}
	}
	return nil
}

// members reads a whole list or registry.
func (r *fewReader) members(command, key string) ([]string, error) {
	replies, err := r.ask([][]any{{command, key, 0, -1}})
	if err != nil {
		return nil, err
	}
	all, _ := replies[0].([]any)
	out := make([]string, len(all))
	for i := range all {
		out[i], _ = all[i].(string)
	}
	return out, nil
}

// runs looks for the jobs among those that run. One that does is not alone: its worker
// counts too.
func (r *fewReader) runs(key string, n int64) error {
	if n > maxRuns {
		return verify.ErrWhole
	}
	members, err := r.members("ZRANGE", key)
	for _, m := range members {
		id, alt := r.o.Schema.JobOf(job.InWip, []byte(m))
		if r.ids[string(id)] || alt != nil && r.ids[string(alt)] {
			return verify.ErrWhole
		}
	}
	return err
}

// registryKinds are the places with a score that tell of a job that does not run.
var registryKinds = []job.PlaceKind{job.InFinished, job.InFailed, job.InDeferred, job.InScheduled, job.InCanceled, job.InReady}

func (r *fewReader) registries(queues []string) error {
	var commands [][]any
	for _, q := range queues {
		for _, kind := range registryKinds {
			for _, id := range r.o.IDs {
				commands = append(commands, []any{"ZSCORE", r.o.Schema.PlaceKey(kind, q), id})
			}
		}
	}
	replies, err := r.ask(commands)
	if err != nil {
		return err
	}
	for i, reply := range replies {
		text, ok := reply.(string)
		if !ok {
			continue
		}
		score, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return verify.ErrWhole
		}
		s := index.Sight{Key: []byte(commands[i][1].(string)), Kind: keyspace.ZSet, Member: []byte(commands[i][2].(string)), Score: score}
		if err := r.sight(s); err != nil {
			return err
		}
	}
	return nil
}

func (r *fewReader) groups(groups []string) error {
	var commands [][]any
	for _, g := range groups {
		for _, id := range r.o.IDs {
			commands = append(commands, []any{"SISMEMBER", r.o.Schema.PlaceKey(job.InGroup, g), id})
		}
	}
	replies, err := r.ask(commands)
	if err != nil {
		return err
	}
	for i, reply := range replies {
		if n, _ := reply.(int64); n == 0 {
			continue
		}
		s := index.Sight{Key: []byte(commands[i][1].(string)), Kind: keyspace.Set, Member: []byte(commands[i][2].(string))}
		if err := r.sight(s); err != nil {
			return err
		}
	}
	return nil
}

// Listed returns the ids that stand in a queue now.
func Listed(ctx context.Context, s *live.Server, schema job.Schema, db int, queue string) (map[string]bool, error) {
	r := fewReader{o: FewOptions{Server: s, Schema: schema}, ctx: ctx, db: db}
	members, err := r.members("LRANGE", schema.PlaceKey(job.InQueue, queue))
	return set(members), err
}

// Members returns the elements of a list or set as they stand in a dump.
func Members(rec *keyspace.Record) ([]string, error) {
	var all []string
	err := rdb.Elements(rec, func(e rdb.Element) error {
		all = append(all, string(e.Member))
		return nil
	})
	return all, err
}
