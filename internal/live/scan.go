package live

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// AllDBs as ScanOptions.DB walks every database that holds keys.
const AllDBs = -1

// Limits that keep the memory of a Scan bounded, whatever the keys are.
const (
	// defaultBatch is small, so that the server gets to others in between.
	defaultBatch = 64
	// batchBytes is how many bytes of values, by the server's estimate, are asked
	// for at once.
	batchBytes = 32 << 20
	// blindBatch is the batch where the server does not estimate sizes.
	blindBatch = 32
	// DefaultMaxPayload is the largest payload that RESTORE takes on a server with
	// default settings (proto-max-bulk-len).
	DefaultMaxPayload = 512 << 20
	// changeTries bounds how often a key whose expiry moves is read anew.
	changeTries = 3
)

// ScanOptions choose what Scan and Dump read.
type ScanOptions struct {
	DB         int    // database number, or AllDBs; Dump ignores it
	Match      string // glob for the server; empty means all keys
	Type       string // as the TYPE command names it; empty means all; needs Redis 6.0
	Count      int    // keys the server looks at per SCAN step, default 64
	Pipeline   int    // most keys per pipeline, default 64
	MaxPayload int64  // bytes; a larger value is a KeyError, default DefaultMaxPayload
}

func (o ScanOptions) withDefaults() ScanOptions {
	if o.Count <= 0 {
		o.Count = defaultBatch
	}
	if o.Pipeline <= 0 {
		o.Pipeline = defaultBatch
	}
	if o.MaxPayload <= 0 {
		o.MaxPayload = DefaultMaxPayload
	}
	return o
}

// Dumped is one key as RESTORE takes it. Key and Payload belong to the caller.
type Dumped struct {
	DB       int
	Key      []byte
	Payload  []byte
	ExpireAt int64 // absolute expiry, Unix milliseconds; 0 means none
}

// KeyError is about one key only; a sequence that yields it goes on after it.
type KeyError struct {
	DB  int
	Key []byte
	Err error
}

// Error names the key and what is wrong with it.
func (e *KeyError) Error() string { return fmt.Sprintf("dump key %q of db %d: %v", e.Key, e.DB, e.Err) }

// Unwrap returns the cause.
func (e *KeyError) Unwrap() error { return e.Err }

// ErrTooLarge: a value is larger than the options allow.
var ErrTooLarge = errors.New("value is too large")

// Scan yields keys with their payloads by SCAN and pipelined DUMP. It is no point
// in time: a key that stays is yielded at least once, and can be yielded more than
// once, in which case the later one is newer; a key that comes or goes meanwhile may
// or may not be. A value and its expiry belong together: they are read side by side
// and again if the expiry moved between.
//
// A *KeyError concerns its key alone and the sequence goes on; any other error ends
// it.
func (s *Server) Scan(ctx context.Context, o ScanOptions) iter.Seq2[Dumped, error] {
	o = o.withDefaults()
	return ahead(ctx, func(ctx context.Context) iter.Seq2[Dumped, error] { return s.scan(ctx, o) })
}

func (s *Server) scan(ctx context.Context, o ScanOptions) iter.Seq2[Dumped, error] {
	return func(yield func(Dumped, error) bool) {
		defer s.WatchCrowd(ctx)()
		dbs := []int{o.DB}
		if o.DB == AllDBs {
			var err error
			if dbs, err = s.Databases(ctx); err != nil {
				yield(Dumped{}, err)
				return
			}
		}
		r := s.newKeyReader(o)
		for _, db := range dbs {
			if !r.scanDB(ctx, db, yield) {
				return
			}
		}
	}
}

// Dump yields the named keys of one database, in their order, as Scan does. Keys
// that do not exist are left out.
func (s *Server) Dump(ctx context.Context, db int, keys [][]byte) iter.Seq2[Dumped, error] {
	return ahead(ctx, func(ctx context.Context) iter.Seq2[Dumped, error] {
		return func(yield func(Dumped, error) bool) {
			s.newKeyReader(ScanOptions{}.withDefaults()).dumpKeys(ctx, db, keys, yield)
		}
	})
}

// Databases lists the numbers of the databases that hold keys, lowest first. Where
// INFO is refused they are found by selecting one after the other.
func (s *Server) Databases(ctx context.Context) ([]int, error) {
	in, err := s.info(ctx, "keyspace")
	if err == nil {
		var dbs []int
		for _, d := range in.keyspace() {
			dbs = append(dbs, d.DB)
		}
		return dbs, nil
	}
	if !isRefusal(err) {
		return nil, err
	}
	return s.probeDatabases(ctx)
}

// maxProbedDBs bounds the probing on servers that accept any number.
const maxProbedDBs = 1 << 14

