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
	values []span // of all keys that were read
	out    [][]byte
}

type span struct {
	from, to int
	state    valueState
}

type walkKey struct {
	from, to           int // of the name
	values, end        int // of the values, in the step's
	read, good         bool
	more               More
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

// appendFirst appends what asks for the first fields of a step's keys, or for everything
// where that is asked at once, and returns how many commands that are.
func (w *walk) appendFirst(b []byte, st *walkStep) (_ []byte, commands int) {
	for i := range st.keys {
		k := &st.keys[i]
		key := st.bytes[k.from:k.to]
		if k.read = w.o.Reads(key); !k.read || w.o.First == 0 {
			continue
		}
		b = appendFields(b, key, w.o.First, w.first)
		commands++
	}
	if w.o.First > 0 {
		return b, commands
	}
	for i := range st.keys {
		if k := &st.keys[i]; k.read {
			k.more = Everything
		}
	}
	return w.appendMore(b, st)
}

func appendFields(b, key []byte, n int, fields []byte) []byte {
	b = append(appendHead(b, '*', 2+n), "$5\r\nHMGET\r\n"...)
	return append(appendWord(b, key), fields...)
}

// appendMore appends what asks for the rest.
func (w *walk) appendMore(b []byte, st *walkStep) (_ []byte, commands int) {
	n := 0
	for i := range st.keys {
		k := &st.keys[i]
		if k.more == Nothing {
			continue
		}
		key := st.bytes[k.from:k.to]
		if w.relative && n%clockEach == 0 {
			b = appendCommand(b, "TIME")
			commands++
		}
		n++
		if k.more == Everything {
			b = append(appendFields(b, key, len(w.o.Fields), w.all), "*3\r\n$7\r\nHSTRLEN\r\n"...)
			b = appendWord(appendWord(b, key), w.o.Measure)
			commands += 2
		}
		if w.relative {
			b = append(b, "*2\r\n$4\r\nPTTL\r\n"...)
		} else {
			b = append(b, "*2\r\n$11\r\nPEXPIRETIME\r\n"...)
		}
		b = appendWord(b, key)
		commands++
	}
	return b, commands
}

// readFirst reads the replies about the first fields of a step's keys, and finds out what
// more there is to ask.
func (w *walk) readFirst(st *walkStep) error {
	if w.o.First == 0 {
		return w.readMore(st)
	}
	for i := range st.keys {
		k := &st.keys[i]
		if !k.read {
			continue
		}
		if err := k.refused(w.readFields(st, k, w.o.First)); err != nil {
			return err
		}
		if k.good {
			k.more = w.o.More(st.told(k))
		}
	}
	return nil
}

// readMore reads the replies about the rest, after which there is none.
func (w *walk) readMore(st *walkStep) error {
	n, now := 0, int64(0)
	for i := range st.keys {
		k := &st.keys[i]
		if k.more == Nothing {
			continue
		}
		if w.relative && n%clockEach == 0 {
			var err error
			if now, err = w.clock(); err != nil {
				return err
			}
		}
		n++
		if k.more == Everything {
			if err := w.readAll(st, k); err != nil {
				return err
			}
		}
		if err := w.readExpiry(k, now); err != nil {
			return err
		}
		k.more = Nothing
	}
	return nil
}

// refused lets go of what the server refuses: that concerns the key alone, which is then
// not good.
func (k *walkKey) refused(err error) error {
	var said *ReplyError
	if err == nil || !errors.As(err, &said) {
		return err
	}
	k.good = false
	return nil
}

// readAll reads the replies to what asks for all fields.
func (w *walk) readAll(st *walkStep, k *walkKey) error {
	if err := k.refused(w.readFields(st, k, len(w.o.Fields))); err != nil {
		return err
	}
	var err error
	k.measured, err = w.integer()
	if err := k.refused(err); err != nil {
		return err
	}
	k.good = k.good && k.measured > 0
	return nil
}

func (w *walk) readExpiry(k *walkKey, now int64) error {
	ttl, err := w.integer()
	if err := k.refused(err); err != nil {
		return err
	}
	switch {
	case ttl == noKey:
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
func (w *walk) readFields(st *walkStep, k *walkKey, fields int) error {
	k.good, k.values = false, len(st.values)
	st.values = append(st.values, make([]span, fields)...)
	k.end = len(st.values)
	n, err := w.array()
	if err != nil {
		return err
	}
	if n != fields {
		return errReply
	}
	found, short := false, true
	for i := range n {
		v := &st.values[k.values+i]
		v.from = len(st.bytes)
		if st.bytes, v.state, err = w.bulk(st.bytes, walkValue); err != nil {
			return err
		}
		v.to = len(st.bytes)
		found = found || v.state == whole
		short = short && v.state != cut
	}
	k.good = found && short // all of it may have come only after
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

// told returns the values of a key that were read.
func (st *walkStep) told(k *walkKey) [][]byte {
	st.out = st.out[:0]
	for _, v := range st.values[k.values:k.end] {
		var b []byte
		if v.state == whole {
			b = st.bytes[v.from:v.to:v.to]
		}
		st.out = append(st.out, b)
	}
	return st.out
}

// each yields the keys of a step. It is false when the sequence is over.
func (st *walkStep) each(yield func(Walked, error) bool) bool {
	for i := range st.keys {
		k := &st.keys[i]
		at := Walked{Key: st.bytes[k.from:k.to:k.to]}
		if k.good {
			at.Values, at.Measured, at.ExpireAt = st.told(k), k.measured, k.expireAt
		}
		if !yield(at, nil) {
			return false
		}
	}
	return true
}
