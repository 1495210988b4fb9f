package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"rqvault/internal/snapshot"
)

// nonceField is the metadata field with the random word of an object's writer.
const nonceField = "rqvault-nonce"

// owner is what reading back an object says of it.
type owner int

const (
	unknown owner = iota // the store did not tell
	nobody               // there is no such object
	ours
	others
)

// settleAttempts bounds the tries of one look: the service may be the problem, and
// the request before was tried often enough.
const settleAttempts = 3

// settle finds out what a failed create-only request did, because its error cannot
// be believed: if the answer to a success is lost, the retry meets our own object.
// It returns nil if the object is ours, and whether there is any object. It works
// under a cancelled context too: the caller must learn what became visible.
func (w *writer) settle(cause error, size int64) (err error, found bool) {
	ctx, cancel := forCleanup(w.ctx)
	defer cancel()
	status := httpStatus(cause)
	pauses := []time.Duration{0}
	if status == 0 || status >= http.StatusInternalServerError {
		// The server may still be at it.
		pauses = append(pauses, 250*time.Millisecond, time.Second)
	}
	who := unknown
	for _, pause := range pauses {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		if who = w.owner(ctx, size); who == ours || who == others {
			break
		}
	}
	if who == ours {
		return nil, true
	}
	refused := status == http.StatusPreconditionFailed
	if refused || (who == others && !definite(status)) {
		return &requestError{
			act: "put", place: w.store.place(w.key), meaning: snapshot.ErrExists, cause: cause,
		}, true
	}
	return cause, who == others
}

// definite says that an answer is about the request itself, whatever is stored.
func definite(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden
}

// owner looks whose object, if any, is stored under the writer's key.
func (w *writer) owner(ctx context.Context, size int64) owner {
	in := &s3.HeadObjectInput{Bucket: &w.store.opts.Bucket, Key: w.store.full(w.key)}
	if w.store.opts.Checksum != ChecksumOff {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := w.store.client.HeadObject(ctx, in, func(o *s3.Options) { o.RetryMaxAttempts = settleAttempts })
	switch {
	case httpStatus(err) == http.StatusNotFound:
		return nobody
	case err != nil:
		return unknown
	}
	if nonce, ok := out.Metadata[nonceField]; ok {
		if nonce == w.nonce {
			return ours
		}
		return others
	}
	// A service or a proxy that loses metadata: equal bytes are as good as ours.
	if aws.ToInt64(out.ContentLength) == size && w.sum != "" {
		for _, sum := range []*string{out.ChecksumSHA256, out.ChecksumCRC64NVME, out.ETag} {
			if strings.Trim(aws.ToString(sum), `"`) == w.sum {
				return ours
			}
		}
	}
	return others
}

// ErrUnconditional: the service accepts If-None-Match and overwrites all the same,
// so nothing there is safe from a second writer.
var ErrUnconditional = errors.New("the service ignores If-None-Match: a second writer would replace objects")

// ProbeConditional proves that the service refuses to overwrite: a small object is
// written, then written again by one request and again by a multipart upload, both
// of which must be refused. It removes the object, unless our rights forbid that.
func (s *Store) ProbeConditional(ctx context.Context) (err error) {
	const act = "probe"
	first, err := s.newProbe(ctx, "")
	if err != nil {
		return err
	}
	key := first.key
	if err := first.Commit(ctx); err != nil {
		return err
	}
	defer func() {
		cleanup, cancel := forCleanup(ctx)
		defer cancel()
		if e := s.Remove(cleanup, key); e != nil && !errors.Is(e, snapshot.ErrDenied) {
			err = errors.Join(err, e)
		}
	}()
	for _, multipart := range []bool{false, true} {
		again, err := s.newProbe(ctx, key)
		if err != nil {
			return err
		}
		if multipart {
			again.upload, err = again.begin()
		}
		if err == nil {
			err = again.Commit(ctx)
		}
		again.Abort()
		switch {
		case err == nil:
			return s.fail(act, key, ErrUnconditional)
		case !errors.Is(err, snapshot.ErrExists):
			return s.fail(act, key, fmt.Errorf("second write: %w", err))
		}
	}
	return nil
}

// newProbe returns a writer that holds a few bytes, for key or for a fresh one.
func (s *Store) newProbe(ctx context.Context, key string) (*writer, error) {
	made, err := s.Create(ctx, orDefault(key, "probe"))
	if err != nil {
		return nil, err
	}
	w := made.(*writer)
	if key == "" {
		w.key = "rqvault-probe-" + w.nonce
	}
	_, err = w.Write([]byte("written by rqvault to see whether this service refuses to overwrite\n"))
	return w, err
}
