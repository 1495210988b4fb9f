package verify

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// Filled is a server into which a whole snapshot was put. Nothing in it writes.
type Filled interface {
	// Keys yields the named keys of one database, in their order; those that do not exist
	// are left out. An error beside a record is about that key, one alone ends the sequence.
	Keys(ctx context.Context, db int, names [][]byte) iter.Seq2[*keyspace.Record, error]
	// Sizes is how many keys each database holds.
	Sizes(ctx context.Context) (map[int]int64, error)
}

// Values reads raw values out of the snapshot's dump.
type Values interface {
	// Read returns length bytes from offset, valid until the next Read.
	Read(ctx context.Context, offset, length int64) ([]byte, error)
}

// WholeOptions say what to hold against what. All are needed but TempDir, Omitted,
// Added and Progress.
type WholeOptions struct {
	Filled Filled
	Keys   func() iter.Seq2[*index.KeyRow, error] // the snapshot's table of keys
	Rows   func() Rows                            // its index of jobs
	Values Values
	Format keyspace.Format // of its dump
	Schema job.Schema
	Now    func() time.Time
	// TempDir takes what the sort of the jobs spills; "" is the system's.
	TempDir string
	// Omitted reports whether the key was left out on purpose; nil: none was.
	Omitted func(name []byte, kind keyspace.Kind) bool
	// Added is how many keys stand in each database that the snapshot has not, on purpose.
	Added map[int]int64
	// Progress is told how many keys are compared; it may be nil.
	Progress func(keys int64)
}

// Difference is one thing that is not as in the snapshot. It tells no values.
type Difference struct {
	DB     int32  `json:"db"`
	Key    string `json:"key,omitempty"`
	RawKey []byte `json:"key_raw,omitempty"` // where the key is no UTF-8
	JobID  string `json:"job_id,omitempty"`
	RawID  []byte `json:"job_id_raw,omitempty"` // where the id is no UTF-8
	What   string `json:"what"`
}

// String says it in one line.
func (d Difference) String() string { return d.Name() + " " + d.What }

// Name is what it is about: a key, a job, or a whole database.
func (d Difference) Name() string {
	what := fmt.Sprintf("db %d", d.DB)
	switch {
	case d.Key != "":
		what = "key " + strconv.Quote(d.Key)
	case d.JobID != "":
		what = "job " + strconv.Quote(d.JobID)
	}
	if d.DB != 0 && (d.Key != "" || d.JobID != "") {
		what += fmt.Sprintf(" of db %d", d.DB)
	}
	return what
}

// WholeResult is what a comparison with everything found.
type WholeResult struct {
	Keys, Jobs  int64 // found just as in the snapshot, or among the differences
	Omitted     int64
	Expired     int64        // keys whose own expiry has passed
	Count       int64        // of differences
	Differences []Difference // the first maxDifferences
}

// maxDifferences bounds how many are told one by one.
const maxDifferences = 1000

// expirySlack is by how much an expiry, or the server's clock, may seem to be off, in ms:
// servers before 7.0 only tell how much time is left.
const expirySlack = 1000

// Whole compares everything: each key's type, content and expiry, how many keys there
// are, and, in an index made of what was read back, each job with all its places. Content is compared byte by byte, and where the
// bytes differ, because one value can have several encodings, element by element.
func Whole(ctx context.Context, o WholeOptions) (*WholeResult, error) {
	w := &whole{o: o, sizes: map[int32]*int64{}, builder: index.NewBuilder(o.Schema, index.Options{TempDir: o.TempDir})}
	defer func() { _ = w.builder.Close() }()
	if err := w.keys(ctx); err != nil {
		return nil, err
	}
	if err := w.counts(ctx); err != nil {
		return nil, err
	}
	if err := w.jobs(); err != nil {
		return nil, err
	}
	return &w.result, nil
}

type whole struct {
	o       WholeOptions
	result  WholeResult
	sizes   map[int32]*int64 // the most keys that each database may hold
	builder *index.Builder   // of the server's jobs
}

func (w *whole) differs(d Difference) {
	w.result.Count++
	if len(w.result.Differences) < maxDifferences {
		w.result.Differences = append(w.result.Differences, d)
	}
}

// Bounds of what is asked for at once.
const (
	wholeBatch      = 512
	wholeBatchBytes = 16 << 20
)

func (w *whole) keys(ctx context.Context) error {
	var batch []index.KeyRow
	var bytes int64
	for k, err := range w.o.Keys() {
		if err != nil {
			return err
		}
		if w.o.Omitted != nil && w.o.Omitted(k.Name(), keyspace.ParseKind(k.Kind)) {
			w.result.Omitted++
			continue
		}
		if len(batch) > 0 && (batch[0].DB != k.DB || len(batch) == wholeBatch || bytes+k.Length > wholeBatchBytes) {
			if err := w.compare(ctx, batch); err != nil {
				return err
			}
			batch, bytes = batch[:0], 0
		}
		batch = append(batch, *k)
		bytes += k.Length
	}
	return w.compare(ctx, batch)
}

