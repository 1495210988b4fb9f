// Package seekable writes and reads zstd in independent frames with the standard seek
// table at the end, so that stock zstd opens the whole and we open any part.
//
//	frame 0 | frame 1 | … | frame n-1 | skippable frame:
//	  magic 0x184D2A5E, uint32 size,
//	  n × (uint32 stored bytes, uint32 raw bytes),
//	  uint32 n, byte 0 (no checksums in the table), magic 0x8F92EAB1
//
// All integers are little endian. Source: zstd, contrib/seekable_format/
// zstd_seekable_compression_format.md, version 0.1.0. Each frame carries zstd's own
// XXH64 checksum and its raw size.
package seekable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
)

const (
	skippableMagic = 0x184D2A5E
	seekableMagic  = 0x8F92EAB1
	footerSize     = 9
	headerSize     = 8
	entrySize      = 8
	maxFrames      = 0x8000000 // of the format
)

// Options tune a Writer; the zero value is the level that pays, on all processors.
type Options struct {
	Fast    bool // zstd's fastest level, even where its default level would save much
	Workers int  // frames compressed at once; 0 means one per processor
}

// Frame is one entry of the seek table.
type Frame struct {
	Stored uint32 // compressed bytes
	Raw    uint32 // bytes after decompression
}

// Writer compresses frames in parallel and writes them in order. WriteFrame and Close
// are called by one goroutine.
type Writer struct {
	work    chan *task
	order   chan *task
	frames  []Frame
	trials  trials
	workers sync.WaitGroup
	written chan struct{}
	mu      sync.Mutex
	err     error
	closed  bool
	w       io.Writer
	stored  int64
}

type task struct {
	raw   []byte
	done  func()
	out   []byte
	fin   chan struct{}
	trial *trial // the level it is packed at
	tries bool   // it is the one that decides that
}

// NewWriter starts a Writer on w.
func NewWriter(w io.Writer, o Options) (*Writer, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	s := &Writer{
		w:       w,
		trials:  trials{fast: o.Fast},
		work:    make(chan *task),
		order:   make(chan *task, o.Workers),
		written: make(chan struct{}),
	}
	free := &sync.Pool{}
	for range o.Workers {
		p, err := newPacker()
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		s.workers.Go(func() {
			for t := range s.work {
				buf, _ := free.Get().(*[]byte)
				if buf == nil {
					buf = new([]byte)
				}
				t.out = p.pack(t, (*buf)[:0])
				if t.done != nil {
					t.done()
				}
				close(t.fin)
			}
		})
	}
	go s.write(free)
	return s, nil
}

func (s *Writer) write(free *sync.Pool) {
	defer close(s.written)
	for t := range s.order {
		<-t.fin
		if s.failed() == nil {
			if len(t.out) > math.MaxUint32 || len(s.frames) >= maxFrames {
				s.fail(errors.New("zstd: frame or table too large"))
			} else if _, err := s.w.Write(t.out); err != nil {
				s.fail(err)
			}
		}
		s.mu.Lock()
		s.frames = append(s.frames, Frame{Stored: uint32(len(t.out)), Raw: uint32(len(t.raw))})
		s.stored += int64(len(t.out))
		s.mu.Unlock()
		t.raw = nil
		free.Put(&t.out)
	}
}

func (s *Writer) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *Writer) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// WriteFrame queues raw as the next frame and calls done (which may be nil) when raw
// is no longer needed. It blocks while all workers are busy. An error is the first one
// of any earlier frame; done is called all the same.
func (s *Writer) WriteFrame(raw []byte, done func()) error {
	if err := s.failed(); err != nil || s.closed || len(raw) > maxRaw {
		if done != nil {
			done()
		}
		return errors.Join(err, s.misuse(len(raw)))
	}
	t := &task{raw: raw, done: done, fin: make(chan struct{})}
	t.trial, t.tries = s.trials.next()
	s.order <- t
	s.work <- t
	return nil
}

func (s *Writer) misuse(n int) error {
	if s.closed {
		return errors.New("zstd: frame after Close")
	}
	if n > maxRaw {
		return fmt.Errorf("zstd: frame of %d bytes is too large", n)
	}
	return nil
}

// Close finishes all frames and writes the seek table. It does not close w.
func (s *Writer) Close() error {
	if s.closed {
		return s.err
	}
	s.closed = true
	close(s.work)
	close(s.order)
	s.workers.Wait()
	<-s.written
	if s.err != nil {
		return s.err
	}
	_, s.err = s.w.Write(appendTable(nil, s.frames))
	return s.err
}

// Frames returns the seek table's entries; valid after Close.
func (s *Writer) Frames() []Frame { return s.frames }

// Stored is the number of compressed bytes written so far.
func (s *Writer) Stored() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored
}

func appendTable(b []byte, frames []Frame) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, skippableMagic)
	b = le.AppendUint32(b, uint32(len(frames)*entrySize+footerSize))
	for _, f := range frames {
		b = le.AppendUint32(b, f.Stored)
		b = le.AppendUint32(b, f.Raw)
	}
	b = le.AppendUint32(b, uint32(len(frames)))
	b = append(b, 0)
	return le.AppendUint32(b, seekableMagic)
}
