package seal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"rqvault/internal/snapshot"
)

// An age stream is a head (header and nonce), then chunks of 64 KiB that are authenticated
// one by one, the last of them marked as such.
const (
	chunk    = 64 << 10
	overhead = 16
)

// payload is how many bytes the chunks of so much content take.
func payload(plain int64) int64 {
	chunks := max(1, (plain+chunk-1)/chunk)
	return plain + chunks*overhead
}

// ranges reads parts of one object: each whole chunks, in one piece.
type ranges struct {
	o       *opener
	size    int64
	head    int64
	fetch   snapshot.Fetch
	plain   io.ReaderAt
	start   window // the head
	tail    window // the last chunk, and the one before it if the last is short
	current window
}

// window is a piece of the stored object.
type window struct {
	offset int64
	b      []byte
}

// errOutside: nothing was fetched there.
var errOutside = errors.New("outside what was fetched")

// holds reports whether n bytes from offset lie in it.
func (w *window) holds(offset, n int64) bool {
	return offset >= w.offset && offset+n <= w.offset+int64(len(w.b))
}

// Ranges implements snapshot.Opener. It costs two fetches, and proves the object's length:
// its last chunk is marked as the last.
func (o *opener) Ranges(ctx context.Context, size int64, e snapshot.Encrypted, fetch snapshot.Fetch) (snapshot.Ranges, error) {
	if size-e.Head != payload(e.Plain) {
		return nil, fmt.Errorf("%w: %d bytes do not hold %d encrypted ones", snapshot.ErrDamaged, size, e.Plain)
	}
	r := &ranges{o: o, size: size, head: e.Head, fetch: fetch}
	b, err := fetch(ctx, snapshot.Range{Length: e.Head})
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != e.HeadSHA256 {
		return nil, fmt.Errorf("%w: it begins otherwise than the manifest says", snapshot.ErrDamaged)
	}
	r.start.b = b
	start := r.stored(max(0, e.Plain-chunk))
	if r.tail.b, err = fetch(ctx, snapshot.Range{Offset: start, Length: size - start}); err != nil {
		return nil, err
	}
	r.tail.offset = start
	plain, n, err := age.DecryptReaderAt(r, size, o.identity)
	if err == nil && n != e.Plain {
		err = fmt.Errorf("its content is %d bytes, not %d", n, e.Plain)
	}
	if err != nil {
		return nil, o.damaged(err)
	}
	r.plain = plain
	return r, nil
}

// stored is where the chunk begins that holds the byte of the content at offset.
func (r *ranges) stored(offset int64) int64 { return r.head + offset/chunk*(chunk+overhead) }

// Read implements snapshot.Ranges.
func (r *ranges) Read(ctx context.Context, at snapshot.Range) ([]byte, error) {
	if at.Length == 0 {
		return nil, nil
	}
	start := r.stored(at.Offset)
	end := min(r.size, r.stored(at.Offset+at.Length-1)+chunk+overhead)
	if !r.tail.holds(start, end-start) && !r.current.holds(start, end-start) {
		b, err := r.fetch(ctx, snapshot.Range{Offset: start, Length: end - start})
		if err != nil {
			return nil, err
		}
		r.current = window{start, b}
	}
	b := make([]byte, at.Length)
	if n, err := r.plain.ReadAt(b, at.Offset); n < len(b) {
		return nil, fmt.Errorf("from byte %d of its content: %w", at.Offset, r.o.damaged(err))
	}
	return b, nil
}

// ReadAt gives the age library stored bytes, all of which were fetched before.
func (r *ranges) ReadAt(p []byte, offset int64) (int, error) {
	for _, w := range []*window{&r.tail, &r.current} {
		if w.holds(offset, int64(len(p))) {
			return copy(p, w.b[offset-w.offset:]), nil
		}
	}
	if !r.start.holds(offset, 1) {
		return 0, errOutside
	}
	n := copy(p, r.start.b[offset:]) // the header is read in blocks, beyond its end
	if n < len(p) {
		return n, errOutside
	}
	return n, nil
}
