package live

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
)

// WalkOptions choose what Walk reads.
type WalkOptions struct {
	DB     int
	Match  string // glob for the server; empty means all keys
	Fields []string
	// Measure is a field of which only the length is asked: it may be large.
	Measure string
	// Reads reports whether a key's fields are read; the others are only named.
	Reads func(key []byte) bool
}

// Walked is one key that Walk came by. All of it is valid until the next step.
type Walked struct {
	Key []byte
	// Values are those of the fields asked for, nil where the hash has none. They are nil as
	// a whole where the key was only named, or is not to be read in this way: it is gone, is
	// no hash, has no such field as Measure or an empty one, or was refused.
	Values   [][]byte
	Measured int64 // length of the field Measure, in bytes
	ExpireAt int64 // absolute expiry, Unix milliseconds; 0 means none
}

// How Walk goes. Small steps leave the server to others in between, and they are smaller
// where others are there; two are under way, so that it always has the next one.
const (
	walkCount  = 64
	walkValue  = 64 << 10 // bytes; a longer value is not kept
	readsOfKey = 3        // commands
	clockEach  = 64       // keys between two looks at the server's clock
)

// Walk names the keys that match, by SCAN, and reads some fields of those that are hashes.
// Nothing of a hash but those fields goes over the wire, and they are from one instant;
// its expiry is read right after. It is no point in time, and like SCAN it may come by a
// key twice. An error ends the sequence.
func (s *Server) Walk(ctx context.Context, o WalkOptions) iter.Seq2[Walked, error] {
	return func(yield func(Walked, error) bool) {
		act := "read the keys of db " + strconv.Itoa(o.DB)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		w, err := s.startWalk(ctx, o)
		if err != nil {
			yield(Walked{}, lost(ctx, act, err))
			return
		}
		defer s.WatchCrowd(ctx)()
		steps, free, failed := make(chan *walkStep, 1), make(chan *walkStep, 4), make(chan error, 1)
		go func() {
			defer close(steps)
			failed <- s.walkOn(ctx, w, steps, free)
		}()
		defer func() {
			cancel()
			for range steps { // until the reader has ended
			}
		}()
		for st := range steps {
			if !st.each(len(o.Fields), yield) {
				return
			}
			select {
			case free <- st:
			default:
			}
		}
		if err := <-failed; err != nil {
			yield(Walked{}, lost(ctx, act, err))
		}
	}
}

// walk is a Walk under way.
type walk struct {
	*wire
	o        WalkOptions
	crowd    *crowd
	relative bool   // the server does not tell absolute expiries (before 7.0)
	fixed    []byte // the words of HMGET after the key
	out      chan []byte
	buffers  chan []byte
	next     string // cursor of the first step that was not handed over
}

func (s *Server) startWalk(ctx context.Context, o WalkOptions) (*walk, error) {
	for _, words := range [][]string{{"scan"}, {"hmget"}, {"hstrlen"}, {"pexpiretime"}, {"pttl"}, {"time"}} {
		if err := onlyReads(words...); err != nil {
			return nil, err
		}
	}
	c, err := s.openWire(ctx, o.DB)
	if err != nil {
		return nil, err
	}
	w := &walk{wire: c, o: o, crowd: &s.crowd, out: make(chan []byte), buffers: make(chan []byte, 4)}
	for _, f := range o.Fields {
		w.fixed = appendWord(w.fixed, f)
	}
	var said *ReplyError
	if err := w.ask("PEXPIRETIME", "rqvault"); errors.As(err, &said) {
		w.relative = true // unknown to it, or not allowed
	} else if err != nil {
		_ = c.c.Close()
		return nil, err
	}
	return w, nil
}

