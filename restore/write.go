package restore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
	"rqvault/verify"
)

// Ledger states: held waits for its place in a queue, placed is done.
const (
	stateHeld   = "held"
	statePlaced = "placed"
)

// membersPerStep bounds the arguments of one command in a script.
const membersPerStep = 1000

// writer turns a row of the snapshot into a call of restore.lua.
type writer struct {
	schema job.Schema
	values Values
	format keyspace.Format
	ledger string
	life   int64 // of the ledger, seconds
	since  int64 // instant of the snapshot, Unix ms
	now    int64 // Unix ms
	fields bool  // write values command by command, because RESTORE is refused here
}

// call gathers keys and arguments.
type call struct {
	keys []string
	args []any
}

func (c *call) add(args ...any) { c.args = append(c.args, args...) }

// step appends one command; keys are those it touches.
func (c *call) step(keys []string, args ...any) {
	c.keys = append(c.keys, keys...)
	c.add(len(args))
	c.add(args...)
}

// head adds the arguments with which every call of restore.lua begins.
func (w *writer) head(c *call, entry, state string, guard verify.Guard, payloadField string) {
	c.add(entry, w.life, sign(state, w.now), w.since, string(guard), payloadField)
}

// sign is a ledger entry's value: what was done, and when in Unix ms.
func sign(state string, now int64) string { return state + ":" + strconv.FormatInt(now, 10) }

// JobEntry is the field of the ledger under which a job is signed for.
func JobEntry(id string) string { return "job:" + id }

// Signed reports whether a ledger entry is about a job of a snapshot from that instant.
// Entries signed before it are about earlier data.
func Signed(entry string, since time.Time) bool {
	_, at, _ := strings.Cut(entry, ":")
	at, _, _ = strings.Cut(at, "|")
	ms, err := strconv.ParseInt(at, 10, 64)
	return err == nil && ms >= since.UnixMilli()
}

// Settled reports whether a ledger entry says that nothing is left to do for the job.
func Settled(entry string) bool { return !strings.HasPrefix(entry, stateHeld+":") }

// job builds the call for one job.
func (w *writer) job(ctx context.Context, row *job.Row, s *Step) (Call, error) {
	hash := row.Part(job.HashPart)
	if hash == nil {
		return Call{}, fmt.Errorf("job %q has no hash in the snapshot", row.ID)
	}
	rec, err := w.record(ctx, row, hash, keyspace.Hash)
	if err != nil {
		return Call{}, err
	}
	key := w.schema.PartKey(row.ID, job.HashPart)
	c := &call{keys: []string{w.ledger, key}}
	state := statePlaced
	if s.twofold() {
		state = stateHeld
	}
	w.head(c, JobEntry(row.ID), state, s.Guard, w.schema.PayloadField())
	if err := w.version(c, rec, s); err != nil {
		return Call{}, err
	}
	w.home(c, row.ID, s)
	w.leave(c, row.ID, s)
	parts := []job.PartName{job.ResultsPart, job.DependenciesPart}
	switch s.Action {
	case verify.Place:
		c.add("keep", 0)
	case verify.Forward, verify.Requeue, verify.Fail:
		if s.Guard != verify.GuardSeen {
			parts = append(parts, job.DependentsPart)
		}
		if err := w.value(c, rec, hash.ExpireAt); err != nil {
			return Call{}, err
		}
		if s.Action != verify.Forward {
			break
		}
		if p := row.Part(job.ResultsPart); p != nil && (p.ExpireAt == 0 || p.ExpireAt > w.now) {
			c.step(nil, "DEL", w.schema.PartKey(row.ID, job.ResultsPart)) // the end of the snapshot's is not in it
		}
	default:
		if s.ExpireAt != 0 {
			hash.ExpireAt = s.ExpireAt
		}
		if err := w.value(c, rec, hash.ExpireAt); err != nil {
			return Call{}, err
		}
		// Not for a job that live has: children that ended meanwhile would run again.
		parts = append(parts, job.DependentsPart)
	}
	if err := w.parts(ctx, c, row, s, parts); err != nil {
		return Call{}, err
	}
	w.unlink(c, row, s)
	w.revive(c, row, s, key)
	w.places(c, row, s)
	return Call{Keys: c.keys, Args: c.args}, nil
}

