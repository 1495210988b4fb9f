package replica

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// markLen is the length of the mark that ends an RDB of unknown size.
const markLen = 40

// endGrace is how long the line must stay quiet after the mark before it counts as
// the end. The server sends nothing more until we acknowledge, which we never do, or
// hangs up, which ends the wait at once; only a mark inside the data would go on.
const endGrace = time.Second

// Stream reads exactly the bytes of one RDB file and then io.EOF. A connection that
// breaks before is an error that wraps io.ErrUnexpectedEOF or names another cause,
// never a clean end. Where the size is unknown the end rests on the server's mark,
// so the reader of the RDB should require its own end there too. io.EOF then comes when
// the server has hung up, which may take it a tenth of a second; a reader that knows the
// end by itself need not wait for that: see Ended.
//
// A Stream is for one goroutine, bar Close.
type Stream struct {
	l      *link
	replID string
	offset int64
	size   int64
	mark   string
	left   int64 // bytes to come, when the size is known

	room []byte // one fixed buffer, when the end is a mark
	buf  []byte // the part of room that is not handed out; its last 40 bytes may be the mark
	hand int    // bytes at the front of buf that may be handed out
	last bool   // buf ends in the mark, as it seems
	over bool   // the mark was seen and cut off
	read int64  // bytes handed out
	err  error  // sticky
}

// ReplID is the replication id, 40 hex digits, that Offset belongs to.
func (s *Stream) ReplID() string { return s.replID }

// Offset is the replication offset that the RDB stands for, in bytes of the
// replication stream.
func (s *Stream) Offset() int64 { return s.offset }

// Size is the length of the RDB in bytes, -1 if the server did not know it
// beforehand (diskless).
func (s *Stream) Size() int64 { return s.size }

// Read hands out bytes of the RDB.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 || s.err != nil {
		return 0, s.err
	}
	var n int
	var err error
	if s.size >= 0 {
		n, err = s.readSized(p)
	} else {
		n, err = s.readMarked(p)
	}
	s.read += int64(n)
	if err != nil {
		s.l.close()
		s.err = err
		if err != io.EOF {
			s.err = fmt.Errorf("read rdb at byte %d: %w", s.read, s.l.explain(err))
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, s.err
}

func (s *Stream) readSized(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.l.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (s *Stream) readMarked(p []byte) (int, error) {
	for s.hand == 0 {
		if s.last {
			if err := s.end(); err != nil {
				return 0, err
			}
		}
		if s.over {
			return 0, io.EOF
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.buf[:s.hand])
	s.buf, s.hand = s.buf[n:], s.hand-n
	return n, nil
}

// fill reads what is there. All of it but the last 40 bytes is surely data, and those are
// too as soon as more follows.
func (s *Stream) fill() error {
	if s.room == nil {
		s.room = make([]byte, bufferSize+markLen)
	}
	s.buf = s.room[:copy(s.room, s.buf)]
	n, err := s.l.r.Read(s.room[len(s.buf):])
	s.buf = s.buf[:len(s.buf)+n]
	s.last = err == nil && bytes.HasSuffix(s.buf, []byte(s.mark))
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	s.hand = max(0, len(s.buf)-markLen)
	return err
}

// end finds out whether what seems to be the mark is it.
func (s *Stream) end() (err error) {
	s.last = false
	if s.over, err = s.quiet(); s.over {
		s.buf = nil
	}
	return err
}

// Ended reports whether all bytes of the RDB were handed out, as far as can be told without
// waiting for the server: where the size is unknown, whether the mark is what comes next.
// A reader that has found the RDB's own end here has read it whole.
func (s *Stream) Ended() bool {
	switch {
	case s.err != nil:
		return s.err == io.EOF
	case s.size >= 0:
		return s.left == 0
	}
	return s.over || s.last && s.hand == 0
}

// quiet reports whether nothing follows the mark: the server hung up or says no
// more. It takes no byte off the line.
func (s *Stream) quiet() (bool, error) {
	normal := s.l.conn.Limit
	s.l.conn.Limit = min(endGrace, normal)
	defer func() { s.l.conn.Limit = normal }()
	_, err := s.l.r.Peek(1)
	if err == nil {
		return false, nil
	}
	if s.l.ctx.Err() != nil {
		return false, err
	}
	return true, nil // hung up, reset or silent: an end like any other once the mark is here
}

// Close ends the link. Before the end of the RDB it makes the server give up the
// transfer, which costs it nothing.
func (s *Stream) Close() error {
	s.l.close()
	return nil
}
