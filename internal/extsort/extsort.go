// Package extsort sorts more (key, value) pairs than fit into memory. Pairs are
// gathered in an arena; when it is full it is sorted and spilled to a run file, and
// at the end the runs are merged. Keys are compared bytewise; equal keys come out by
// their stamps, and of one stamp in the order they were added, so that the result
// depends neither on the memory given nor on who of several sorters took which pairs.
//
// A run file is a sequence of: uvarint key length, uvarint value length, uvarint stamp,
// key, value.
// Run files are unlinked as soon as they are open, so a killed process leaves none.
package extsort

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"slices"
)

// minMemory keeps a wrong setting from making one run per pair.
const minMemory = 1 << 16

// Sorter collects pairs. It is used by one goroutine: Add any number of times, then
// All as often as wanted, then Close. Several can share the work: see Join.
type Sorter struct {
	dir    string
	memory int
	arena  arena
	pairs  []pair
	spare  []pair // room for sorting them
	runs   []*os.File
	joined []*Sorter
	stamp  uint32
	done   bool // sorted, nothing can be added
	closed bool
	seen   byte // of the bytes touched: see touch
}

type pair struct {
	head  uint64 // first eight bytes of the key, so that most comparisons touch no arena
	at    uint32 // in the arena, in the order of adding
	klen  uint32
	vlen  uint32
	stamp uint32
}

// New returns a Sorter that holds at most about memory bytes of pairs and spills into
// dir ("" is the system's temporary directory).
func New(dir string, memory int) *Sorter {
	memory = min(max(memory, minMemory), math.MaxUint32/4)
	return &Sorter{dir: dir, memory: memory}
}

// Stamp says by what equal keys are ordered that are added from now on. Stamps must not
// get smaller.
func (s *Sorter) Stamp(n uint32) { s.stamp = n }

// Add takes one pair; both slices are copied.
func (s *Sorter) Add(key, value []byte) error {
	if s.done {
		return errors.New("extsort: Add after All")
	}
	need := len(key) + len(value)
	if need > math.MaxUint32/4 {
		return fmt.Errorf("extsort: a pair of %d bytes is too large", need)
	}
	const perPair = 2 * 24 // as long as it is sorted
	if len(s.pairs) > 0 && s.arena.used+need+(len(s.pairs)+1)*perPair > s.memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	at := s.arena.add(key, value)
	s.pairs = append(roomFor(s.pairs, 1), pair{head: headOf(key), at: at, klen: uint32(len(key)), vlen: uint32(len(value)), stamp: s.stamp})
	return nil
}

// Finish sorts what is in memory; nothing can be added any more. All does so by itself, but
// of several sorters each can do it on a goroutine of its own.
func (s *Sorter) Finish() {
	if !s.done {
		s.done = true
		s.sort()
	}
}

// Join makes All give the pairs of the others too, in one order. They belong to s from then
// on, and nothing can be added to any of them.
func (s *Sorter) Join(others ...*Sorter) {
	s.joined = append(s.joined, others...)
	for _, o := range append(others, s) {
		o.Finish()
	}
}

// roomFor makes room for n more. What is small is doubled, since smaller steps would copy it
// many times; what is large grows by a quarter, since half of it could stay empty.
func roomFor[T any](s []T, n int) []T {
	const large = 4 << 20
	switch {
	case cap(s)-len(s) >= n:
		return s
	case len(s) < large:
		return slices.Grow(s, max(n, len(s)))
	}
	return slices.Grow(s, max(n, len(s)/4))
}

