package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"rqvault/internal/snapshot"
)

const (
	firstBuffer = 64 << 10 // bytes; grows by doubling, so that a manifest does not cost a whole part
	contentType = "application/octet-stream"
)

// Create implements snapshot.Store. Nothing is sent before the first part is full
// or Commit is called.
func (s *Store) Create(ctx context.Context, key string) (snapshot.Writer, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, s.fail("create", key, err)
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	w := &writer{
		store: s, key: key, nonce: hex.EncodeToString(nonce[:]),
		size:    s.opts.PartSize,
		buffers: &buffers{limit: s.opts.Concurrency + 1, free: make(chan []byte, s.opts.Concurrency+1)},
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	return w, nil
}

// writer is one object on its way: a buffer that fills and, once a second part is
// needed, a multipart upload that takes full buffers.
type writer struct {
	ctx    context.Context // of Create: Write has none, and parts outlive the Write that sent them
	cancel context.CancelCauseFunc
	store  *Store
	key    string
	nonce  string // says whose object it is when it is read back

	buf     []byte
	size    int64 // bytes of the part that buf will be
	buffers *buffers
	upload  *upload // nil while everything fits the first buffer
	sum     string  // of the whole object as HEAD reports it, once known
	err     error   // the first failure; nothing can succeed after it
	done    bool
}

var errFinished = errors.New("the object is committed or given up already")

// Write implements io.Writer. It blocks while all buffers are on their way.
func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, w.store.fail("put", w.key, errFinished)
	}
	written := 0
	for len(p) > 0 {
		if err := w.failure(); err != nil {
			return written, w.store.fail("put", w.key, err)
		}
		// A full buffer goes only when more is to come: an object of exactly one
		// part is one plain PUT.
		if int64(len(w.buf)) == w.size {
			w.err = w.send()
			continue
		}
		n := int(min(int64(len(p)), w.size-int64(len(w.buf))))
		w.buf = w.buffers.grow(w.buf, n, w.size)
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		written += n
	}
	return written, nil
}

// failure returns why nothing can succeed any more.
func (w *writer) failure() error {
	if w.err == nil && w.ctx.Err() != nil {
		w.err = context.Cause(w.ctx) // a part's error, or the caller's cancellation
	}
	return w.err
}

// send hands the full buffer to the upload, which begins with the first of them,
// and takes another.
func (w *writer) send() error {
	if w.upload == nil {
		up, err := w.begin()
		if err != nil {
			return err
		}
		w.upload = up
	}
	if err := w.upload.part(w.ctx, w.buf); err != nil {
		return err
	}
	w.size = partSize(w.store.opts.PartSize, w.upload.number+1)
	var err error
	w.buf, err = w.buffers.take(w.ctx, w.size)
	return err
}

// Commit implements snapshot.Writer.
func (w *writer) Commit(ctx context.Context) error {
	if w.done {
		return w.store.fail("put", w.key, errFinished)
	}
	// Parts run under the context of Create; from here on the caller waits under
	// ctx, and the end of either ends the write.
	stop := context.AfterFunc(ctx, func() { w.cancel(context.Cause(ctx)) })
	defer stop()
	if ctx.Err() != nil {
		w.cancel(context.Cause(ctx))
	}
	err := w.failure()
	switch {
	case err != nil:
	case w.upload == nil:
		err = w.commitSingle()
	default:
		err = w.commitUpload()
	}
	if err != nil {
		w.Abort()
		return w.store.fail("put", w.key, err)
	}
	if w.upload != nil && w.upload.doubled {
		w.upload.sweep()
	}
	w.done = true
	w.cancel(nil)
	w.buf = nil
	return nil
}

