package s3

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/crc64nvme"
)

const (
	// reopenTries bounds how often in a row a body that broke off is asked for
	// again.
	reopenTries = 8
	// reopenProgress is how many bytes must have come since the last time for the
	// count to start anew: a long download may break often, but must move.
	reopenProgress = 8 * mib
)

// errChanged: the object is another one than when reading began.
var errChanged = errors.New("the object was replaced while it was read")

// Open implements snapshot.Store. A read of the whole object is compared with the
// checksum the store keeps of it (ErrChecksum), across reopenings; a range cannot
// be. A body that breaks off is asked for again from where it stopped, pinned to
// the same version of the object.
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	const act = "get"
	if err := s.check(ctx, key); err != nil {
		return nil, s.fail(act, key, err)
	}
	if offset < 0 || length < -1 {
		return nil, s.fail(act, key, fmt.Errorf("impossible range: offset %d, length %d", offset, length))
	}
	if length == 0 {
		return s.openNothing(ctx, key, offset)
	}
	if length > math.MaxInt64-offset {
		if _, err := s.Stat(ctx, key); err != nil {
			return nil, err
		}
		return nil, s.fail(act, key, fmt.Errorf("range from %d of length %d: %w", offset, length, io.ErrUnexpectedEOF))
	}
	r := &reader{ctx: ctx, store: s, key: key, next: offset, left: length}
	err := r.open()
	if httpStatus(err) == http.StatusRequestedRangeNotSatisfiable && length < 0 {
		return s.openNothing(ctx, key, offset) // to the end, from the end
	}
	if err != nil {
		return nil, s.fail(act, key, err)
	}
	return r, nil
}

// openNothing reads no byte at offset, which no range can ask for.
func (s *Store) openNothing(ctx context.Context, key string, offset int64) (io.ReadCloser, error) {
	o, err := s.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	if offset > o.Size {
		return nil, s.fail("get", key, fmt.Errorf("range from %d in an object of %d bytes: %w",
			offset, o.Size, io.ErrUnexpectedEOF))
	}
	return io.NopCloser(strings.NewReader("")), nil
}

// reader yields exactly left more bytes of an object, by one request or more.
type reader struct {
	ctx   context.Context // of Open: reopening needs one, and an io.Reader has none
	store *Store
	key   string
	body  io.ReadCloser
	next  int64 // offset in the object of the next byte
	left  int64 // bytes still to come; -1 before the first answer: to the end
	etag  string
	err   error // what every further Read returns

	sum  hash.Hash // over a whole object with a known checksum, else nil
	want string

	tries int   // reopenings since the last progress
	mark  int64 // next at the last reopening
}

