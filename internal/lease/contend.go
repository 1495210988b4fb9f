package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// sighting is a state of the cell and the moment from which we know it.
type sighting struct {
	tag    string // "": there is nothing
	record record
	at     time.Time // after the first answer that showed this tag
	mine   bool      // we wrote it, and nobody else leads by it
}

// attempt is a writing that may have been done.
type attempt struct {
	nonce  string
	before time.Time // the request was sent
}

// maxTried bounds what is remembered of an outage. Not to know our own writing again costs
// a wait, no more.
const maxTried = 32

// acquire waits until this contender leads. It fails with the cause of ctx's end, or with
// ErrForeign or ErrUnconditional.
func (l *Lease) acquire(ctx context.Context) (*hold, error) {
	for {
		wait := l.poll()
		err := l.look(ctx)
		if err == nil {
			if left := l.untilFree(); left > 0 {
				wait = min(wait, left)
			} else if h, taken := l.take(ctx); taken == nil {
				return h, nil
			} else if !errors.Is(taken, ErrMoved) {
				err = taken
			}
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		l.note(err)
		if errors.Is(err, ErrForeign) || errors.Is(err, ErrUnconditional) {
			return nil, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// poll is a pause between two looks, another one each time, so that contenders do not
// stay in step and each has its chance.
func (l *Lease) poll() time.Duration {
	longest := l.o.TTL / pollPart
	return longest/2 + rand.N(longest/2)
}

// look loads the cell. The moment of a sighting is after the answer: the writing that made
// the tag came before that, however long the answer took.
func (l *Lease) look(ctx context.Context) error {
	r, tag, err := l.load(ctx)
	if err != nil {
		return err
	}
	if tag == l.seen.tag && !l.seen.at.IsZero() {
		return nil
	}
	// To one that saw a lease its absence is a change like any other: whoever removed it
	// did not stop its holder.
	fresh := tag == "" && l.seen.at.IsZero()
	mine := slices.ContainsFunc(l.tried, func(a attempt) bool { return tag != "" && a.nonce == r.Nonce })
	l.see(sighting{tag: tag, record: r, at: l.o.Now(), mine: mine || fresh})
	return nil
}

// untilFree returns how long it is until the lease may be taken.
func (l *Lease) untilFree() time.Duration {
	ttl := l.o.TTL
	switch {
	case l.seen.mine && l.seen.record.Released:
		ttl /= pollPart // who gave it back lets each of the others have a look first
	case l.seen.mine || l.seen.record.Released:
		return 0
	case l.seen.tag != "":
		ttl = l.seen.record.ttl()
	}
	return ttl - l.o.Now().Sub(l.seen.at)
}

// take writes the lease for us, in the next generation.
func (l *Lease) take(ctx context.Context) (*hold, error) {
	old := l.seen.tag
	before, err := l.write(ctx, record{Generation: l.highest + 1, Owner: l.o.Owner, TTL: l.o.TTL.Milliseconds()})
	if err != nil {
		return nil, err
	}
	if err := l.prove(ctx, old); err != nil {
		return nil, err
	}
	h := &hold{now: l.o.Now, from: before, length: l.o.TTL - l.o.TTL/marginPart}
	if err := h.check(); err != nil {
		return nil, err // the answer came too late: it is ours, to be taken again
	}
	l.mu.Lock()
	l.hold = h
	l.mu.Unlock()
	return h, nil
}

// prove asks for one writing that must be refused, once in the life of a contender.
func (l *Lease) prove(ctx context.Context, old string) error {
	if l.proven {
		return nil
	}
	_, value := l.seen.record.encode()
	ctx, cancel := context.WithTimeout(ctx, l.o.TTL/patiencePart)
	defer cancel()
	_, err := l.cell.Swap(ctx, old, value)
	if err == nil {
		return ErrUnconditional
	}
	l.proven = errors.Is(err, ErrMoved)
	return nil // without an answer the next time will tell
}

// write stores r in place of what was seen last, and returns the moment before it was sent.
func (l *Lease) write(ctx context.Context, r record) (before time.Time, err error) {
	r, value := r.encode()
	before = l.o.Now()
	l.tried = append(l.tried, attempt{r.Nonce, before})
	if len(l.tried) > maxTried {
		l.tried = slices.Delete(l.tried, 0, 1)
	}
	ctx, cancel := context.WithTimeout(ctx, l.o.TTL/patiencePart)
	defer cancel()
	tag, err := l.cell.Swap(ctx, l.seen.tag, value)
	if err != nil {
		l.note(err)
		return before, err
	}
	l.own(r, tag)
	return before, nil
}

// load reads the cell.
func (l *Lease) load(ctx context.Context) (record, string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.TTL/patiencePart)
	defer cancel()
	value, tag, err := l.cell.Load(ctx)
	if err != nil || tag == "" {
		return record{}, "", err
	}
	r, err := parse(value)
	return r, tag, err
}

// own notes that the cell holds what we wrote.
func (l *Lease) own(r record, tag string) {
	l.see(sighting{tag: tag, record: r, at: l.o.Now(), mine: true})
}

// see takes over what the cell holds now. What was tried against an earlier tag can no
// longer be done.
func (l *Lease) see(s sighting) {
	l.seen, l.tried = s, nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Err = nil
	if l.status.Since.IsZero() || s.record.Generation != l.status.Generation {
		l.status.Since = s.at
	}
	l.highest = max(l.highest, s.record.Generation)
	l.status.Generation = l.highest
	l.status.Holder = s.record.Owner
	if s.record.Released {
		l.status.Holder = ""
	}
}

// note keeps an error, or the lack of one, for Status.
func (l *Lease) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, ErrMoved) {
		err = nil
	}
	l.status.Err = err
}