// commitSingle stores the whole object by one request.
func (w *writer) commitSingle() error {
	in := &s3.PutObjectInput{
		Bucket: &w.store.opts.Bucket, Key: w.store.full(w.key),
		Body:          bytes.NewReader(w.buf),
		ContentLength: aws.Int64(int64(len(w.buf))),
		ContentType:   aws.String(contentType),
		IfNoneMatch:   aws.String("*"),
		Metadata:      map[string]string{nonceField: w.nonce},
	}
	if w.store.opts.Checksum == ChecksumOff {
		sum := md5.Sum(w.buf)
		in.ContentMD5 = aws.String(base64.StdEncoding.EncodeToString(sum[:]))
		w.sum = hex.EncodeToString(sum[:]) // an ETag, where the service makes it that way
	} else {
		sum := sha256.Sum256(w.buf)
		w.sum = base64.StdEncoding.EncodeToString(sum[:])
		in.ChecksumSHA256 = &w.sum
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = w.store.opts.encryption()
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = w.store.retention(w.key)
	_, err := w.store.client.PutObject(w.ctx, in)
	if err == nil {
		return nil
	}
	err, _ = w.settle(err, int64(len(w.buf)))
	return err
}

// commitUpload sends what is left, waits for all parts and joins them.
func (w *writer) commitUpload() error {
	up := w.upload
	if err := up.part(w.ctx, w.buf); err != nil {
		return err
	}
	up.running.Wait()
	if err := w.failure(); err != nil {
		return err
	}
	w.sum = encodeCRC(up.whole.Sum64())
	err := up.complete(w.ctx, w.sum)
	if err == nil {
		return nil
	}
	err, found := w.settle(err, up.total)
	if err == nil || found {
		return err
	}
	// Nothing is there yet, but a Complete whose answer was lost may still be at
	// work. Once the upload is gone it cannot change anything, so look again then.
	cleanup, cancel := forCleanup(w.ctx)
	defer cancel()
	if w.store.abortUpload(cleanup, w.key, up.id) != nil {
		return err
	}
	w.upload = nil
	err, _ = w.settle(err, up.total)
	return err
}

// latePart is how long a service is given to finish with parts whose sender has gone.
const latePart = 250 * time.Millisecond

// Abort implements snapshot.Writer. It uses the context of Create without its
// cancellation, and waits for the parts on their way: one that arrives after the
// upload was aborted would stay in the bucket, unseen and paid for.
func (w *writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	w.cancel(errFinished)
	w.buf = nil
	if w.upload == nil {
		return
	}
	w.upload.running.Wait()
	cleanup, cancel := forCleanup(w.ctx)
	defer cancel()
	// What cannot be removed now shows in Abandoned.
	if w.store.abortUpload(cleanup, w.key, w.upload.id) != nil {
		return
	}
	// A request that was cut off may still be at work on the other side, and bring the
	// upload back with its part.
	select {
	case <-time.After(latePart):
		_ = w.store.abortUpload(cleanup, w.key, w.upload.id)
	case <-cleanup.Done():
	}
}

// buffers hands out the few buffers of one writer and takes them back. They are
// made when first needed.
type buffers struct {
	limit int
	made  int
	free  chan []byte
}

// grow returns buf with room for n more bytes, doubling up to size. Only a first
// buffer grows; the others have their full size from the start.
func (b *buffers) grow(buf []byte, n int, size int64) []byte {
	if b.made == 0 {
		b.made = 1
	}
	need := int64(len(buf) + n)
	if need <= int64(cap(buf)) {
		return buf
	}
	bigger := make([]byte, len(buf), min(size, max(need, 2*int64(cap(buf)), firstBuffer)))
	copy(bigger, buf)
	return bigger
}

// take returns an empty buffer of size bytes, waiting for one to come back if all
// are out.
func (b *buffers) take(ctx context.Context, size int64) ([]byte, error) {
	var buf []byte
	if b.made < b.limit && len(b.free) == 0 {
		b.made++
	} else {
		select {
		case buf = <-b.free:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if int64(cap(buf)) < size {
		buf = make([]byte, 0, size)
	}
	return buf[:0], nil
}

// give takes a buffer back. It never blocks: there is room for all.
func (b *buffers) give(buf []byte) { b.free <- buf }
