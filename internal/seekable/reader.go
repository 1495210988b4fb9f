package seekable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/klauspost/compress/zstd"
)

// ErrDamaged says that the stored bytes are not what a Writer wrote.
var ErrDamaged = errors.New("damaged zstd data")

// maxRaw bounds what one frame may unpack to: the largest value delivered whole, with
// room to spare.
const maxRaw = 256 << 20

// A zstd block of minBlock stored bytes unpacks to at most maxBlock, so a frame that
// claims more is refused before room is made for it.
const (
	minBlock = 4
	maxBlock = 128 << 10
)

// Table is the decoded seek table: where each frame lies, stored and raw.
type Table struct {
	Frames []Frame
	stored []int64 // offset of each frame, and the end of the last
	raw    []int64
}

// TableSize returns the size in bytes of the skippable frame that ends an object, read
// from the object's last footerSize bytes.
func TableSize(footer []byte, objectSize int64) (int64, error) {
	if len(footer) < footerSize {
		return 0, fmt.Errorf("%w: seek table cut short", ErrDamaged)
	}
	f := footer[len(footer)-footerSize:]
	if binary.LittleEndian.Uint32(f[5:]) != seekableMagic || f[4] != 0 {
		return 0, fmt.Errorf("%w: no seek table at the end", ErrDamaged)
	}
	n := int64(binary.LittleEndian.Uint32(f))
	size := headerSize + n*entrySize + footerSize
	if n > maxFrames || size > objectSize {
		return 0, fmt.Errorf("%w: a seek table of %d frames in %d bytes", ErrDamaged, n, objectSize)
	}
	return size, nil
}

// FooterSize is how many bytes at an object's end TableSize needs.
const FooterSize = footerSize

// ParseTable decodes the skippable frame that ends an object of that size.
func ParseTable(b []byte, objectSize int64) (*Table, error) {
	size, err := TableSize(b, objectSize)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if size != int64(len(b)) || le.Uint32(b) != skippableMagic || int64(le.Uint32(b[4:])) != size-headerSize {
		return nil, fmt.Errorf("%w: seek table's head", ErrDamaged)
	}
	n := int((size - headerSize - footerSize) / entrySize)
	t := &Table{Frames: make([]Frame, n), stored: make([]int64, n+1), raw: make([]int64, n+1)}
	for i := range n {
		e := b[headerSize+i*entrySize:]
		t.Frames[i] = Frame{Stored: le.Uint32(e), Raw: le.Uint32(e[4:])}
		if t.Frames[i].Raw > maxRaw || t.Frames[i].Stored > maxRaw+maxRaw/8 {
			return nil, fmt.Errorf("%w: frame %d of %d raw bytes", ErrDamaged, i, t.Frames[i].Raw)
		}
		t.stored[i+1] = t.stored[i] + int64(t.Frames[i].Stored)
		t.raw[i+1] = t.raw[i] + int64(t.Frames[i].Raw)
	}
	if t.stored[n]+size != objectSize {
		return nil, fmt.Errorf("%w: frames of %d bytes and a table of %d in an object of %d", ErrDamaged, t.stored[n], size, objectSize)
	}
	return t, nil
}

// ReadTable reads the seek table through ranged reads of an object of that size.
func ReadTable(read func(offset, length int64) ([]byte, error), objectSize int64) (*Table, error) {
	// One read is enough for 4,000 frames, about 4 GB of dump.
	const first = 32 << 10
	n := min(first, objectSize)
	tail, err := read(objectSize-n, n)
	if err != nil {
		return nil, err
	}
	size, err := TableSize(tail, objectSize)
	if err != nil {
		return nil, err
	}
	if size > n {
		if tail, err = read(objectSize-size, size); err != nil {
			return nil, err
		}
	}
	return ParseTable(tail[int64(len(tail))-size:], objectSize)
}

// RawSize is the size of the whole after decompression.
func (t *Table) RawSize() int64 { return t.raw[len(t.Frames)] }

// StoredRange returns where frame i lies in the object.
func (t *Table) StoredRange(i int) (offset, length int64) {
	return t.stored[i], int64(t.Frames[i].Stored)
}

// RawOffset returns where frame i begins after decompression.
func (t *Table) RawOffset(i int) int64 { return t.raw[i] }

// Find returns the frame that holds the raw offset.
func (t *Table) Find(offset int64) (int, error) {
	if offset < 0 || offset >= t.RawSize() {
		return 0, fmt.Errorf("%w: offset %d is outside the dump of %d bytes", ErrDamaged, offset, t.RawSize())
	}
	return sort.Search(len(t.Frames), func(i int) bool { return t.raw[i+1] > offset }), nil
}

// Decoder unpacks single frames. It is used by one goroutine.
type Decoder struct{ dec *zstd.Decoder }

// NewDecoder returns a Decoder.
func NewDecoder() (*Decoder, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRaw))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &Decoder{dec}, nil
}

// Frame unpacks one frame into dst's space and returns it. The frame must declare and
// unpack to exactly raw bytes; nothing is allocated on its own word.
func (d *Decoder) Frame(dst, stored []byte, raw uint32) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(stored); err != nil {
		return nil, fmt.Errorf("%w: frame head: %w", ErrDamaged, err)
	}
	if h.Skippable || !h.HasFCS || h.FrameContentSize != uint64(raw) || !h.HasCheckSum && raw > 0 { // zstd gives an empty frame no checksum
		return nil, fmt.Errorf("%w: a frame that declares %d bytes where the seek table says %d", ErrDamaged, h.FrameContentSize, raw)
	}
	if int64(raw) > int64(len(stored))/minBlock*maxBlock {
		return nil, fmt.Errorf("%w: a frame of %d stored bytes that claims to unpack to %d", ErrDamaged, len(stored), raw)
	}
	out, err := d.dec.DecodeAll(stored, dst[:0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if len(out) != int(raw) {
		return nil, fmt.Errorf("%w: frame of %d bytes where %d were expected", ErrDamaged, len(out), raw)
	}
	return out, nil
}

// Reader unpacks a whole object in order, frame by frame, as an io.Reader. It ends
// with io.EOF only after the last frame; the seek table itself is left unread.
type Reader struct {
	r      io.Reader
	table  *Table
	dec    *Decoder
	next   int
	stored []byte
	raw    []byte
	rest   []byte
	err    error
}

// NewReader returns a Reader over r, which must yield the object from its first byte.
func NewReader(r io.Reader, t *Table) (*Reader, error) {
	dec, err := NewDecoder()
	if err != nil {
		return nil, err
	}
	return &Reader{r: r, table: t, dec: dec}, nil
}

// Read implements io.Reader.
func (s *Reader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 && s.err == nil {
		s.err = s.fill()
	}
	if len(s.rest) == 0 {
		return 0, s.err
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *Reader) fill() error {
	if s.next == len(s.table.Frames) {
		return io.EOF
	}
	i := s.next
	s.next++
	off, n := s.table.StoredRange(i)
	if int64(cap(s.stored)) < n {
		s.stored = make([]byte, n)
	}
	s.stored = s.stored[:n]
	if _, err := io.ReadFull(s.r, s.stored); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("frame %d at stored byte %d: %w", i, off, err)
	}
	raw, err := s.dec.Frame(s.raw, s.stored, s.table.Frames[i].Raw)
	if err != nil {
		return fmt.Errorf("frame %d at stored byte %d: %w", i, off, err)
	}
	s.raw, s.rest = raw, raw
	return nil
}
