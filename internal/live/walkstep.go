package live

import (
	"errors"
	"time"
)

// walkStep is what one SCAN named, and what was read of it.
type walkStep struct {
	cursor string // that it was asked for with
	keys   []walkKey
	bytes  []byte // names and values
	values []span // of all keys that were read, in order
	out    [][]byte
}

type span struct {
	from, to int
	state    valueState
}

type walkKey struct {
	from, to           int // of the name
	read, good         bool
	measured, expireAt int64
}

func (st *walkStep) reset() {
	st.keys, st.bytes, st.values = st.keys[:0], st.bytes[:0], st.values[:0]
}

// scanned reads the reply to SCAN, and returns the next cursor.
func (w *walk) scanned(st *walkStep) (cursor string, err error) {
	if n, err := w.array(); err != nil || n != 2 {
		return "", orShape(err)
	}
	next, state, err := w.bulk(nil, 64)
	if err != nil || state != whole || len(next) == 0 {
		return "", orShape(err)
	}
	n, err := w.array()
	if err != nil {
		return "", err
	}
	for range n {
		from := len(st.bytes)
		if st.bytes, state, err = w.bulk(st.bytes, DefaultMaxPayload); err != nil || state != whole {
			return "", orShape(err)
		}
		st.keys = append(st.keys, walkKey{from: from, to: len(st.bytes)})
	}
	return string(next), nil
}

func orShape(err error) error {
	if err == nil {
		return errReply
	}
	return err
}

// read reads the replies about a step's keys.
func (w *walk) read(st *walkStep) error {
	n, now := 0, int64(0)
	for i := range st.keys {
		k := &st.keys[i]
		if !k.read {
			continue
		}
		if w.relative && n%clockEach == 0 {
			var err error
			if now, err = w.clock(); err != nil {
				return err
			}
		}
		n++
		if err := w.readKey(st, k, now); err != nil {
			return err
		}
	}
	return nil
}

// readKey reads the three replies about one key. What the server refuses concerns that key
// alone.
func (w *walk) readKey(st *walkStep, k *walkKey, now int64) error {
	var said *ReplyError
	k.good = true
	bad := func(err error) error {
		if err == nil || !errors.As(err, &said) {
			return err
		}
		k.good = false
		return nil
	}
	if err := bad(w.readFields(st, k)); err != nil {
		return err
	}
	var err error
	k.measured, err = w.integer()
	if err := bad(err); err != nil {
		return err
	}
	ttl, err := w.integer()
	if err := bad(err); err != nil {
		return err
	}
	switch {
	case ttl == noKey || k.measured == 0:
		k.good = false
	case ttl < 0:
		k.expireAt = 0
	case w.relative:
		k.expireAt = now + ttl
	default:
		k.expireAt = ttl
	}
	return nil
}

// readFields reads the reply to HMGET.
func (w *walk) readFields(st *walkStep, k *walkKey) error {
	from := len(st.values)
	st.values = append(st.values, make([]span, len(w.o.Fields))...)
	n, err := w.array()
	if err != nil {
		return err
	}
	if n != len(w.o.Fields) {
		return errReply
	}
	found := false
	for i := range n {
		v := &st.values[from+i]
		v.from = len(st.bytes)
		if st.bytes, v.state, err = w.bulk(st.bytes, walkValue); err != nil {
			return err
		}
		v.to = len(st.bytes)
		found = found || v.state == whole
		k.good = k.good && v.state != cut
	}
	k.good = k.good && found // all of it may have come only after
	return nil
}

// clock reads the reply to TIME, in Unix milliseconds.
func (w *walk) clock() (int64, error) {
	n, err := w.array()
	if err != nil || n != 2 {
		return 0, orShape(err)
	}
	var parts [2]int64
	for i := range parts {
		b, _, err := w.bulk(nil, 64)
		if err != nil {
			return 0, err
		}
		parts[i], _ = number(b)
	}
	return time.Unix(parts[0], parts[1]*int64(time.Microsecond)).UnixMilli(), nil
}

// each yields the keys of a step. It is false when the sequence is over.
func (st *walkStep) each(fields int, yield func(Walked, error) bool) bool {
	values := st.values
	for i := range st.keys {
		k := &st.keys[i]
		at := Walked{Key: st.bytes[k.from:k.to:k.to]}
		if k.read {
			if k.good {
				st.out = st.out[:0]
				for _, v := range values[:fields] {
					var b []byte
					if v.state == whole {
						b = st.bytes[v.from:v.to:v.to]
					}
					st.out = append(st.out, b)
				}
				at.Values, at.Measured, at.ExpireAt = st.out, k.measured, k.expireAt
			}
			values = values[fields:]
		}
		if !yield(at, nil) {
			return false
		}
	}
	return true
}