// walkOn runs a walk to its end. Where the connection breaks, as of one that a server takes
// for idle while the caller is busy, another goes on from the first step that was not
// handed over.
func (s *Server) walkOn(ctx context.Context, w *walk, steps chan<- *walkStep, free <-chan *walkStep) error {
	for from := "0"; ; {
		c := w.c
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		w.next = from
		err := w.run(ctx, steps, free)
		stop()
		_ = c.Close()
		if err == nil || ctx.Err() != nil || !isLost(err) || isTimeout(err) || w.next == from {
			return err
		}
		from = w.next
		if w, err = s.startWalk(ctx, w.o); err != nil {
			return err
		}
	}
}

// run reads step by step, from the cursor next on, and hands each to steps. The next SCAN is always ahead of the
// reads of the last one's keys, so that its reply says what to ask for while the server is
// still at those.
func (w *walk) run(ctx context.Context, steps chan<- *walkStep, free <-chan *walkStep) error {
	written := make(chan error, 1)
	go func() { written <- w.write() }()
	err := w.steps(ctx, steps, free)
	close(w.out)
	if err != nil {
		_ = w.c.Close()
	}
	return errors.Join(err, <-written)
}

// write sends what it is given, beside the reading: a server or proxy that waits until its
// replies are taken must not stop both.
func (w *walk) write() (err error) {
	for b := range w.out {
		if err == nil {
			if _, err = w.c.Write(b); err != nil {
				_ = w.c.Close()
			}
		}
		select {
		case w.buffers <- b:
		default:
		}
	}
	return err
}

func (w *walk) steps(ctx context.Context, steps chan<- *walkStep, free <-chan *walkStep) error {
	room := func() *walkStep {
		select {
		case st := <-free:
			st.reset()
			return st
		default:
			return &walkStep{}
		}
	}
	at := w.next
	w.send(at, nil)
	var asked *walkStep
	for more := true; more || asked != nil; {
		var st *walkStep
		if more {
			st = room()
			st.cursor = at
			var err error
			if at, err = w.scanned(st); err != nil {
				return fmt.Errorf("scan: %w", err)
			}
			if more = at != "0"; !more {
				at = ""
			}
			w.send(at, st)
		}
		if asked != nil {
			if err := w.read(asked); err != nil {
				return err
			}
			select {
			case steps <- asked:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if st != nil {
				w.next = st.cursor
			}
		}
		asked = st
	}
	return nil
}

// send asks for the SCAN from that cursor on, if there is one, and for the fields of a
// step's keys.
func (w *walk) send(cursor string, st *walkStep) {
	var b []byte
	select {
	case b = <-w.buffers:
		b = b[:0]
	default:
	}
	commands := 0
	if cursor != "" {
		words := []string{"SCAN", cursor, "COUNT", strconv.Itoa(w.crowd.step(walkCount))}
		if w.o.Match != "" {
			words = append(words, "MATCH", w.o.Match)
		}
		b = appendCommand(b, words...)
		commands++
	}
	if st != nil {
		n := 0
		b, n = w.appendReads(b, st)
		commands += n
	}
	w.crowd.sent.Add(int64(commands))
	if len(b) > 0 {
		w.out <- b
	}
}

// appendReads appends what asks for the fields of a step's keys, and returns how many
// commands that are.
func (w *walk) appendReads(b []byte, st *walkStep) (_ []byte, commands int) {
	n := 0
	for i := range st.keys {
		k := &st.keys[i]
		key := st.bytes[k.from:k.to]
		if k.read = w.o.Reads(key); !k.read {
			continue
		}
		if w.relative && n%clockEach == 0 {
			b = appendCommand(b, "TIME")
			commands++
		}
		n++
		b = append(appendHead(b, '*', 2+len(w.o.Fields)), "$5\r\nHMGET\r\n"...)
		b = append(appendWord(b, key), w.fixed...)
		b = append(b, "*3\r\n$7\r\nHSTRLEN\r\n"...)
		b = appendWord(appendWord(b, key), w.o.Measure)
		if w.relative {
			b = append(b, "*2\r\n$4\r\nPTTL\r\n"...)
		} else {
			b = append(b, "*2\r\n$11\r\nPEXPIRETIME\r\n"...)
		}
		b = appendWord(b, key)
	}
	return b, commands + readsOfKey*n
}
