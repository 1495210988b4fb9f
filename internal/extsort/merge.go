package extsort

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// merge yields the pairs of all runs, and those in memory, in order.
func (s *Sorter) merge(yield func(Pair, error) bool) error {
	var all []*run
	buffer := s.runBuffer()
	for _, o := range append([]*Sorter{s}, s.joined...) {
		for _, f := range o.runs {
			whole := io.NewSectionReader(f, 0, math.MaxInt64)
			all = append(all, &run{r: bufio.NewReaderSize(whole, buffer), age: len(all)})
		}
		all = append(all, &run{s: o, age: len(all)})
	}
	var h runHeap
	for _, r := range all {
		more, err := r.advance()
		if err != nil {
			return err
		}
		if more {
			h = append(h, r)
		}
	}
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
	for len(h) > 0 {
		top := h[0]
		if !yield(top.at, nil) {
			return nil
		}
		more, err := top.advance()
		if err != nil {
			return err
		}
		if !more {
			h[0] = h[len(h)-1]
			h = h[:len(h)-1]
		}
		h.sink(0)
	}
	return nil
}

// headLen is the most that stands before a pair in a file.
const headLen = 3 * binary.MaxVarintLen32

// runBuffer is what is read of each run at once, in bytes: less where there are many.
func (s *Sorter) runBuffer() int {
	const most, least, all = 64 << 10, 8 << 10, 4 << 20
	runs := len(s.runs)
	for _, o := range s.joined {
		runs += len(o.runs)
	}
	return min(most, max(least, all/max(runs, 1)))
}

// run is one sorted row of pairs, read from its file or, with r nil, from memory.
type run struct {
	r     *bufio.Reader
	s     *Sorter
	next  int // in memory
	warm  int // pairs in memory that were touched
	age   int // of the run among all: equal keys of one stamp come first from an older one
	at    Pair
	stamp uint32
	head  uint64 // of the key at hand
	held  int    // bytes of the pair at hand that still lie in the reader's buffer
	buf   []byte // a pair larger than the reader's buffer
}

// advance goes to the next pair and reports whether there is one.
func (r *run) advance() (bool, error) {
	if r.r != nil {
		return r.read()
	}
	if r.next == len(r.s.pairs) {
		return false, nil
	}
	r.warm = r.s.touch(r.next, r.warm)
	p := r.s.pairs[r.next]
	r.at, r.head, r.stamp = r.s.get(p), p.head, p.stamp
	r.next++
	return true, nil
}

// read goes to the next pair of a file, and leaves it where the reader's buffer has it.
func (r *run) read() (bool, error) {
	_, _ = r.r.Discard(r.held) // it is in the buffer
	r.held = 0
	lengths, err := r.r.Peek(headLen)
	if len(lengths) == 0 && errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read a sort file: %w", err)
	}
	klen, n := binary.Uvarint(lengths)
	vlen, m := binary.Uvarint(lengths[max(n, 0):])
	stamp, k := binary.Uvarint(lengths[max(n, 0)+max(m, 0):])
	if n <= 0 || m <= 0 || k <= 0 || klen > math.MaxUint32 || vlen > math.MaxUint32 || stamp > math.MaxUint32 {
		return false, fmt.Errorf("read a sort file: bad lengths: %w", io.ErrUnexpectedEOF)
	}
	_, _ = r.r.Discard(n + m + k)
	size := int(klen + vlen)
	pair, err := r.bytes(size)
	if err != nil {
		return false, fmt.Errorf("read a sort file: %w", err)
	}
	r.at = Pair{pair[:klen], pair[klen:]}
	r.head, r.stamp = headOf(r.at.Key), uint32(stamp)
	return true, nil
}

// bytes returns the next bytes, valid until the next call.
func (r *run) bytes(n int) ([]byte, error) {
	if n <= r.r.Size() {
		b, err := r.r.Peek(n)
		r.held = len(b)
		return b, err
	}
	r.buf = slices.Grow(r.buf[:0], n)[:n]
	_, err := io.ReadFull(r.r, r.buf)
	return r.buf, err
}

// before reports whether the pair of r comes before that of x.
func (r *run) before(x *run) bool {
	if r.head != x.head {
		return r.head < x.head
	}
	if c := bytes.Compare(r.at.Key, x.at.Key); c != 0 {
		return c < 0
	}
	if r.stamp != x.stamp {
		return r.stamp < x.stamp
	}
	return r.age < x.age
}

// runHeap has the run whose pair comes first at its top.
type runHeap []*run

// sink restores the order below i.
func (h runHeap) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].before(h[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