func (s *Server) probeDatabases(ctx context.Context) ([]int, error) {
	var dbs []int
	for db := range maxProbedDBs {
		size := redis.NewIntCmd(ctx, "dbsize")
		err := s.exec(ctx, db, size)
		held := err == nil && size.Val() > 0 // after an error size may still be in use
		if db != s.target.DB && !held {
			s.forget(db)
		}
		if db > 0 && replyError(err) != nil {
			return dbs, nil // no such database
		}
		if err != nil {
			return nil, wrap(ctx, "count keys of db "+strconv.Itoa(db), err)
		}
		if held {
			dbs = append(dbs, db)
		}
	}
	return dbs, nil
}

// forget closes the pool of a database that was only probed.
func (s *Server) forget(db int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[db]; c != nil {
		_ = c.Close()
		delete(s.clients, db)
	}
}

// keyReader reads keys in batches and remembers what the server turned out not to
// know.
type keyReader struct {
	s           *Server
	o           ScanOptions
	noEstimate  bool // MEMORY USAGE is refused
	noAbsExpire bool // PEXPIRETIME is unknown (before 7.0)
}

func (s *Server) newKeyReader(o ScanOptions) *keyReader { return &keyReader{s: s, o: o} }

func (r *keyReader) scanDB(ctx context.Context, db int, yield func(Dumped, error) bool) bool {
	for cursor := "0"; ; {
		args := []any{"scan", cursor, "count", r.s.crowd.step(r.o.Count)}
		if r.o.Match != "" {
			args = append(args, "match", r.o.Match)
		}
		if r.o.Type != "" {
			args = append(args, "type", r.o.Type)
		}
		cmd := redis.NewCmd(ctx, args...)
		if err := r.s.exec(ctx, db, cmd); err != nil {
			yield(Dumped{}, wrap(ctx, "scan db "+strconv.Itoa(db), err))
			return false
		}
		next, keys, err := scanReply(cmd.Val())
		if err != nil {
			yield(Dumped{}, fmt.Errorf("scan db %d: %w", db, err))
			return false
		}
		if !r.dumpKeys(ctx, db, keys, yield) {
			return false
		}
		if cursor = next; cursor == "0" {
			return true
		}
	}
}

func scanReply(v any) (cursor string, keys [][]byte, err error) {
	parts, _ := v.([]any)
	if len(parts) == 2 {
		cursor, _ = parts[0].(string)
	}
	if cursor == "" {
		return "", nil, errors.New("the reply to SCAN has an unknown shape")
	}
	list, _ := parts[1].([]any)
	for _, k := range list {
		name, ok := k.(string)
		if !ok {
			return "", nil, errors.New("the reply to SCAN has an unknown shape")
		}
		keys = append(keys, []byte(name))
	}
	return cursor, keys, nil
}

func (r *keyReader) dumpKeys(ctx context.Context, db int, keys [][]byte, yield func(Dumped, error) bool) bool {
	for len(keys) > 0 {
		n := min(len(keys), r.s.crowd.step(r.o.Pipeline))
		sizes, err := r.estimate(ctx, db, keys[:n])
		if err != nil {
			yield(Dumped{}, err)
			return false
		}
		if !r.dumpSized(ctx, db, keys[:n], sizes, yield) {
			return false
		}
		keys = keys[n:]
	}
	return true
}

// estimate asks how much memory each value takes, which bounds its payload well
// enough. Keys that vanished have size 0.
func (r *keyReader) estimate(ctx context.Context, db int, keys [][]byte) ([]int64, error) {
	sizes := make([]int64, len(keys))
	for !r.noEstimate {
		cmds := make([]redis.Cmder, len(keys))
		for i, k := range keys {
			cmds[i] = redis.NewIntCmd(ctx, "memory", "usage", k)
		}
		err := r.s.exec(ctx, db, cmds...)
		if err != nil && replyError(err) == nil && !errors.Is(err, redis.Nil) {
			return nil, wrap(ctx, "estimate sizes", err)
		}
		known := false
		for i, c := range cmds {
			sizes[i] = c.(*redis.IntCmd).Val()
			known = known || c.Err() == nil || errors.Is(c.Err(), redis.Nil)
		}
		if known {
			return sizes, nil
		}
		r.noEstimate = true
	}
	for i := range sizes {
		sizes[i] = batchBytes / blindBatch
	}
	return sizes, nil
}

// dumpSized dumps a batch in pieces of bounded size.
func (r *keyReader) dumpSized(ctx context.Context, db int, keys [][]byte, sizes []int64, yield func(Dumped, error) bool) bool {
	for from := 0; from < len(keys); {
		if sizes[from] > r.o.MaxPayload {
			err := fmt.Errorf("%w: about %d bytes, at most %d are read", ErrTooLarge, sizes[from], r.o.MaxPayload)
			if !yield(Dumped{}, &KeyError{DB: db, Key: keys[from], Err: err}) {
				return false
			}
			from++
			continue
		}
		to, sum := from+1, sizes[from]
		for to < len(keys) && sum+sizes[to] <= batchBytes {
			sum += sizes[to]
			to++
		}
		if !r.dumpBatch(ctx, db, keys[from:to], yield) {
			return false
		}
		from = to
	}
	return true
}
