package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/crc64nvme"
)

const (
	maxParts     = 10_000 // the protocol's limit
	partsPerSize = 1_000  // parts of one size before the next are twice as large
)

// partSize returns the bytes of the part with that number, counted from 1. A dump's
// size is not known when its upload begins: growing parts keep small objects cheap
// and let the protocol's ten thousand parts hold the largest.
func partSize(first int64, number int32) int64 {
	size := first
	for step := (number - 1) / partsPerSize; step > 0 && size < maxPart; step-- {
		size *= 2
	}
	return min(size, maxPart)
}

// upload is a multipart upload under way. Its methods belong to the writer's
// goroutine; the parts run in their own.
type upload struct {
	w       *writer
	id      string
	doubled bool        // begin was tried more than once: there may be a second upload
	number  int32       // of the last part begun
	total   int64       // bytes in all parts begun
	whole   hash.Hash64 // CRC64NVME over them
	slots   chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	sent []types.CompletedPart // by number - 1
}

// begin opens a multipart upload. A cancellation is held back until the service has
// told the upload's id, or for a while: an upload without a known id cannot be
// aborted.
func (w *writer) begin() (*upload, error) {
	ctx, cancel := lingering(w.ctx)
	defer cancel()
	in := &s3.CreateMultipartUploadInput{
		Bucket: &w.store.opts.Bucket, Key: w.store.full(w.key),
		ContentType: aws.String(contentType),
		Metadata:    map[string]string{nonceField: w.nonce},
	}
	if w.store.opts.Checksum != ChecksumOff {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc64nvme
		in.ChecksumType = types.ChecksumTypeFullObject
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = w.store.opts.encryption()
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = w.store.retention(w.key)
	out, err := w.store.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return nil, err
	}
	if aws.ToString(out.UploadId) == "" {
		return nil, errors.New("the service told no upload id")
	}
	u := &upload{
		w: w, id: *out.UploadId, whole: crc64nvme.New(),
		slots: make(chan struct{}, w.store.opts.Concurrency),
	}
	if tries, ok := retry.GetAttemptResults(out.ResultMetadata); ok {
		u.doubled = len(tries.Results) > 1
	}
	return u, nil
}

// lingering returns a context that ends a while after its parent does.
func lingering(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(cleanupTime, cancel)
		context.AfterFunc(late, func() { timer.Stop() })
	})
	return late, func() { stop(); cancel() }
}

// part sends buf as the next part, as soon as fewer than the allowed number are on
// their way, and owns buf from then on. A failure of the request ends the writer's
// context and shows there.
func (u *upload) part(ctx context.Context, buf []byte) error {
	if u.number == maxParts {
		return fmt.Errorf("the object is larger than %d parts can hold: raise the part size", maxParts)
	}
	select {
	case u.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	u.number++
	u.total += int64(len(buf))
	_, _ = u.whole.Write(buf) // never fails
	number := u.number
	u.running.Go(func() {
		defer func() { <-u.slots }()
		if err := u.send(ctx, number, buf); err != nil {
			u.w.cancel(fmt.Errorf("part %d: %w", number, err))
		}
		u.w.buffers.give(buf)
	})
	return nil
}

// send stores one part.
func (u *upload) send(ctx context.Context, number int32, buf []byte) error {
	store := u.w.store
	in := &s3.UploadPartInput{
		Bucket: &store.opts.Bucket, Key: store.full(u.w.key),
		UploadId: &u.id, PartNumber: &number,
		Body:          bytes.NewReader(buf),
		ContentLength: aws.Int64(int64(len(buf))),
	}
	if store.opts.Checksum == ChecksumOff {
		sum := md5.Sum(buf)
		in.ContentMD5 = aws.String(base64.StdEncoding.EncodeToString(sum[:]))
	} else {
		in.ChecksumCRC64NVME = aws.String(encodeCRC(crc64nvme.Checksum(buf)))
	}
	out, err := store.client.UploadPart(ctx, in)
	if err != nil {
		return err
	}
	done := types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC64NVME: in.ChecksumCRC64NVME}
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.sent) < int(number) {
		u.sent = append(u.sent, types.CompletedPart{})
	}
	u.sent[number-1] = done
	return nil
}

// complete joins the parts into the object, unless its key is taken. The service
// compares the whole with our checksum, so parts in a wrong order would show.
func (u *upload) complete(ctx context.Context, sum string) error {
	store := u.w.store
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &store.opts.Bucket, Key: store.full(u.w.key), UploadId: &u.id,
		IfNoneMatch:     aws.String("*"),
		MpuObjectSize:   &u.total,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.sent},
	}
	if store.opts.Checksum != ChecksumOff {
		in.ChecksumCRC64NVME = &sum
		in.ChecksumType = types.ChecksumTypeFullObject
	}
	_, err := store.client.CompleteMultipartUpload(ctx, in)
	return err
}

// sweep ends the uploads that began when the answer to begin was lost. It is for
// after the commit: the key is taken then, so that an upload of somebody else under
// it, which looks the same, has nothing left to win. Best effort, like Abort.
func (u *upload) sweep() {
	ctx, cancel := forCleanup(u.w.ctx)
	defer cancel()
	// The exact key as prefix is understood by all services, other prefixes are not.
	out, err := u.w.store.client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{
		Bucket: &u.w.store.opts.Bucket, Prefix: u.w.store.full(u.w.key),
	})
	if err != nil {
		return
	}
	for _, other := range out.Uploads {
		if aws.ToString(other.Key) == *u.w.store.full(u.w.key) && aws.ToString(other.UploadId) != "" {
			_ = u.w.store.abortUpload(ctx, u.w.key, *other.UploadId)
		}
	}
}

// encodeCRC writes a CRC64 as the protocol does.
func encodeCRC(sum uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, sum))
}
