package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// reading is one look at one key: expiry, value, expiry.
type reading struct {
	clock  *redis.TimeCmd // nil where the server tells absolute times
	before *redis.IntCmd
	dump   *redis.StringCmd
	after  *redis.IntCmd
}

// Replies of PEXPIRETIME and PTTL that are no times.
const noExpiry, noKey = -1, -2

func (r *keyReader) newReading(ctx context.Context, key []byte) reading {
	ask := "pexpiretime"
	var q reading
	if r.noAbsExpire {
		ask, q.clock = "pttl", redis.NewTimeCmd(ctx, "time")
	}
	q.before, q.after = redis.NewIntCmd(ctx, ask, key), redis.NewIntCmd(ctx, ask, key)
	q.dump = redis.NewStringCmd(ctx, "dump", key)
	return q
}

func (q reading) appendTo(cmds []redis.Cmder) []redis.Cmder {
	if q.clock != nil {
		cmds = append(cmds, q.clock)
	}
	return append(cmds, q.before, q.dump, q.after)
}

// dumpBatch reads keys in one pipeline and yields those that are there. It is false
// when the sequence is over.
func (r *keyReader) dumpBatch(ctx context.Context, db int, keys [][]byte, yield func(Dumped, error) bool) bool {
	got, err := r.readBatch(ctx, db, keys)
	if err != nil {
		yield(Dumped{}, err)
		return false
	}
	for i, q := range got {
		d, err := r.settle(ctx, db, keys[i], q)
		var only *KeyError
		switch {
		case errors.As(err, &only):
			if !yield(Dumped{}, only) {
				return false
			}
		case err != nil:
			yield(Dumped{}, err)
			return false
		case d.Payload != nil:
			if !yield(d, nil) {
				return false
			}
		}
	}
	return true
}

func (r *keyReader) readBatch(ctx context.Context, db int, keys [][]byte) ([]reading, error) {
	for {
		got := make([]reading, len(keys))
		var cmds []redis.Cmder
		for i, k := range keys {
			got[i] = r.newReading(ctx, k)
			cmds = got[i].appendTo(cmds)
		}
		err := r.s.exec(ctx, db, cmds...)
		if err != nil && replyError(err) == nil && !errors.Is(err, redis.Nil) {
			return nil, wrap(ctx, fmt.Sprintf("dump %d keys of db %d", len(keys), db), err)
		}
		if !r.noAbsExpire && errors.Is(wrap(ctx, "", got[0].before.Err()), ErrDenied) && got[0].dump.Err() == nil {
			r.noAbsExpire = true
			continue
		}
		return got, nil
	}
}

// settle makes a Dumped of a reading, after reading the key anew if its expiry was
// changed around the DUMP: then the value may be older than the expiry beside it.
// A key that is gone has no Payload.
func (r *keyReader) settle(ctx context.Context, db int, key []byte, q reading) (Dumped, error) {
	for try := 1; ; try++ {
		payload, err := q.dump.Bytes()
		if errors.Is(err, redis.Nil) {
			return Dumped{}, nil
		}
		for _, err := range []error{err, q.before.Err(), q.after.Err()} {
			if err != nil {
				return Dumped{}, &KeyError{DB: db, Key: key, Err: wrap(ctx, "read", err)}
			}
		}
		if int64(len(payload)) > r.o.MaxPayload {
			return Dumped{}, &KeyError{DB: db, Key: key, Err: fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, len(payload), r.o.MaxPayload)}
		}
		before, after := q.before.Val(), q.after.Val()
		if sameExpiry(before, after, q.clock != nil) || try == changeTries {
			if before == noKey || after == noKey {
				return Dumped{}, nil
			}
			return Dumped{DB: db, Key: key, Payload: payload, ExpireAt: q.expireAt()}, nil
		}
		again, err := r.readBatch(ctx, db, [][]byte{key})
		if err != nil {
			return Dumped{}, err
		}
		q = again[0]
	}
}

// relativeSlack is by how much a remaining time may shrink around one DUMP before it
// counts as changed, in milliseconds: one long DUMP of another client may sit between.
const relativeSlack = 1000

func sameExpiry(before, after int64, relative bool) bool {
	if !relative || before < 0 || after < 0 {
		return before == after
	}
	return after <= before && before-after <= relativeSlack
}

func (q reading) expireAt() int64 {
	switch ttl := q.before.Val(); {
	case ttl < 0:
		return 0
	case q.clock == nil:
		return ttl
	default:
		return q.clock.Val().UnixMilli() + ttl
	}
}
