package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"rqvault/internal/lease"
	"rqvault/internal/snapshot"
)

// cell is an object that is replaced under the condition that it has a certain ETag.
type cell struct {
	store *Store
	key   string
}

// Cell returns the cell under that key. Nothing is sent. The tag is the object's ETag.
func (s *Store) Cell(key string) (lease.Cell, error) {
	if err := s.check(context.Background(), key); err != nil {
		return nil, s.fail("open cell", key, err)
	}
	return &cell{s, key}, nil
}

// Load implements lease.Cell.
func (c *cell) Load(ctx context.Context) ([]byte, string, error) {
	value, tag, err := c.load(ctx)
	err = c.store.fail("get", c.key, err)
	if errors.Is(err, snapshot.ErrNotFound) {
		return nil, "", nil
	}
	return value, tag, err
}

func (c *cell) load(ctx context.Context) ([]byte, string, error) {
	in := &s3.GetObjectInput{Bucket: &c.store.opts.Bucket, Key: c.store.full(c.key)}
	if c.store.opts.Checksum != ChecksumOff {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := c.store.client.GetObject(ctx, in)
	if err != nil {
		return nil, "", err
	}
	defer out.Body.Close()
	value, err := io.ReadAll(io.LimitReader(out.Body, lease.MaxValue+1))
	switch {
	case err != nil:
		return nil, "", err
	case len(value) > lease.MaxValue:
		return nil, "", fmt.Errorf("it has more than %d bytes", lease.MaxValue)
	case aws.ToString(out.ETag) == "":
		return nil, "", errNoETag
	}
	return value, *out.ETag, nil
}

// errNoETag: without one there is nothing to make a condition of.
var errNoETag = errors.New("the service told no ETag")

// Swap implements lease.Cell. An error may hide our own success: the request whose answer
// was lost is repeated and meets what it wrote. So whatever went wrong, reading back decides.
func (c *cell) Swap(ctx context.Context, tag string, value []byte) (string, error) {
	out, err := c.store.client.PutObject(ctx, c.request(tag, value))
	if err == nil {
		if etag := aws.ToString(out.ETag); etag != "" {
			return etag, nil
		}
		err = errNoETag
	}
	now, current, readErr := c.Load(ctx)
	switch {
	case readErr == nil && current != "" && bytes.Equal(now, value):
		return current, nil
	case readErr == nil && current != tag:
		// What was sent under that condition cannot come true any more.
		err = lease.ErrMoved
	}
	return "", c.store.fail("put", c.key, err)
}

// request is the PUT that replaces the value with that tag, or makes the first one.
func (c *cell) request(tag string, value []byte) *s3.PutObjectInput {
	in := &s3.PutObjectInput{
		Bucket: &c.store.opts.Bucket, Key: c.store.full(c.key),
		Body:          bytes.NewReader(value),
		ContentLength: aws.Int64(int64(len(value))),
		ContentType:   aws.String("application/json"),
	}
	if tag == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = &tag
	}
	if c.store.opts.Checksum == ChecksumOff {
		sum := md5.Sum(value)
		in.ContentMD5 = aws.String(base64.StdEncoding.EncodeToString(sum[:]))
	} else {
		sum := sha256.Sum256(value)
		in.ChecksumSHA256 = aws.String(base64.StdEncoding.EncodeToString(sum[:]))
	}
	return in
}