// abandoned is what RQ's users read as the error of a job whose run died.
const abandoned = "Work-horse or its Redis was lost while the job was running; put back as failed by rqvault"

// revive turns a job whose run died into a queued or a failed one.
func (w *writer) revive(c *call, row *job.Row, s *Step, key string) {
	now := time.UnixMilli(w.now)
	var fields map[string]string
	var expireAt int64
	switch s.Action {
	case verify.Requeue:
		fields, expireAt = w.schema.Requeue(row, now)
	case verify.Fail:
		var score float64
		var result map[string]string
		fields, score, expireAt, result = w.schema.Fail(row, now, abandoned)
		registry := w.schema.PlaceKey(job.InFailed, row.Queue)
		c.step([]string{registry}, "ZADD", registry, "NX", scoreText(score), row.ID)
		stream := w.schema.PartKey(row.ID, job.ResultsPart)
		c.step([]string{stream}, append([]any{"XADD", stream, "*"}, pairs(result)...)...)
		if expireAt != 0 {
			c.step(nil, "PEXPIREAT", stream, expireAt)
		}
	default:
		return
	}
	c.step(nil, append([]any{"HSET", key}, pairs(fields)...)...)
	if expireAt != 0 {
		c.step(nil, "PEXPIREAT", key, expireAt)
	} else {
		c.step(nil, "PERSIST", key)
	}
}

// pairs lists a map's names and texts, in order.
func pairs(m map[string]string) []any {
	var out []any
	for _, n := range slices.Sorted(maps.Keys(m)) {
		out = append(out, n, m[n])
	}
	return out
}

// record reads one part's raw value out of the dump.
func (w *writer) record(ctx context.Context, row *job.Row, p *job.Part, kind keyspace.Kind) (*keyspace.Record, error) {
	raw, err := w.values.Read(ctx, p.Offset, p.Length)
	if err != nil {
		return nil, fmt.Errorf("read the %s of job %q: %w", p.Name, row.ID, err)
	}
	raw = append([]byte(nil), raw...) // Read's bytes are valid until the next Read only
	return &keyspace.Record{DB: int(row.DB), Type: byte(p.Type), Kind: kind, Format: w.format, ExpireAt: p.ExpireAt, Raw: raw, Offset: p.Offset}, nil
}