func headOf(key []byte) uint64 {
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

func (s *Sorter) key(p pair) []byte { return s.arena.bytes(p.at, p.klen) }

// get returns a pair where it lies.
func (s *Sorter) get(p pair) Pair {
	b := s.arena.bytes(p.at, p.klen+p.vlen)
	return Pair{b[:p.klen:p.klen], b[p.klen:]}
}

// sort orders the pairs in memory: by their heads first, byte by byte, then those of one
// head by the rest of their keys. Those of one key, as most of one head are, stay in the
// order they came in.
func (s *Sorter) sort() {
	s.pairs, s.spare = radix(s.pairs, s.spare)
	ahead := 0
	for from := 0; from < len(s.pairs); {
		ahead = s.touch(from, ahead)
		to := from + 1
		for to < len(s.pairs) && s.pairs[to].head == s.pairs[from].head {
			to++
		}
		if to-from > 1 && !s.oneKey(s.pairs[from:to]) {
			slices.SortFunc(s.pairs[from:to], func(a, b pair) int {
				return cmp.Or(bytes.Compare(s.key(a), s.key(b)), cmp.Compare(a.at, b.at))
			})
		}
		from = to
	}
}

// touch reads a byte of each of the next pairs' cache lines once per many pairs, so that they
// come out of memory side by side rather than one by one: in the order of their keys they
// lie anywhere. at is the pair needed now; it returns up to where they were touched.
func (s *Sorter) touch(at, touched int) int {
	const many, line = 32, 64
	if at < touched {
		return touched
	}
	to := min(at+many, len(s.pairs))
	for _, p := range s.pairs[at:to] {
		b := s.arena.bytes(p.at, p.klen+p.vlen)
		for i := 0; i < len(b); i += line {
			s.seen ^= b[i]
		}
	}
	return to
}

// oneKey reports whether the pairs all have the first one's key.
func (s *Sorter) oneKey(pairs []pair) bool {
	first := s.key(pairs[0])
	for _, p := range pairs[1:] {
		if !bytes.Equal(s.key(p), first) {
			return false
		}
	}
	return true
}

// radix sorts pairs by their heads and keeps the order of equal ones. It needs as much room
// again; both slices are returned, the sorted one first.
func radix(pairs, spare []pair) (sorted, other []pair) {
	spare = slices.Grow(spare[:0], len(pairs))[:len(pairs)]
	var counts [8][256]int
	for i := range pairs {
		h := pairs[i].head
		for b := range 8 {
			counts[b][byte(h>>(8*b))]++
		}
	}
	for b := range 8 {
		if len(pairs) > 0 && counts[b][byte(pairs[0].head>>(8*b))] == len(pairs) {
			continue // all are the same there
		}
		at := 0
		for v, n := range counts[b] {
			counts[b][v] = at
			at += n
		}
		for i := range pairs {
			v := byte(pairs[i].head >> (8 * b))
			spare[counts[b][v]] = pairs[i]
			counts[b][v]++
		}
		pairs, spare = spare, pairs
	}
	return pairs, spare
}

func (s *Sorter) spill() error {
	s.sort()
	f, err := os.CreateTemp(s.dir, "rqvault-sort-*.tmp")
	if err != nil {
		return fmt.Errorf("create a sort file: %w", err)
	}
	_ = os.Remove(f.Name()) // the open file lives on without its name
	s.runs = append(s.runs, f)
	w := bufio.NewWriterSize(f, 256<<10)
	var head [headLen]byte
	ahead := 0
	for i, p := range s.pairs {
		ahead = s.touch(i, ahead)
		n := binary.PutUvarint(head[:], uint64(p.klen))
		n += binary.PutUvarint(head[n:], uint64(p.vlen))
		n += binary.PutUvarint(head[n:], uint64(p.stamp))
		_, _ = w.Write(head[:n]) // bufio keeps the first error for Flush
		_, _ = w.Write(s.arena.bytes(p.at, p.klen+p.vlen))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write a sort file: %w", err)
	}
	s.arena.reset()
	s.pairs = s.pairs[:0]
	return nil
}

// All yields every pair in order of keys. The slices are valid until the next step.
// An error ends the sequence as its last element. All can be called again.
func (s *Sorter) All() iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		if s.closed {
			yield(Pair{}, errors.New("extsort: All after Close"))
			return
		}
		s.Finish()
		if len(s.runs)+len(s.joined) == 0 {
			ahead := 0
			for i, p := range s.pairs {
				ahead = s.touch(i, ahead)
				if !yield(s.get(p), nil) {
					return
				}
			}
			return
		}
		if err := s.merge(yield); err != nil {
			yield(Pair{}, err)
		}
	}
}

// Pair is one sorted pair.
type Pair struct{ Key, Value []byte }

// Close drops the run files.
func (s *Sorter) Close() error {
	var err error
	for _, f := range s.runs {
		err = errors.Join(err, f.Close())
	}
	for _, o := range s.joined {
		err = errors.Join(err, o.Close())
	}
	*s = Sorter{done: true, closed: true}
	return err
}
