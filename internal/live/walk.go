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
	// First is how many of the fields are asked for at first, and nothing else; More says, by
	// their values, what there is to ask besides. With 0 everything is asked at once.
	First int
	More  func(first [][]byte) More
	// Reads reports whether a key's fields are read; the others are only named.
	Reads func(key []byte) bool
}

// More is what there is to ask of a key besides its first fields.
type More byte

// The answers. For Everything all fields are read anew, so that they are from one instant.
const (
	Nothing More = iota
	Expiry
	Everything
)

// Walked is one key that Walk came by. All of it is valid until the next step.
type Walked struct {
	Key []byte
	// Values are those of the fields asked for, the first or all, nil where the hash has none.
	// They are nil as a whole where the key was only named, or is not to be read in this way:
	// it is gone, is no hash, has no such field as Measure or an empty one, or was refused.
	Values   [][]byte
	Measured int64 // length of the field Measure, in bytes; 0 where it was not asked
	ExpireAt int64 // absolute expiry, Unix milliseconds; 0 means none, or not asked
}

// How Walk goes. Small steps leave the server to others in between, and they are smaller
// where others are there. One step's reads are more than the server takes up at once
// (16 KiB), so that it is still at them when the reply to the next SCAN has come and been
// answered, and never waits.
const (
	walkCount = 128
	walkHeavy = 64       // after one whose reads were more than two commands for each key
	walkSteps = 4        // that the caller may be behind
	walkValue = 64 << 10 // bytes; a longer value is not kept
	clockEach = 64       // keys between two looks at the server's clock
)

// Walk names the keys that match, by SCAN, and reads some fields of those that are hashes.
// Nothing of a hash but those fields goes over the wire, and they are from one instant;
// its expiry is read after them. It is no point in time, and like SCAN it may come by a
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
		steps, free, failed := make(chan *walkStep, walkSteps), make(chan *walkStep, 2*walkSteps), make(chan error, 1)
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
			if !st.each(yield) {
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
	first    []byte // the words of HMGET after the key: the first fields
	all      []byte // and all
	out      chan []byte
	buffers  chan []byte
	next     string // cursor of the first step that was not handed over
	commands int    // that were sent last
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
	for i, f := range o.Fields {
		if w.all = appendWord(w.all, f); i < o.First {
			w.first = appendWord(w.first, f)
		}
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

// steps keeps each step's first reads on their way while the next SCAN is, and what more
// there is to ask, once the replies have told, while the reads of the next are.
func (w *walk) steps(ctx context.Context, steps chan<- *walkStep, free <-chan *walkStep) error {
	at := w.next
	w.send(at, nil, nil)
	var asked, told, again *walkStep
	for more := true; more || asked != nil || told != nil || again != nil; {
		var st *walkStep
		if more {
			st = room(free)
			st.cursor = at
			var err error
			if at, err = w.scanned(st); err != nil {
				return fmt.Errorf("scan: %w", err)
			}
			if more = at != "0"; !more {
				at = ""
			}
		}
		w.send(at, st, told)
		if asked != nil {
			if err := w.readFirst(asked); err != nil {
				return err
			}
		}
		if again != nil {
			if err := w.readMore(again); err != nil {
				return err
			}
			select {
			case steps <- again:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if told != nil {
				w.next = told.cursor
			}
		}
		asked, told, again = st, asked, told
	}
	return nil
}

// room returns a step to fill, one that is done with if there is any.
func room(free <-chan *walkStep) *walkStep {
	select {
	case st := <-free:
		st.reset()
		return st
	default:
		return &walkStep{}
	}
}

// send asks for the SCAN from that cursor on, if there is one, for the first fields of a
// step's keys, and for what more there is to ask of another's.
func (w *walk) send(cursor string, first, more *walkStep) {
	var b []byte
	select {
	case b = <-w.buffers:
		b = b[:0]
	default:
	}
	commands := 0
	if cursor != "" {
		count := walkCount
		if w.commands > 2*walkCount {
			count = walkHeavy
		}
		words := []string{"SCAN", cursor, "COUNT", strconv.Itoa(w.crowd.step(count))}
		if w.o.Match != "" {
			words = append(words, "MATCH", w.o.Match)
		}
		b = appendCommand(b, words...)
		commands++
	}
	n := 0
	if first != nil {
		b, n = w.appendFirst(b, first)
		commands += n
	}
	if more != nil {
		b, n = w.appendMore(b, more)
		commands += n
	}
	w.commands = commands
	w.crowd.sent.Add(int64(commands))
	if len(b) > 0 {
		w.out <- b
	}
}