// compare looks at keys of one database.
func (w *whole) compare(ctx context.Context, batch []index.KeyRow) error {
	if len(batch) == 0 {
		return nil
	}
	names := make([][]byte, len(batch))
	for i := range batch {
		names[i] = batch[i].Name()
	}
	left := batch
	for rec, err := range w.o.Filled.Keys(ctx, int(batch[0].DB), names) {
		if rec == nil {
			return fmt.Errorf("compare keys: %w", err)
		}
		for len(left) > 0 && string(left[0].Name()) != string(rec.Key) {
			w.missing(&left[0])
			left = left[1:]
		}
		if len(left) == 0 {
			return fmt.Errorf("compare keys: the server told of key %q, which nobody asked for", rec.Key)
		}
		if err == nil {
			if err := w.builder.Add(rec, 0); err != nil {
				return fmt.Errorf("index key %q of the server: %w", rec.Key, err)
			}
		}
		if err := w.key(ctx, &left[0], rec, err); err != nil {
			return err
		}
		left = left[1:]
	}
	for i := range left {
		w.missing(&left[i])
	}
	if w.o.Progress != nil {
		w.o.Progress(w.result.Keys)
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// expired reports whether an expiry in Unix ms has passed, or is just about to.
func (w *whole) expired(at int64) bool {
	return at != 0 && at <= w.o.Now().UnixMilli()+expirySlack
}

// mayHold is the most keys that a database may hold: what has expired may still be there.
func (w *whole) mayHold(db int32) *int64 {
	n := w.sizes[db]
	if n == nil {
		added := w.o.Added[int(db)]
		n = &added
		w.sizes[db] = n
	}
	return n
}

func keyDifference(k *index.KeyRow, format string, args ...any) Difference {
	return Difference{DB: k.DB, Key: k.Key, RawKey: k.Raw, What: fmt.Sprintf(format, args...)}
}

// missing is for a key that the server does not have.
func (w *whole) missing(k *index.KeyRow) {
	*w.mayHold(k.DB)++
	if w.expired(k.ExpireAt) {
		w.result.Expired++
		return
	}
	w.result.Keys++
	w.differs(keyDifference(k, "is missing"))
}

// key compares one key. problem says why its value could not be had.
func (w *whole) key(ctx context.Context, k *index.KeyRow, rec *keyspace.Record, problem error) error {
	*w.mayHold(k.DB)++
	if w.expired(k.ExpireAt) {
		w.result.Expired++ // it may go at any moment
		return nil
	}
	w.result.Keys++
	if problem != nil {
		w.differs(keyDifference(k, "could not be read: %v", problem))
		return nil
	}
	if got := rec.Kind.String(); got != k.Kind {
		w.differs(keyDifference(k, "is a %s, and a %s in the snapshot", got, k.Kind))
		return nil
	}
	if off := rec.ExpireAt - k.ExpireAt; off < -expirySlack || off > expirySlack {
		w.differs(keyDifference(k, "expires %s, and %s in the snapshot", expiry(rec.ExpireAt), expiry(k.ExpireAt)))
		return nil
	}
	if int32(rec.Type) == k.Type && index.Digest(rec.Type, rec.Raw) == k.Digest {
		return nil
	}
	what, err := w.content(ctx, k, rec)
	if what != "" {
		w.differs(keyDifference(k, "%s", what))
	}
	return err
}

// expiry says in words when a key goes.
func expiry(ms int64) string {
	if ms == 0 {
		return "never"
	}
	return "at " + time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// content compares a value whose bytes differ, and returns in which way it does, if it does.
func (w *whole) content(ctx context.Context, k *index.KeyRow, rec *keyspace.Record) (what string, err error) {
	raw, err := w.o.Values.Read(ctx, k.Offset, k.Length)
	if err != nil {
		return "", fmt.Errorf("read key %q of the snapshot: %w", k.Key, err)
	}
	kind, _ := rdb.KindOf(byte(k.Type), w.o.Format)
	want, err := rdb.Canonical(&keyspace.Record{DB: int(k.DB), Type: byte(k.Type), Kind: kind, Format: w.o.Format, Raw: raw, Offset: k.Offset})
	if err != nil {
		return fmt.Sprintf("differs in its bytes, and cannot be looked into: %v", err), nil
	}
	got, err := rdb.Canonical(rec)
	if err != nil {
		return fmt.Sprintf("differs in its bytes, and cannot be looked into: %v", err), nil
	}
	if got != want {
		return "has other content", nil
	}
	return "", nil
}

// counts looks for keys that the snapshot does not have.
func (w *whole) counts(ctx context.Context) error {
	sizes, err := w.o.Filled.Sizes(ctx)
	if err != nil {
		return fmt.Errorf("count keys: %w", err)
	}
	for _, db := range slices.Sorted(maps.Keys(sizes)) {
		n, may := sizes[db], w.mayHold(int32(db))
		if n > *may {
			w.differs(Difference{DB: int32(db), What: fmt.Sprintf("holds %d keys, at least %d more than the snapshot", n, n-*may)})
		}
	}
	return nil
}