// open asks for the rest of the range. On the first call it takes the object's
// ETag and length from the answer; on later ones it demands the same.
func (r *reader) open() error {
	in := &s3.GetObjectInput{Bucket: &r.store.opts.Bucket, Key: r.store.full(r.key)}
	whole := r.next == 0 && r.left < 0
	if !whole {
		span := "bytes=" + strconv.FormatInt(r.next, 10) + "-"
		if r.left > 0 {
			span += strconv.FormatInt(r.next+r.left-1, 10)
		}
		in.Range = &span
	}
	if r.etag != "" {
		in.IfMatch = &r.etag
	}
	if whole && r.store.opts.Checksum != ChecksumOff {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := r.store.client.GetObject(r.ctx, in)
	if err != nil {
		if httpStatus(err) == http.StatusPreconditionFailed {
			err = errChanged
		}
		return err
	}
	if err := r.accept(out, whole); err != nil {
		_ = out.Body.Close()
		return err
	}
	r.body = out.Body
	return nil
}

// accept checks that an answer is what was asked for. Services that ignore ranges,
// or shorten them, must not pass for the bytes at an offset.
func (r *reader) accept(out *s3.GetObjectOutput, whole bool) error {
	if out.ContentLength == nil || *out.ContentLength < 0 {
		return errors.New("the service told no length")
	}
	length := *out.ContentLength
	if !whole {
		first, last, total, err := parseContentRange(aws.ToString(out.ContentRange))
		if err != nil {
			return err
		}
		switch {
		case first != r.next || last-first+1 != length:
			return fmt.Errorf("asked for bytes from %d, got %s", r.next, *out.ContentRange)
		case r.left > 0 && length != r.left:
			return fmt.Errorf("range from %d of length %d in an object of %d bytes: %w",
				r.next, r.left, total, io.ErrUnexpectedEOF)
		case r.left < 0 && last+1 != total:
			return fmt.Errorf("asked for bytes from %d to the end, got %s", r.next, *out.ContentRange)
		}
	}
	if etag := aws.ToString(out.ETag); r.etag == "" {
		r.etag = etag
	} else if r.etag != etag { // a service that ignores If-Match
		return errChanged
	}
	r.left = length
	if whole {
		r.expect(out)
	}
	return nil
}

// expect notes the checksum of the whole object. One of type COMPOSITE is made from
// checksums of parts and cannot be compared with anything here.
func (r *reader) expect(out *s3.GetObjectOutput) {
	if out.ChecksumType == types.ChecksumTypeComposite {
		return
	}
	switch {
	case out.ChecksumSHA256 != nil:
		r.sum, r.want = sha256.New(), *out.ChecksumSHA256
	case out.ChecksumCRC64NVME != nil:
		r.sum, r.want = crc64nvme.New(), *out.ChecksumCRC64NVME
	}
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil && r.err == nil {
		r.err = r.store.fail("get", r.key, err) // bytes that came earlier would hide it
	}
	if r.err == nil && r.left == 0 {
		r.err = r.end(nil)
	}
	for r.err == nil && len(p) > 0 {
		n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
		r.next += int64(n)
		r.left -= int64(n)
		if r.sum != nil {
			_, _ = r.sum.Write(p[:n]) // never fails
		}
		switch {
		case r.left == 0:
			// Checked before the last bytes are handed out: many callers read the
			// length they know and never ask for the end, and io.ReadFull drops an
			// error that comes with the last byte.
			if r.err = r.end(err); r.err != io.EOF {
				return 0, r.err
			}
			return n, nil
		case err != nil:
			r.err = r.reopen(err)
		}
		if n > 0 {
			return n, nil // a failed reopening shows with the next call
		}
	}
	return 0, r.err
}

// end decides how a body ends whose last byte has come: io.EOF if all is well. The
// error is what came along with that byte.
func (r *reader) end(err error) error {
	if r.sum != nil {
		if got := base64.StdEncoding.EncodeToString(r.sum.Sum(nil)); got != r.want {
			return r.store.fail("get", r.key, ErrChecksum)
		}
	}
	if err == nil {
		// Reading on lets the connection be used again and the SDK compare a
		// checksum of a kind not known here.
		var one [1]byte
		var n int
		if n, err = r.body.Read(one[:]); n > 0 {
			err = errors.New("the service sent more bytes than it announced")
		}
	}
	if err != nil && err != io.EOF {
		return r.store.fail("get", r.key, err)
	}
	return io.EOF
}

// reopen continues a body that broke off. It returns nil if reading can go on.
func (r *reader) reopen(cause error) error {
	if cause == io.EOF {
		cause = io.ErrUnexpectedEOF
	}
	if r.next-r.mark >= reopenProgress {
		r.tries = 0
	}
	r.mark = r.next
	r.tries++
	_ = r.body.Close()
	if err := r.ctx.Err(); err != nil {
		return r.store.fail("get", r.key, err)
	}
	if r.tries > reopenTries || r.etag == "" {
		return r.store.fail("get", r.key, fmt.Errorf("broke off at byte %d: %w", r.next, cause))
	}
	if err := r.open(); err != nil {
		return r.store.fail("get", r.key, fmt.Errorf("broke off at byte %d (%w), continue there: %w", r.next, cause, err))
	}
	return nil
}

// Close ends the request. A body that was not read to its end costs its connection.
func (r *reader) Close() error {
	if r.err == nil {
		r.err = r.store.fail("get", r.key, errors.New("the reader is closed"))
	}
	return r.body.Close()
}

// parseContentRange reads "bytes first-last/total".
func parseContentRange(v string) (first, last, total int64, err error) {
	span, ok := strings.CutPrefix(v, "bytes ")
	if ok {
		var rest, size string
		var a, b, c bool
		v, rest, a = strings.Cut(span, "-")
		rest, size, b = strings.Cut(rest, "/")
		first, err = strconv.ParseInt(v, 10, 64)
		c = err == nil
		if last, err = strconv.ParseInt(rest, 10, 64); err == nil {
			total, err = strconv.ParseInt(size, 10, 64)
		}
		ok = a && b && c && err == nil && first >= 0 && first <= last && last < total
	}
	if !ok {
		return 0, 0, 0, errors.New("the service answered a range with no usable Content-Range")
	}
	return first, last, total, nil
}
