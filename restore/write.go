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

// writer turns rows of the snapshot into calls of restore.lua.
type writer struct {
	schema  job.Schema
	values  Values
	format  keyspace.Format
	ledger  string
	life    int64            // of the ledger, seconds
	since   int64            // instant of the snapshot, Unix ms
	now     int64            // Unix ms
	present func() time.Time // by the server's clock
	fields  bool             // write values command by command, because RESTORE is refused here
	rec     keyspace.Record  // the one read last
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

// job builds the block for one job.
func (w *writer) job(ctx context.Context, row *job.Row, s *Step) (*block, error) {
	hash := row.Part(job.HashPart)
	if hash == nil {
		return nil, fmt.Errorf("job %q has no hash in the snapshot", row.ID)
	}
	rec, err := w.record(ctx, row, hash, keyspace.Hash)
	if err != nil {
		return nil, err
	}
	b := &block{entry: JobEntry(row.ID), key: w.schema.PartKey(row.ID, job.HashPart)}
	state := statePlaced
	if s.twofold() {
		state = stateHeld
	}
	v, err := w.hash(rec, hash, s)
	if err != nil {
		return nil, fmt.Errorf("read the hash of job %q: %w", s.JobID, err)
	}
	list := ""
	if s.held() {
		list = w.schema.PlaceKey(job.InQueue, s.List)
	}
	w.head(b, state, s.Guard, list, v)
	if err := w.demand(b, rec, s); err != nil {
		return nil, err
	}
	w.home(b, row.ID, s)
	w.leave(b, row.ID, s)
	b.add(v.args...)
	if s.Action == verify.Forward {
		if p := row.Part(job.ResultsPart); p != nil && (p.ExpireAt == 0 || p.ExpireAt > w.now) {
			b.step(nil, "DEL", w.schema.PartKey(row.ID, job.ResultsPart)) // the end of the snapshot's is not in it
		}
	}
	parts := []job.PartName{job.ResultsPart, job.DependenciesPart}
	if s.Action != verify.Place && s.Guard != verify.GuardSeen {
		// Not for a job that live has: children that ended meanwhile would run again.
		parts = append(parts, job.DependentsPart)
	}
	if err := w.parts(ctx, b, row, s, parts); err != nil {
		return nil, err
	}
	w.unlink(b, row, s)
	w.revive(b, row, s)
	w.places(b, row, s)
	return b, nil
}

// abandoned is what RQ's users read as the error of a job whose run died.
const abandoned = "Work-horse or its Redis was lost while the job was running; put back as failed by rqvault"

// revive turns a job whose run died into a queued or a failed one.
func (w *writer) revive(b *block, row *job.Row, s *Step) {
	key := b.key
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
		b.step([]string{registry}, "ZADD", registry, "NX", scoreText(score), row.ID)
		stream := w.schema.PartKey(row.ID, job.ResultsPart)
		b.step([]string{stream}, append([]any{"XADD", stream, "*"}, pairs(result)...)...)
		if expireAt != 0 {
			b.step(nil, "PEXPIREAT", stream, expireAt)
		}
	default:
		return
	}
	b.step(nil, append([]any{"HSET", key}, pairs(fields)...)...)
	if expireAt != 0 {
		b.step(nil, "PEXPIREAT", key, expireAt)
	} else {
		b.step(nil, "PERSIST", key)
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

// record reads one part's raw value out of the dump. It is valid until the next is read.
func (w *writer) record(ctx context.Context, row *job.Row, p *job.Part, kind keyspace.Kind) (*keyspace.Record, error) {
	raw, err := w.values.Read(ctx, p.Offset, p.Length)
	if err != nil {
		return nil, fmt.Errorf("read the %s of job %q: %w", p.Name, row.ID, err)
	}
	w.rec = keyspace.Record{DB: int(row.DB), Type: byte(p.Type), Kind: kind, Format: w.format, ExpireAt: p.ExpireAt, Raw: raw, Offset: p.Offset}
	return &w.rec, nil
}

// demand adds the texts of the job's version that the guard wants.
func (w *writer) demand(b *block, rec *keyspace.Record, s *Step) error {
	switch s.Guard {
	case verify.GuardSeen, verify.GuardStub:
		want := pairs(w.schema.VersionTexts(s.Seen.row()))
		b.add(len(want) / 2)
		b.add(want...)
	case verify.GuardSame:
		texts, err := w.texts(rec)
		if err != nil {
			return fmt.Errorf("read the hash of job %q: %w", s.JobID, err)
		}
		b.add(len(texts))
		for i, n := range w.schema.VersionFields() {
			b.add(n, texts[i])
		}
	}
	return nil
}

// texts reads the fields by which a job's version is known, each in its place among them.
func (w *writer) texts(rec *keyspace.Record) ([]string, error) {
	names := w.schema.VersionFields()
	texts := make([]string, len(names))
	at := -1
	err := rdb.HashFields(rec, func(field []byte) bool {
		at = slices.IndexFunc(names, func(n string) bool { return n == string(field) })
		return at >= 0
	}, func(field, value []byte) error {
		texts[at] = string(value)
		return nil
	})
	return texts, err
}

// versionText is how the ledger notes a job's version.
func versionText(texts []string) string { return "|" + strings.Join(texts, "|") }

// home adds where a waiting id must still stand.
func (w *writer) home(b *block, id string, s *Step) {
	if s.Guard != verify.GuardWaits || s.Home == nil {
		return
	}
	kind, key := "zset", w.schema.PlaceKey(s.Home.Kind, s.Home.Queue)
	if s.Home.Kind.Ordered() {
		kind = "list"
	}
	b.keys = append(b.keys, key)
	b.add(kind, key, id)
}

// value is how the hash comes, or another key.
type value struct {
	how      string
	expireAt int64
	args     []any
	version  string // of a job that release.lua will place, as it signs it; "" to look
}

// hash says how a job's hash comes.
func (w *writer) hash(rec *keyspace.Record, p *job.Part, s *Step) (v value, err error) {
	if s.Action == verify.Place {
		return value{how: "keep"}, nil
	}
	v.expireAt = p.ExpireAt
	if s.Action == verify.Restore && s.ExpireAt != 0 {
		v.expireAt = s.ExpireAt
	}
	if s.twofold() && (s.Action == verify.Restore || s.Action == verify.Forward) {
		texts, err := w.texts(rec)
		if err != nil {
			return v, err
		}
		v.version = versionText(texts)
	}
	if p := payload(rec); p != nil && !w.fields {
		v.how, v.args = "restore", []any{p}
		return v, nil
	}
	var fields []any
	err = rdb.HashFields(rec, nil, func(field, value []byte) error {
		fields = append(fields, string(field), string(value))
		return nil
	})
	v.how, v.args = "fields", append([]any{len(fields) / 2}, fields...)
	return v, err
}

// parts adds results and sets of dependencies.
func (w *writer) parts(ctx context.Context, b *block, row *job.Row, s *Step, names []job.PartName) error {
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
			err = w.results(b, key, rec)
		} else {
			err = set(b, key, rec)
		}
		if err != nil {
			return fmt.Errorf("read the %s of job %q: %w", name, row.ID, err)
		}
	}
	return nil
}