// version adds the fields by which a job's version is known, and their texts where the
// guard wants them.
func (w *writer) version(c *call, rec *keyspace.Record, s *Step) error {
	if s.Guard == verify.GuardSeen || s.Guard == verify.GuardStub {
		texts := w.schema.VersionTexts(s.Seen.row())
		c.add(len(texts), len(w.schema.VersionFields()))
		for _, n := range w.schema.VersionFields() {
			c.add(n, texts[n])
			delete(texts, n)
		}
		for _, n := range slices.Sorted(maps.Keys(texts)) {
			c.add(n, texts[n])
		}
		return nil
	}
	names := w.schema.VersionFields()
	have := map[string]string{}
	if s.Guard == verify.GuardSame {
		err := rdb.HashFields(rec, nil, func(field, value []byte) error {
			have[string(field)] = string(value)
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the hash of job %q: %w", s.JobID, err)
		}
	}
	c.add(len(names), len(names))
	for _, n := range names {
		c.add(n, have[n])
	}
	return nil
}

// home adds where a waiting id must still stand.
func (w *writer) home(c *call, id string, s *Step) {
	if s.Guard != verify.GuardWaits || s.Home == nil {
		return
	}
	kind, key := "zset", w.schema.PlaceKey(s.Home.Kind, s.Home.Queue)
	if s.Home.Kind.Ordered() {
		kind = "list"
	}
	c.keys = append(c.keys, key)
	c.add(kind, key, id)
}

// value adds the hash, or any other value to be restored under the call's second key.
func (w *writer) value(c *call, rec *keyspace.Record, expireAt int64) error {
	if p := payload(rec); p != nil && !w.fields {
		c.add("restore", expireAt, p)
		return nil
	}
	var fields []any
	err := rdb.HashFields(rec, nil, func(field, value []byte) error {
		fields = append(fields, string(field), string(value))
		return nil
	})
	if err != nil {
		return err
	}
	c.add("fields", expireAt, len(fields)/2)
	c.add(fields...)
	return nil
}

// parts adds results and sets of dependencies.
func (w *writer) parts(ctx context.Context, c *call, row *job.Row, s *Step, names []job.PartName) error {
	for _, name := range names {
		p := row.Part(name)
		if p != nil && p.ExpireAt != 0 && s.ExpireAt != 0 && name != job.ResultsPart {
			p.ExpireAt = s.ExpireAt // RQ gives the sets of a job its own expiry
		}
		if p == nil || p.ExpireAt != 0 && p.ExpireAt <= w.now {
			continue
		}
		kind := keyspace.Set
		if name == job.ResultsPart {
			kind = keyspace.Stream
		}
		rec, err := w.record(ctx, row, p, kind)
		if err != nil {
			return err
		}
		key := w.schema.PartKey(row.ID, name)
		if name == job.ResultsPart {
			err = w.results(c, key, rec)
		} else {
			err = set(c, key, rec)
		}
		if err != nil {
			return fmt.Errorf("read the %s of job %q: %w", name, row.ID, err)
		}
	}
	return nil
}

// results adds the stream, only if live has none: entries below a stream's last id
// cannot be added, and a live stream is newer.
func (w *writer) results(c *call, key string, rec *keyspace.Record) error {
	keys := []string{key}
	if p := payload(rec); p != nil && !w.fields {
		c.step(nil, "!create", key, 1)
		c.step(keys, "RESTORE", key, rec.ExpireAt, p, "ABSTTL")
		return nil
	}
	steps, err := logical(key, rec)
	if err != nil {
		return err
	}
	c.step(nil, "!create", key, len(steps))
	for _, s := range steps {
		c.step(nil, s...)
	}
	c.keys = append(c.keys, key)
	return nil
}

// set adds a set's members to whatever live has of it.
func set(c *call, key string, rec *keyspace.Record) error {
	batch := []any{"SADD", key}
	flush := func() {
		if len(batch) > 2 {
			c.step(nil, batch...)
		}
		batch = []any{"SADD", key}
	}
	err := rdb.Elements(rec, func(e rdb.Element) error {
		if batch = append(batch, string(e.Member)); len(batch) > membersPerStep {
			flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	flush()
	if rec.ExpireAt != 0 {
		c.step(nil, "!expire", key, rec.ExpireAt)
	}
	c.keys = append(c.keys, key)
	return nil
}

// places adds the job's registries and, for a deferred one, its parents' knowledge of
// it. Running jobs' registries are never written, and a queue only by release.lua.
func (w *writer) places(c *call, row *job.Row, s *Step) {
	if s.held() {
		list, popped := w.schema.PlaceKey(job.InQueue, s.List), w.schema.PlaceKey(job.InIntermediate, s.List)
		if s.Action == verify.Place {
			c.step([]string{list, popped}, "!unlisted", row.ID, list, popped)
		}
		c.step([]string{w.schema.QueuesKey()}, "SADD", w.schema.QueuesKey(), list)
	}
	if s.Action == verify.Forward && row.ExpireAt != 0 && row.ExpireAt <= w.now {
		return // nothing comes back of it, and it does not run
	}
	for i := range row.Places {
		p := &row.Places[i]
		key := w.schema.PlaceKey(p.Kind, p.Queue)
		switch p.Kind {
		case job.InFinished, job.InFailed, job.InDeferred, job.InScheduled, job.InCanceled, job.InReady:
			c.step([]string{key}, "ZADD", key, "NX", scoreText(p.Score), row.ID)
		case job.InGroup:
			c.step([]string{w.schema.GroupsKey()}, "SADD", w.schema.GroupsKey(), p.Queue)
			c.step([]string{key}, "SADD", key, row.ID)
		}
	}
	if row.Status == job.Deferred {
		for _, parent := range row.Parents {
			key := w.schema.PartKey(parent, job.DependentsPart)
			awaited := 0
			if slices.Contains(s.WaitsFor, parent) {
				awaited = 1 // its worker may still be at it, and must find its children when it ends
			}
			c.step([]string{key}, "!parent", w.schema.PartKey(parent, job.HashPart), key, row.ID, awaited)
		}
	}
}

// scoreText writes a float as Redis reads it.
func scoreText(f float64) string {
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// payload is the value as RESTORE takes it; nil where no payload can carry it.
func payload(rec *keyspace.Record) []byte { return rdb.Payload(nil, rec) }