// results adds the stream, only if live has none: entries below a stream's last id
// cannot be added, and a live stream is newer.
func (w *writer) results(b *block, key string, rec *keyspace.Record) error {
	keys := []string{key}
	if p := payload(rec); p != nil && !w.fields {
		b.step(nil, "!create", key, 1)
		b.step(keys, "RESTORE", key, rec.ExpireAt, p, "ABSTTL")
		return nil
	}
	steps, err := logical(key, rec)
	if err != nil {
		return err
	}
	b.step(nil, "!create", key, len(steps))
	for _, s := range steps {
		b.step(nil, s...)
	}
	b.keys = append(b.keys, key)
	return nil
}

// set adds a set's members to whatever live has of it.
func set(b *block, key string, rec *keyspace.Record) error {
	batch := []any{"SADD", key}
	flush := func() {
		if len(batch) > 2 {
			b.step(nil, batch...)
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
		b.step(nil, "!expire", key, rec.ExpireAt)
	}
	b.keys = append(b.keys, key)
	return nil
}

// places adds the job's registries and, for a deferred one, its parents' knowledge of
// it. Running jobs' registries are never written, and a queue only by release.lua.
func (w *writer) places(b *block, row *job.Row, s *Step) {
	if s.held() {
		list, popped := w.schema.PlaceKey(job.InQueue, s.List), w.schema.PlaceKey(job.InIntermediate, s.List)
		if s.Action == verify.Place {
			b.step([]string{list, popped}, "!unlisted", row.ID, list, popped)
		}
	}
	if s.Action == verify.Forward && row.ExpireAt != 0 && row.ExpireAt <= w.now {
		return // nothing comes back of it, and it does not run
	}
	for i := range row.Places {
		p := &row.Places[i]
		key := w.schema.PlaceKey(p.Kind, p.Queue)
		switch p.Kind {
		case job.InFinished, job.InFailed, job.InDeferred, job.InScheduled, job.InCanceled, job.InReady:
			b.step([]string{key}, "ZADD", key, "NX", scoreText(p.Score), row.ID)
		case job.InGroup:
			b.step([]string{w.schema.GroupsKey()}, "SADD", w.schema.GroupsKey(), p.Queue)
			b.step([]string{key}, "SADD", key, row.ID)
		}
	}
	if row.Status == job.Deferred {
		for _, parent := range row.Parents {
			key := w.schema.PartKey(parent, job.DependentsPart)
			awaited := 0
			if slices.Contains(s.WaitsFor, parent) {
				awaited = 1 // its worker may still be at it, and must find its children when it ends
			}
			b.step([]string{key}, "!parent", w.schema.PartKey(parent, job.HashPart), key, row.ID, awaited)
		}
	}
}

// scoreText writes a float as Redis reads it.
func scoreText(f float64) string {
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// payload is the value as RESTORE takes it; nil where no payload can carry it.
func payload(rec *keyspace.Record) []byte {
	const around = 16 // type before, version and checksum behind
	return rdb.Payload(make([]byte, 0, len(rec.Meta)+len(rec.Raw)+around), rec)
}
